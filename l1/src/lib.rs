//! The settlement layer as an operator sees it: blocks that are final there, and who is at stake as of them.
//!
//! Nothing here is believed because one endpoint says it. [`Endpoints`] asks several and takes what enough of them agree on,
//! so an endpoint that lies, stalls, lags or refuses costs time at most. [`Follower`] goes from one final block to the next,
//! some way behind the newest, and reads the stake table at each by the block's hash. [`View`] keeps what was read, on disk
//! as well, and answers the sequencer without asking anybody.
//!
//! What is not guaranteed: that a block which enough endpoints call final stays. Should they say otherwise later, the view
//! stops where it is and says so; what was ordered by then stands.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod abi;
#[cfg(feature = "deploy")]
pub mod deploy;
mod endpoints;
mod error;
mod follow;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod view;

pub use endpoints::{Endpoints, EndpointsConfig};
pub use error::{Fault, L1Error};
pub use follow::{FollowConfig, Follower, Step};
pub use view::{Anchored, View, ViewError};
