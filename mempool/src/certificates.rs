//! Certificates: how far each lane is secured and available, and the proofs of it.

use crate::availability;
use crate::mempool::Mempool;
use squad_types::{Address, BatchCertificate, BatchPair, LaneId, Tip, VerifiedBatch};

impl Mempool {
    /// Computes again how far a lane is acknowledged.
    pub(crate) fn touch(&mut self, id: LaneId) {
        let (Some(lane), Some(acks)) = (self.lanes.get_mut(id), self.acks.get(&id.epoch)) else { return };
        lane.reach = availability::reach(lane, &acks.committee);
        self.own_moved |= Some(lane.author) == self.config.me;
        // Over two thirds are over one third as well.
        if lane.reach.available.is_some() {
            self.within_reach.insert(id);
        } else {
            self.within_reach.remove(&id);
        }
        if lane.held().next().is_some() {
            self.with_batches.insert(id);
        } else {
            self.with_batches.remove(&id);
        }
    }

    /// The highest batch of a lane, above the ordered tip and held, that a quorum acknowledges.
    pub fn certified(&self, lane: LaneId) -> Option<Tip> {
        let learned = self.due.learned.get(&lane).and_then(BatchCertificate::tip);
        let lane = self.lanes.get(lane)?;
        lane.reach.certified.max(learned.filter(|tip| lane.find(*tip).is_some()))
    }

    /// The highest batch of a lane, above the ordered tip and held, that somebody honest holds: over a third acknowledges it.
    pub fn available(&self, lane: LaneId) -> Option<Tip> {
        self.lanes.get(lane).and_then(|lane| lane.reach.available).max(self.certified(lane))
    }

    /// Whether over a third of stake beside `without` acknowledges a tip.
    pub fn is_available_without(&self, lane: LaneId, tip: Tip, without: &Address) -> bool {
        let (Some(state), Some(acks)) = (self.lanes.get(lane), self.acks.get(&lane.epoch)) else { return false };
        let without = acks.committee.index_of(without);
        acks.committee.is_honest_threshold(availability::stake_above(state, &acks.committee, tip, without))
    }

    /// Whether a certificate is known that covers a tip.
    pub fn knows_certificate(&self, lane: LaneId, tip: Tip) -> bool {
        let Some(state) = self.lanes.get(lane) else { return false };
        self.certified(lane).is_some_and(|certified| state.covers(certified, tip))
            || self.due.learned.get(&lane).and_then(BatchCertificate::tip) == Some(tip)
    }

    /// The certificate of a held batch, from the acks known or from one that was learned; none while no quorum covers it.
    pub fn certificate(&self, lane: LaneId, tip: Tip) -> Option<BatchCertificate> {
        let (state, acks) = (self.lanes.get(lane)?, self.acks.get(&lane.epoch)?);
        let learned = || availability::extend_down(state, self.due.learned.get(&lane)?, tip);
        availability::certificate(state, acks, tip).or_else(learned)
    }

    /// Takes in a certificate that was checked. Returns forks that it shows.
    pub fn on_certificate(&mut self, certificate: BatchCertificate) -> Vec<BatchPair> {
        let Some(tip) = certificate.tip() else { return Vec::new() };
        let id = certificate.lane;
        let Some(lane) = self.lanes.get_mut(id) else { return Vec::new() };
        if lane.ordered.is_some_and(|ordered| ordered.sequence >= tip.sequence) {
            return Vec::new();
        }
        let rivals = certificate.headers.iter().filter_map(|signed| {
            let mut known = lane.held_at(signed.statement.sequence);
            let rival = known.find(|batch| batch.id() != signed.statement.id())?;
            Some(BatchPair { first: rival.signed_header().clone(), second: signed.clone() })
        });
        let forks: Vec<BatchPair> = if lane.fork.is_none() { rivals.take(1).collect() } else { Vec::new() };
        lane.pinned = lane.pinned.max(Some(tip));
        self.due.learn(certificate);
        self.touch(id);
        forks
    }

    /// Own batches that became certified since the last call, with their certificates.
    pub fn newly_secured(&mut self) -> Vec<(VerifiedBatch, BatchCertificate)> {
        let mut secured = Vec::new();
        if !std::mem::take(&mut self.own_moved) {
            return secured;
        }
        let own: Vec<LaneId> =
            self.acks.values().filter_map(|a| Some(LaneId { epoch: a.committee.epoch(), author: a.me()? })).collect();
        for id in own {
            let Some(certified) = self.certified(id) else { continue };
            let from = self.reported.get(&id.epoch).copied();
            if from.is_some_and(|from| certified.sequence <= from) {
                continue;
            }
            let Some(lane) = self.lanes.get(id) else { continue };
            let news = lane.held().filter(|batch| {
                let at = batch.header().sequence;
                from.is_none_or(|from| at > from) && at <= certified.sequence && lane.covers(certified, batch.tip())
            });
            for batch in news {
                if let Some(certificate) = self.certificate(id, batch.tip()) {
                    secured.push((batch.clone(), certificate));
                }
            }
            self.reported.insert(id.epoch, certified.sequence);
        }
        secured
    }
}
