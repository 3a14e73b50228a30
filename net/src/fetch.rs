//! Request and response: a bounded codec, and the responder that the driver answers with.

use std::io;

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{
    StreamProtocol,
    request_response::{self, Codec, ProtocolSupport, ResponseChannel},
};
use squad_types::NetworkId;
use tokio::sync::mpsc;

use crate::{
    config::{Limits, protocol_prefix},
    exchange::MAX_EXCHANGE_ENTRIES,
    handle::Command,
    hello::{MAX_BINDING_BYTES, MAX_RECORD_BYTES},
};

/// A request on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// The driver's.
    Fetch(Bytes),
    /// For the committee members that the peer knows.
    Exchange,
}

/// A response on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    Found(Bytes),
    Busy,
    Refused,
}

/// Answers one request. Dropped unused, it refuses the request.
#[derive(Debug)]
pub struct Responder {
    channel: Option<ResponseChannel<Response>>,
    commands: mpsc::Sender<Command>,
    limit: usize,
}

impl Responder {
    pub(crate) fn new(channel: ResponseChannel<Response>, commands: mpsc::Sender<Command>, limit: usize) -> Self {
        Self { channel: Some(channel), commands, limit }
    }

    /// Sends the response. One over the response limit is refused instead; false tells so.
    pub fn respond(mut self, bytes: Bytes) -> bool {
        let fits = bytes.len() <= self.limit;
        self.send(if fits { Response::Found(bytes) } else { Response::Refused });
        fits
    }

    /// Asks the peer to come back later.
    pub fn busy(mut self) {
        self.send(Response::Busy);
    }

    fn send(&mut self, response: Response) {
        if let Some(channel) = self.channel.take() {
            // A full queue means that the peer waits until its timeout and asks somebody else.
            let _ = self.commands.try_send(Command::Respond { channel, response });
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.send(Response::Refused);
    }
}

/// The codec: a tag, a length of four bytes, the payload.
#[derive(Debug, Clone)]
pub(crate) struct FetchCodec {
    request_bytes: usize,
    response_bytes: usize,
}

/// The behaviour of requests and responses.
pub(crate) fn behaviour(network: &NetworkId, limits: &Limits) -> request_response::Behaviour<FetchCodec> {
    let name = format!("{}/fetch", protocol_prefix(network));
    let protocol = StreamProtocol::try_from_owned(name).unwrap_or_else(|_| StreamProtocol::new("/squad"));
    // An answer of peer exchange fits as well.
    let exchange = 2 + MAX_EXCHANGE_ENTRIES * (5 + MAX_BINDING_BYTES + MAX_RECORD_BYTES);
    let codec = FetchCodec { request_bytes: limits.request_bytes, response_bytes: limits.response_bytes.max(exchange) };
    let config = request_response::Config::default()
        .with_request_timeout(limits.request_timeout)
        // Per connection, both ways.
        .with_max_concurrent_streams(limits.requests_per_peer.saturating_mul(4).max(8));
    request_response::Behaviour::with_codec(codec, [(protocol, ProtocolSupport::Full)], config)
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T, limit: usize) -> io::Result<(u8, Bytes)> {
    let mut head = [0; 5];
    io.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes, at most {limit} allowed")));
    }
    let mut bytes = vec![0; length];
    io.read_exact(&mut bytes).await?;
    Ok((head[0], bytes.into()))
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, tag: u8, bytes: &[u8]) -> io::Result<()> {
    let mut head = [tag; 5];
    head[1..].copy_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    io.write_all(&head).await?;
    io.write_all(bytes).await
}

fn unknown(tag: u8) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unknown tag {tag}"))
}

impl Codec for FetchCodec {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Request> {
        match read(io, self.request_bytes).await? {
            (0, bytes) => Ok(Request::Fetch(bytes)),
            (1, bytes) if bytes.is_empty() => Ok(Request::Exchange),
            (tag, _) => Err(unknown(tag)),
        }
    }

    async fn read_response<T: AsyncRead + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
    ) -> io::Result<Response> {
        match read(io, self.response_bytes).await? {
            (0, bytes) => Ok(Response::Found(bytes)),
            (1, bytes) if bytes.is_empty() => Ok(Response::Busy),
            (2, bytes) if bytes.is_empty() => Ok(Response::Refused),
            (tag, _) => Err(unknown(tag)),
        }
    }

    async fn write_request<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Request,
    ) -> io::Result<()> {
        match request {
            Request::Fetch(bytes) => write(io, 0, &bytes).await,
            Request::Exchange => write(io, 1, &[]).await,
        }
    }

    async fn write_response<T: AsyncWrite + Unpin + Send>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()> {
        match response {
            Response::Found(bytes) => write(io, 0, &bytes).await,
            Response::Busy => write(io, 1, &[]).await,
            Response::Refused => write(io, 2, &[]).await,
        }
    }
}
