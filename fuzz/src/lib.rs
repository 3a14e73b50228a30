//! Every decoder that reads bytes from a peer, a client or a file, as a function of arbitrary bytes that must not panic.
//!
//! [`targets::ALL`] lists them. Three things drive them: the `smoke` binary (bounded, deterministic, any toolchain),
//! the property tests in `tests/`, and libFuzzer (`fuzz/libfuzzer`, nightly).

pub mod mutate;
pub mod seeds;
pub mod targets;
