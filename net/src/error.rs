//! The errors of this room.

use std::path::PathBuf;

use libp2p::Multiaddr;

/// What can go wrong when the network is started, or when something is handed to it.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The file of the network identity cannot be read or written.
    #[error("network identity {path}: {source}; check that the file exists and is readable by this user only")]
    IdentityFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of the network identity holds something else.
    #[error(
        "network identity {path} is not a libp2p Ed25519 key ({reason}); restore it, or delete it to get a new identity and bind it again"
    )]
    IdentityMalformed {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: String,
    },
    /// A listen address is taken or not usable.
    #[error("cannot listen on {address}: {reason}; choose another address or port")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the transport said.
        reason: String,
    },
    /// The own binding does not pass the check that peers will make of it.
    #[error(
        "own peer binding is refused: {reason}; sign it for the peer id of this node's network identity and for this network"
    )]
    OwnBinding {
        /// What the check said.
        reason: String,
    },
    /// The configuration contradicts itself.
    #[error("network configuration: {0}")]
    Config(String),
}

/// Why a message was not queued for a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The peer is not connected, or no connected peer is bound to that operator.
    #[error("peer is not connected; statements are retransmitted when it is")]
    NotConnected,
    /// The message is longer than its channel allows.
    #[error("message of {size} bytes is over the {limit} bytes of its channel")]
    TooLarge {
        /// Bytes of the message.
        size: usize,
        /// Limit of the channel.
        limit: usize,
    },
    /// An empty message: the frame format has none.
    #[error("message is empty")]
    Empty,
    /// The queue is full. Bulk only: the peer fetches the message later.
    #[error("queue to the peer is full; it fetches the message later")]
    QueueFull,
    /// The network task is busy or has stopped.
    #[error("network task does not take commands now")]
    Busy,
}

/// Why a request got no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The peer is not connected.
    #[error("peer is not connected; ask another")]
    NotConnected,
    /// No response within the request timeout.
    #[error("no response within the request timeout; ask another peer")]
    Timeout,
    /// Request or response is over its limit.
    #[error("{what} is over its limit of {limit} bytes")]
    TooLarge {
        /// `request` or `response`.
        what: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer serves as many requests of ours as it allows.
    #[error("peer is busy; retry later or ask another")]
    Busy,
    /// The peer has nothing to answer with, or refuses to.
    #[error("peer refused the request")]
    Refused,
    /// The connection broke, or the peer broke the protocol.
    #[error("request failed: {0}")]
    Failed(String),
    /// The network task has stopped.
    #[error("network is shut down")]
    Closed,
}

/// Why bytes from a peer are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end too early.
    #[error("{what} ends early: {have} of {need} bytes")]
    Short {
        /// What was decoded.
        what: &'static str,
        /// Bytes present.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Bytes follow the end.
    #[error("{count} bytes follow the {what}")]
    Trailing {
        /// What was decoded.
        what: &'static str,
        /// Bytes too many.
        count: usize,
    },
    /// A length is over its limit (or zero where that means nothing).
    #[error("{what} of {size} bytes is outside 1..={limit}")]
    Length {
        /// What was decoded.
        what: &'static str,
        /// The length given.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A tag is not known here.
    #[error("{what} has the unknown tag {tag}")]
    Tag {
        /// What was decoded.
        what: &'static str,
        /// The tag given.
        tag: u8,
    },
    /// The magic bytes are wrong: the other side speaks something else.
    #[error("{what} does not begin with its magic bytes")]
    Magic {
        /// What was decoded.
        what: &'static str,
    },
    /// A signed part does not verify.
    #[error("{what} does not verify: {reason}")]
    Signature {
        /// What was checked.
        what: &'static str,
        /// What the check said.
        reason: String,
    },
}
