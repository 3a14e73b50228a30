//! What differs between servers.

use jsonrpsee::server::{HttpResponse, IdProvider, RandomIntegerIdProvider};
use std::{fmt, net::SocketAddr, pin::Pin};

/// The head of an HTTP request.
pub type Head = hyper::http::request::Parts;

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = HttpResponse> + Send>>;

/// What a server puts around JSON-RPC.
pub trait Front: fmt::Debug + Send + Sync + 'static {
    /// Looks at a request before JSON-RPC does. It may answer by itself, a page for instance, and it may put into the head's
    /// extensions what methods are to know; those of an upgrade are given to every call of the WebSocket.
    fn request(&self, head: &mut Head, client: SocketAddr) -> Option<Answering> {
        let _ = (head, client);
        None
    }

    /// Has the last word on JSON-RPC's answer to an HTTP request; an upgrade does not come here.
    fn answer(&self, answer: HttpResponse) -> HttpResponse {
        answer
    }

    /// Names subscriptions.
    fn ids(&self) -> &dyn IdProvider {
        &RandomIntegerIdProvider
    }

    /// A message has been read from a WebSocket client.
    fn message(&self) {}

    /// A connection has taken a place.
    fn opened(&self) {}

    /// Its socket is gone. Called once for each `opened`.
    fn closed(&self) {}
}
