//! Refusals before a method is reached, in JSON-RPC's form whatever refuses.

use jsonrpsee::{
    server::{HttpBody, HttpResponse},
    types::{ErrorObjectOwned, error::INVALID_REQUEST_CODE},
};
use serde_json::json;

/// The code for what is over a limit of the server (EIP-1474).
pub const LIMIT_EXCEEDED: i32 = -32005;

pub(crate) fn exceeded(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(LIMIT_EXCEEDED, message, None::<()>)
}

/// What a connection is told that has as many requests under way as it may have.
pub(crate) fn busy(under_way: u32) -> ErrorObjectOwned {
    exceeded(format!(
        "too many requests of this connection are under way (at most {under_way}); wait for answers before sending more"
    ))
}

/// An HTTP refusal of something that is no JSON-RPC request.
pub(crate) fn http(status: u16, message: &str) -> HttpResponse {
    let body = json!({"jsonrpc": "2.0", "error": {"code": INVALID_REQUEST_CODE, "message": message}, "id": null});
    let mut answer = HttpResponse::new(HttpBody::from(body.to_string()));
    if let Ok(status) = status.try_into() {
        *answer.status_mut() = status;
    }
    if let Ok(kind) = "application/json; charset=utf-8".parse() {
        answer.headers_mut().insert("content-type", kind);
    }
    answer
}
