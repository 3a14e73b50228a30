//! How far apart places are: a table of round-trip times between regions, and one-way delays drawn from it.
//!
//! The simulator and the development network draw from the same distributions, so what one says of a set of regions can
//! be held against the other.

pub mod places;
pub mod spread;

pub use places::{Places, PlacesError, SETS};
pub use spread::Spread;
