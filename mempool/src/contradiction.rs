//! Acks that contradict one another: two that cover different batches at one place of a lane.

use crate::acks::Vector;
use crate::lane::{Lane, Reached, parent};
use crate::mempool::Mempool;
use squad_types::{AckPair, Evidence, ValidatorIndex};

/// Evidence that an ack contradicts an earlier one of the same validator, if the headers that it takes are held here.
///
/// Each entry is compared with the one before it, and with the highest held one: an entry that was emptied in between changes nothing.
pub(crate) fn found(
    mempool: &Mempool,
    validator: ValidatorIndex,
    before: Option<&Vector>,
    after: &Vector,
) -> Option<Evidence> {
    let epoch = after.ack.statement.epoch;
    mempool.lanes_of(epoch).zip(&after.tips).enumerate().find_map(|(at, ((_, lane), new))| {
        let new = (*new)?;
        let old = before.filter(|before| before.tips.get(at).copied().flatten().is_some_and(|old| old != new));
        let held: Option<&Reached> = lane.reached.get(validator.position())?.as_ref();
        let held = held.filter(|held| held.tip != new).map(|held| &*held.vector);
        [old, held].into_iter().flatten().find_map(|old| between(lane, validator, old, after))
    })
}

fn between(lane: &Lane, validator: ValidatorIndex, one: &Vector, other: &Vector) -> Option<Evidence> {
    let tip = |vector: &Vector| vector.tips.get(lane.id.author.position()).copied().flatten();
    let (one_tip, other_tip) = (tip(one)?, tip(other)?);
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
