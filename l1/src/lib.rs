//! The settlement layer as an operator sees it: blocks that are final there, and who is at stake as of them.
//!
//! Nothing here is believed because one endpoint says it. [`Endpoints`] asks several and takes what enough of them agree on,
//! so an endpoint that lies, stalls, lags or refuses costs time at most. [`Follower`] goes from one final block to the next,
//! some way behind the newest, and reads the stake table at each by the block's hash. [`View`] keeps what was read, on disk
//! as well, and answers the sequencer without asking anybody.
//!
//! [`Account`] sends transactions: an operator's to register, allocate, rotate its key and leave ([`Contracts`], [`Standing`]), and
//! anybody's with evidence.
//!
//! What is not guaranteed: that a block which enough endpoints call final stays. Should they say otherwise later, the view
//! stops where it is and says so; what was ordered by then stands.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod abi;
mod account;
#[cfg(feature = "deploy")]
pub mod deploy;
mod endpoints;
mod error;
mod follow;
mod http;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod view;

pub use account::{
    Account, AccountError, Allocated, Call, Contracts, Head, Incident, Mined, NextKey, Patience, Quote, Report, Revert,
    Standing, key_proof,
};
pub use alloy_primitives::{
    Address, B256, Bytes, U256,
    utils::{format_ether, parse_ether},
};
pub use endpoints::{Endpoints, EndpointsConfig};
pub use error::{Fault, L1Error};
pub use follow::{FollowConfig, Follower, Step};
pub use view::{Anchored, View, ViewError};
