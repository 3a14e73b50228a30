//! A client's socket: it holds the connection's place, and shows whether the client does anything.

use crate::front::Front;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

/// A connection's place among those that are allowed.
#[derive(Debug)]
pub(crate) struct Place {
    front: Arc<dyn Front>,
    place: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub(crate) fn new(front: Arc<dyn Front>, place: OwnedSemaphorePermit) -> Self {
        front.opened();
        Self { front, place: Some(place) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Free before anybody hears that it is.
        drop(self.place.take());
        self.front.closed();
    }
}

/// What a client does, as its socket sees it. Each counter only goes up, but for `serving`.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Reads that brought something.
    read: AtomicU64,
    /// Writes that had to wait until the client took something.
    taken: AtomicU64,
    /// Whether a write waits now.
    blocked: AtomicBool,
    /// Requests that are worked on, or whose answers are not yet written.
    serving: AtomicU64,
}

/// What a pulse shows at a moment.
#[derive(Debug, Clone, Copy)]
struct Signs {
    read: u64,
    taken: u64,
    blocked: bool,
    serving: bool,
}

impl Signs {
    /// Whether the client did since `before` what it was waited for. Who has a write waiting must take something, and to send
    /// more is no excuse. Who has taken all may be silent while it is served.
    fn alive_since(self, before: Self) -> bool {
        self.taken != before.taken || (!self.blocked && (self.serving || self.read != before.read))
    }
}

/// A request that is being served. While there is one, silence is not the client's.
#[derive(Debug)]
pub(crate) struct Serving(Arc<Pulse>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pulse {
    pub(crate) fn serve(self: &Arc<Self>) -> Serving {
        self.serving.fetch_add(1, Ordering::Relaxed);
        Serving(self.clone())
    }

    fn now(&self) -> Signs {
        Signs {
            read: self.read.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
            blocked: self.blocked.load(Ordering::Relaxed),
            serving: self.serving.load(Ordering::Relaxed) > 0,
        }
    }

    /// Ends when the client has done nothing for as long as `idle`, and before twice as long.
    pub(crate) async fn stops(&self, idle: Duration) {
        let mut before = self.now();
        loop {
            tokio::time::sleep(idle).await;
            let now = self.now();
            if !now.alive_since(before) {
                return;
            }
            before = now;
        }
    }

    /// Ends when no request is under way, seen once in `pause`.
    pub(crate) async fn rests(&self, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            let now = self.now();
            if !now.serving && !now.blocked {
                return;
            }
        }
    }
}

/// A connection's socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    pulse: Arc<Pulse>,
    /// Given back when the socket is gone, upgraded to WebSocket or not.
    _place: Place,
}

impl Socket {
    pub(crate) fn new(stream: TcpStream, place: Place, pulse: Arc<Pulse>) -> Self {
        Self { stream, pulse, _place: place }
    }

    fn written<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let waited = self.pulse.blocked.swap(outcome.is_pending(), Ordering::Relaxed);
        if waited && outcome.is_ready() {
            self.pulse.taken.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.pulse.read.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Signs;

    #[test]
    fn who_is_waited_for_and_does_nothing_is_not_alive() {
        let before = Signs { read: 3, taken: 5, blocked: false, serving: false };
        let cases = [
            (before, false),
            (Signs { read: 4, ..before }, true),
            (Signs { serving: true, ..before }, true),
            // A write waits.
            (Signs { blocked: true, ..before }, false),
            (Signs { blocked: true, read: 4, ..before }, false),
            (Signs { blocked: true, serving: true, ..before }, false),
            (Signs { blocked: true, taken: 6, ..before }, true),
            // It waited meanwhile, and was taken.
            (Signs { taken: 6, ..before }, true),
        ];
        for (now, alive) in cases {
            assert_eq!(now.alive_since(before), alive, "{now:?}");
        }
    }
}
