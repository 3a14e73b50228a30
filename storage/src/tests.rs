//! Tests of the whole store, by what may go wrong.

mod basics;
mod crash;
mod damage;
mod index;
mod kill;
mod model;
mod space;
mod support;
