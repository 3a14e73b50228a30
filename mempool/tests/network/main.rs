//! Several mempools, an author that forks, and mail that is lost, repeated and out of order: what must hold whatever happens.
#![allow(clippy::unwrap_used)]

mod bounds;
mod due;
mod epochs;
mod flow;
mod forks;
mod interleavings;
mod restarts;
mod rules;
mod support;
