//! Subscriptions over WebSocket: from a height on, every height, at the reader's pace.
//!
//! A block is read only when the one before has left for the socket's bounded buffer, so a slow reader costs no memory.
//! A stream that cannot go on ends with an error that says why; the reader subscribes again from the height after its last.

use super::{Args, Context, origin};
use crate::api::entry::NamespaceName;
use crate::api::follow::Follower;
use crate::api::rejection::Rejected;
use crate::api::view::BlockView;
use jsonrpsee::server::{
    PendingSubscriptionSink, RegisterMethodError, RpcModule, SubscriptionCloseResponse, SubscriptionSink,
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use serde::Serialize;
use serde_json::value::RawValue;
use squad_types::Height;
use std::sync::Arc;

pub(super) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    module.register_subscription(
        "squad_subscribeBlocks",
        "squad_block",
        "squad_unsubscribeBlocks",
        |params, pending, context, extensions| async move { blocks(params, pending, context, &extensions).await },
    )?;
    module.register_subscription(
        "squad_subscribeHeaders",
        "squad_header",
        "squad_unsubscribeHeaders",
        |params, pending, context, _| async move { headers(params, pending, context).await },
    )?;
    Ok(())
}

/// The JSON of a refusal, as an error of a call has it.
fn closing(refusal: Rejected) -> SubscriptionCloseResponse {
    let object = ErrorObjectOwned::from(refusal);
    match serde_json::value::to_raw_value(&object) {
        Ok(raw) => SubscriptionCloseResponse::NotifErr(jsonrpsee::core::SubscriptionError::from(raw)),
        Err(_) => SubscriptionCloseResponse::None,
    }
}

async fn blocks(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
    extensions: &jsonrpsee::Extensions,
) -> SubscriptionCloseResponse {
    let parsed = Args::parse(&params).and_then(|mut args| {
        let namespace: Option<NamespaceName> = args.optional("namespace")?;
        let from: Option<Height> = args.optional("from_height")?;
        args.end()?;
        let spec = match namespace {
            Some(name) => context.gate.namespace(&name)?,
            None => context.path_namespace(&origin(extensions))?,
        };
        Ok((spec, from))
    });
    let (spec, from) = match parsed {
        Ok(parsed) => parsed,
        Err(refusal) => return refuse(pending, refusal).await,
    };
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    let mut follower = Follower::new(Arc::clone(context.gate.backend()), from);
    context.gate.metrics().streams.inc();
    let end = loop {
        let next = tokio::select! {
            next = follower.block(spec.id) => next.map(|block| BlockView::from(&*block)),
            () = sink.closed() => break SubscriptionCloseResponse::None,
        };
        if let Some(end) = forward(&sink, next).await {
            break end;
        }
    };
    context.gate.metrics().streams.dec();
    end
}

async fn headers(
    params: Params<'static>,
    pending: PendingSubscriptionSink,
    context: Arc<Context>,
) -> SubscriptionCloseResponse {
    let parsed = Args::parse(&params).and_then(|mut args| {
        let from: Option<Height> = args.optional("from_height")?;
        args.end().map(|()| from)
    });
    let from = match parsed {
        Ok(from) => from,
        Err(refusal) => return refuse(pending, refusal).await,
    };
    let Ok(sink) = pending.accept().await else { return SubscriptionCloseResponse::None };
    let mut follower = Follower::new(Arc::clone(context.gate.backend()), from);
    context.gate.metrics().streams.inc();
    let end = loop {
        let next = tokio::select! {
            next = follower.header() => next,
            () = sink.closed() => break SubscriptionCloseResponse::None,
        };
        if let Some(end) = forward(&sink, next).await {
            break end;
        }
    };
    context.gate.metrics().streams.dec();
    end
}

async fn refuse(pending: PendingSubscriptionSink, refusal: Rejected) -> SubscriptionCloseResponse {
    pending.reject(ErrorObjectOwned::from(refusal)).await;
    SubscriptionCloseResponse::None
}

/// Sends one item on, waiting for room. Some if the subscription ends with it.
async fn forward<T: Serialize>(
    sink: &SubscriptionSink,
    next: Result<T, Rejected>,
) -> Option<SubscriptionCloseResponse> {
    let item = match next {
        Ok(item) => item,
        Err(refusal) => return Some(closing(refusal)),
    };
    let raw: Box<RawValue> = match serde_json::value::to_raw_value(&item) {
        Ok(raw) => raw,
        Err(_) => return Some(SubscriptionCloseResponse::None),
    };
    match sink.send(raw).await {
        Ok(()) => None,
        Err(_) => Some(SubscriptionCloseResponse::None),
    }
}
