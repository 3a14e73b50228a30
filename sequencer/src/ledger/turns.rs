//! Whose turns as proposer failed.
//!
//! `ChainState::failed_turns` holds a byte a member. The low four bits count the failed turns in a row that the choice of
//! the next proposer may see: those of headers three heights back and more, so that an early proposal for the height after
//! next knows its proposer. The two pairs of bits above hold what became of the member's turn at the two heights since.

use squad_types::{Address, Committee, Round, ValidatorIndex};
use std::collections::BTreeSet;

/// Who proposes in a round of the next height; none where the caller cannot say, which makes no block valid.
/// The order repeats after as many rounds as the committee has members.
pub type Proposers<'a> = &'a dyn Fn(Round) -> Option<Address>;

const COUNT: u8 = 0b1111;
const OLDER: u32 = 4;
const NEWER: u32 = 6;
const PAIR: u8 = 0b11;
const FAILED: u8 = 1;
const PROPOSED: u8 = 2;

/// After so many failures in a row a member's turn comes in one of 2^4 stretches; rarer would outlast most epochs.
const MAX_BACK_OFF: u8 = 4;

fn settled(turns: u8) -> u8 {
    match (turns >> OLDER) & PAIR {
        FAILED => ((turns & COUNT) + 1).min(COUNT),
        PROPOSED => 0,
        _ => turns & COUNT,
    }
}

/// Takes in a block that was built for `origin`: the proposers of the rounds before let theirs pass.
pub(super) fn record(turns: &mut [u8], committee: &Committee, origin: Round, proposers: Proposers) {
    for turn in turns.iter_mut() {
        *turn = settled(*turn) | (((*turn >> NEWER) & PAIR) << OLDER);
    }
    // The order of proposers repeats after one round a member, so a wild origin round costs no more than that.
    let rounds = origin.0.min(turns.len() as u32);
    let mut mark = |round: Round, what: u8| {
        let index = proposers(round).and_then(|proposer| committee.index_of(&proposer));
        if let Some(turn) = index.and_then(|index| turns.get_mut(index.position())) {
            *turn = (*turn & !(PAIR << NEWER)) | (what << NEWER);
        }
    };
    (0..rounds).for_each(|round| mark(Round(round), FAILED));
    mark(origin, PROPOSED);
}

/// The members that the proposers of `height` put last. One that failed k times in a row gets its turn back in every
/// 2^k-th stretch of as many heights as there are members, so that one that came back is found again.
pub(super) fn at_the_back(turns: &[u8], height: u64) -> BTreeSet<ValidatorIndex> {
    let stretch = height / turns.len().max(1) as u64;
    let back = |turn: u8| match (turn & COUNT).min(MAX_BACK_OFF) {
        0 => false,
        failed => !stretch.is_multiple_of(1 << failed),
    };
    let indices = turns.iter().enumerate().filter(|(_, turn)| back(**turn));
    indices.map(|(at, _)| ValidatorIndex(at as u16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::fixture;

    fn counts(turns: &[u8]) -> Vec<u8> {
        turns.iter().map(|turn| turn & COUNT).collect()
    }

    fn record_from(turns: &mut [u8], origin: u32, first: u32) {
        let committee = fixture::genesis(4).committee().unwrap();
        let proposer = |round: Round| Some(committee.members()[((round.0 % 4 + first) % 4) as usize].address);
        record(turns, &committee, Round(origin), &proposer);
    }

    #[test]
    fn a_failed_turn_is_seen_three_heights_later_and_a_proposal_clears_it() {
        let mut turns = vec![0; 4];
        record_from(&mut turns, 1, 0);
        assert_eq!(counts(&turns), [0; 4], "the next height does not see it");
        record_from(&mut turns, 2, 1);
        assert_eq!(counts(&turns), [0; 4], "nor does the one after");
        record_from(&mut turns, 0, 0);
        assert_eq!(counts(&turns), [1, 0, 0, 0]);
        record_from(&mut turns, 0, 0);
        assert_eq!(counts(&turns), [1, 1, 1, 0]);
        record_from(&mut turns, 0, 0);
        assert_eq!(counts(&turns), [0, 1, 1, 0]);
    }

    #[test]
    fn a_wild_origin_round_ends_and_counts_everybody_once() {
        let mut turns = vec![0; 4];
        record_from(&mut turns, u32::MAX, 0);
        record_from(&mut turns, 0, 0);
        record_from(&mut turns, 0, 0);
        assert_eq!(counts(&turns), [1, 1, 1, 0]);
    }

    #[test]
    fn who_keeps_failing_is_tried_ever_less_often_but_never_given_up() {
        let tried = |failed: u8| (0..256).filter(|height| at_the_back(&[failed, 0, 0, 0], *height).is_empty()).count();
        assert_eq!([tried(0), tried(1), tried(2), tried(15)], [256, 128, 64, 16]);
    }
}
