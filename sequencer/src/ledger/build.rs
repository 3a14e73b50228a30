//! Building the next block from what a proposer has at hand.

use super::execution::{Batches, Execution, Skips, Span};
use super::judge::Unread;
use super::rules::{InvalidBlock, MAX_BLOCK_BATCHES};
use super::turns::Proposers;
use super::{Ledger, StakeTable, chain_time};
use squad_types::limits::{MAX_COMMITTEE, MAX_READIES};
use squad_types::{
    Address, BatchRange, Bitmap, ChainState, Committee, CutEntry, Digest, Header, L1Anchor, MerkleRoot,
    PROTOCOL_VERSION, ProposedBlock, Ready, Round, Signed, Timestamp, VerifiedBatch, namespace,
};
use std::sync::Arc;

/// What a proposer wants in a block.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who builds.
    pub proposer: Address,
    /// For which round.
    pub origin_round: Round,
    /// Its clock.
    pub now: Timestamp,
    /// The settlement layer's block that it takes its facts from.
    pub l1_anchor: L1Anchor,
    /// Who is known to have precommitted the block `SIGNERS_LAG` heights before.
    pub signers: Bitmap,
    /// Tips to order. What does not move a lane is left out; what does not fit the caps is cut back, fairly.
    pub cut: Vec<CutEntry>,
    /// Newcomers' statements, signatures checked. Those that a block may not hold are left out.
    pub readies: Vec<Signed<Ready>>,
}

/// Why no block can be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The window is still being rebuilt.
    #[error("the exactly-once window is not rebuilt yet: follow more blocks first")]
    WindowIncomplete,
    /// Batches of the wanted cut are not at hand.
    #[error("{} ranges of the wanted cut are not at hand: cut only what is stored", .0.len())]
    Missing(Vec<BatchRange>),
    /// The settlement anchor is not known here.
    #[error("the settlement anchor {0} is not known here yet: take an earlier one")]
    AnchorUnseen(u64),
    /// The stake table leaves no committee that could be listed.
    #[error("the stake table makes no committee for the next epoch")]
    NoCommittee,
    /// What was asked for breaks a hard rule.
    #[error("such a block would be invalid: {0}")]
    Invalid(#[from] InvalidBlock),
}

impl Ledger {
    /// Builds the next block, and what it orders. What this gives, [`Ledger::judge`] finds valid.
    pub fn build(
        &self,
        draft: Draft,
        proposers: Proposers,
        stakes: &dyn StakeTable,
        batches: &dyn Batches,
    ) -> Result<(Arc<ProposedBlock>, Execution), BuildError> {
        if !self.window_is_complete() {
            return Err(BuildError::WindowIncomplete);
        }
        let next_committee = self.fix_next_committee(&draft.l1_anchor, stakes)?;
        let opened = self.opened_state();
        let (spans, lanes) = self.fit(&draft.cut, &opened, batches)?;
        let cut: Vec<CutEntry> = spans.iter().map(|span| CutEntry { lane: span.lane, tip: span.to }).collect();
        let readies = self.pick_readies(&draft, &opened, next_committee.as_deref(), stakes);
        let mut header = self.blank_header(&draft, next_committee.as_deref());
        let state = self
            .state_after(&header, &cut, &readies, proposers)
            .ok_or(InvalidBlock::Body("its cut names a lane that is not open"))?;
        header.cut_digest = state.digest();
        self.check_header(&header, proposers)?;
        let skips = Skips::Window(&self.window);
        let mut execution = self.execute(&header, state, spans, lanes, skips, next_committee.clone());
        header.tx_count = execution.count() as u32;
        header.namespaces_root = namespace::namespaces_root(&execution.leaves());
        let listed = next_committee.map(|committee| committee.members().to_vec());
        let block = ProposedBlock::new(header, cut, readies, listed);
        execution.block = block.hash();
        Ok((Arc::new(block), execution))
    }

    fn blank_header(&self, draft: &Draft, listed: Option<&Committee>) -> Header {
        let epoch = self.epoch_of_next();
        let hash_of = |epoch| self.committee(epoch).map(|committee| committee.hash()).unwrap_or_default();
        Header {
            version: PROTOCOL_VERSION,
            network_id: self.domain.network(),
            height: self.height().next(),
            epoch,
            parent_hash: self.tip_hash,
            proposer: draft.proposer,
            origin_round: draft.origin_round,
            timestamp: chain_time::stamp(draft.now, self.tip_time()),
            l1_anchor: draft.l1_anchor,
            cut_digest: Digest::ZERO,
            namespaces_root: MerkleRoot::ZERO,
            tx_count: 0,
            params_hash: self.params_hash,
            committee_hash: hash_of(epoch),
            next_committee_hash: listed.map_or_else(|| hash_of(epoch.next()), Committee::hash),
            signers: self.known_signers(&draft.signers),
        }
    }

    /// The signers that the listed height's committee has; a stray one must not cost the turn.
    fn known_signers(&self, signers: &Bitmap) -> Bitmap {
        let listed = self.signers_listed_at(self.height().next());
        let committee = listed.and_then(|(_, epoch)| self.committee(epoch));
        signers.iter().filter(|index| committee.is_some_and(|members| members.get(*index).is_some())).collect()
    }

    fn fix_next_committee(
        &self,
        anchor: &L1Anchor,
        stakes: &dyn StakeTable,
    ) -> Result<Option<Arc<Committee>>, BuildError> {
        if !self.opens_epoch() {
            return Ok(None);
        }
        let epoch = self.epoch_of_next().next();
        let table = stakes.stakes(epoch, anchor).ok_or(BuildError::AnchorUnseen(anchor.number))?;
        let committee = self.standing().and_then(|standing| standing.next(epoch, &table));
        committee.map(|committee| Some(Arc::new(committee))).ok_or(BuildError::NoCommittee)
    }

    fn pick_readies(
        &self,
        draft: &Draft,
        opened: &ChainState,
        listed: Option<&Committee>,
        stakes: &dyn StakeTable,
    ) -> Vec<Signed<Ready>> {
        let epoch = self.epoch_of_next();
        let staked = stakes.stakes(epoch.next().next(), &draft.l1_anchor).unwrap_or_default();
        let next = listed.or_else(|| self.committee(epoch.next()).map(Arc::as_ref));
        let fits = |ready: &&Signed<Ready>| {
            let signer = &ready.signer;
            ready.statement.epoch == epoch
                && opened.ready.binary_search(signer).is_err()
                && next.is_some_and(|next| !next.contains(signer))
                && staked.iter().any(|member| member.address == *signer && member.stake.0 > 0)
        };
        let mut readies: Vec<Signed<Ready>> = draft.readies.iter().filter(fits).cloned().collect();
        readies.sort_by_key(|ready| ready.signer);
        readies.dedup_by_key(|ready| ready.signer);
        readies.truncate(MAX_READIES.min(MAX_COMMITTEE.saturating_sub(opened.ready.len())));
        readies
    }

    /// The part of the wanted cut that moves lanes and fits the caps: batch by batch in the order in which the block will be
    /// read, a lane ending where its next batch does not fit.
    fn fit(
        &self,
        wanted: &[CutEntry],
        opened: &ChainState,
        batches: &dyn Batches,
    ) -> Result<(Vec<Span>, Vec<Vec<VerifiedBatch>>), BuildError> {
        let mut entries: Vec<CutEntry> = wanted.to_vec();
        entries.sort_unstable();
        entries.dedup_by_key(|entry| entry.lane);
        let open = |entry: &&CutEntry| {
            opened.tips_of(entry.lane.epoch).is_some_and(|tips| entry.lane.author.position() < tips.len())
        };
        let spans: Vec<Span> =
            entries.iter().filter(open).map(|entry| Span::new(entry, opened.tip(entry.lane))).collect();
        let spans: Vec<Span> = spans.into_iter().filter(|span| span.len() > 0).collect();
        let lanes = match self.read(&spans, batches) {
            Ok(lanes) => lanes,
            Err(Unread::Missing(ranges)) => return Err(BuildError::Missing(ranges)),
            Err(Unread::Invalid(invalid)) => return Err(invalid.into()),
        };
        let taken = self.take_what_fits(&lanes);
        let cut = spans.into_iter().zip(lanes).zip(taken).filter_map(|((span, mut lane), taken)| {
            lane.truncate(taken);
            let to = lane.last()?.tip();
            Some((Span { to, ..span }, lane))
        });
        Ok(cut.unzip())
    }

    /// How many batches of each lane fit.
    fn take_what_fits(&self, lanes: &[Vec<VerifiedBatch>]) -> Vec<usize> {
        let mut taken = vec![0; lanes.len()];
        let mut left_bytes = u64::from(self.params.max_block_bytes);
        let mut left_transactions = u64::from(self.params.max_block_transactions);
        let mut left_batches = MAX_BLOCK_BATCHES;
        let numbered = lanes.iter().enumerate().map(|(lane, chain)| chain.iter().map(|batch| (lane, batch)).collect());
        let mut ended = vec![false; lanes.len()];
        for (lane, batch) in super::interleave::interleave(self.height().next().0, numbered.collect()) {
            let (bytes, count) = (u64::from(batch.header().bytes), u64::from(batch.header().count));
            if ended[lane] || bytes > left_bytes || count > left_transactions || left_batches == 0 {
                ended[lane] = true;
                continue;
            }
            left_bytes -= bytes;
            left_transactions -= count;
            left_batches -= 1;
            taken[lane] += 1;
        }
        taken
    }
}
