//! Acks that contradict one another: two that cover different batches at one place of a lane.

use crate::acking::lanes_to_look_at;
use crate::acks::{News, Vector};
use crate::lane::{Lane, parent};
use crate::mempool::Mempool;
use squad_types::{AckPair, Epoch, Evidence, LaneId, ValidatorIndex};

/// Evidence that a validator's newest ack contradicts an earlier one, if the headers that it takes are held here.
///
/// Each entry is compared with the one before it, and with the highest held one: an entry that was emptied in between changes nothing.
pub(crate) fn found(mempool: &Mempool, epoch: Epoch, validator: ValidatorIndex, news: &News) -> Option<Evidence> {
    let acks = mempool.acks.get(&epoch)?;
    let after = acks.vector(validator)?;
    let before = news.before.as_deref();
    lanes_to_look_at(acks, validator, news).iter().copied().find_map(|author| {
        let lane = mempool.lanes.get(LaneId { epoch, author })?;
        let new = after.tip(author)?;
        let old = before.filter(|before| before.tip(author).is_some_and(|old| old != new));
        let held = lane.reached_by(validator.position()).filter(|held| held.tip != new);
        // What counts is said by an older ack, or by the one just before.
        let held = held.and_then(|held| held.older.as_deref().or(before));
        [old, held].into_iter().flatten().find_map(|old| between(lane, validator, old, after))
    })
}

fn between(lane: &Lane, validator: ValidatorIndex, one: &Vector, other: &Vector) -> Option<Evidence> {
    let (one_tip, other_tip) = (one.tip(lane.id.author)?, other.tip(lane.id.author)?);
    let ((lower, lower_tip), (higher, higher_tip)) = if one_tip.sequence <= other_tip.sequence {
        ((one, one_tip), (other, other_tip))
    } else {
        ((other, other_tip), (one, one_tip))
    };
    // In an unforked lane, two held tips are on one chain.
    if lane.fork.is_none() && lane.holds(lower_tip) && lane.holds(higher_tip) {
        return None;
    }
    // Walks down from the higher tip to the lower one's place.
    let mut chain = vec![lane.find(higher_tip)?];
    let mut at = higher_tip;
    while at.sequence > lower_tip.sequence {
        at = parent(lane.find(at)?.header())?;
        chain.extend(lane.find(at).filter(|_| at.sequence >= lower_tip.sequence));
    }
    // The header at the lower tip's place has to be at hand, and another one than the lower ack names.
    if at == lower_tip || chain.last().map(|batch| batch.tip()) != Some(at) {
        return None;
    }
    let headers = chain.iter().rev().map(|batch| batch.signed_header().clone()).collect();
    let lower = lower.prove(validator, lane.id.author)?;
    let higher = higher.prove(validator, lane.id.author)?;
    Some(Evidence::Acks(AckPair { lower, higher, lane: lane.id.author, headers }))
}
