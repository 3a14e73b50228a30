//! The tasks of the direct streams: one writes, one reads, per peer and class.

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Stream, swarm::ConnectionId};
use tokio::time::timeout;

use crate::{
    channel::{Channel, Class},
    counters::count,
    error::WireError,
    event::{DriverGone, NetEvent, Refusal},
    frame::{FRAME_HEADER_BYTES, decode_frame_header, encode_frame_header},
    hello::{Answer, Away, Hello, MAX_ANSWER_BYTES, decode_answer, decode_hello, encode_answer},
    shared::{End, Internal, Peer, Shared},
    standing::{Offence, Rated},
};

/// A frame that has begun must end within this, so that nobody pins buffers.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// Frames that share one write and flush.
const COALESCE_BYTES: usize = 256 * 1024;
/// Payloads up to this are copied next to their header; longer ones are written from where they lie.
const INLINE_BYTES: usize = 4 * 1024;

/// Opens: says hello, waits for the answer, then writes what is queued until the stream ends.
pub(crate) async fn write_stream(
    mut stream: Stream,
    class: Class,
    connection: ConnectionId,
    peer: Arc<Peer>,
    shared: Arc<Shared>,
) {
    let end = match open(&mut stream, class, connection, &peer, &shared).await {
        Ok(()) => {
            let answered = Internal::Answered { peer: peer.id, connection, class };
            // The network task outlives its streams; if it is gone, writing fails too.
            let _ = shared.internal.send(answered).await;
            write_frames(&mut stream, class, &peer, &shared).await
        }
        Err(end) => end,
    };
    let ended = Internal::Ended { peer: peer.id, connection, class, outbound: true, end };
    let _ = shared.internal.send(ended).await;
}

async fn open(
    stream: &mut Stream,
    class: Class,
    connection: ConnectionId,
    peer: &Peer,
    shared: &Shared,
) -> Result<(), End> {
    let exchange = async {
        write_hello(stream, class, None, shared).await?;
        read_hello(stream).await
    };
    let bytes = timeout(shared.limits.hello_timeout, exchange)
        .await
        .map_err(|_| End::Closed("hello was not answered".into()))?
        .map_err(closed)?;
    let answer = decode_answer(&bytes).map_err(|error| malformed(peer, shared, &error))?;
    greet(&answer.hello, class, connection, peer, shared)?;
    match answer.away {
        None => Ok(()),
        Some(away) => {
            let _ = shared.internal.send(Internal::TurnedAway { peer: peer.id, connection, away }).await;
            Err(End::Closed("the peer hears another process with this operator's key".into()))
        }
    }
}

/// Checks a hello and remembers who speaks.
fn greet(hello: &Hello, class: Class, connection: ConnectionId, peer: &Peer, shared: &Shared) -> Result<(), End> {
    if hello.class != class {
        let error = WireError::Tag { what: "hello class", tag: hello.class.index() as u8 };
        return Err(malformed(peer, shared, &error));
    }
    shared.register(peer, connection, hello).map_err(|refusal| {
        if let Refusal::Forged(reason) = &refusal {
            let _ = shared.penalize(&peer.standing, Offence::Forged, reason);
        }
        End::Refused(refusal)
    })
}

fn malformed(peer: &Peer, shared: &Shared, error: &WireError) -> End {
    match shared.penalize(&peer.standing, Offence::Malformed, &error.to_string()) {
        Some(refusal) => End::Refused(refusal),
        None => End::Closed(error.to_string()),
    }
}

fn closed(error: io::Error) -> End {
    End::Closed(error.to_string())
}

async fn write_hello(stream: &mut Stream, class: Class, away: Option<Away>, shared: &Shared) -> io::Result<()> {
    let hello = encode_answer(&Answer { hello: shared.hello(class), away });
    let mut bytes = Vec::with_capacity(2 + hello.len());
    bytes.extend_from_slice(&u16::try_from(hello.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.extend_from_slice(&hello);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

async fn read_hello(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    // Whatever comes is read up to the limit; the decoder judges it.
    let length = usize::from(u16::from_be_bytes(length)).min(MAX_ANSWER_BYTES);
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn write_frames(stream: &mut Stream, class: Class, peer: &Peer, shared: &Shared) -> End {
    let outbox = peer.outbox(class);
    let mut frames: Vec<(Channel, Bytes)> = Vec::new();
    let mut buffer: Vec<u8> = Vec::new();
    let mut unexpected = [0; 1];
    loop {
        let open = tokio::select! {
            biased;
            open = outbox.take(&mut frames, COALESCE_BYTES) => open,
            // Nothing is ever sent this way: an end, an error or a byte all end the stream.
            read = stream.read(&mut unexpected) => {
                return End::Closed(read.err().map_or("closed by the peer".into(), |error| error.to_string()));
            }
        };
        if !open {
            let _ = stream.close().await;
            return End::Closed("closed here".into());
        }
        if let Err(error) = write_some(stream, &mut frames, &mut buffer, shared).await {
            return closed(error);
        }
    }
}

/// Writes frames and flushes once.
async fn write_some(
    stream: &mut Stream,
    frames: &mut Vec<(Channel, Bytes)>,
    buffer: &mut Vec<u8>,
    shared: &Shared,
) -> io::Result<()> {
    buffer.clear();
    for (channel, payload) in frames.drain(..) {
        buffer.extend_from_slice(&encode_frame_header(channel, payload.len()));
        if payload.len() <= INLINE_BYTES {
            buffer.extend_from_slice(&payload);
        } else {
            stream.write_all(buffer).await?;
            buffer.clear();
            stream.write_all(&payload).await?;
        }
        shared.counters.channel(channel).sent(payload.len());
    }
    if !buffer.is_empty() {
        stream.write_all(buffer).await?;
    }
    stream.flush().await
}

/// Accepts: reads the hello, answers it, then hands every frame that passes to the driver until the stream ends.
pub(crate) async fn read_stream(
    mut stream: Stream,
    class: Class,
    connection: ConnectionId,
    peer: Arc<Peer>,
    shared: Arc<Shared>,
) {
    let end = match accept(&mut stream, class, connection, &peer, &shared).await {
        Ok(()) => {
            let _ = shared.internal.send(Internal::Entered { peer: peer.id, connection }).await;
            read_frames(stream, class, &peer, &shared).await
        }
        Err(end) => end,
    };
    let ended = Internal::Ended { peer: peer.id, connection, class, outbound: false, end };
    let _ = shared.internal.send(ended).await;
}

async fn accept(
    stream: &mut Stream,
    class: Class,
    connection: ConnectionId,
    peer: &Peer,
    shared: &Shared,
) -> Result<(), End> {
    let bytes = timeout(shared.limits.hello_timeout, read_hello(stream))
        .await
        .map_err(|_| End::Closed("no hello came".into()))?
        .map_err(closed)?;
    let hello = decode_hello(&bytes).map_err(|error| malformed(peer, shared, &error))?;
    let greeted = greet(&hello, class, connection, peer, shared);
    let away = match &greeted {
        Ok(()) => None,
        Err(End::Refused(Refusal::Contested)) => Some(Away::Contested),
        Err(End::Refused(Refusal::HeldElsewhere)) => Some(Away::HeldElsewhere),
        Err(_) => return greeted,
    };
    timeout(shared.limits.hello_timeout, write_hello(stream, class, away, shared))
        .await
        .map_err(|_| End::Closed("the answer to a hello was not read".into()))?
        .map_err(closed)?;
    greeted
}

async fn read_frames(stream: Stream, class: Class, peer: &Peer, shared: &Shared) -> End {
    let mut reader = FrameReader::new(stream, class);
    loop {
        let (channel, bytes) = match reader.next().await {
            Ok(Some(frame)) => frame,
            Ok(None) => return End::Closed("closed by the peer".into()),
            Err(ReadError::Io(error)) => return closed(error),
            Err(ReadError::Wire(error)) => return malformed(peer, shared, &error),
        };
        if let Err(end) = admit(channel, bytes.len(), peer, shared).await {
            match end {
                Some(end) => return end,
                None => continue,
            }
        }
        shared.counters.channel(channel).received(bytes.len());
        let event = NetEvent::Message { from: peer.origin(), channel, bytes };
        match shared.events.message(class, event).await {
            Ok(false) => {}
            Ok(true) => count(&shared.counters.inbound_stalls),
            Err(DriverGone) => return End::Closed("driver is gone".into()),
        }
    }
}

/// Whether a frame may go on: the rate, and who speaks. `Err(None)`: it is dropped and the stream goes on.
async fn admit(channel: Channel, size: usize, peer: &Peer, shared: &Shared) -> Result<(), Option<End>> {
    let blame = |offence| Err(shared.penalize(&peer.standing, offence, channel.name()).map(End::Refused));
    let rated = Rated::Direct(channel);
    if channel.class() == Class::Bulk {
        // Reading later slows the sender down; a batch that was sent is worth its bytes.
        while !shared.standings.allow(&peer.standing, rated, size) {
            count(&shared.counters.channel(channel).over_rate_in);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    } else if !shared.standings.allow(&peer.standing, rated, size) {
        count(&shared.counters.channel(channel).over_rate_in);
        return blame(Offence::RateExceeded);
    }
    if channel.members_only() && !peer.is_member() {
        count(&shared.counters.channel(channel).not_member_in);
        return blame(Offence::NotMember);
    }
    Ok(())
}

enum ReadError {
    Io(io::Error),
    Wire(WireError),
}

/// Cuts a stream into frames. Small frames are copied out of a buffer; the rest of a long one is read in place.
struct FrameReader {
    stream: Stream,
    class: Class,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl FrameReader {
    fn new(stream: Stream, class: Class) -> Self {
        let size = match class {
            Class::Control => 32 * 1024,
            // Little more than headers: payloads are read where they stay.
            Class::Bulk => 512,
        };
        Self { stream, class, buffer: vec![0; size].into(), start: 0, end: 0 }
    }

    /// The next frame; `None` when the stream ends between frames.
    async fn next(&mut self) -> Result<Option<(Channel, Bytes)>, ReadError> {
        while self.end - self.start < FRAME_HEADER_BYTES {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            let read = self.stream.read(&mut self.buffer[self.end..]).await.map_err(ReadError::Io)?;
            if read == 0 {
                if self.start == self.end {
                    return Ok(None);
                }
                return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            self.end += read;
        }
        let mut header = [0; FRAME_HEADER_BYTES];
        header.copy_from_slice(&self.buffer[self.start..self.start + FRAME_HEADER_BYTES]);
        let (channel, length) = decode_frame_header(&header, self.class).map_err(ReadError::Wire)?;
        self.start += FRAME_HEADER_BYTES;
        let buffered = (self.end - self.start).min(length);
        let head = &self.buffer[self.start..self.start + buffered];
        self.start += buffered;
        if buffered == length {
            return Ok(Some((channel, Bytes::copy_from_slice(head))));
        }
        let mut payload = BytesMut::zeroed(length);
        payload[..buffered].copy_from_slice(head);
        timeout(FRAME_TIMEOUT, self.stream.read_exact(&mut payload[buffered..]))
            .await
            .map_err(|_| ReadError::Io(io::ErrorKind::TimedOut.into()))?
            .map_err(ReadError::Io)?;
        Ok(Some((channel, payload.freeze())))
    }
}
