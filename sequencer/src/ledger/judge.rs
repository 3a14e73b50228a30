//! Judging a block: hard rules first, then the data that it needs, then the order that follows.

use super::committees::{Activity, Standing};
use super::execution::{self, Batches, Execution, Rules, Skips, Span};
use super::interleave::interleave;
use super::rules::{InvalidBlock, MAX_BLOCK_BATCHES};
use super::turns::Proposers;
use super::{Ledger, StakeTable};
use squad_types::limits::{MAX_COMMITTEE, MAX_READIES};
use squad_types::{
    Address, BatchId, BatchRange, ChainState, Committee, Header, OrderedBlock, ProposedBlock, Timestamp, VerifiedBatch,
    namespace,
};
use std::sync::Arc;

/// What the hard rules say of a block. The same on every node that has the parent, the batches and a complete window.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // there is one a block, and it is moved twice
pub enum Judgement {
    /// It may be decided; this is what it orders.
    Valid(Execution),
    /// It may never be decided, or, if [`InvalidBlock::is_about_body`], it did not come as it was built.
    Invalid(InvalidBlock),
    /// These batches are needed first.
    Missing(Vec<BatchRange>),
}

/// Why a fresh proposal is not prevoted now, although it may be valid. Never a reason against one that a quorum prevoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SoftRefusal {
    /// Its timestamp lies too far ahead of this node's clock.
    #[error("its timestamp lies {ahead_ms} ms ahead of this clock")]
    Clock {
        /// By how much.
        ahead_ms: u64,
    },
    /// Its settlement anchor is not known here yet.
    #[error("its settlement anchor is not known here yet")]
    AnchorUnseen,
    /// It lists another next committee than the stake table gives.
    #[error("its next committee is not what the stake table gives")]
    NextCommittee,
    /// It takes in the readiness of somebody without stake.
    #[error("it takes in the readiness of {0}, who has no stake")]
    NoStake(Address),
}

impl SoftRefusal {
    /// In a few fixed words.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Clock { .. } => "its timestamp lies ahead of this clock",
            Self::AnchorUnseen => "its settlement anchor is not known here yet",
            Self::NextCommittee => "its next committee is not what the stake table gives",
            Self::NoStake(_) => "it takes in the readiness of somebody without stake",
        }
    }
}

/// What the hard rules that need no batches leave: the state, the spans to read and the next committee.
struct Framed {
    state: ChainState,
    spans: Vec<Span>,
    next_committee: Option<Arc<Committee>>,
}

/// Why the batches of a block cannot be read.
pub(super) enum Unread {
    Missing(Vec<BatchRange>),
    Invalid(InvalidBlock),
}

impl From<InvalidBlock> for Unread {
    fn from(invalid: InvalidBlock) -> Self {
        Self::Invalid(invalid)
    }
}

impl Ledger {
    /// Judges a block of the next height. The answer may be kept by the block's hash until the tip moves.
    ///
    /// Needs a complete window ([`Ledger::window_is_complete`]): without one a repeat would pass for valid.
    /// `proposers` names the proposer of every round of the next height ([`Ledger::failed_turns`], [`Ledger::epoch_seed`]).
    pub fn judge(&self, block: &ProposedBlock, proposers: Proposers, batches: &dyn Batches) -> Judgement {
        self.examine(block, Skips::Window(&self.window), proposers, batches)
    }

    /// Judges a decided block while the window is still being rebuilt: what it left out is taken from its list, and the
    /// header's roots show that nothing else was ordered. The caller has verified its certificate.
    pub fn judge_replayed(&self, ordered: &OrderedBlock, proposers: Proposers, batches: &dyn Batches) -> Judgement {
        if ordered.skipped.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Judgement::Invalid(InvalidBlock::Body("its skipped positions are out of order"));
        }
        match self.examine(&ordered.block, Skips::Listed(&ordered.skipped), proposers, batches) {
            // The list is no part of the hash: a wrong one says nothing about the block.
            Judgement::Invalid(InvalidBlock::Count { .. } | InvalidBlock::NamespacesRoot(_)) => {
                Judgement::Invalid(InvalidBlock::Body("its skipped positions do not give the header's roots"))
            }
            Judgement::Valid(execution) if execution.skipped != ordered.skipped => {
                Judgement::Invalid(InvalidBlock::Body("it lists a skipped position beyond its transactions"))
            }
            judgement => judgement,
        }
    }

    /// What speaks against prevoting a fresh proposal now. Whether its cut is due and agrees with own acks is for the caller.
    pub fn soft_check(&self, block: &ProposedBlock, now: Timestamp, stakes: &dyn StakeTable) -> Option<SoftRefusal> {
        let header = block.header();
        let ahead_ms = header.timestamp.since(now);
        if ahead_ms > u64::from(self.params.clock_bound_ms) {
            return Some(SoftRefusal::Clock { ahead_ms });
        }
        // What the parent names already, a quorum looked at. Who started anew since need not know it.
        let next = stakes.stakes(header.epoch.next(), &header.l1_anchor);
        if next.is_none() && (self.opens_epoch() || header.l1_anchor != self.anchor()) {
            return Some(SoftRefusal::AnchorUnseen);
        }
        if let (Some(next), true) = (next, self.opens_epoch()) {
            let expected = self.standing()?.next(header.epoch.next(), &next);
            if expected.as_ref().map(Committee::members) != block.next_committee() {
                return Some(SoftRefusal::NextCommittee);
            }
        }
        if block.readies().is_empty() {
            return None;
        }
        // They speak of the epoch after the next one.
        let later = stakes.stakes(header.epoch.next().next(), &header.l1_anchor).unwrap_or_default();
        let staked = |address: &Address| later.iter().any(|member| member.address == *address && member.stake.0 > 0);
        let stranger = block.readies().iter().find(|ready| !staked(&ready.signer));
        stranger.map(|ready| SoftRefusal::NoStake(ready.signer))
    }

    fn examine(&self, block: &ProposedBlock, skips: Skips, proposers: Proposers, batches: &dyn Batches) -> Judgement {
        let framed = match self.check_frame(block, proposers) {
            Ok(framed) => framed,
            Err(invalid) => return Judgement::Invalid(invalid),
        };
        let lanes = match self.read(&framed.spans, batches) {
            Ok(lanes) => lanes,
            Err(Unread::Missing(ranges)) => return Judgement::Missing(ranges),
            Err(Unread::Invalid(invalid)) => return Judgement::Invalid(invalid),
        };
        match self.check_caps(&lanes) {
            Ok(()) => {}
            Err(invalid) => return Judgement::Invalid(invalid),
        }
        let Framed { state, spans, next_committee } = framed;
        let execution = self.execute(block.header(), state, spans, lanes, skips, next_committee);
        let (found, given) = (block.header().tx_count, execution.count());
        if found as usize != given {
            return Judgement::Invalid(InvalidBlock::Count { found, given });
        }
        let root = block.header().namespaces_root;
        if namespace::namespaces_root(&execution.leaves()) != root {
            return Judgement::Invalid(InvalidBlock::NamespacesRoot(root));
        }
        Judgement::Valid(Execution { block: block.hash(), ..execution })
    }

    /// All rules that need no batches. First the header, then that the body is the header's, then what the body says.
    fn check_frame(&self, block: &ProposedBlock, proposers: Proposers) -> Result<Framed, InvalidBlock> {
        let header = block.header();
        self.check_header(header, proposers)?;
        let opened = self.opened_state();
        let ascending = block.cut().windows(2).all(|pair| pair[0].lane < pair[1].lane);
        if !ascending || block.cut().iter().any(|entry| opened.tip(entry.lane) == Some(entry.tip)) {
            return Err(InvalidBlock::Body("its cut is not the ascending list of lanes that moved"));
        }
        let ready = |ready: &squad_types::Signed<squad_types::Ready>| {
            ready.statement.epoch == header.epoch && opened.ready.binary_search(&ready.signer).is_err()
        };
        let readies = block.readies();
        if readies.len() > MAX_READIES
            || readies.windows(2).any(|pair| pair[0].signer >= pair[1].signer)
            || !readies.iter().all(ready)
        {
            return Err(InvalidBlock::Body("its readies are not an ascending list of new ones of this epoch"));
        }
        let next_committee = self.listed_committee(block)?;
        let state = self
            .state_after(header, block.cut(), readies, proposers)
            .ok_or(InvalidBlock::Body("its cut names a lane that is not open"))?;
        if state.digest() != header.cut_digest {
            return Err(InvalidBlock::Body("it does not lead to the state that the header commits to"));
        }
        if let (Some(listed), Some(standing)) = (&next_committee, self.standing()) {
            standing.check(listed)?;
        }
        self.check_readies(block, &state, next_committee.as_deref())?;
        let spans: Vec<Span> = block.cut().iter().map(|entry| Span::new(entry, opened.tip(entry.lane))).collect();
        if let Some(back) = spans.iter().find(|span| span.len() == 0) {
            return Err(InvalidBlock::LaneBack(back.lane));
        }
        let count = spans.iter().fold(0_u64, |sum, span| sum.saturating_add(span.len()));
        if count > MAX_BLOCK_BATCHES {
            return Err(InvalidBlock::TooManyBatches(count));
        }
        Ok(Framed { state, spans, next_committee })
    }

    fn listed_committee(&self, block: &ProposedBlock) -> Result<Option<Arc<Committee>>, InvalidBlock> {
        match (self.opens_epoch(), block.next_committee()) {
            (false, None) => Ok(None),
            (true, Some(members)) => {
                let committee = Committee::new(block.header().epoch.next(), members.to_vec()).ok();
                let listed = committee.filter(|committee| committee.hash() == block.header().next_committee_hash);
                let listed = listed.ok_or(InvalidBlock::Body("its next committee does not hash to the header's"))?;
                Ok(Some(Arc::new(listed)))
            }
            (true, None) => Err(InvalidBlock::Body("an epoch's first block lists no next committee")),
            (false, Some(_)) => Err(InvalidBlock::Body("it lists a next committee, which its epoch already has")),
        }
    }

    fn check_readies(
        &self,
        block: &ProposedBlock,
        state: &ChainState,
        listed: Option<&Committee>,
    ) -> Result<(), InvalidBlock> {
        let next = listed.or_else(|| self.committee(block.header().epoch.next()).map(Arc::as_ref));
        let unsolicited = |address: &Address| next.is_none_or(|next| next.contains(address));
        match block.readies().iter().find(|ready| unsolicited(&ready.signer) || state.ready.len() > MAX_COMMITTEE) {
            Some(ready) => Err(InvalidBlock::UnsolicitedReady(ready.signer)),
            None => Ok(()),
        }
    }

    /// What the parent chain says of everybody, for the committee that an epoch's first block fixes.
    pub(super) fn standing(&self) -> Option<Standing<'_>> {
        let begins = self.committee(self.epoch_of_next())?;
        // At genesis no epoch lies before, so nobody can have been inactive.
        let activity = self.epoch_ends().then(|| {
            let committee = self.committee(self.state.epoch)?;
            Some(Activity { committee, named_by: &self.state.named_by })
        });
        Some(Standing::new(begins, activity.flatten(), &self.state.ready))
    }

    /// Reads the batches of spans, lane by lane, and checks that each lane goes on from its ordered tip.
    pub(super) fn read(&self, spans: &[Span], batches: &dyn Batches) -> Result<Vec<Vec<VerifiedBatch>>, Unread> {
        let (mut lanes, mut missing) = (Vec::with_capacity(spans.len()), Vec::new());
        for span in spans {
            let chain = batches.chain(span.lane, span.above, span.to);
            match chain.filter(|chain| reaches(chain, span)) {
                Some(chain) => lanes.push(chain),
                None => missing.push(span.range()),
            }
        }
        for (span, chain) in spans.iter().zip(&lanes).filter(|_| missing.is_empty()) {
            let author = self.committee(span.lane.epoch).and_then(|committee| committee.get(span.lane.author));
            let ours = |batch: &VerifiedBatch| {
                batch.header().epoch == span.lane.epoch
                    && author.is_some_and(|author| author.address == batch.header().operator)
            };
            let parent = span.above.map_or(BatchId::ZERO, |tip| tip.batch);
            if chain.first().is_none_or(|first| first.header().parent != parent) || !chain.iter().all(ours) {
                return Err(InvalidBlock::OffChain(span.lane).into());
            }
        }
        if missing.is_empty() { Ok(lanes) } else { Err(Unread::Missing(missing)) }
    }

    fn check_caps(&self, lanes: &[Vec<VerifiedBatch>]) -> Result<(), InvalidBlock> {
        let headers = || lanes.iter().flatten().map(VerifiedBatch::header);
        let (found, cap) = (headers().map(|header| u64::from(header.bytes)).sum(), self.params.max_block_bytes);
        if found > u64::from(cap) {
            return Err(InvalidBlock::TooManyBytes { found, cap });
        }
        let (found, cap) = (headers().map(|header| u64::from(header.count)).sum(), self.params.max_block_transactions);
        if found > u64::from(cap) {
            return Err(InvalidBlock::TooManyTransactions { found, cap });
        }
        Ok(())
    }

    /// Orders what a block covers; `header`'s digests and roots are not looked at.
    pub(super) fn execute(
        &self,
        header: &Header,
        state: ChainState,
        spans: Vec<Span>,
        lanes: Vec<Vec<VerifiedBatch>>,
        skips: Skips,
        next_committee: Option<Arc<Committee>>,
    ) -> Execution {
        let rules = Rules {
            namespaces: &self.namespaces,
            chain_time: state.chain_time,
            window: self.params.window_ms.into(),
            parent: header.parent_hash,
        };
        let order = execution::order(interleave(header.height.0, lanes), skips, rules);
        Execution {
            block: squad_types::HeaderHash::ZERO,
            height: header.height,
            namespaces: order.namespaces,
            skipped: order.skipped,
            rejected: order.rejected,
            spans,
            state: Arc::new(state),
            next_committee,
        }
    }
}

/// Whether a chain has every batch of a span and ends at its tip; whether it starts from the ordered tip is another question.
pub(super) fn reaches(chain: &[VerifiedBatch], span: &Span) -> bool {
    let linked = chain.windows(2).all(|pair| {
        pair[1].header().parent == pair[0].id() && pair[1].header().sequence == pair[0].header().sequence.next()
    });
    chain.first().is_some_and(|first| first.header().sequence == span.from())
        && chain.last().is_some_and(|last| last.tip() == span.to)
        && linked
}
