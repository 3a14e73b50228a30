//! Acks that contradict one another: two that cover different batches at one place of a lane.

use crate::acks::{Acks, Vector};
use crate::mempool::Mempool;
use squad_types::{AckPair, Evidence, LaneId, Tip, ValidatorIndex};

/// Evidence from two vectors of one validator, if the headers that it takes are held here.
pub(crate) fn between(
    mempool: &Mempool,
    validator: ValidatorIndex,
    before: &Vector,
    after: &Vector,
) -> Option<Evidence> {
    let epoch = after.ack.statement.epoch;
    before.tips.iter().zip(&after.tips).enumerate().find_map(|(at, (old, new))| {
        let lane = ValidatorIndex(at as u16);
        let (old, new) = ((*old)?, (*new)?);
        let (lower, lower_tip, higher, higher_tip) =
            if old.sequence <= new.sequence { (before, old, after, new) } else { (after, new, before, old) };
        let state = mempool.lanes.get(&LaneId { epoch, author: lane })?;
        // Walks down from the higher tip to the lower one's place.
        let mut headers = Vec::new();
        let mut at = higher_tip;
        loop {
            let batch = state.find(at)?;
            headers.push(batch.signed_header().clone());
            if at.sequence == lower_tip.sequence {
                break;
            }
            at = Tip { sequence: at.sequence.previous()?, batch: batch.header().parent };
        }
        if at == lower_tip {
            return None;
        }
        headers.reverse();
        let lower = Acks::prove_from(lower, validator, lane)?;
        let higher = Acks::prove_from(higher, validator, lane)?;
        Some(Evidence::Acks(AckPair { lower, higher, lane, headers }))
    })
}
