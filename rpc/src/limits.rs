//! What bounds clients.

use std::time::Duration;

/// Limits of a server.
///
/// Together they bound its memory for clients. Requests that are complete and answers that are not yet taken have
/// [`Limits::memory`], over all connections. Beside it a connection has one request that is arriving (`request_bytes`), a
/// head of at most 64 KiB, the system's socket buffers, and a WebSocket `buffered` notifications. Not counted: what a method
/// uses while it runs, and its answer until it is complete; whoever registers the methods bounds how many run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request body or WebSocket message.
    pub request_bytes: u32,
    /// Bytes of one answer, a batch's included.
    pub response_bytes: u32,
    /// Requests in one batch; 0 refuses batches. They run one after the other.
    pub batch: u32,
    /// Connections open at once, WebSockets included; one more is closed as soon as it is accepted. A connection counts
    /// until its socket is gone.
    pub connections: u32,
    /// Requests of one WebSocket connection that are being worked on or whose answers the client has not taken; a batch
    /// counts as one. One more is refused, and while the refusal waits for the client nothing more is read from it.
    pub under_way: u32,
    /// Subscriptions of one WebSocket connection.
    pub subscriptions: u32,
    /// Notifications that wait for one WebSocket client; then its subscriptions wait.
    pub buffered: u32,
    /// Bytes of requests under way and of answers not yet taken, over all connections. What does not fit is refused. At least
    /// one request and one answer of the largest size should fit.
    pub memory: usize,
    /// How long a client may do nothing: send no head or the rest of a request, take nothing of an answer, give no sign of
    /// life on a WebSocket (which is asked for three times in that time). Then its connection is closed, at the latest after
    /// twice that time. A request that is being worked on is waited for.
    pub idle: Duration,
}
