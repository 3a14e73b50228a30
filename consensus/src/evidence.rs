//! Every statement of the last heights, one a slot: what quorums are counted from and what a second statement is held against.

use crate::slots::HighestStatements;
use squad_types::{
    Address, Bitmap, Committee, Evidence, HeaderHash, Height, Proposal, ProposalPair, Round, Stake, ValidatorIndex,
    Verified, Vote, VoteKind, VotePair,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Heights kept below the current one: twice the distance at which headers list signers, so that late precommits and late
/// contradictions are both seen.
const KEPT_HEIGHTS: u64 = 2 * squad_types::limits::SIGNERS_LAG;

/// The last round whose statements are kept for a height that has not begun here: whoever is further on has a round
/// certificate or a block to show.
pub(crate) const EARLY_ROUNDS: Round = Round(3);

/// What became of a statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is the first in its slot.
    New,
    /// It was there already, its signer is no member, or its round lies too far ahead.
    Ignored,
    /// It contradicts the one in its slot. Evidence comes with the first contradiction only.
    Conflict(Option<Box<Evidence>>),
}

/// The statements of one height.
#[derive(Debug)]
pub(crate) struct Statements {
    committee: Arc<Committee>,
    votes: BTreeMap<(Round, VoteKind), Cast>,
    proposals: BTreeMap<(Round, ValidatorIndex), Verified<Proposal>>,
    /// Whose turn a round was, where its proposal came.
    proposers: BTreeMap<Round, ValidatorIndex>,
    accused_votes: BTreeSet<(Round, VoteKind, ValidatorIndex)>,
    accused_proposals: BTreeSet<(Round, ValidatorIndex)>,
    last_round: Round,
}

/// The votes of one kind in one round.
#[derive(Debug)]
struct Cast {
    /// By place in the committee.
    votes: Vec<Option<Verified<Vote>>>,
    /// For what, with how much stake: nearly always one block, or that and none.
    tally: Vec<(Option<HeaderHash>, Stake)>,
}

impl Statements {
    fn new(committee: Arc<Committee>) -> Self {
        Self {
            last_round: EARLY_ROUNDS,
            committee,
            votes: BTreeMap::new(),
            proposals: BTreeMap::new(),
            proposers: BTreeMap::new(),
            accused_votes: BTreeSet::new(),
            accused_proposals: BTreeSet::new(),
        }
    }

    fn add_vote(&mut self, vote: &Verified<Vote>) -> Added {
        let Some(index) = self.committee.index_of(&vote.signer) else { return Added::Ignored };
        self.add_vote_at(index, vote)
    }

    /// Adds the vote of who stands at this place.
    pub(crate) fn add_vote_at(&mut self, index: ValidatorIndex, vote: &Verified<Vote>) -> Added {
        let statement = vote.statement;
        if statement.round > self.last_round {
            return Added::Ignored;
        }
        let members = self.committee.len();
        let none = || Cast { votes: vec![None; members], tally: Vec::new() };
        let cast = self.votes.entry((statement.round, statement.kind)).or_insert_with(none);
        let Some(slot) = cast.votes.get_mut(index.position()) else { return Added::Ignored };
        match slot {
            Some(first) if first.statement == statement => Added::Ignored,
            Some(first) => {
                let pair = VotePair { first: first.signed().clone(), second: vote.signed().clone() };
                let key = (statement.round, statement.kind, index);
                Added::Conflict(self.accused_votes.insert(key).then(|| Box::new(Evidence::Votes(pair))))
            }
            None => {
                *slot = Some(vote.clone());
                let stake = self.committee.stake(index);
                match cast.tally.iter_mut().find(|(block, _)| *block == statement.block) {
                    Some((_, tally)) => *tally = tally.plus(stake.0),
                    None => cast.tally.push((statement.block, stake)),
                }
                Added::New
            }
        }
    }

    fn vote(&self, round: Round, kind: VoteKind, index: ValidatorIndex) -> Option<&Verified<Vote>> {
        self.votes.get(&(round, kind))?.votes.get(index.position())?.as_ref()
    }

    fn add_proposal(&mut self, proposal: &Verified<Proposal>) -> Added {
        let Some(index) = self.committee.index_of(&proposal.signer) else { return Added::Ignored };
        if proposal.statement.round > self.last_round {
            return Added::Ignored;
        }
        let key = (proposal.statement.round, index);
        match self.proposals.get(&key) {
            Some(first) if first.statement == proposal.statement => Added::Ignored,
            Some(first) => {
                let pair = ProposalPair { first: first.signed().clone(), second: proposal.signed().clone() };
                Added::Conflict(self.accused_proposals.insert(key).then(|| Box::new(Evidence::Proposals(pair))))
            }
            None => {
                self.proposals.insert(key, proposal.clone());
                Added::New
            }
        }
    }

    /// Whether the proposal of a round is for another block, and it is not proved yet that its proposer made two.
    fn is_rival(&self, round: Round, block: HeaderHash) -> bool {
        let Some(key) = self.proposers.get(&round).map(|proposer| (round, *proposer)) else { return false };
        let other = self.proposals.get(&key).is_some_and(|known| known.statement.block != block);
        other && !self.accused_proposals.contains(&key)
    }

    /// All votes, by round, kind and place.
    pub(crate) fn votes(&self) -> impl Iterator<Item = &Verified<Vote>> {
        self.votes.values().flat_map(|cast| &cast.votes).flatten()
    }

    /// Whether over two thirds of stake cast this vote.
    pub(crate) fn has_quorum(&self, round: Round, kind: VoteKind, block: HeaderHash) -> bool {
        let tally = self.votes.get(&(round, kind)).map(|cast| &cast.tally);
        let quorum = |(of, stake): &(_, Stake)| *of == Some(block) && self.committee.is_quorum(*stake);
        tally.is_some_and(|tally| tally.iter().any(quorum))
    }

    /// Whether over two thirds of stake cast one vote, for a block or for none.
    pub(crate) fn has_any_quorum(&self, round: Round, kind: VoteKind) -> bool {
        let tally = self.votes.get(&(round, kind)).map(|cast| &cast.tally);
        tally.is_some_and(|tally| tally.iter().any(|(_, stake)| self.committee.is_quorum(*stake)))
    }

    /// Whether a quorum has voted and nothing can come of it any more: no block can get over two thirds of stake, with all that has not
    /// voted. Of prevotes a quorum for none counts as well, for it lets everybody go on.
    pub(crate) fn is_over(&self, round: Round, kind: VoteKind) -> bool {
        let Some(cast) = self.votes.get(&(round, kind)) else { return false };
        let total = self.committee.total();
        let voted: u64 = cast.tally.iter().map(|(_, stake)| stake.0).sum();
        let rest = total.0.saturating_sub(voted);
        let counts = |block: &Option<HeaderHash>| block.is_some() || kind == VoteKind::Prevote;
        let most = cast.tally.iter().filter(|(block, _)| counts(block)).map(|(_, stake)| stake.0).max().unwrap_or(0);
        self.committee.is_quorum(Stake(voted)) && !self.committee.is_quorum(Stake(most.saturating_add(rest)))
    }

    /// Whether exactly this vote with exactly this signature is here, so that it need not be checked again.
    pub(crate) fn holds(&self, index: ValidatorIndex, vote: &Vote, signature: &squad_types::Signature) -> bool {
        let held = self.vote(vote.round, vote.kind, index);
        held.is_some_and(|held| held.statement == *vote && held.signature == *signature)
    }

    fn precommitters(&self, block: HeaderHash) -> Bitmap {
        let precommits = self.votes.iter().filter(|((_, kind), _)| *kind == VoteKind::Precommit);
        let cast = precommits.flat_map(|(_, cast)| cast.votes.iter().enumerate());
        let for_it = cast.filter(|(_, vote)| vote.as_ref().is_some_and(|vote| vote.statement.block == Some(block)));
        for_it.map(|(at, _)| ValidatorIndex(at as u16)).collect()
    }
}

/// The statements of the current height, the next, and the last [`KEPT_HEIGHTS`].
///
/// Bounded: heights as said, rounds up to [`EARLY_ROUNDS`] or what the current round admits, one statement a slot, members only.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    heights: BTreeMap<Height, Statements>,
}

impl Watch {
    /// Makes room for the statements of `height`; forgets what was kept of it for another committee, and old heights.
    pub(crate) fn open(&mut self, height: Height, committee: &Arc<Committee>) {
        let oldest = height.minus(KEPT_HEIGHTS);
        self.heights.retain(|at, _| *at >= oldest);
        if self.heights.get(&height).is_none_or(|known| known.committee != *committee) {
            self.heights.insert(height, Statements::new(Arc::clone(committee)));
        }
    }

    /// The statements of a height; none if it is not watched.
    pub(crate) fn at(&self, height: Height) -> Option<&Statements> {
        self.heights.get(&height)
    }

    /// The same, to add to.
    pub(crate) fn at_mut(&mut self, height: Height) -> Option<&mut Statements> {
        self.heights.get_mut(&height)
    }

    /// Adds a vote of a watched height.
    pub(crate) fn add_vote(&mut self, vote: &Verified<Vote>) -> Added {
        self.heights.get_mut(&vote.statement.height).map_or(Added::Ignored, |statements| statements.add_vote(vote))
    }

    /// The evidence that a vote makes with the one in its slot, if there is one and it says something else. Adds nothing.
    pub(crate) fn contradiction(&mut self, vote: &Verified<Vote>) -> Option<Box<Evidence>> {
        let statements = self.heights.get_mut(&vote.statement.height)?;
        let index = statements.committee.index_of(&vote.signer)?;
        let known = statements.vote(vote.statement.round, vote.statement.kind, index).is_some();
        match known.then(|| statements.add_vote(vote))? {
            Added::Conflict(evidence) => evidence,
            Added::New | Added::Ignored => None,
        }
    }

    /// Adds a proposal of a watched height. Whether its signer may propose is for the caller to check.
    pub(crate) fn add_proposal(&mut self, proposal: &Verified<Proposal>) -> Added {
        let statements = self.heights.get_mut(&proposal.statement.height);
        statements.map_or(Added::Ignored, |statements| statements.add_proposal(proposal))
    }

    /// Adds a proposal by whose turn the round is: votes of the round are held against it.
    pub(crate) fn add_proposal_in_turn(&mut self, proposal: &Verified<Proposal>) -> Added {
        let added = self.add_proposal(proposal);
        if let Some(statements) = self.heights.get_mut(&proposal.statement.height)
            && let Some(index) = statements.committee.index_of(&proposal.signer)
            && added != Added::Ignored
        {
            statements.proposers.insert(proposal.statement.round, index);
        }
        added
    }

    /// Whether a block is none that was proposed in a round of a watched height, and another one was.
    pub(crate) fn is_rival(&self, height: Height, round: Round, block: HeaderHash) -> bool {
        self.heights.get(&height).is_some_and(|statements| statements.is_rival(round, block))
    }

    /// Who voted for such a block, and for which.
    pub(crate) fn votes_for_rivals(&self, height: Height, round: Round) -> Vec<(Address, HeaderHash)> {
        let Some(statements) = self.heights.get(&height) else { return Vec::new() };
        let of_round = statements.votes().filter(|vote| vote.statement.round == round);
        let named = of_round.filter_map(|vote| Some((vote.signer, vote.statement.block?)));
        named.filter(|(_, block)| statements.is_rival(round, *block)).collect()
    }

    /// Lets in the statements of a height up to `round`; what was let in once stays so.
    pub(crate) fn admit_up_to(&mut self, height: Height, round: Round) {
        if let Some(statements) = self.heights.get_mut(&height) {
            statements.last_round = statements.last_round.max(round);
        }
    }

    /// Who is known to have precommitted `block`, in any round.
    pub(crate) fn precommitters(&self, height: Height, block: HeaderHash) -> Bitmap {
        self.heights.get(&height).map_or_else(Bitmap::default, |statements| statements.precommitters(block))
    }

    /// The newest statement of each kind that `signer` made at the watched heights.
    pub(crate) fn highest(&self, signer: &Address) -> HighestStatements {
        let mut highest = HighestStatements::default();
        for statements in self.heights.values() {
            let Some(index) = statements.committee.index_of(signer) else { continue };
            let votes = statements.votes.values().filter_map(|cast| cast.votes.get(index.position())?.as_ref());
            votes.for_each(|vote| highest.add_vote(vote.signed()));
            let proposals = statements.proposals.iter().filter(|((_, proposer), _)| *proposer == index);
            proposals.for_each(|(_, proposal)| highest.add_proposal(proposal.signed()));
        }
        highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{Domain, Epoch, KeyedHashSigner, Member, NetworkId};

    fn committee(epoch: u64, members: &[u8]) -> Arc<Committee> {
        let members = members.iter().map(|i| Member { address: Address([*i; 20]), stake: Stake(1) });
        Arc::new(Committee::new(Epoch(epoch), members.collect()).unwrap())
    }

    fn vote(signer: u8, height: u64, round: u32, block: Option<HeaderHash>) -> Verified<Vote> {
        let vote = Vote { kind: VoteKind::Prevote, height: Height(height), round: Round(round), block };
        Verified::sign(vote, &Domain::new(NetworkId([1; 32])), &KeyedHashSigner(Address([signer; 20])))
    }

    #[test]
    fn only_members_of_the_heights_own_committee_are_heard() {
        let mut watch = Watch::default();
        watch.open(Height(1), &committee(0, &[1, 2, 3]));
        watch.open(Height(2), &committee(1, &[2, 3, 4]));
        assert_eq!(watch.add_vote(&vote(1, 1, 0, None)), Added::New);
        assert_eq!(watch.add_vote(&vote(4, 1, 0, None)), Added::Ignored);
        assert_eq!(watch.add_vote(&vote(4, 2, 0, None)), Added::New);
        assert_eq!(watch.add_vote(&vote(1, 2, 0, None)), Added::Ignored);
        // What was kept for the wrong committee goes when the right one is known.
        watch.open(Height(2), &committee(1, &[1, 2, 3]));
        assert_eq!(watch.at(Height(2)).unwrap().votes().count(), 0);
    }

    #[test]
    fn heights_and_rounds_are_bounded() {
        let mut watch = Watch::default();
        let members = committee(0, &[1, 2, 3]);
        for height in 1..100 {
            watch.open(Height(height), &members);
        }
        assert!(watch.heights.len() as u64 <= KEPT_HEIGHTS + 1);
        assert_eq!(watch.add_vote(&vote(1, 5, 0, None)), Added::Ignored);
        assert_eq!(watch.add_vote(&vote(1, 99, EARLY_ROUNDS.0 + 1, None)), Added::Ignored);
        watch.admit_up_to(Height(99), Round(20));
        assert_eq!(watch.add_vote(&vote(1, 99, EARLY_ROUNDS.0 + 1, None)), Added::New);
    }

    #[test]
    fn a_quorum_is_over_two_thirds_of_one_vote() {
        let mut watch = Watch::default();
        let block = HeaderHash([7; 32]);
        watch.open(Height(1), &committee(0, &[1, 2, 3, 4]));
        for signer in [1, 2] {
            watch.add_vote(&vote(signer, 1, 0, Some(block)));
        }
        watch.add_vote(&vote(3, 1, 0, None));
        assert!(!watch.at(Height(1)).unwrap().has_quorum(Round(0), VoteKind::Prevote, block));
        assert!(matches!(watch.add_vote(&vote(3, 1, 0, Some(block))), Added::Conflict(Some(_))));
        assert!(!watch.at(Height(1)).unwrap().has_quorum(Round(0), VoteKind::Prevote, block));
        watch.add_vote(&vote(4, 1, 0, Some(block)));
        assert!(watch.at(Height(1)).unwrap().has_quorum(Round(0), VoteKind::Prevote, block));
        let highest = watch.highest(&Address([3; 20]));
        assert_eq!(highest.prevote.unwrap().statement.block, None);
    }

    #[test]
    fn votes_are_held_against_the_proposal_of_whose_turn_it_is_until_two_are_proved() {
        let mut watch = Watch::default();
        let [one, other] = [HeaderHash([1; 32]), HeaderHash([2; 32])];
        let proposal = |signer: u8, block| {
            let statement = Proposal { height: Height(1), round: Round(0), valid_round: None, block };
            Verified::sign(statement, &Domain::new(NetworkId([1; 32])), &KeyedHashSigner(Address([signer; 20])))
        };
        watch.open(Height(1), &committee(0, &[1, 2, 3, 4]));
        watch.add_vote(&vote(3, 1, 0, Some(other)));
        watch.add_vote(&vote(4, 1, 0, None));
        watch.add_proposal(&proposal(2, one));
        assert!(!watch.is_rival(Height(1), Round(0), other), "it was not its turn");
        watch.add_proposal_in_turn(&proposal(1, one));
        assert!(watch.is_rival(Height(1), Round(0), other) && !watch.is_rival(Height(1), Round(0), one));
        assert!(!watch.is_rival(Height(1), Round(1), other) && !watch.is_rival(Height(2), Round(0), other));
        assert_eq!(watch.votes_for_rivals(Height(1), Round(0)), [(Address([3; 20]), other)]);
        assert!(matches!(watch.add_proposal_in_turn(&proposal(1, other)), Added::Conflict(Some(_))));
        assert!(!watch.is_rival(Height(1), Round(0), other) && watch.votes_for_rivals(Height(1), Round(0)).is_empty());
    }
}
