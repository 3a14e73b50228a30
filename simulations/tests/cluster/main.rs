//! Clusters of the shipped sequencer under what may happen to them.
#![allow(clippy::unwrap_used, missing_docs)]

mod basics;
mod beyond;
mod byzantine;
mod campaign;
mod committees;
mod crashes;
mod evidence;
mod failures;
mod machines;
mod partitions;
mod quantities;
mod random;
mod replay;
mod rivals;
mod shards;
mod tables;
