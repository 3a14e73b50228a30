//! Messages on their way: of each kind up to a number, evenly spread over the run.

use crate::packet::Kind;
use serde::{Deserialize, Serialize};

/// Messages as columns, so that a page reads them quickly.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// When each was sent, in microseconds after the one before.
    pub at: Vec<u64>,
    /// How long each took, in microseconds; -1 if it was lost.
    pub took: Vec<i64>,
    /// Who sent it.
    pub from: Vec<u32>,
    /// To whom.
    pub to: Vec<u32>,
    /// Its place among the kinds.
    pub kind: Vec<u8>,
    /// A height (proposal, votes, commit), or a batch's place plus one (batch, secured); 0 for neither.
    pub about: Vec<u64>,
}

/// How much of a kind was kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The kind.
    pub kind: String,
    /// How many were sent.
    pub sent: u64,
    /// How many of them are in the record.
    pub kept: u64,
}

struct One {
    at: u64,
    took: Option<u32>,
    from: u32,
    to: u32,
    about: u64,
    /// Its lot: which messages go when there is no room.
    lot: u32,
}

#[derive(Default)]
struct OfKind {
    sent: u64,
    kept: Vec<One>,
    /// Only lots with so many zeros at their end are kept.
    zeros: u32,
}

/// Messages of all kinds.
pub struct Messages {
    kinds: Vec<OfKind>,
}

/// How many of a kind are kept at most. What agreement is about comes first; acks are many and alike.
fn most(kind: Kind) -> usize {
    match kind {
        Kind::Vote => 60_000,
        Kind::Proposal | Kind::Batch => 40_000,
        Kind::Ack => 30_000,
        Kind::Commit => 20_000,
        Kind::Votes | Kind::Secured | Kind::Request | Kind::Response => 10_000,
        Kind::Evidence | Kind::Ready => 5_000,
    }
}

/// A lot that depends on the message's number alone, so that recording draws nothing from the run's own luck.
fn lot(number: u64) -> u32 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32
}

impl Default for Messages {
    fn default() -> Self {
        Self::new()
    }
}

impl Messages {
    /// None yet.
    pub fn new() -> Self {
        Self { kinds: Kind::ALL.iter().map(|_| OfKind::default()).collect() }
    }

    pub(super) fn push(&mut self, at: u64, took: Option<u32>, (from, to): (u32, u32), kind: Kind, about: u64) {
        let of_kind = &mut self.kinds[kind.index()];
        of_kind.sent += 1;
        let lot = lot(of_kind.sent);
        if lot.trailing_zeros() < of_kind.zeros {
            return;
        }
        of_kind.kept.push(One { at, took, from, to, about, lot });
        while of_kind.kept.len() > most(kind) {
            of_kind.zeros += 1;
            let zeros = of_kind.zeros;
            of_kind.kept.retain(|one| one.lot.trailing_zeros() >= zeros);
        }
    }

    /// How much of each kind there was, and is here; kinds that were never sent are left out.
    pub fn counted(&self) -> Vec<Counted> {
        let all = Kind::ALL.iter().zip(&self.kinds).filter(|(_, of_kind)| of_kind.sent > 0);
        let count = |(kind, of_kind): (&Kind, &OfKind)| Counted {
            kind: kind.name().to_owned(),
            sent: of_kind.sent,
            kept: of_kind.kept.len() as u64,
        };
        all.map(count).collect()
    }

    /// All that are kept, in the order in which they were sent.
    pub fn columns(&self) -> Columns {
        let with_kind = |(kind, of_kind): (usize, &OfKind)| -> Vec<(u64, usize, usize)> {
            of_kind.kept.iter().enumerate().map(|(place, one)| (one.at, kind, place)).collect()
        };
        let mut order: Vec<_> = self.kinds.iter().enumerate().flat_map(with_kind).collect();
        order.sort_unstable();
        let (mut columns, mut before) = (Columns::default(), 0);
        for (at, kind, place) in order {
            let one = &self.kinds[kind].kept[place];
            columns.at.push(at - before);
            before = at;
            columns.took.push(one.took.map_or(-1, i64::from));
            columns.from.push(one.from);
            columns.to.push(one.to);
            columns.kind.push(kind as u8);
            columns.about.push(one.about);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_messages_are_thinned_evenly_and_counted() {
        let mut messages = Messages::new();
        (0..100_000).for_each(|at| messages.push(at, Some(5), (0, 1), Kind::Ready, 0));
        (0..10).for_each(|at| messages.push(at * 10_000, None, (1, 0), Kind::Proposal, 3));
        let counted = messages.counted();
        assert_eq!(counted[0], Counted { kind: "proposal".to_owned(), sent: 10, kept: 10 });
        assert!(counted[1].sent == 100_000 && (2_000..=5_000).contains(&counted[1].kept), "{counted:?}");
        let columns = messages.columns();
        let mut at = 0;
        let times = columns.at.iter().map(|step| {
            at += step;
            at
        });
        let early = times.filter(|at| *at < 50_000).count() as f64;
        let share = early / columns.at.len() as f64;
        assert!((0.45..0.55).contains(&share), "{share} of what is kept is of the first half");
        assert_eq!(columns.took.iter().filter(|took| **took == -1).count(), 10);
    }
}
