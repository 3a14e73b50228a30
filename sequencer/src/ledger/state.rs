//! The state after a block: a function of the state before and of what the block's hash commits to.

use super::turns::{self, Proposers};
use super::{Ledger, chain_time};
use squad_types::limits::{MAX_CHAIN_TIME_STEP_MS, SIGNERS_LAG};
use squad_types::{Bitmap, ChainState, Committee, CutEntry, Epoch, Header, Height, Ready, Signed};
use std::borrow::Cow;

/// Origin rounds that the choice of proposers does not count yet: those of the last two heights.
const RECENT_ROUNDS: usize = 2;

/// The state before the first block.
pub(super) fn at_genesis(committee: &Committee) -> ChainState {
    let mut state = ChainState { epoch_start: Height(1), ..ChainState::default() };
    clear_for(&mut state, committee);
    state
}

fn clear_for(state: &mut ChainState, committee: &Committee) {
    state.tips = vec![None; committee.len()];
    state.named_by = vec![Bitmap::default(); committee.len()];
    state.failed_turns = vec![0; committee.len()];
    state.ready.clear();
    state.recent_rounds.clear();
}

/// Whether the block after `tip` is the first of another epoch: enough heights and enough chain time have passed.
pub(super) fn epoch_ends(state: &ChainState, tip: Height, heights: u32, chain_time: u32) -> bool {
    tip.next().0.saturating_sub(state.epoch_start.0) >= u64::from(heights)
        && state.chain_time.since(state.epoch_start_time) >= u64::from(chain_time)
}

/// The fewest blocks that follow `tip` in its epoch. A block adds at most a second of chain time.
pub(super) fn heights_left(state: &ChainState, tip: Height, heights: u32, chain_time: u32) -> u64 {
    let by_height = (state.epoch_start.0 + u64::from(heights)).saturating_sub(tip.next().0);
    let time_left = u64::from(chain_time).saturating_sub(state.chain_time.since(state.epoch_start_time));
    by_height.max(time_left.div_ceil(MAX_CHAIN_TIME_STEP_MS))
}

/// The fewest blocks of a whole epoch: its chain time counts from its first block.
pub(super) fn fewest_heights(heights: u32, chain_time: u32) -> u64 {
    u64::from(heights).max(1 + u64::from(chain_time).div_ceil(MAX_CHAIN_TIME_STEP_MS))
}

impl Ledger {
    /// The fewest heights, the next one included, that can still order batches in an epoch's lanes.
    pub fn heights_left(&self, epoch: Epoch) -> u64 {
        let (heights, ms) = (self.params.epoch_heights, self.params.epoch_ms);
        let whole = fewest_heights(heights, ms);
        let this = if self.opens_epoch() { whole } else { heights_left(&self.state, self.height(), heights, ms) };
        let next = self.epoch_of_next();
        if epoch == next {
            this + whole
        } else if epoch.next() == next {
            this
        } else {
            0
        }
    }

    /// The state in which the next block's cut is read: a new epoch's lanes are open, the oldest ones gone.
    pub(super) fn opened_state(&self) -> Cow<'_, ChainState> {
        let Some(committee) = self.committee(self.epoch_of_next()).filter(|_| self.epoch_ends()) else {
            return Cow::Borrowed(&self.state);
        };
        let mut state = ChainState::clone(&self.state);
        state.previous_tips = std::mem::take(&mut state.tips);
        state.epoch = committee.epoch();
        state.epoch_start = self.height().next();
        clear_for(&mut state, committee);
        Cow::Owned(state)
    }

    /// The state after a block of the next height. `None` if its cut names a lane that is not open.
    pub(super) fn state_after(
        &self,
        header: &Header,
        cut: &[CutEntry],
        readies: &[Signed<Ready>],
        proposers: Proposers,
    ) -> Option<ChainState> {
        let committee = self.committee(self.epoch_of_next())?;
        let mut state = self.opened_state().into_owned();
        state.chain_time = chain_time::after(state.chain_time, self.tip_time(), header.timestamp);
        if self.opens_epoch() {
            state.epoch_start_time = state.chain_time;
        }
        if !cut.iter().all(|entry| state.set_tip(*entry)) {
            return None;
        }
        for ready in readies {
            if let Err(at) = state.ready.binary_search(&ready.signer) {
                state.ready.insert(at, ready.signer);
            }
        }
        note_signers(&mut state, committee, header);
        turns::record(&mut state.failed_turns, committee, header.origin_round, proposers);
        state.recent_rounds.push(header.origin_round);
        if state.recent_rounds.len() > RECENT_ROUNDS {
            state.recent_rounds.remove(0);
        }
        Some(state)
    }

    /// The height and epoch whose precommits a header at `height` lists, if there is one.
    pub(super) fn signers_listed_at(&self, height: Height) -> Option<(Height, Epoch)> {
        let listed = Height(height.0.checked_sub(SIGNERS_LAG)?);
        let epoch = if listed >= self.state.epoch_start { self.state.epoch } else { self.state.epoch.previous()? };
        (listed > Height::ZERO).then_some((listed, epoch))
    }
}

/// Only signers of this epoch's heights count: places in another committee would mean somebody else.
fn note_signers(state: &mut ChainState, committee: &Committee, header: &Header) {
    let listed = header.height.minus(SIGNERS_LAG);
    let Some(proposer) = committee.index_of(&header.proposer) else { return };
    if listed >= state.epoch_start {
        for named in header.signers.iter() {
            if let Some(by) = state.named_by.get_mut(named.position()) {
                by.insert(proposer);
            }
        }
    }
}
