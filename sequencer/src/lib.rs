//! One node as one plain state machine: validity, ordering, ledger, confirmations, catch-up, epochs.
//!
//! [`Sequencer::handle`] takes an [`Input`] and a time and appends [`Output`]s. The node drives it with sockets and a disk,
//! the simulator with an event queue and a virtual clock; both run this very code. Read the files in the order of the data:
//! `submit` (transactions become batches), `dissemination` (batches are acknowledged and certified), `pace` and `agree`
//! (a cut is proposed and agreed on), `judge` (hard and soft rules), `decide` (it is ordered), then `catchup`, `snapshot`,
//! `guard` and `recover` for what goes wrong, `rival`, `evidence` and `inquiry` for who is guilty of it. What needs no messages
//! stands in [`ledger`].
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod agree;
mod answer;
mod catchup;
mod config;
mod decide;
mod dissemination;
mod evidence;
mod fetch;
mod guard;
mod input;
mod inquiry;
mod judge;
pub mod ledger;
mod message;
mod output;
mod pace;
mod record;
mod recover;
mod rival;
mod seen;
mod sequencer;
mod slack;
mod snapshot;
mod status;
mod store;
mod submit;
mod timers;

pub use config::{Config, Memory};
pub use input::{AskId, Input, Peer, RequestId, Submission, VerifiedResponse};
pub use output::{After, Decision, Notice, Output, PersistId, Recipients, Reply, StoreQuery};
pub use record::{Checkpoint, LogRecord, Restriction, Write};
pub use recover::RecoverError;
pub use sequencer::{Outputs, Sequencer};
pub use status::Status;
pub use store::Store;
