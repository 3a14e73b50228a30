//! Following and submitting over gRPC, through several operators of which none has to be trusted.

mod bulk;
mod client;
mod config;
mod error;
mod feed;
mod operators;
mod settle;
mod submit;
mod subscribe;

pub use bulk::{BulkAnswer, BulkAnswers, BulkOptions, BulkOutcome, BulkSender, MAX_IN_FLIGHT};
pub use client::Client;
pub use config::ClientConfig;
pub use error::ClientError;
pub use operators::OperatorHealth;
pub use submit::{MANY_AT_ONCE, Receipt};
pub use subscribe::{BUFFERED_BLOCKS, Monitor, Staleness, Subscription};
