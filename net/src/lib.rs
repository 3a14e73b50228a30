//! The peer-to-peer network of a node, on libp2p: who is connected, and which bytes travel.
//!
//! * **Bound identities.** A peer is a libp2p Ed25519 identity; an operator's signed binding says that the peer speaks for
//!   it. Committee channels take messages only from peers bound to current members.
//! * **One process an operator.** Of two that show one operator's key, a peer hears the one that was connected first, for as
//!   long as it lives, and tells the other. Each peer judges for itself.
//! * **Direct streams.** One persistent stream per peer, direction and [`Class`]: votes never wait behind batches.
//! * **Gossip.** Headers, certificates and evidence for everybody, statements for members without a direct connection.
//! * **Fetch.** Requests with one response each.
//! * **Discovery.** From bootstrap addresses, then from peers' signed address records.
//! * **Scoring and limits.** Every size, queue and rate is bounded; offences add up to a ban that expires.
//!
//! Messages are opaque here: the driver encodes, decodes and verifies them. Nothing is delivered for certain: queues
//! drop when full, connections break; whoever needs delivery repeats (statements) or fetches (batches).
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod binding;
mod channel;
mod config;
mod counters;
mod dial;
mod direct;
mod error;
mod event;
mod exchange;
mod fetch;
mod frame;
mod gate;
mod gossip;
mod handle;
mod hello;
mod identity;
mod link;
mod network;
mod outbox;
mod peers;
mod requests;
mod session;
mod shared;
mod standing;
mod streams;
mod swarm;

#[cfg(test)]
mod tests;

pub use binding::bind;
pub use channel::{Channel, Class, Topic};
pub use config::{Announce, BackOff, Limits, NetConfig, Rate, Scoring};
pub use counters::{FlowSnapshot, NetCounters};
pub use error::{FetchError, NetError, SendError, WireError};
pub use event::{GossipId, NetEvent, NetEvents, Origin, Refusal, Verdict};
pub use exchange::{ExchangeEntry, MAX_EXCHANGE_ENTRIES, decode_exchange, encode_exchange};
pub use fetch::Responder;
pub use frame::{FRAME_HEADER_BYTES, decode_frame, decode_frame_header, encode_frame_header};
pub use handle::{Destination, NetworkHandle, PeerInfo, Sent};
pub use hello::{
    Answer, Away, Hello, MAX_ANSWER_BYTES, MAX_HELLO_BYTES, decode_answer, decode_hello, encode_answer, encode_hello,
};
pub use identity::Identity;
pub use libp2p::{Multiaddr, PeerId};
pub use network::Network;
pub use standing::Offence;

/// Locks. A panic of another task while it held the lock leaves look-up tables that are still good.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
