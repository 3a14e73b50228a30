//! Clusters of this crate's own struct, without anything around it.

mod cluster;
mod happy;
