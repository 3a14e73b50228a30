//! What must hold in every run, checked as it goes. A violation ends the run and says what was seen.

mod agreement;
mod bounded;
mod confirmations;
mod evidence;
mod exactly_once;
mod forks;
mod inclusion;
mod named;
mod retrievable;
mod settled;
mod signatures;

use crate::network::NodeIndex;
use crate::node::Node;
use crate::queue::Instant;
use squad_sequencer::{Output, VerifiedResponse};
use squad_types::{Address, Committee, Domain, Epoch, Genesis, TxId, VerifiedMessage, Verifier};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Something that left a node.
pub struct Observed<'a> {
    /// When.
    pub at: Instant,
    /// Which node.
    pub node: NodeIndex,
    /// Its operator.
    pub operator: Address,
    /// What.
    pub output: &'a Output,
    /// All nodes, as they are now.
    pub nodes: &'a [Node],
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant's file.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl Violation {
    /// Something that was seen.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// Whether something holds.
pub(crate) type Held = Result<(), Violation>;

/// Returns a violation of an invariant unless a condition holds.
macro_rules! holds {
    ($condition:expr, $invariant:literal, $($what:tt)+) => {
        if !$condition {
            return Err($crate::invariants::Violation::new($invariant, format!($($what)+)));
        }
    };
}
pub(crate) use holds;

/// What all invariants may look at.
pub(crate) struct Known {
    domain: Domain,
    verifier: &'static dyn Verifier,
    committees: BTreeMap<Epoch, Arc<Committee>>,
    /// Operators that misbehave: nothing is promised about what they say.
    byzantine: BTreeSet<Address>,
    /// Operators that behave and whose disk was lost or put back: what they promised to keep may be gone.
    forgetful: BTreeSet<Address>,
    /// Operators to which that may happen in this run.
    doubtful: BTreeSet<Address>,
}

impl Known {
    fn is_honest(&self, operator: &Address) -> bool {
        !self.byzantine.contains(operator)
    }
}

/// All invariants.
pub struct Invariants {
    known: Known,
    agreement: agreement::Agreement,
    exactly_once: exactly_once::ExactlyOnce,
    signatures: signatures::OneStatementASlot,
    confirmations: confirmations::Confirmations,
    evidence: evidence::HonestNeverAccused,
    inclusion: inclusion::Inclusion,
    named: named::EquivocatorsNamed,
    retrievable: retrievable::Retrievable,
    settled: settled::Settled,
    most: Most,
}

impl Invariants {
    /// Nothing seen yet.
    pub fn new(domain: Domain, verifier: &'static dyn Verifier, genesis: &Genesis) -> Self {
        let first = genesis.committee().ok().map(|committee| (committee.epoch(), Arc::new(committee)));
        let known = Known {
            domain,
            verifier,
            committees: first.into_iter().collect(),
            byzantine: BTreeSet::new(),
            forgetful: BTreeSet::new(),
            doubtful: BTreeSet::new(),
        };
        Self {
            known,
            agreement: agreement::Agreement::default(),
            exactly_once: exactly_once::ExactlyOnce::default(),
            signatures: signatures::OneStatementASlot::default(),
            confirmations: confirmations::Confirmations::default(),
            evidence: evidence::HonestNeverAccused::default(),
            inclusion: inclusion::Inclusion::new(genesis.params.clone()),
            named: named::EquivocatorsNamed::default(),
            retrievable: retrievable::Retrievable::default(),
            settled: settled::Settled::default(),
            most: Most::default(),
        }
    }

    /// Nothing is promised about what this operator says.
    pub fn corrupt(&mut self, operator: Address) {
        self.known.byzantine.insert(operator);
    }

    /// Whether an operator is taken to behave.
    pub fn trusts(&self, operator: &Address) -> bool {
        self.known.is_honest(operator)
    }

    /// This operator's disk was lost or put back to an earlier state.
    pub fn forget(&mut self, operator: Address) {
        self.known.forgetful.insert(operator);
    }

    /// This operator's disk may be lost or put back later: who hears it is remembered.
    pub fn doubt(&mut self, operator: Address) {
        self.known.doubtful.insert(operator);
    }

    /// A node died: what it only had in memory is gone.
    pub(crate) fn crashed(&mut self, node: NodeIndex) {
        self.inclusion.crashed(node);
        self.named.crashed(node);
        self.signatures.crashed(node);
    }

    /// A node begins a life.
    pub(crate) fn started(&mut self, node: NodeIndex, operator: &Address) {
        self.crashed(node);
        self.signatures.started(operator);
    }

    /// A node takes in a checked message.
    pub(crate) fn heard(&mut self, at: NodeIndex, operator: &Address, node: &Node, message: &VerifiedMessage) {
        if self.known.is_honest(operator) {
            self.inclusion.heard(at, node, message, &self.known);
            self.signatures.heard(at, message, &self.known);
            self.named.heard(at, node, message, &self.known);
        }
    }

    /// A node takes in a checked answer.
    pub(crate) fn answered(&mut self, at: NodeIndex, operator: &Address, node: &Node, answer: &VerifiedResponse) {
        if self.known.is_honest(operator) {
            self.named.answered(at, node, answer, &self.known);
        }
    }

    /// Takes in what left a node.
    pub fn observe(&mut self, observed: Observed<'_>) -> Held {
        // What a Byzantine node's own honest part decides still has to agree, but what it signs is its own affair.
        self.agreement.observe(&observed, &self.known)?;
        self.learn_committee(&observed)?;
        self.exactly_once.observe(&observed)?;
        if self.known.is_honest(&observed.operator) {
            if let Some(forgot) = self.signatures.observe(&observed, &self.known)? {
                self.known.byzantine.insert(forgot);
            }
            self.confirmations.observe(&observed, &self.known)?;
            self.evidence.observe(&observed, &self.known)?;
            self.retrievable.observe(&observed, &self.known)?;
            self.settled.observe(&observed);
        }
        self.inclusion.observe(&observed, &self.known)
    }

    fn learn_committee(&mut self, observed: &Observed<'_>) -> Held {
        let Output::Ordered(decision) = observed.output else { return Ok(()) };
        let header = decision.block.block.header();
        let next = header.epoch.next();
        let Some(members) =
            decision.block.block.next_committee().filter(|_| !self.known.committees.contains_key(&next))
        else {
            return Ok(());
        };
        let committee = Committee::new(next, members.to_vec());
        let committee = committee
            .map_err(|error| Violation::new("confirmations", format!("a block lists no committee: {error}")))?;
        holds!(
            committee.hash() == header.next_committee_hash,
            "confirmations",
            "the committee listed at height {} is not the one its header commits to",
            header.height
        );
        self.known.committees.insert(next, Arc::new(committee));
        Ok(())
    }

    /// Checks what holds at any moment of the nodes themselves.
    pub fn check_bounds(&mut self, nodes: &[Node]) -> Held {
        bounded::check(nodes, &mut self.most)
    }

    /// The most that any one node held.
    pub fn most(&self) -> Most {
        self.most
    }

    /// Checks what must hold once everything has settled: all faults are over, and there was time.
    pub fn check_settled(&self) -> Held {
        let lost = self.secured_not_ordered();
        holds!(
            lost.is_empty(),
            "confirmations",
            "{} transactions were secured and are not ordered: {lost:?}",
            lost.len()
        );
        self.settled.check(&self.known, |id| self.is_settled(id))?;
        self.named.check(&self.known, self.evidence.accused())
    }

    /// When a transaction was first ordered anywhere.
    pub fn ordered_at(&self, id: &TxId) -> Option<Instant> {
        self.exactly_once.ordered_at(id)
    }

    /// When a transaction was secured.
    pub fn secured_at(&self, id: &TxId) -> Option<Instant> {
        self.confirmations.secured_at(id)
    }

    /// Transactions that were secured and are not ordered: every one of them breaks the promise unless it expired.
    pub fn secured_not_ordered(&self) -> Vec<TxId> {
        let secured = self.confirmations.secured();
        secured.filter(|id| self.ordered_at(id).is_none() && !self.exactly_once.was_rejected(id)).copied().collect()
    }

    /// Whether a transaction's fate is known: it was ordered, or left out because its time was over.
    pub fn is_settled(&self, id: &TxId) -> bool {
        self.ordered_at(id).is_some() || self.exactly_once.was_rejected(id)
    }

    /// Why nothing is promised any more, if so: a committee in which a third of stake misbehaves or has forgotten.
    pub fn is_beyond(&self) -> Option<String> {
        self.known.committees.values().find_map(|committee| {
            let faulty = committee.members().iter().filter(|member| {
                !self.known.is_honest(&member.address) || self.known.forgetful.contains(&member.address)
            });
            let stake: u64 = faulty.map(|member| member.stake.0).sum();
            let (epoch, total) = (committee.epoch(), committee.total());
            let enough = committee.is_quorum(squad_types::Stake(total.0 - stake));
            (!enough).then(|| format!("in epoch {epoch}, {stake} of {total} stake misbehaves or has forgotten"))
        })
    }

    /// Whether an honest operator refused a transaction.
    pub fn was_refused(&self, id: &TxId) -> bool {
        self.settled.was_refused(id)
    }

    /// Operators that somebody honest accused, with how many proofs.
    pub fn accused(&self) -> &BTreeMap<Address, usize> {
        self.evidence.accused()
    }

    /// How many transactions were ordered.
    pub fn ordered_count(&self) -> usize {
        self.exactly_once.count()
    }

    /// When a transaction was batched.
    pub fn batched_at(&self, id: &TxId) -> Option<Instant> {
        self.confirmations.batched_at(id)
    }

    /// How many submissions were refused with a code.
    pub fn refused(&self, code: &str) -> usize {
        self.confirmations.refused(code)
    }

    /// How many submissions were refused in all.
    pub fn refused_in_all(&self) -> usize {
        self.confirmations.refused_in_all()
    }

    /// How many decisions a node reported.
    pub fn blocks_seen_by(&self, node: NodeIndex) -> usize {
        self.agreement.seen_by(node)
    }

    /// The rounds in which heights were decided.
    pub fn decided_rounds(&self) -> impl Iterator<Item = squad_types::Round> + '_ {
        self.agreement.rounds()
    }

    /// Every decided height: who proposed it, in which round it was decided, when first, and how many transactions it ordered.
    pub fn blocks(&self) -> impl Iterator<Item = &agreement::Decided> {
        self.agreement.decided()
    }

    /// Heights at which two blocks were decided.
    pub fn forks(&self) -> &[Fork] {
        self.agreement.forks()
    }

    /// Contradictions that some honest node had to notice: in votes, in proposals, in batches, in acks.
    pub fn contradictions(&self) -> [u64; 4] {
        self.named.found()
    }

    /// Statements made anew by operators whose disk was lost or put back, because too few had heard the first.
    pub fn forgotten(&self) -> u64 {
        self.signatures.forgotten()
    }

    /// How often the inclusion rule was put to the test.
    pub fn inclusions_checked(&self) -> u64 {
        self.inclusion.checked()
    }
}

pub use agreement::Decided;
pub use bounded::Most;
pub use forks::Fork;
