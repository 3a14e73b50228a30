//! RPC over a real socket.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod fuzz;
mod limits;
mod logs;
mod pending;
mod reads;
mod rollup;
mod submit;
mod subscribe;
mod wallet;
