//! Clusters of this crate's own struct, without anything around it.

mod cluster;
mod crashes;
mod happy;
mod refusal;
mod rounds;
mod schedules;
