//! The cluster harness: the shipped sequencer in virtual time.
//!
//! Real: every line of `sequencer`, `mempool` and `consensus`, the messages and what they commit to, recovery from records.
//! Simulated: the clock, links, disks, processors, and, unless a run asks for real ones, signatures ([`keys`]).
//! A run is a function of its [`ClusterConfig`] and of what the caller does to it.
// They panic when nobody reads what they print: hand text back to `cli::main`, or use `progress::note`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod byzantine;
pub mod calibrate;
pub mod campaign;
pub mod cli;
pub mod cluster;
pub mod cpu;
pub mod disk;
pub mod invariants;
pub mod keys;
pub mod network;
pub mod node;
pub mod packet;
pub mod progress;
pub mod queue;
pub mod replay;
pub mod report;
pub mod results;
pub mod rng;
pub mod scenario;
pub mod shards;
pub mod shrink;
pub mod simulation;
pub mod sweep;
pub mod table;
pub mod trace;
pub mod traffic;
pub mod watch;
pub mod witness;

pub use cluster::{Cluster, ClusterConfig, OPAQUE};
