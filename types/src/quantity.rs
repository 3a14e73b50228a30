//! Newtypes for every quantity, so that a height is never taken for a round.

use crate::codec::{Decode, DecodeError, Encode, Reader};
use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The smallest value.
            pub const ZERO: Self = Self(0);

            /// The next value; the largest one is its own successor.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The value `by` above, or the largest.
            #[must_use]
            pub const fn plus(self, by: $int) -> Self {
                Self(self.0.saturating_add(by))
            }

            /// The value `by` below, or zero.
            #[must_use]
            pub const fn minus(self, by: $int) -> Self {
                Self(self.0.saturating_sub(by))
            }

            /// The value before, or none before zero.
            #[must_use]
            pub fn previous(self) -> Option<Self> {
                self.0.checked_sub(1).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                s.parse().map(Self)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
                <$int>::decode(reader).map(Self)
            }
        }
    };
}

quantity!(
    /// A place in the order. Genesis is 0, the first block 1. Never reused on one network.
    Height(u64)
);
quantity!(
    /// An attempt at one height, from 0.
    Round(u32)
);
quantity!(
    /// A span of heights with one committee, from 0.
    Epoch(u64)
);
quantity!(
    /// A validator's weight.
    Stake(u64)
);
quantity!(
    /// A batch's place in its lane, from 0.
    Sequence(u64)
);
quantity!(
    /// The count of acks that one validator has signed in one epoch; the newest wins.
    AckCounter(u64)
);
quantity!(
    /// A validator's place in its committee, which lists addresses in ascending order.
    ValidatorIndex(u16)
);
quantity!(
    /// A rollup's place on the network.
    NamespaceId(u32)
);
quantity!(
    /// Milliseconds since the Unix epoch. The core is handed it and never asks a clock.
    Timestamp(u64)
);

impl ValidatorIndex {
    /// As a position in a list.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

impl Timestamp {
    /// Milliseconds from `earlier` to this, zero if it lies after.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
