//! A connection after its upgrade to WebSocket.
//!
//! What keeps it bounded: a request takes a place before it is worked on, and gives it back when its answer is written.
//! Without a free place it is refused, and the reader itself hands the refusal to the writer. So while a client takes
//! nothing, at most `under_way` of its requests are worked on, two refusals wait, and nothing more is read.

use crate::{
    calls::{self, Calls, Reply, Subscriptions},
    front::Head,
    refusal,
    server::{Shared, Stop},
    socket::Pulse,
};
use futures::{
    Stream, StreamExt,
    io::{BufReader, BufWriter},
    stream,
};
use hyper::{Request, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use jsonrpsee::{
    core::server::{BoundedSubscriptions, ConnectionId, MethodSink},
    server::{HttpBody, HttpResponse},
};
use serde_json::value::RawValue;
use soketto::{
    Incoming,
    connection::Error,
    data::ByteSlice125,
    handshake::http::{Server, is_upgrade_request},
};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

type Wire = BufReader<BufWriter<Compat<TokioIo<Upgraded>>>>;
type Sender = soketto::Sender<Wire>;
type Receiver = soketto::Receiver<Wire>;

/// How often a client is asked for a sign of life while [`crate::Limits::idle`] lasts.
const PINGS: u32 = 3;

/// Whether a request asks for an upgrade.
pub(crate) fn is_asked(head: &Head) -> bool {
    // The handshake looks at a whole request, of which only the head counts.
    let mut probe = Request::new(());
    *probe.headers_mut() = head.headers.clone();
    is_upgrade_request(&probe)
}

/// Answers the handshake and goes on in a task of its own.
pub(crate) fn upgrade<B>(shared: &Arc<Shared>, mut request: Request<B>, pulse: Arc<Pulse>, stop: Stop) -> HttpResponse {
    let mut handshake = Server::new();
    let answer = match handshake.receive_request(&request) {
        Ok(answer) => answer,
        Err(error) => return refusal::http(400, &format!("no WebSocket handshake: {error}")),
    };
    let upgrading = hyper::upgrade::on(&mut request);
    let extensions = std::mem::take(request.extensions_mut());
    let shared = shared.clone();
    tokio::spawn(async move {
        // A client that goes before it has its answer.
        let Ok(upgraded) = upgrading.await else { return };
        let wire = BufReader::new(BufWriter::new(TokioIo::new(upgraded).compat()));
        let mut builder = handshake.into_builder(wire);
        builder.set_max_message_size(shared.limits.request_bytes as usize);
        let (sender, receiver) = builder.finish();
        let (sink, notifications) = mpsc::channel(shared.limits.buffered.max(1) as usize);
        let subscriptions = Subscriptions {
            connection: ConnectionId(shared.next_socket()),
            sink: MethodSink::new(sink),
            places: BoundedSubscriptions::new(shared.limits.subscriptions),
        };
        let idle = shared.limits.idle;
        let calls = Calls { shared, extensions, subscriptions: Some(subscriptions) };
        tokio::select! {
            () = converse(calls, sender, receiver, notifications, stop) => {}
            () = pulse.stops(idle) => {}
        }
    });
    answer.map(|()| HttpBody::empty())
}

/// An answer on its way, with its request's place.
struct Answer {
    reply: Reply,
    _place: Option<OwnedSemaphorePermit>,
}

/// What a client sent.
enum Message {
    Data(Vec<u8>),
    TooLarge,
}

/// A client's messages, until it closes or goes. A stream, so that whoever stops waiting for the next one loses nothing of it.
fn messages(receiver: Receiver) -> impl Stream<Item = Message> {
    stream::unfold(receiver, |mut receiver| async {
        loop {
            let mut data = Vec::new();
            match receiver.receive(&mut data).await {
                Ok(Incoming::Data(_)) => return Some((Message::Data(data), receiver)),
                Ok(Incoming::Pong(_)) => {}
                Err(Error::MessageTooLarge { .. }) => return Some((Message::TooLarge, receiver)),
                Ok(Incoming::Closed(_)) | Err(_) => return None,
            }
        }
    })
}

/// Why reading ended.
enum End {
    /// The client has gone, or does not speak WebSocket.
    Gone,
    /// The server stops.
    Stopped,
}

async fn converse(
    calls: Calls,
    sender: Sender,
    receiver: Receiver,
    notifications: mpsc::Receiver<Box<RawValue>>,
    stop: Stop,
) {
    let ping = (calls.shared.limits.idle / PINGS).max(Duration::from_millis(1));
    // Room for one: what waits for the writer waits where it has a place.
    let (answers, to_write) = mpsc::channel(1);
    let mut messages = pin!(messages(receiver));
    let mut writing = pin!(write(sender, to_write, notifications, ping));
    let mut under_way = JoinSet::new();
    let end = tokio::select! {
        end = read(messages.as_mut(), Arc::new(calls), &answers, &mut under_way, stop) => end,
        // A client that cannot be written to.
        () = &mut writing => End::Gone,
    };
    if let End::Stopped = end {
        // The writer ends when nobody has an answer for it any more.
        drop(answers);
        let worked_off = async { while under_way.join_next().await.is_some() {} };
        tokio::select! {
            _ = async { tokio::join!(worked_off, writing) } => {}
            // Read and passed over, so that a client that goes is seen.
            () = messages.for_each(async |_| {}) => {}
        }
    }
    // What is still worked on has nobody to answer: dropping the set ends it.
}

/// Reads requests and starts them.
async fn read(
    mut messages: Pin<&mut impl Stream<Item = Message>>,
    calls: Arc<Calls>,
    answers: &mpsc::Sender<Answer>,
    under_way: &mut JoinSet<()>,
    stop: Stop,
) -> End {
    let limits = calls.shared.limits;
    let places = Arc::new(Semaphore::new(limits.under_way.max(1) as usize));
    let mut stopped = pin!(stop.told());
    loop {
        let received = tokio::select! {
            received = messages.next() => received,
            () = &mut stopped => return End::Stopped,
        };
        if received.is_some() {
            calls.shared.front.message();
        }
        let refusal = match received {
            Some(Message::Data(message)) => {
                // What has ended since the last message.
                while under_way.try_join_next().is_some() {}
                start(&calls, &places, answers, under_way, message)
            }
            Some(Message::TooLarge) => Some(calls::too_large(limits.request_bytes)),
            None => return End::Gone,
        };
        let Some(reply) = refusal else { continue };
        tokio::select! {
            sent = answers.send(Answer { reply, _place: None }) => {
                if sent.is_err() {
                    return End::Gone;
                }
            }
            () = &mut stopped => return End::Stopped,
        }
    }
}

/// Starts to work on a message, if there is room for it; otherwise gives the refusal that is to be sent, if any.
fn start(
    calls: &Arc<Calls>,
    places: &Arc<Semaphore>,
    answers: &mpsc::Sender<Answer>,
    under_way: &mut JoinSet<()>,
    message: Vec<u8>,
) -> Option<Reply> {
    let place = places.clone().try_acquire_owned().map_err(|_| refusal::busy(calls.shared.limits.under_way));
    match place.and_then(|place| Ok((place, calls.shared.memory.hold(message.len())?))) {
        Ok((place, held)) => {
            let (calls, answers) = (calls.clone(), answers.clone());
            under_way.spawn(async move {
                let reply = calls.message(&message).await;
                drop((message, held));
                if let Some(reply) = reply {
                    // An error says that the writer has ended, and the connection with it.
                    let _ = answers.send(Answer { reply, _place: Some(place) }).await;
                }
            });
            None
        }
        Err(error) => calls::refuse(&message, error),
    }
}

/// Writes answers and notifications, and asks for signs of life.
async fn write(
    mut sender: Sender,
    mut answers: mpsc::Receiver<Answer>,
    mut notifications: mpsc::Receiver<Box<RawValue>>,
    ping: Duration,
) {
    let mut pings = interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let written = tokio::select! {
            answer = answers.recv() => match answer {
                Some(Answer { reply, _place }) => {
                    let written = send(&mut sender, reply.json).await;
                    drop(reply.held);
                    written
                }
                None => break,
            },
            Some(notification) = notifications.recv() => send(&mut sender, notification).await,
            _ = pings.tick() => send_ping(&mut sender).await,
        };
        if written.is_err() {
            return;
        }
    }
    // The client may have gone by now.
    let _ = sender.close().await;
}

async fn send(sender: &mut Sender, json: Box<RawValue>) -> Result<(), Error> {
    sender.send_text_owned(String::from(Box::<str>::from(json))).await?;
    sender.flush().await
}

async fn send_ping(sender: &mut Sender) -> Result<(), Error> {
    let empty: &[u8] = &[];
    if let Ok(empty) = ByteSlice125::try_from(empty) {
        sender.send_ping(empty).await?;
    }
    sender.flush().await
}
