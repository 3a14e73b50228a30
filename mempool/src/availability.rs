//! Availability: how far a lane is held, by the weight of acks that cover it.

use crate::acks::Acks;
use crate::lane::{Lane, Reach};
use squad_types::limits::MAX_HEADER_CHAIN;
use squad_types::{BatchCertificate, Committee, Stake, Tip, ValidatorIndex};

/// What validators acknowledge in a lane, as far as it is held here: place, tip and weight.
fn acknowledged<'a>(
    lane: &'a Lane,
    committee: &'a Committee,
) -> impl Iterator<Item = (ValidatorIndex, Tip, Stake)> + 'a {
    lane.reached.iter().enumerate().filter_map(|(at, reached)| {
        let validator = ValidatorIndex(at as u16);
        Some((validator, reached.as_ref()?.tip, committee.stake(validator)))
    })
}

/// The highest batch that over a third of stake acknowledges, and the highest that a quorum does, in a form that a
/// certificate can have: all of its acks on one chain.
pub(crate) fn reach(lane: &Lane, committee: &Committee) -> Reach {
    if lane.fork.is_some() {
        let certified = highest_on_a_line(lane, committee, |stake| committee.is_quorum(stake));
        let available = highest_on_a_line(lane, committee, |stake| committee.is_honest_threshold(stake));
        return Reach { certified, available };
    }
    let (available, certified) = committee.reached_in_order(lane.weights().iter().rev().copied());
    Reach { certified, available }
}

/// In a forked lane: the highest acknowledged tip that acks of enough weight cover, all of them on one chain.
fn highest_on_a_line(lane: &Lane, committee: &Committee, enough: impl Fn(Stake) -> bool) -> Option<Tip> {
    let acks: Vec<_> = acknowledged(lane, committee).collect();
    let on_line = |top: Tip, of: Tip| {
        let covering = acks.iter().filter(|(_, tip, _)| lane.covers(top, *tip) && lane.covers(*tip, of));
        Stake(covering.map(|(_, _, stake)| stake.0).sum())
    };
    let candidates = acks.iter().map(|(_, of, _)| *of);
    candidates.filter(|of| acks.iter().any(|(_, top, _)| enough(on_line(*top, *of)))).max()
}

/// The weight of acks that cover a tip, of all validators but one.
pub(crate) fn stake_above(lane: &Lane, committee: &Committee, tip: Tip, without: Option<ValidatorIndex>) -> Stake {
    let covering = acknowledged(lane, committee)
        .filter(|(validator, acked, _)| Some(*validator) != without && lane.covers(*acked, tip));
    Stake(covering.map(|(_, _, stake)| stake.0).sum())
}

/// The certificate of a held batch: acks of a quorum, those with the lowest tips first so that the chain of headers is short.
pub(crate) fn certificate(lane: &Lane, acks: &Acks, of: Tip) -> Option<BatchCertificate> {
    let committee = &*acks.committee;
    let mut covering: Vec<(Tip, ValidatorIndex, Stake)> = acknowledged(lane, committee)
        .filter(|(_, tip, _)| lane.covers(*tip, of))
        .map(|(validator, tip, stake)| (tip, validator, stake))
        .collect();
    covering.sort_unstable();
    let (mut chosen, top) = covering.iter().find_map(|(top, ..)| {
        let (mut stake, mut chosen) = (0_u64, Vec::new());
        for (_, validator, weight) in covering.iter().filter(|(tip, ..)| lane.covers(*top, *tip)) {
            stake += weight.0;
            chosen.push(*validator);
            if committee.is_quorum(Stake(stake)) {
                return Some((chosen, *top));
            }
        }
        None
    })?;
    chosen.sort_unstable();
    let mut headers = vec![lane.find(of)?.signed_header().clone()];
    headers.extend(lane.chain(Some(of), top)?.iter().map(|batch| batch.signed_header().clone()));
    let proof = |validator: ValidatorIndex| match &lane.reached_by(validator.position())?.older {
        Some(older) => older.prove(validator, lane.id.author),
        None => acks.prove(validator, lane.id.author),
    };
    let acks = chosen.into_iter().map(proof).collect::<Option<Vec<_>>>()?;
    (headers.len() <= MAX_HEADER_CHAIN).then_some(BatchCertificate { lane: lane.id, headers, acks })
}

/// The certificate of a batch under one that was certified: the same acks under a longer chain of headers.
pub(crate) fn extend_down(lane: &Lane, known: &BatchCertificate, of: Tip) -> Option<BatchCertificate> {
    let tip = known.tip()?;
    if tip == of {
        return Some(known.clone());
    }
    if !lane.covers(tip, of) {
        return None;
    }
    let mut headers = vec![lane.find(of)?.signed_header().clone()];
    headers.extend(lane.chain(Some(of), tip)?.iter().map(|batch| batch.signed_header().clone()));
    headers.extend(known.headers.iter().skip(1).cloned());
    (headers.len() <= MAX_HEADER_CHAIN).then(|| BatchCertificate {
        lane: known.lane,
        headers,
        acks: known.acks.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::Promptness;
    use crate::limits::LaneLimits;
    use squad_types::{
        Address, BatchHeader, BatchId, Domain, Epoch, KeyedHashSigner, LaneId, Member, NetworkId, Params, Payload,
        Sequence, Verified, VerifiedBatch,
    };

    fn batch(sequence: u64, parent: BatchId) -> VerifiedBatch {
        let (operator, payload) = (Address([1; 20]), Payload::pack(Vec::new()));
        let header = BatchHeader {
            operator,
            epoch: Epoch(0),
            sequence: Sequence(sequence),
            parent,
            payload: payload.digest(),
            transactions_root: payload.root(),
            count: 0,
            bytes: payload.bytes().len() as u32,
        };
        let signed = Verified::sign(header, &Domain::new(NetworkId([1; 32])), &KeyedHashSigner(operator));
        VerifiedBatch::assemble(signed.into_signed(), payload)
    }

    #[test]
    fn weights_by_tip_reach_as_far_as_all_members_looked_at_one_by_one() {
        let members = (0..7).map(|at| Member { address: Address([at; 20]), stake: Stake(1 + u64::from(at) * 3) });
        let committee = Committee::new(Epoch(0), members.collect()).unwrap();
        let id = LaneId { epoch: Epoch(0), author: ValidatorIndex(1) };
        let limits = LaneLimits::new(&Params::default(), 7);
        let mut lane = Lane::new(id, Address([1; 20]), 7, limits, Promptness::default());
        let mut tips: Vec<Tip> = Vec::new();
        for sequence in 0..6 {
            let next = batch(sequence, tips.last().map_or(BatchId::ZERO, |tip| tip.batch));
            tips.push(next.tip());
            lane.insert(next);
        }
        let check = |lane: &Lane| {
            let each = acknowledged(lane, &committee).map(|(_, tip, stake)| (tip, stake)).collect();
            let reach = reach(lane, &committee);
            assert_eq!((reach.available, reach.certified), committee.reached(each));
            reach
        };
        // Members go on by steps of their own; some say what they said before, and one says something lower.
        for step in 0..42 {
            let (member, at) = (step * 5 % 7, (step / 7 + step % 3).min(5));
            lane.note(member, committee.stake(ValidatorIndex(member as u16)), tips[at]);
            check(&lane);
        }
        assert_eq!(check(&lane).certified, Some(tips[5]));
        lane.set_ordered(tips[5]);
        assert_eq!(check(&lane).available, None);
        assert!(lane.weights().is_empty() && lane.reached_by(3).is_none());
    }
}
