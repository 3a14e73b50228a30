//! What this node itself has signed: one statement a slot, whatever happens.

use squad_types::{Domain, Height, Proposal, Round, Signed, Signer, Verified, Vote, VoteKind};
use std::collections::BTreeMap;

/// The newest statement of each kind that one validator is known to have signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HighestStatements {
    /// Its proposal of the highest height and round.
    pub proposal: Option<Signed<Proposal>>,
    /// Its prevote of the highest height and round.
    pub prevote: Option<Signed<Vote>>,
    /// Its precommit of the highest height and round.
    pub precommit: Option<Signed<Vote>>,
}

impl HighestStatements {
    /// Takes a vote in if it is newer than the one of its kind.
    pub fn add_vote(&mut self, vote: &Signed<Vote>) {
        let slot = match vote.statement.kind {
            VoteKind::Prevote => &mut self.prevote,
            VoteKind::Precommit => &mut self.precommit,
        };
        let place = |vote: &Signed<Vote>| (vote.statement.height, vote.statement.round);
        if slot.as_ref().is_none_or(|known| place(known) < place(vote)) {
            *slot = Some(vote.clone());
        }
    }

    /// Takes a proposal in if it is newer than the one known.
    pub fn add_proposal(&mut self, proposal: &Signed<Proposal>) {
        let place = |proposal: &Signed<Proposal>| (proposal.statement.height, proposal.statement.round);
        if self.proposal.as_ref().is_none_or(|known| place(known) < place(proposal)) {
            self.proposal = Some(proposal.clone());
        }
    }
}

/// A statement in its slot.
#[derive(Clone, Debug)]
struct Filled<T> {
    statement: Verified<T>,
    /// It stands in the log, or its entry came out of this call already.
    logged: bool,
    /// The core did not ask for it: it was signed in a life that this log does not tell of. The core gets it all the same.
    foreign: bool,
    /// It is a prevote for a fresh proposal that no quorum had prevoted for yet.
    covers_fresh: bool,
}

/// What the sign handler gives back.
#[derive(Debug)]
pub(crate) struct Given<T> {
    pub(crate) statement: Verified<T>,
    /// The slot held another statement, which the core asked for once itself: its replay went another way than its life.
    pub(crate) diverged: bool,
}

/// The slots (height, round, kind) of this node. Heights below the current one are never signed for, so their slots go.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    votes: BTreeMap<(Height, Round, VoteKind), Filled<Vote>>,
    proposals: BTreeMap<(Height, Round), Filled<Proposal>>,
    highest: HighestStatements,
}

impl Slots {
    /// The vote of a slot: signed now if the slot is free, otherwise what it holds.
    pub(crate) fn vote(
        &mut self,
        wanted: Vote,
        covers_fresh: bool,
        domain: &Domain,
        signer: &dyn Signer,
    ) -> Given<Vote> {
        let filled = self.votes.entry((wanted.height, wanted.round, wanted.kind)).or_insert_with(|| Filled {
            statement: Verified::sign(wanted, domain, signer),
            logged: false,
            foreign: false,
            covers_fresh,
        });
        self.highest.add_vote(filled.statement.signed());
        give(filled, &wanted)
    }

    /// The proposal of a slot: signed now if the slot is free, otherwise what it holds.
    pub(crate) fn proposal(&mut self, wanted: Proposal, domain: &Domain, signer: &dyn Signer) -> Given<Proposal> {
        let filled = self.proposals.entry((wanted.height, wanted.round)).or_insert_with(|| Filled {
            statement: Verified::sign(wanted, domain, signer),
            logged: false,
            foreign: false,
            covers_fresh: false,
        });
        self.highest.add_proposal(filled.statement.signed());
        give(filled, &wanted)
    }

    /// Fills a slot with a statement from the log or, if `foreign`, from a peer that echoed it. False if it was filled.
    pub(crate) fn restore_vote(&mut self, statement: Verified<Vote>, foreign: bool) -> bool {
        let key = (statement.statement.height, statement.statement.round, statement.statement.kind);
        self.highest.add_vote(statement.signed());
        let free = !self.votes.contains_key(&key);
        // Whether it covered fresh data is not in the log; that data was durable before the vote left, so asking again is free.
        let covers_fresh = key.2 == VoteKind::Prevote && statement.statement.block.is_some();
        self.votes.entry(key).or_insert(Filled { statement, logged: true, foreign, covers_fresh });
        free
    }

    /// The same for a proposal.
    pub(crate) fn restore_proposal(&mut self, statement: Verified<Proposal>, foreign: bool) -> bool {
        let key = (statement.statement.height, statement.statement.round);
        self.highest.add_proposal(statement.signed());
        let free = !self.proposals.contains_key(&key);
        self.proposals.entry(key).or_insert(Filled { statement, logged: true, foreign, covers_fresh: false });
        free
    }

    /// Whether this vote of one's own has yet to be logged; marks it as logged.
    pub(crate) fn log_vote(&mut self, vote: &Vote) -> bool {
        let filled = self.votes.get_mut(&(vote.height, vote.round, vote.kind));
        filled.is_some_and(|filled| !std::mem::replace(&mut filled.logged, true))
    }

    /// Whether this proposal of one's own has yet to be logged; marks it as logged.
    pub(crate) fn log_proposal(&mut self, proposal: &Proposal) -> bool {
        let filled = self.proposals.get_mut(&(proposal.height, proposal.round));
        let filled = filled.filter(|filled| filled.statement.statement == *proposal);
        filled.is_some_and(|filled| !std::mem::replace(&mut filled.logged, true))
    }

    /// What a vote's slot holds, and whether it covers fresh data.
    pub(crate) fn held_vote(&self, height: Height, round: Round, kind: VoteKind) -> Option<(&Verified<Vote>, bool)> {
        self.votes.get(&(height, round, kind)).map(|filled| (&filled.statement, filled.covers_fresh))
    }

    /// What a proposal's slot holds.
    pub(crate) fn held_proposal(&self, height: Height, round: Round) -> Option<&Verified<Proposal>> {
        self.proposals.get(&(height, round)).map(|filled| &filled.statement)
    }

    /// Forgets the slots below `height`.
    pub(crate) fn prune(&mut self, height: Height) {
        self.votes.retain(|(at, _, _), _| *at >= height);
        self.proposals.retain(|(at, _), _| *at >= height);
    }

    /// The newest statement of each kind.
    pub(crate) fn highest(&self) -> &HighestStatements {
        &self.highest
    }
}

fn give<T: Clone + PartialEq>(filled: &Filled<T>, wanted: &T) -> Given<T> {
    Given { statement: filled.statement.clone(), diverged: filled.statement.statement != *wanted && !filled.foreign }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{Address, HeaderHash, KeyedHashSigner, NetworkId};

    fn prevote(block: Option<HeaderHash>) -> Vote {
        Vote { kind: VoteKind::Prevote, height: Height(3), round: Round(1), block }
    }

    #[test]
    fn a_used_slot_gives_what_it_holds() {
        let (domain, signer) = (Domain::new(NetworkId([1; 32])), KeyedHashSigner(Address([1; 20])));
        let mut slots = Slots::default();
        let first = slots.vote(prevote(None), false, &domain, &signer);
        assert!(!first.diverged);
        let second = slots.vote(prevote(Some(HeaderHash([9; 32]))), false, &domain, &signer);
        assert_eq!(second.statement, first.statement);
        assert!(second.diverged);
        assert!(slots.log_vote(&prevote(None)));
        assert!(!slots.log_vote(&prevote(None)));
    }

    #[test]
    fn a_statement_of_an_earlier_life_takes_its_slot() {
        let (domain, signer) = (Domain::new(NetworkId([1; 32])), KeyedHashSigner(Address([1; 20])));
        let echoed = Verified::sign(prevote(Some(HeaderHash([9; 32]))), &domain, &signer);
        let mut slots = Slots::default();
        assert!(slots.restore_vote(echoed.clone(), true));
        assert!(!slots.restore_vote(echoed.clone(), true));
        let given = slots.vote(prevote(None), false, &domain, &signer);
        assert_eq!(given.statement, echoed);
        assert!(!given.diverged);
        slots.prune(Height(4));
        assert!(slots.held_vote(Height(3), Round(1), VoteKind::Prevote).is_none());
        assert_eq!(slots.highest().prevote.as_ref(), Some(echoed.signed()));
    }
}
