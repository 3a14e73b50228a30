//! Before every request: how many a connection may have under way, and what its transport can do.

use super::args::exceeded;
use jsonrpsee::{
    core::middleware::{Batch, BatchEntry, BatchEntryErr, Notification, RpcServiceT},
    server::MethodResponse,
    types::{ErrorObjectOwned, Request, error::METHOD_NOT_FOUND_CODE},
};
use std::{future::Future, sync::Arc};
use tokio::sync::Semaphore;

/// Marks requests that came by HTTP, in their extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct OverHttp;

/// One connection's gate in front of the methods.
///
/// A connection with too many requests under way is told so at once, so that nothing piles up. A batch counts as one: its
/// requests run one after the other.
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    inner: S,
    places: Arc<Semaphore>,
}

impl<S> Gate<S> {
    pub(super) fn new(inner: S, under_way: u32) -> Self {
        Self { inner, places: Arc::new(Semaphore::new(under_way as usize)) }
    }
}

fn busy() -> ErrorObjectOwned {
    exceeded("too many requests of this connection are under way; wait for answers before sending more")
}

/// Why `request` cannot be served over its transport.
fn unfit(request: &Request<'_>) -> Option<ErrorObjectOwned> {
    let subscription = matches!(request.method_name(), "eth_subscribe" | "eth_unsubscribe");
    (subscription && request.extensions().get::<OverHttp>().is_some()).then(|| {
        let text = "notifications are not supported over HTTP; connect to the same address by WebSocket";
        ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, text, None::<()>)
    })
}

fn fit<'a>(entry: Result<BatchEntry<'a>, BatchEntryErr<'a>>) -> Result<BatchEntry<'a>, BatchEntryErr<'a>> {
    match entry {
        Ok(BatchEntry::Call(request)) => match unfit(&request) {
            Some(error) => Err(BatchEntryErr::new(request.id, error)),
            None => Ok(BatchEntry::Call(request)),
        },
        entry => entry,
    }
}

impl<S> RpcServiceT for Gate<S>
where
    S: RpcServiceT<
            MethodResponse = MethodResponse,
            BatchResponse = MethodResponse,
            NotificationResponse = MethodResponse,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    type MethodResponse = MethodResponse;
    type BatchResponse = MethodResponse;
    type NotificationResponse = MethodResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (place, inner) = (self.places.clone().try_acquire_owned(), self.inner.clone());
        async move {
            let refusal = if place.is_err() { Some(busy()) } else { unfit(&request) };
            match refusal {
                Some(error) => MethodResponse::error(request.id, error),
                None => inner.call(request).await,
            }
        }
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let (place, inner) = (self.places.clone().try_acquire_owned(), self.inner.clone());
        async move {
            if place.is_err() {
                return MethodResponse::error(jsonrpsee::types::Id::Null, busy());
            }
            inner.batch(Batch::from(requests.into_iter().map(fit).collect())).await
        }
    }

    fn notification<'a>(&self, notification: Notification<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}
