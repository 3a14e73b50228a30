//! Exactly once: which transactions were ordered lately.

use squad_types::codec::{Decode, DecodeError, Encode, Reader};
use squad_types::hash::IdSet;
use squad_types::{ChainState, CutEntry, Epoch, Height, LaneId, Timestamp, Tip, TxId};
use std::collections::{BTreeMap, VecDeque};

/// Where a window begins: what is needed to read its blocks again from one's own store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowBase {
    /// The first height in the window.
    pub from: Height,
    /// Chain time at the block before it, which is the last whose transactions are not remembered; none if it starts at genesis.
    pub blind_until: Option<Timestamp>,
    /// The ordered tips of lanes before that height, by lane.
    pub tips: BTreeMap<LaneId, Tip>,
}

impl Encode for WindowBase {
    fn encode(&self, out: &mut Vec<u8>) {
        self.from.encode(out);
        self.blind_until.encode(out);
        let entries: Vec<CutEntry> = self.tips.iter().map(|(lane, tip)| CutEntry { lane: *lane, tip: *tip }).collect();
        entries.encode(out);
    }
}

impl Decode for WindowBase {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (from, blind_until) = (Height::decode(reader)?, Option::decode(reader)?);
        let entries = Vec::<CutEntry>::decode(reader)?;
        if entries.windows(2).any(|pair| pair[0].lane >= pair[1].lane) {
            return Err(DecodeError::Malformed("window base: lanes out of order"));
        }
        Ok(Self { from, blind_until, tips: entries.into_iter().map(|entry| (entry.lane, entry.tip)).collect() })
    }
}

impl WindowBase {
    /// A window that begins after `height`, whose state is `state`.
    pub(super) fn after(height: Height, state: &ChainState) -> Self {
        let epochs = [state.epoch.previous(), Some(state.epoch)].into_iter().flatten();
        let entries = epochs.flat_map(|epoch| {
            let tips = state.tips_of(epoch).unwrap_or_default().iter().enumerate();
            tips.filter_map(move |(at, tip)| {
                let author = squad_types::ValidatorIndex(at as u16);
                Some((LaneId { epoch, author }, (*tip)?))
            })
        });
        let blind_until = (height > Height::ZERO).then_some(state.chain_time);
        Self { from: height.next(), blind_until, tips: entries.collect() }
    }

    /// Moves on past a block.
    pub(super) fn pass(&mut self, height: Height, epoch: Epoch, chain_time: Timestamp, cut: &[CutEntry]) {
        self.from = height.next();
        self.blind_until = Some(chain_time);
        self.tips.extend(cut.iter().map(|entry| (entry.lane, entry.tip)));
        self.tips.retain(|lane, _| lane.epoch.next() >= epoch);
    }
}

/// What the window keeps of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WindowBlock {
    pub(super) height: Height,
    pub(super) epoch: Epoch,
    pub(super) chain_time: Timestamp,
    pub(super) cut: Vec<CutEntry>,
    pub(super) ids: Vec<TxId>,
}

/// The ids ordered in the last `span` of chain time. Kept in memory only and rebuilt from blocks.
///
/// Keys leave by chain time and never to make room: its size is bounded by the transactions of that span.
#[derive(Clone, Debug)]
pub(super) struct Window {
    span: u64,
    ids: IdSet,
    blocks: VecDeque<WindowBlock>,
    base: WindowBase,
}

impl Window {
    /// An empty window of `span` milliseconds that begins at `base`.
    pub(super) fn new(span: u64, base: WindowBase) -> Self {
        Self { span, ids: IdSet::default(), blocks: VecDeque::new(), base }
    }

    /// Whether a transaction was ordered in the span.
    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.ids.contains(id)
    }

    /// Whether it holds what a window that started at genesis would hold after a block at chain time `now`.
    pub(super) fn is_complete(&self, now: Timestamp) -> bool {
        self.base.blind_until.is_none_or(|blind| blind.plus(self.span) < now)
    }

    /// Takes in a block and forgets those over a span below it. So a block is judged by the window as of its parent.
    pub(super) fn push(&mut self, block: WindowBlock) {
        while self.blocks.front().is_some_and(|old| old.chain_time.plus(self.span) < block.chain_time) {
            if let Some(gone) = self.blocks.pop_front() {
                for id in &gone.ids {
                    self.ids.remove(id);
                }
                self.base.pass(gone.height, gone.epoch, gone.chain_time, &gone.cut);
            }
        }
        self.ids.extend(block.ids.iter().copied());
        self.blocks.push_back(block);
    }

    /// Where it begins.
    pub(super) fn base(&self) -> &WindowBase {
        &self.base
    }

    /// How many ids it holds.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Equal if both remember the same transactions of the same blocks.
impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && self.blocks == other.blocks && self.base == other.base
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{BatchId, Sequence, ValidatorIndex};

    fn window(blind_until: Option<Timestamp>) -> Window {
        Window::new(100, WindowBase { from: Height(1), blind_until, tips: BTreeMap::new() })
    }

    fn block(height: u64, chain_time: u64, id: u8) -> WindowBlock {
        let lane = LaneId { epoch: Epoch(0), author: ValidatorIndex(0) };
        let cut = vec![CutEntry { lane, tip: Tip { sequence: Sequence(height), batch: BatchId::ZERO } }];
        let (height, chain_time) = (Height(height), Timestamp(chain_time));
        WindowBlock { height, epoch: Epoch(0), chain_time, cut, ids: vec![TxId([id; 32])] }
    }

    #[test]
    fn an_id_stays_for_its_span_of_chain_time_and_then_goes() {
        let mut window = window(None);
        window.push(block(1, 10, 1));
        window.push(block(2, 110, 2));
        assert!(window.contains(&TxId([1; 32])) && window.contains(&TxId([2; 32])));
        assert_eq!(window.base().from, Height(1));
        window.push(block(3, 111, 3));
        assert!(!window.contains(&TxId([1; 32])) && window.contains(&TxId([2; 32])));
        assert_eq!((window.len(), window.base().from), (2, Height(2)));
        let tips: Vec<Sequence> = window.base().tips.values().map(|tip| tip.sequence).collect();
        assert_eq!(tips, [Sequence(1)], "the base has moved past the first block");
        assert_eq!(WindowBase::from_bytes(window.base().to_bytes()).as_ref(), Ok(window.base()));
    }

    #[test]
    fn a_window_that_starts_late_is_complete_once_its_blind_past_has_run_out() {
        assert!(window(None).is_complete(Timestamp(0)));
        assert!(!window(Some(Timestamp(50))).is_complete(Timestamp(150)));
        assert!(window(Some(Timestamp(50))).is_complete(Timestamp(151)));
    }
}
