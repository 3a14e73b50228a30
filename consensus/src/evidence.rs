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
    votes: BTreeMap<(Round, VoteKind, ValidatorIndex), Verified<Vote>>,
    proposals: BTreeMap<(Round, ValidatorIndex), Verified<Proposal>>,
    tally: BTreeMap<(Round, VoteKind, Option<HeaderHash>), Stake>,
    accused_votes: BTreeSet<(Round, VoteKind, ValidatorIndex)>,
    accused_proposals: BTreeSet<(Round, ValidatorIndex)>,
    last_round: Round,
}

impl Statements {
    fn new(committee: Arc<Committee>) -> Self {
        Self {
            last_round: EARLY_ROUNDS,
            committee,
            votes: BTreeMap::new(),
            proposals: BTreeMap::new(),
            tally: BTreeMap::new(),
            accused_votes: BTreeSet::new(),
            accused_proposals: BTreeSet::new(),
        }
    }

    fn add_vote(&mut self, vote: &Verified<Vote>) -> Added {
        let Some(index) = self.committee.index_of(&vote.signer) else { return Added::Ignored };
        let statement = vote.statement;
        if statement.round > self.last_round {
            return Added::Ignored;
        }
        let key = (statement.round, statement.kind, index);
        match self.votes.get(&key) {
            Some(first) if first.statement == statement => Added::Ignored,
            Some(first) => {
                let pair = VotePair { first: first.signed().clone(), second: vote.signed().clone() };
                Added::Conflict(self.accused_votes.insert(key).then(|| Box::new(Evidence::Votes(pair))))
            }
            None => {
                self.votes.insert(key, vote.clone());
                let tally = self.tally.entry((statement.round, statement.kind, statement.block)).or_default();
                *tally = tally.plus(self.committee.stake(index).0);
                Added::New
            }
        }
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

    /// All votes, by round, kind and place.
    pub(crate) fn votes(&self) -> impl Iterator<Item = &Verified<Vote>> {
        self.votes.values()
    }

    /// Whether over two thirds of stake cast this vote.
    pub(crate) fn has_quorum(&self, round: Round, kind: VoteKind, block: HeaderHash) -> bool {
        self.tally.get(&(round, kind, Some(block))).is_some_and(|stake| self.committee.is_quorum(*stake))
    }

    /// Whether exactly this vote with exactly this signature is here, so that it need not be checked again.
    pub(crate) fn holds(&self, index: ValidatorIndex, vote: &Vote, signature: &squad_types::Signature) -> bool {
        let held = self.votes.get(&(vote.round, vote.kind, index));
        held.is_some_and(|held| held.statement == *vote && held.signature == *signature)
    }

    fn precommitters(&self, block: HeaderHash) -> Bitmap {
        let cast =
            |kind: VoteKind, vote: &Verified<Vote>| kind == VoteKind::Precommit && vote.statement.block == Some(block);
        self.votes.iter().filter(|((_, kind, _), vote)| cast(*kind, vote)).map(|((_, _, index), _)| *index).collect()
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

    /// Adds a vote of a watched height.
    pub(crate) fn add_vote(&mut self, vote: &Verified<Vote>) -> Added {
        self.heights.get_mut(&vote.statement.height).map_or(Added::Ignored, |statements| statements.add_vote(vote))
    }

    /// The evidence that a vote makes with the one in its slot, if there is one and it says something else. Adds nothing.
    pub(crate) fn contradiction(&mut self, vote: &Verified<Vote>) -> Option<Box<Evidence>> {
        let statements = self.heights.get_mut(&vote.statement.height)?;
        let index = statements.committee.index_of(&vote.signer)?;
        let known = statements.votes.contains_key(&(vote.statement.round, vote.statement.kind, index));
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
            let votes = statements.votes.iter().filter(|((_, _, voter), _)| *voter == index);
            votes.for_each(|(_, vote)| highest.add_vote(vote.signed()));
            let proposals = statements.proposals.iter().filter(|((_, proposer), _)| *proposer == index);
            proposals.for_each(|(_, proposal)| highest.add_proposal(proposal.signed()));
        }
        highest
    }
}
