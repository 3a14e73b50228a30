//! Serving JSON-RPC over HTTP/1.1 and WebSocket, on one port, to clients that nobody trusts.
//!
//! A connection is accepted in `server`, spoken to in `http`, and after an upgrade in `websocket`; `calls` looks a
//! request's method up and runs it. What differs between servers is a [`Front`]: pages, headers, what methods are to know of
//! a request. [`Limits`] says what bounds a client, and with what.
//!
//! jsonrpsee keeps the methods and their subscriptions; its own server is not used. That one starts a task for every
//! WebSocket message, so a client that sends faster than answers leave, or never reads them, is read from for ever, and
//! what waits to be answered has no bound.

mod calls;
mod front;
mod http;
mod limits;
mod memory;
mod refusal;
mod server;
mod socket;
mod websocket;

pub use front::{Answering, Front, Head};
pub use limits::Limits;
pub use refusal::LIMIT_EXCEEDED;
pub use server::{Server, serve};
