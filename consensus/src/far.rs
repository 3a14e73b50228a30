//! Votes of rounds so far ahead that malachite drops them: kept one a validator, until enough of them show that the round
//! is one where somebody honest is.

use squad_types::{Committee, Round, Stake, ValidatorIndex, Verified, Vote};
use std::collections::BTreeMap;

/// The newest far vote of each member of one height's committee.
#[derive(Debug, Default)]
pub(crate) struct FarVotes(BTreeMap<ValidatorIndex, Verified<Vote>>);

impl FarVotes {
    /// Takes in a vote; gives all votes of its round once over a third of stake is there.
    pub(crate) fn add(&mut self, vote: Verified<Vote>, committee: &Committee) -> Option<Vec<Verified<Vote>>> {
        let index = committee.index_of(&vote.signer)?;
        let round = vote.statement.round;
        if self.0.get(&index).is_none_or(|known| known.statement.round < round) {
            self.0.insert(index, vote);
        }
        let there = || self.0.iter().filter(|(_, vote)| vote.statement.round == round);
        let stake = there().map(|(index, _)| committee.stake(*index).0).sum();
        committee.is_honest_threshold(Stake(stake)).then(|| there().map(|(_, vote)| vote.clone()).collect())
    }

    /// Forgets what is not far any more.
    pub(crate) fn prune(&mut self, last_near: Round) {
        self.0.retain(|_, vote| vote.statement.round > last_near);
    }
}
