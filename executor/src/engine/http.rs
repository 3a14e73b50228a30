//! Posting JSON over plain HTTP/1.1, on one connection that is kept, with bounds on time and bytes.

use super::{EngineError, JwtSecret};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpStream;

/// Longest wait for an answer: a client executes one block of the gas limit in it.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of an answer at most: a block of 8 MiB in hexadecimal, with room.
const MAX_ANSWER_BYTES: usize = 24 << 20;
/// Where clients serve the Engine API, unless the URL says otherwise.
const DEFAULT_PORT: u16 = 8551;

/// A place to post to.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: String,
    host: String,
    port: u16,
    path: String,
    /// Of the Engine API; other APIs get no token.
    secret: Option<JwtSecret>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Endpoint {
    pub(super) fn new(url: &str, secret: Option<JwtSecret>) -> Result<Self, EngineError> {
        let fail = |detail: String| EngineError::Config(format!("{url} is no URL of a client: {detail}"));
        let parsed: Uri = url.parse().map_err(|error| fail(format!("{error}")))?;
        if parsed.scheme_str() != Some("http") {
            return Err(fail("it must begin with http:// (put a tunnel where the network is not yours)".into()));
        }
        let host = parsed.host().filter(|host| !host.is_empty()).ok_or_else(|| fail("it names no host".into()))?;
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            url: url.to_owned(),
            // An IPv6 address stands in brackets in a URL, but not where a socket is opened.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: parsed.port_u16().unwrap_or(DEFAULT_PORT),
            path: path.to_owned(),
            secret,
            connection: None,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Posts `body`; the answer's body if its status is 200.
    pub(super) async fn post(&mut self, body: Bytes) -> Result<Bytes, EngineError> {
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        let reused = kept.is_some();
        let first = tokio::time::timeout(TIMEOUT, self.exchange(kept, body.clone())).await;
        match first {
            // The client may close a connection that was idle, just when it is used again. All calls may be repeated.
            Ok(Err(EngineError::Unreachable { .. })) if reused => {
                let second = tokio::time::timeout(TIMEOUT, self.exchange(None, body)).await;
                second.unwrap_or_else(|_| Err(self.late()))
            }
            Ok(done) => done,
            Err(_) => Err(self.late()),
        }
    }

    fn late(&self) -> EngineError {
        self.unreachable(format!("nothing for {} s", TIMEOUT.as_secs()))
    }

    fn unreachable(&self, detail: impl std::fmt::Display) -> EngineError {
        EngineError::Unreachable { url: self.url.clone(), detail: detail.to_string() }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, EngineError> {
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await;
        let socket = socket.map_err(|error| self.unreachable(error))?;
        // Without it a small request may wait for an acknowledgement; nothing but speed is lost if it fails.
        let _ = socket.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(socket)).await.map_err(|error| self.unreachable(error))?;
        // Ends with the sender, or with the client; the sender learns of it.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, EngineError> {
        // The token is of this moment: clients take one for a minute.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let mut request = Request::post(&self.path)
            .header(HOST, format!("{host}:{}", self.port))
            .header(CONTENT_TYPE, "application/json");
        if let Some(secret) = &self.secret {
            request = request.header(AUTHORIZATION, format!("Bearer {}", secret.token(now)));
        }
        request.body(Full::new(body)).map_err(|error| EngineError::Config(format!("{}: {error}", self.url)))
    }

    async fn exchange(&mut self, kept: Option<SendRequest<Full<Bytes>>>, body: Bytes) -> Result<Bytes, EngineError> {
        let request = self.request(body)?;
        let mut connection = match kept {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        connection.ready().await.map_err(|error| self.unreachable(error))?;
        let answer = connection.send_request(request).await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.unreachable(format!("its answer broke off or is too long: {error}")))?;
        let body = body.to_bytes();
        match status {
            StatusCode::OK => {
                self.connection = Some(connection);
                Ok(body)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let detail = format!("{status}: {}", beginning(&body));
                Err(EngineError::Unauthorised { url: self.url.clone(), detail })
            }
            _ => Err(self.unreachable(format!("HTTP {status}: {}", beginning(&body)))),
        }
    }
}

/// As much of an answer as belongs into a message.
pub(super) fn beginning(body: &[u8]) -> String {
    const SHOWN: usize = 200;
    String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().to_owned()
}
