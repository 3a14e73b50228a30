//! Retrievable: what a batch certificate covers is held by more honest operators than can be lost.

use super::{Held, Known, Observed, holds};
use squad_sequencer::Output;
use squad_types::{LaneId, Sequence, Stake};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Retrievable {
    checked: BTreeMap<LaneId, Sequence>,
}

impl Retrievable {
    /// A certificate has over two thirds of stake, of which at most a third lies: over a third of stake holds the batch, on
    /// disks that have not been lost. Each certificate's signers must be among them, or be known to have forgotten.
    pub(super) fn observe(&mut self, observed: &Observed<'_>, known: &Known) -> Held {
        let Output::Secured { batch, certificate } = observed.output else { return Ok(()) };
        let lane = certificate.lane;
        let Some(committee) = known.committees.get(&lane.epoch) else { return Ok(()) };
        let known_before = self.checked.insert(lane, batch.header().sequence);
        if known_before.is_some_and(|before| before >= batch.header().sequence) {
            return Ok(());
        }
        let mut stake = 0_u64;
        for proof in &certificate.acks {
            let Some(member) = committee.get(proof.validator) else { continue };
            if !known.is_honest(&member.address) {
                continue;
            }
            let mut nodes = observed
                .nodes
                .iter()
                .filter(|node| node.config.signer.as_ref().is_some_and(|signer| signer.address() == member.address));
            let held = nodes.any(|node| node.disk.holds(lane, batch.tip()));
            let excused = known.forgetful.contains(&member.address);
            holds!(
                held || excused,
                "retrievable",
                "{} acknowledged {} of lane {lane} and does not have it on its disk",
                member.address,
                batch.header().sequence
            );
            stake += member.stake.0;
        }
        let byzantine: u64 = committee
            .members()
            .iter()
            .filter(|member| !known.is_honest(&member.address))
            .map(|member| member.stake.0)
            .sum();
        let tolerable = !committee.is_honest_threshold(Stake(byzantine));
        holds!(
            !tolerable || committee.is_honest_threshold(Stake(stake)),
            "retrievable",
            "a certificate of lane {lane} stands on {stake} of {} honest stake",
            committee.total()
        );
        Ok(())
    }
}
