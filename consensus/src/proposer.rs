//! Who proposes: stake-weighted rotation, the same for everybody, seeded per epoch.
//!
//! The slots of an epoch come from smooth weighted round robin (the rule that nginx balances by): in every stretch of
//! slots a validator appears in proportion to its stake, and its turns are spread out. Height h starts at slot h, so a
//! proposer that was skipped over is followed by the one that would have come next anyway.

use squad_types::hash::blake3;
use squad_types::{Committee, Digest, Height, Round, ValidatorIndex};
use std::collections::BTreeSet;

/// The fewest slots of an epoch. A stake below a thousandth still gets one slot, so the rotation is that exact.
const MIN_SLOTS: usize = 1_024;

/// Slots per member where a committee is large, so that stakes still show.
const SLOTS_PER_MEMBER: usize = 4;

/// The rotation of one epoch: a pure function of its committee and seed. Costs members × slots steps to make; keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerRotation {
    slots: Vec<ValidatorIndex>,
    members: usize,
    offset: u64,
}

impl ProposerRotation {
    /// Lays out the slots. The seed decides where the rotation starts and who comes first among equals.
    pub fn new(committee: &Committee, seed: &Digest) -> Self {
        let members = committee.len();
        let mut by_luck: Vec<ValidatorIndex> = (0..members).map(|at| ValidatorIndex(at as u16)).collect();
        by_luck.sort_by_key(|index| {
            let mut bytes = [0; 34];
            bytes[..32].copy_from_slice(&seed.0);
            bytes[32..].copy_from_slice(&index.0.to_be_bytes());
            blake3(&bytes)
        });
        let mut weights = vec![0_i128; members];
        let count = MIN_SLOTS.max(members * SLOTS_PER_MEMBER);
        let mut slots = Vec::with_capacity(count);
        for _ in 0..count {
            let mut chosen = by_luck[0];
            for index in &by_luck {
                weights[index.position()] += i128::from(committee.stake(*index).0);
                if weights[index.position()] > weights[chosen.position()] {
                    chosen = *index;
                }
            }
            weights[chosen.position()] -= i128::from(committee.total().0);
            slots.push(chosen);
        }
        let present: BTreeSet<ValidatorIndex> = slots.iter().copied().collect();
        slots.extend(by_luck.into_iter().filter(|index| !present.contains(index)));
        let mut start = [0; 8];
        start.copy_from_slice(&seed.0[..8]);
        // Taken modulo the slots, so that adding a height cannot overflow.
        let offset = u64::from_be_bytes(start) % slots.len() as u64;
        Self { slots, members, offset }
    }

    /// Who proposes in which round of `height`. `failed` are the validators whose last turns failed, as seen from the
    /// origin rounds of headers ≤ height − 3; they come after all others. Everybody appears once in the order.
    pub fn schedule(&self, height: Height, failed: &BTreeSet<ValidatorIndex>) -> ProposerSchedule {
        let slots = self.slots.len() as u64;
        let start = ((height.0 % slots + self.offset) % slots) as usize;
        let mut seen = vec![false; self.members];
        let (mut order, mut back) = (Vec::with_capacity(self.members), Vec::new());
        for index in self.slots[start..].iter().chain(&self.slots[..start]) {
            if !std::mem::replace(&mut seen[index.position()], true) {
                if failed.contains(index) { back.push(*index) } else { order.push(*index) }
            }
            if order.len() + back.len() == self.members {
                break;
            }
        }
        order.extend(back);
        ProposerSchedule { order }
    }
}

/// The proposers of one height, in the order of its rounds; the order repeats after the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposerSchedule {
    order: Vec<ValidatorIndex>,
}

impl ProposerSchedule {
    /// The number of members of the committee that it was made from.
    pub fn members(&self) -> usize {
        self.order.len()
    }

    /// Who proposes in `round`, as a place in the committee that the schedule was made from.
    pub fn proposer(&self, round: Round) -> ValidatorIndex {
        // An order holds every member of a committee, and no committee is empty.
        self.order[round.0 as usize % self.order.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{Address, Epoch, Member, Stake};

    fn committee(stakes: &[u64]) -> Committee {
        let members = stakes.iter().enumerate();
        let members = members.map(|(i, stake)| Member { address: Address([i as u8; 20]), stake: Stake(*stake) });
        Committee::new(Epoch(0), members.collect()).unwrap()
    }

    fn firsts(stakes: &[u64], heights: u64) -> Vec<usize> {
        let rotation = ProposerRotation::new(&committee(stakes), &Digest([7; 32]));
        let mut count = vec![0; stakes.len()];
        for height in 0..heights {
            count[rotation.schedule(Height(height), &BTreeSet::new()).proposer(Round(0)).position()] += 1;
        }
        count
    }

    #[test]
    fn turns_follow_stake() {
        assert_eq!(firsts(&[1, 1, 1, 1], 1024), [256; 4]);
        assert_eq!(firsts(&[5, 2, 1], 1024)[0], 640);
    }

    #[test]
    fn a_tiny_stake_still_gets_a_turn() {
        let rotation = ProposerRotation::new(&committee(&[1_000_000, 1]), &Digest([7; 32]));
        assert!(rotation.slots.contains(&ValidatorIndex(1)));
    }

    #[test]
    fn every_member_proposes_within_as_many_rounds_as_members() {
        let rotation = ProposerRotation::new(&committee(&[9, 1, 1, 1, 1]), &Digest([1; 32]));
        for height in 0..50 {
            let schedule = rotation.schedule(Height(height), &BTreeSet::new());
            let proposers: BTreeSet<_> = (0..5).map(|round| schedule.proposer(Round(round))).collect();
            assert_eq!(proposers.len(), 5);
            assert_eq!(schedule.proposer(Round(5)), schedule.proposer(Round(0)));
        }
    }

    #[test]
    fn those_whose_turns_failed_come_last() {
        let rotation = ProposerRotation::new(&committee(&[1, 1, 1, 1]), &Digest([1; 32]));
        let failed: BTreeSet<_> = [ValidatorIndex(2)].into();
        for height in 0..50 {
            let schedule = rotation.schedule(Height(height), &failed);
            assert_eq!(schedule.proposer(Round(3)), ValidatorIndex(2));
        }
        let all: BTreeSet<_> = (0..4).map(ValidatorIndex).collect();
        assert_eq!(rotation.schedule(Height(3), &all), rotation.schedule(Height(3), &BTreeSet::new()));
    }

    #[test]
    fn the_seed_moves_the_rotation_and_the_tallest_height_is_fine() {
        let one = ProposerRotation::new(&committee(&[1, 1, 1, 1]), &Digest([1; 32]));
        let two = ProposerRotation::new(&committee(&[1, 1, 1, 1]), &Digest([2; 32]));
        assert_ne!(one, two);
        one.schedule(Height(u64::MAX), &BTreeSet::new());
    }
}
