//! From the bytes of a request to the bytes of its answer.

use crate::{memory::Held, server::Shared};
use jsonrpsee::{
    core::server::{
        BatchResponseBuilder, BoundedSubscriptions, ConnectionId, MethodCallback, MethodResponse, MethodSink,
        SubscriptionState, prepare_error,
    },
    server::Extensions,
    types::{
        ErrorCode, ErrorObjectOwned, Id, InvalidRequest, Notification, Params, Request,
        error::{
            BATCHES_NOT_SUPPORTED_CODE, BATCHES_NOT_SUPPORTED_MSG, INVALID_REQUEST_CODE, METHOD_NOT_FOUND_CODE,
            reject_too_big_batch_request, reject_too_many_subscriptions,
        },
    },
};
use serde_json::value::RawValue;
use std::{borrow::Cow, sync::Arc};

/// An answer to send.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) json: Box<RawValue>,
    /// Its share of the server's memory; refusals are small and have none.
    pub(crate) held: Option<Held>,
}

/// A WebSocket's subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// What tells the connection from others.
    pub(crate) connection: ConnectionId,
    /// Where notifications go.
    pub(crate) sink: MethodSink,
    pub(crate) places: BoundedSubscriptions,
}

/// A connection's way to the methods.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) shared: Arc<Shared>,
    /// What the front put to the request or the upgrade.
    pub(crate) extensions: Extensions,
    /// None over HTTP, which has no notifications.
    pub(crate) subscriptions: Option<Subscriptions>,
}

/// A notification whatever its parameters.
type AnyNotification<'a> = Notification<'a, Option<Cow<'a, RawValue>>>;

/// Whether a request is a message of its own, and not one of a batch.
struct Alone(bool);

/// What a message begins with.
enum Form {
    One,
    Batch,
    Neither,
}

fn form(message: &[u8]) -> Form {
    match message.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Form::One,
        Some(b'[') => Form::Batch,
        _ => Form::Neither,
    }
}

/// The answer that refuses a message with `error`; none to a notification, which is never answered.
pub(crate) fn refuse(message: &[u8], error: ErrorObjectOwned) -> Option<Reply> {
    let refusal = match form(message) {
        Form::Batch => MethodResponse::error(Id::Null, error),
        Form::One | Form::Neither => {
            if let Ok(request) = serde_json::from_slice::<Request<'_>>(message) {
                MethodResponse::error(request.id, error)
            } else if serde_json::from_slice::<AnyNotification<'_>>(message).is_ok() {
                return None;
            } else {
                no_request(message)
            }
        }
    };
    Some(small(refusal))
}

fn no_request(message: &[u8]) -> MethodResponse {
    let (id, code) = prepare_error(message);
    MethodResponse::error(id, code)
}

/// An answer that is small enough not to be counted.
pub(crate) fn small(answer: MethodResponse) -> Reply {
    Reply { json: answer.into_json(), held: None }
}

impl Calls {
    /// Answers a message; none if it wants no answer, or has had it through its subscription.
    pub(crate) async fn message(&self, message: &[u8]) -> Option<Reply> {
        match form(message) {
            Form::One => self.one(message).await,
            Form::Batch => self.batch(message).await,
            Form::Neither => Some(small(MethodResponse::error(Id::Null, ErrorCode::ParseError))),
        }
    }

    async fn one(&self, message: &[u8]) -> Option<Reply> {
        if let Ok(request) = serde_json::from_slice::<Request<'_>>(message) {
            let id = request.id.clone().into_owned();
            let answer = self.call(request, Alone(true)).await;
            if answer.is_subscription() {
                return None;
            }
            Some(self.keep(id, answer))
        } else if serde_json::from_slice::<AnyNotification<'_>>(message).is_ok() {
            // Nothing here takes notifications from clients.
            None
        } else {
            Some(small(no_request(message)))
        }
    }

    async fn batch(&self, message: &[u8]) -> Option<Reply> {
        let most = self.shared.limits.batch as usize;
        let refused = |error: ErrorObjectOwned| Some(small(MethodResponse::error(Id::Null, error)));
        if most == 0 {
            let error = ErrorObjectOwned::borrowed(BATCHES_NOT_SUPPORTED_CODE, BATCHES_NOT_SUPPORTED_MSG, None);
            return refused(error);
        }
        let Ok(entries) = serde_json::from_slice::<Vec<&RawValue>>(message) else {
            return refused(ErrorCode::ParseError.into());
        };
        if entries.len() > most {
            return refused(reject_too_big_batch_request(most));
        }
        let mut answers = BatchResponseBuilder::new_with_limit(self.shared.limits.response_bytes as usize);
        // Each answer has its share of memory from when it is there: a batch may wait for long between two of them.
        let mut held: Option<Held> = None;
        let mut notified = false;
        for entry in entries {
            let answer = if let Ok(request) = serde_json::from_str::<Request<'_>>(entry.get()) {
                self.call(request, Alone(false)).await
            } else if serde_json::from_str::<AnyNotification<'_>>(entry.get()).is_ok() {
                notified = true;
                continue;
            } else {
                let id = serde_json::from_str::<InvalidRequest<'_>>(entry.get()).map_or(Id::Null, |found| found.id);
                MethodResponse::error(id, ErrorCode::InvalidRequest)
            };
            match (self.shared.memory.hold(answer.as_json().get().len()), &mut held) {
                (Ok(more), Some(held)) => held.merge(more),
                (Ok(first), None) => held = Some(first),
                (Err(error), _) => return refused(error),
            }
            if let Err(too_large) = answers.append(answer) {
                return Some(small(too_large));
            }
        }
        if answers.is_empty() && notified {
            return None;
        }
        Some(Reply { json: MethodResponse::from_batch(answers.finish()).into_json(), held })
    }

    /// Takes an answer's share of memory; without it the answer becomes a refusal.
    fn keep(&self, id: Id<'static>, answer: MethodResponse) -> Reply {
        let json = answer.into_json();
        match self.shared.memory.hold(json.get().len()) {
            Ok(held) => Reply { json, held: Some(held) },
            Err(refusal) => small(MethodResponse::error(id, refusal)),
        }
    }

    async fn call(&self, request: Request<'_>, Alone(alone): Alone) -> MethodResponse {
        let Request { id, method, params, .. } = request;
        let params = Params::new(params.as_ref().map(|params| params.get()));
        let (most, extensions) = (self.shared.limits.response_bytes as usize, self.extensions.clone());
        let connection = self.subscriptions.as_ref().map_or(ConnectionId(0), |open| open.connection);
        let Some(callback) = self.shared.methods.method(&method) else {
            return MethodResponse::error(id, ErrorCode::MethodNotFound);
        };
        match (callback, &self.subscriptions) {
            (MethodCallback::Sync(call), _) => call(id, params, most, extensions),
            (MethodCallback::Async(call), _) => {
                call(id.into_owned(), params.into_owned(), connection, most, extensions).await
            }
            (MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_), None) => {
                let text = "notifications are not supported over HTTP; connect to the same address by WebSocket";
                MethodResponse::error(id, ErrorObjectOwned::owned(METHOD_NOT_FOUND_CODE, text, None::<()>))
            }
            // Its answer goes the way of its notifications, not into the batch's answer.
            (MethodCallback::Subscription(_), Some(_)) if !alone => {
                let text = "a subscription is not made within a batch; send this request alone";
                MethodResponse::error(id, ErrorObjectOwned::owned(INVALID_REQUEST_CODE, text, None::<()>))
            }
            (MethodCallback::Subscription(call), Some(open)) => {
                let Some(place) = open.places.acquire() else {
                    return MethodResponse::error(id, reject_too_many_subscriptions(open.places.max()));
                };
                let state = SubscriptionState {
                    conn_id: connection,
                    id_provider: self.shared.front.ids(),
                    subscription_permit: place,
                };
                call(id, params, open.sink.clone(), state, extensions).await
            }
            (MethodCallback::Unsubscription(call), Some(_)) => call(id, params, connection, most, extensions),
        }
    }
}

/// The answer to a message that is longer than allowed.
pub(crate) fn too_large(request_bytes: u32) -> Reply {
    let error = jsonrpsee::types::error::reject_too_big_request(request_bytes);
    small(MethodResponse::error(Id::Null, error))
}
