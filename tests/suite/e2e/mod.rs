//! Networks of real processes on loopback: what a user sees, and what becomes of it when processes are killed.
//!
//! Every wait is for a condition and has a bound ([`wait::PATIENCE`]); nothing waits for time to pass.

mod batched;
mod bench;
mod calibrate;
mod clock;
mod confirmations;
mod devnet;
mod disk;
mod executor;
mod executors;
mod forged;
mod guide;
mod kills;
mod life;
mod process;
mod proxy;
mod refusals;
mod regions;
mod rpc;
mod standby;
mod startup;
mod wait;
