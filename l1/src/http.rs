//! JSON-RPC over HTTP with a bound on what an answer takes.

use alloy_json_rpc::{RequestPacket, ResponsePacket};
use alloy_provider::transport::{BoxFuture, TransportError, TransportErrorKind, TransportResult};
use std::task::{Context, Poll};
use tower_service::Service;

/// The longest answer. A block with its transactions' hashes, or a thousand operators, takes less than a tenth of it.
pub(crate) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// One endpoint. Who answers without end is cut off at [`MAX_ANSWER_BYTES`]; how long it may take is the client's to say.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) client: reqwest::Client,
    pub(crate) url: reqwest::Url,
}

impl Http {
    async fn send(self, request: RequestPacket) -> TransportResult<ResponsePacket> {
        let asking = self.client.post(self.url).json(&request).headers(request.headers());
        let mut response = asking.send().await.map_err(TransportErrorKind::custom)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(TransportErrorKind::custom)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let over = format!("its answer is over {MAX_ANSWER_BYTES} bytes");
                return Err(TransportErrorKind::custom_str(&over));
            }
            body.extend_from_slice(&chunk);
        }
        let text = || String::from_utf8_lossy(&body).into_owned();
        match serde_json::from_slice(&body) {
            Ok(answer) => Ok(answer),
            Err(_) if !response.status().is_success() => {
                Err(TransportErrorKind::http_error(response.status().as_u16(), text()))
            }
            Err(error) => Err(TransportError::deser_err(error, text())),
        }
    }
}

impl Service<RequestPacket> for Http {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = BoxFuture<'static, TransportResult<ResponsePacket>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<TransportResult<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}
