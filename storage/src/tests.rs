//! Tests of the whole store, by what may go wrong.

mod basics;
mod crash;
mod model;
mod support;
