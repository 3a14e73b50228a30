//! A client's socket: counted while it is open, and meant not to be read from while its client does not read.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};

/// A connection's socket.
///
/// While a write waits because the client does not take its answers, nothing more is read: a client that sends and never
/// reads holds up itself, and not this server's memory.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    /// Given back when the connection is gone, upgraded to WebSocket or not.
    _place: OwnedSemaphorePermit,
    moved: Arc<AtomicU64>,
    blocked: bool,
    reader: Option<Waker>,
}

impl Socket {
    /// `moved` counts the reads and writes that got somewhere.
    pub(super) fn new(stream: TcpStream, place: OwnedSemaphorePermit, moved: Arc<AtomicU64>) -> Self {
        Self { stream, _place: place, moved, blocked: false, reader: None }
    }

    fn written<T>(&mut self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.blocked = outcome.is_pending();
        if !self.blocked {
            self.moved.fetch_add(1, Ordering::Relaxed);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        outcome
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.blocked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.moved.fetch_add(1, Ordering::Relaxed);
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
