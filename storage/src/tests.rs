//! Tests of the whole store, by what may go wrong.

mod basics;
mod support;
