//! Agreement on one proposal a height, behind one adapter over the malachite core.
//!
//! [`Consensus`] is synchronous and pure: [`Input`]s and keys in, [`Output`]s out, no clock, no io, no tasks. One height runs
//! at a time. What it needs of the world it asks for (judge a block, build a block, set a timer, log an entry), and the
//! answers are inputs.
//!
//! Underneath is Tendermint as malachite implements it: three message delays to a decision, rotating proposers, as fast as
//! the network. Around it stand, each in its file: the gate for soft refusals (`gate`), the slots that keep this node from
//! signing twice (`slots`), the log and its replay (`log`, `recovery`), the watch over contradictions (`evidence`), timers
//! (`timeouts`) and the choice of proposers (`proposer`). No malachite type leaves this crate.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod consensus;
mod context;
mod convert;
mod effects;
mod engine;
mod evidence;
mod far;
mod gate;
mod input;
mod log;
mod output;
mod proposer;
mod recovery;
mod running;
mod slots;
mod timeouts;

pub use consensus::{Config, Consensus, Error};
pub use input::{Input, StartHeight, Verdict};
pub use log::{Elapsed, LogEntry, Ruling, Started};
pub use output::Output;
pub use proposer::{ProposerRotation, ProposerSchedule};
pub use slots::HighestStatements;
pub use timeouts::{TimeoutConfig, TimeoutKind, TimeoutToken};

#[cfg(test)]
mod tests;
