//! What the core may hear of proposals, and when.
//!
//! Malachite keeps validity per (height, id): once it was told that a block is valid it prevotes any fresh proposal of
//! that block, in any round, unasked. A soft refusal therefore has to keep the proposal itself away from it:
//!
//! * a fresh proposal (no earlier quorum claimed) outside the round that its block was built for is never fed;
//! * a fresh proposal that was refused, or not judged yet, is fed only once the propose step of its round is over;
//! * as soon as a quorum voted for a block, its proposals and "valid" are fed at once, so that this node can lock, follow
//!   a re-proposal and decide. Nothing is lost by then: that quorum holds over a third of honest stake that judged it,
//!   or followed an earlier quorum, the first of which was made of judgements alone.
//!
//! "Invalid" is told as soon as it is known: it depends on nothing but the block's own bytes and its parent.

use crate::input::Verdict;
use squad_types::{HeaderHash, ProposedBlock, Round, Verified, VerifiedProposal};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Proposals kept of one round: the first, and one more for a proposer that sent others something else.
const MAX_PROPOSALS_PER_ROUND: usize = 2;

/// Rounds behind the current one whose undecided proposals are kept. A quorum for an older one brings it back by a request.
const KEPT_ROUNDS: u32 = 16;

/// A block, with everything known about its validity.
#[derive(Debug)]
struct Body {
    block: Arc<ProposedBlock>,
    /// The soft rules' answer to its fresh proposal.
    fresh: Option<bool>,
    /// The hard rules' answer.
    hard: Option<bool>,
    /// What the core was told.
    told: Option<bool>,
    /// A quorum voted for it in some round.
    certified: bool,
    /// It stands in the log.
    logged: bool,
    /// The block is not the one that the header commits to, so the next one to come takes its place.
    wrong: bool,
}

/// A proposal, with whether the core has it.
#[derive(Debug)]
struct Held {
    proposal: Verified<squad_types::Proposal>,
    /// The first of its round; later ones wait for a quorum.
    first: bool,
    fed: bool,
}

impl Held {
    fn is_fresh(&self) -> bool {
        self.proposal.statement.valid_round.is_none()
    }
}

/// What to feed to the core next.
#[derive(Debug)]
pub(crate) enum Feed {
    /// A proposal.
    Proposal(VerifiedProposal),
    /// A ruling on a block, with a proposal that carried it.
    Ruling(VerifiedProposal, bool),
}

/// Why a proposal was taken in, or not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It is to be judged.
    Judge {
        /// Whether the soft rules apply.
        fresh: bool,
    },
    /// Nothing more is needed.
    Known,
    /// It can never be fed.
    Never,
}

/// The proposals of one height.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    bodies: BTreeMap<HeaderHash, Body>,
    proposals: BTreeMap<(Round, HeaderHash), Held>,
}

impl Gate {
    /// Takes in a proposal by its round's proposer. `certified`: a quorum voted for its block already.
    pub(crate) fn admit(&mut self, message: &VerifiedProposal, certified: bool) -> Admitted {
        let statement = message.proposal().statement;
        let fresh = statement.valid_round.is_none();
        if fresh && message.block().header().origin_round != statement.round {
            return Admitted::Never;
        }
        if statement.valid_round.is_some_and(|round| round >= statement.round) {
            return Admitted::Never;
        }
        let others: Vec<HeaderHash> = self.round(statement.round).filter(|hash| *hash != statement.block).collect();
        let known = self.proposals.contains_key(&(statement.round, statement.block));
        if !known && others.len() >= MAX_PROPOSALS_PER_ROUND {
            // Only what a quorum voted for may take the place of something that none did.
            let useless = others.iter().find(|hash| !self.is_certified(hash) && !self.is_fed(statement.round, hash));
            match useless {
                Some(hash) if certified => drop(self.proposals.remove(&(statement.round, *hash))),
                _ => return Admitted::Never,
            }
        }
        let body = self.body(message.block());
        body.certified |= certified;
        let replaced = body.replace(message.block());
        let judged = body.hard.is_some();
        if known {
            return if replaced { Admitted::Judge { fresh } } else { Admitted::Known };
        }
        let held = Held { proposal: message.proposal().clone(), first: others.is_empty(), fed: false };
        let first = held.first;
        self.proposals.insert((statement.round, statement.block), held);
        if judged || !(first || certified) { Admitted::Known } else { Admitted::Judge { fresh } }
    }

    /// Takes in a block of one's own, which the core is about to be told is valid.
    pub(crate) fn own_block(&mut self, block: &Arc<ProposedBlock>) {
        let body = self.body(block);
        (body.fresh, body.hard, body.told) = (Some(true), Some(true), Some(true));
    }

    /// Takes in a proposal that the core has: one's own, or one read back from the log.
    pub(crate) fn fed_proposal(&mut self, proposal: &Verified<squad_types::Proposal>) {
        let key = (proposal.statement.round, proposal.statement.block);
        let first = self.round(key.0).all(|hash| hash == key.1);
        self.proposals.entry(key).or_insert_with(|| Held { proposal: proposal.clone(), first, fed: true }).fed = true;
    }

    /// Takes in a block read back from the log.
    pub(crate) fn logged_block(&mut self, block: &Arc<ProposedBlock>) {
        let body = self.body(block);
        body.block = Arc::clone(block);
        body.logged = true;
    }

    /// Takes in a ruling read back from the log. It may have been a quorum's, so it says nothing about the soft rules.
    pub(crate) fn logged_ruling(&mut self, block: HeaderHash, valid: bool) {
        if let Some(body) = self.bodies.get_mut(&block) {
            body.told = Some(valid);
            if !valid {
                body.hard = Some(false);
            }
        }
    }

    /// Takes in the answer to a judge request.
    pub(crate) fn judged(&mut self, round: Round, block: HeaderHash, verdict: Verdict) {
        let fresh = self.proposals.get(&(round, block)).is_some_and(Held::is_fresh);
        if verdict == Verdict::WrongBody {
            self.discard_body(block);
            return;
        }
        let Some(body) = self.bodies.get_mut(&block) else { return };
        match verdict {
            Verdict::Valid => {
                body.hard = body.hard.or(Some(true));
                if fresh {
                    body.fresh = Some(true);
                }
            }
            Verdict::Refuse if fresh => body.fresh = body.fresh.or(Some(false)),
            Verdict::Refuse | Verdict::WrongBody => {}
            Verdict::Invalid => body.hard = body.hard.or(Some(false)),
        }
    }

    /// A quorum voted for `block` in `round`. Whether the proposal that goes with that vote is missing here.
    pub(crate) fn certify(&mut self, round: Round, block: HeaderHash) -> bool {
        if let Some(body) = self.bodies.get_mut(&block) {
            body.certified = true;
        }
        !self.proposals.contains_key(&(round, block))
    }

    /// The next thing that the core should hear, given its round and whether the propose step of that round is over.
    pub(crate) fn next(&mut self, round: Round, proposed: bool) -> Option<Feed> {
        let due = self.proposals.iter().find(|(key, held)| !held.fed && self.may_feed(key, held, round, proposed));
        if let Some(key) = due.map(|(key, _)| *key) {
            let held = self.proposals.get_mut(&key)?;
            held.fed = true;
            let proposal = held.proposal.clone();
            return self.message(proposal).map(Feed::Proposal);
        }
        let (message, valid) = self.proposals.values().filter(|held| held.fed).find_map(|held| {
            let body = self.bodies.get(&held.proposal.statement.block)?;
            let ruling = body.ruling().filter(|valid| body.told != Some(*valid) && body.told != Some(true))?;
            Some((VerifiedProposal::assemble(held.proposal.clone(), Arc::clone(&body.block)), ruling))
        })?;
        self.bodies.get_mut(&message.block().hash())?.told = Some(valid);
        Some(Feed::Ruling(message, valid))
    }

    /// Whether a prevote for this block in this round is a fresh one, on the strength of this node's own judgement.
    pub(crate) fn is_fresh_without_quorum(&self, round: Round, block: HeaderHash) -> bool {
        self.proposals.get(&(round, block)).is_none_or(Held::is_fresh) && !self.is_certified(&block)
    }

    /// The block of a hash.
    pub(crate) fn block(&self, block: &HeaderHash) -> Option<&Arc<ProposedBlock>> {
        self.bodies.get(block).map(|body| &body.block)
    }

    /// A block that has yet to be logged; marks it as logged.
    pub(crate) fn take_unlogged(&mut self, block: &HeaderHash) -> Option<Arc<ProposedBlock>> {
        let body = self.bodies.get_mut(block)?;
        (!std::mem::replace(&mut body.logged, true)).then(|| Arc::clone(&body.block))
    }

    /// The proposals that nobody has judged, with whether the soft rules apply: asked for again after a restart.
    pub(crate) fn unjudged(&self) -> impl Iterator<Item = (VerifiedProposal, bool)> + '_ {
        self.proposals.values().filter(|held| held.first).filter_map(|held| {
            let body = self.bodies.get(&held.proposal.statement.block)?;
            let open = body.hard.is_none() && body.told.is_none();
            open.then(|| (VerifiedProposal::assemble(held.proposal.clone(), Arc::clone(&body.block)), held.is_fresh()))
        })
    }

    /// A proposal of a round for a block.
    pub(crate) fn proposal(&self, round: Round, block: HeaderHash) -> Option<VerifiedProposal> {
        self.message(self.proposals.get(&(round, block))?.proposal.clone())
    }

    /// All proposals with their blocks, for a core that starts over.
    pub(crate) fn into_messages(self) -> Vec<VerifiedProposal> {
        let Self { bodies, proposals } = self;
        let message = |held: Held| {
            let block = Arc::clone(&bodies.get(&held.proposal.statement.block)?.block);
            Some(VerifiedProposal::assemble(held.proposal, block))
        };
        proposals.into_values().filter_map(message).collect()
    }

    /// Forgets proposals of long past rounds that no quorum voted for.
    pub(crate) fn prune(&mut self, round: Round) {
        let oldest = round.minus(KEPT_ROUNDS);
        let bodies = &self.bodies;
        // What the core holds as valid it may decide at any time.
        let needed = |hash: &HeaderHash| bodies.get(hash).is_some_and(|body| body.certified || body.told == Some(true));
        self.proposals.retain(|(at, hash), _| *at >= oldest || needed(hash));
        let proposals = &self.proposals;
        self.bodies.retain(|hash, _| proposals.keys().any(|(_, held)| held == hash));
    }

    fn round(&self, round: Round) -> impl Iterator<Item = HeaderHash> + '_ {
        let (first, last) = ((round, HeaderHash([0; 32])), (round, HeaderHash([0xff; 32])));
        self.proposals.range(first..=last).map(|((_, hash), _)| *hash)
    }

    fn is_certified(&self, block: &HeaderHash) -> bool {
        self.bodies.get(block).is_some_and(|body| body.certified)
    }

    fn is_fed(&self, round: Round, block: &HeaderHash) -> bool {
        self.proposals.get(&(round, *block)).is_some_and(|held| held.fed)
    }

    fn body(&mut self, block: &Arc<ProposedBlock>) -> &mut Body {
        self.bodies.entry(block.hash()).or_insert_with(|| Body {
            block: Arc::clone(block),
            fresh: None,
            hard: None,
            told: None,
            certified: false,
            logged: false,
            wrong: false,
        })
    }

    fn message(&self, proposal: Verified<squad_types::Proposal>) -> Option<VerifiedProposal> {
        let block = Arc::clone(self.block(&proposal.statement.block)?);
        Some(VerifiedProposal::assemble(proposal, block))
    }

    fn may_feed(&self, key: &(Round, HeaderHash), held: &Held, round: Round, proposed: bool) -> bool {
        let Some(body) = self.bodies.get(&key.1) else { return false };
        if body.certified {
            return true;
        }
        let over = round > key.0 || (round == key.0 && proposed);
        // A re-proposal waits inside the core for the quorum that it claims.
        held.first && (!held.is_fresh() || body.fresh == Some(true) || body.hard == Some(false) || over)
    }

    /// A relay put another body under a header. What the core has of it stays; the rest is forgotten, so that the right
    /// body can come. (The header alone is what was voted for.)
    fn discard_body(&mut self, block: HeaderHash) {
        self.proposals.retain(|(_, hash), held| *hash != block || held.fed);
        if !self.proposals.keys().any(|(_, hash)| *hash == block) {
            self.bodies.remove(&block);
        } else if let Some(body) = self.bodies.get_mut(&block) {
            body.wrong = true;
        }
    }
}

impl Body {
    fn replace(&mut self, block: &Arc<ProposedBlock>) -> bool {
        if !std::mem::replace(&mut self.wrong, false) {
            return false;
        }
        self.block = Arc::clone(block);
        self.logged = false;
        true
    }

    fn ruling(&self) -> Option<bool> {
        match (self.hard, self.fresh) {
            (Some(false), _) => Some(false),
            (Some(true), _) | (_, Some(true)) => Some(true),
            _ => self.certified.then_some(true),
        }
    }
}
