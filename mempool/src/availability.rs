//! Availability: how far a lane is held, by the weight of acks that cover it.

use crate::acks::Acks;
use crate::lane::Lane;
use squad_types::{BatchCertificate, Stake, Tip, ValidatorIndex};

/// The highest batch that a weight of acks covers, by `enough`.
pub(crate) fn reached(lane: &Lane, acks: &Acks, enough: impl Fn(Stake) -> bool) -> Option<Tip> {
    // Only tips whose chain is held here can be compared; the others are being fetched.
    let tips: Vec<(ValidatorIndex, Tip, Stake)> =
        acks.tips_of(lane.id.author).filter(|(_, tip, _)| lane.holds(*tip)).collect();
    let mut distinct: Vec<Tip> = tips.iter().map(|(_, tip, _)| *tip).collect();
    distinct.sort_unstable();
    distinct.dedup();
    distinct.into_iter().rev().find(|candidate| {
        let stake = tips.iter().filter(|(_, tip, _)| lane.covers(*tip, *candidate)).map(|(_, _, stake)| stake.0).sum();
        enough(Stake(stake))
    })
}

/// The weight of acks that cover a tip, of all validators but one.
pub(crate) fn stake_above(lane: &Lane, acks: &Acks, tip: Tip, without: Option<ValidatorIndex>) -> Stake {
    let covering = acks.tips_of(lane.id.author).filter(|(validator, acked, _)| {
        Some(*validator) != without && (*acked == tip || (lane.holds(*acked) && lane.covers(*acked, tip)))
    });
    Stake(covering.map(|(_, _, stake)| stake.0).sum())
}

/// The certificate of a held batch: acks of a quorum, those with the lowest tips first so that the chain of headers is short.
pub(crate) fn certificate(lane: &Lane, acks: &Acks, of: Tip) -> Option<BatchCertificate> {
    let mut covering: Vec<(Tip, ValidatorIndex, Stake)> = acks
        .tips_of(lane.id.author)
        .filter(|(_, tip, _)| lane.find(*tip).is_some() && lane.covers(*tip, of))
        .map(|(validator, tip, stake)| (tip, validator, stake))
        .collect();
    covering.sort_unstable();
    let (mut stake, mut chosen, mut top) = (0_u64, Vec::new(), of);
    for (tip, validator, weight) in covering {
        stake += weight.0;
        chosen.push(validator);
        top = tip;
        if acks.committee.is_quorum(Stake(stake)) {
            break;
        }
    }
    if !acks.committee.is_quorum(Stake(stake)) {
        return None;
    }
    chosen.sort_unstable();
    let first = lane.find(of)?;
    let mut headers = vec![first.signed_header().clone()];
    headers.extend(lane.chain(Some(of), top)?.iter().map(|batch| batch.signed_header().clone()));
    let acks = chosen.into_iter().map(|validator| acks.prove(validator, lane.id.author)).collect::<Option<Vec<_>>>()?;
    Some(BatchCertificate { lane: lane.id, headers, acks })
}
