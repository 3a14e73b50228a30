//! The server: its socket, its connections' places, and its end.

use crate::{front::Front, http, limits::Limits, memory::Memory, socket::Place};
use jsonrpsee::server::Methods;
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
};

/// Pause after the system refuses a connection, out of file handles for instance, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) methods: Methods,
    pub(crate) limits: Limits,
    pub(crate) memory: Memory,
    pub(crate) front: Arc<dyn Front>,
    /// Tells WebSockets apart: their subscriptions are found by it.
    sockets: AtomicUsize,
    /// The server has ended when this is gone. The last field, so that the methods, and what they hold, are gone before it.
    _alive: mpsc::Sender<()>,
}

impl Shared {
    pub(crate) fn next_socket(&self) -> usize {
        self.sockets.fetch_add(1, Ordering::Relaxed)
    }
}

/// Tells a connection to end.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<()>);

impl Stop {
    /// Ends when the server is stopped or dropped.
    pub(crate) async fn told(mut self) {
        // An error says that it was dropped.
        let _ = self.0.changed().await;
    }
}

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<()>,
    alive: mpsc::Receiver<()>,
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, ends subscriptions, and waits until the requests under way are answered. A client that
    /// does not take its answer is waited for no longer than [`Limits::idle`] says. Then the server holds its methods no more.
    pub async fn stop(mut self) {
        // An error says that nobody listens any more.
        let _ = self.stop.send(());
        // Nothing is ever sent: it ends with the last sender.
        let _ = self.alive.recv().await;
    }
}

/// Serves `methods` on a bound socket until the server is stopped or dropped.
///
/// # Errors
/// A socket that has no address.
pub fn serve(
    listener: TcpListener,
    methods: impl Into<Methods>,
    limits: Limits,
    front: impl Front,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(());
    let (_alive, alive) = mpsc::channel(1);
    let shared = Shared {
        methods: methods.into(),
        limits,
        memory: Memory::new(limits.memory),
        front: Arc::new(front),
        sockets: AtomicUsize::new(0),
        _alive,
    };
    tokio::spawn(accept(Arc::new(shared), listener, Stop(stopped)));
    Ok(Server { address, stop, alive })
}

// What comes first goes last: the port is free when the server has ended.
async fn accept(shared: Arc<Shared>, listener: TcpListener, stop: Stop) {
    let places = Arc::new(Semaphore::new(shared.limits.connections as usize));
    let stopped = stop.clone().told();
    tokio::pin!(stopped);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => return,
        };
        match accepted {
            Ok((stream, client)) => {
                // A connection over the limit is closed at once.
                let Ok(place) = places.clone().try_acquire_owned() else { continue };
                // Answers are small and single: do not wait to fill packets. A failure costs only speed.
                let _ = stream.set_nodelay(true);
                let place = Place::new(shared.front.clone(), place);
                tokio::spawn(http::connection(shared.clone(), stream, client, place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
