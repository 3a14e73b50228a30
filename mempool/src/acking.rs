//! Acknowledging: what this node says it holds, and what others say.

use crate::acks::{Acks, News, Taken};
use crate::contradiction;
use crate::lane::Lane;
use crate::mempool::{AckNews, Mempool};
use crate::outcome::{AckDue, AckFault, AckOutcome};
use squad_types::{Ack, AckEntries, AckMessage, Epoch, LaneId, Signer, Timestamp, Tip, ValidatorIndex, Verified};
use std::borrow::Cow;

impl Mempool {
    fn ack_vector(&self, epoch: Epoch) -> Option<Vec<Option<Tip>>> {
        let acks = self.acks.get(&epoch)?;
        acks.me()?;
        Some(self.lanes.of(epoch)?.iter().map(Lane::ackable).collect())
    }

    /// Whether an ack has something new to say, and when it may leave.
    pub fn ack_due(&mut self, now: Timestamp) -> AckDue {
        match self.ack_news {
            AckNews::None => return AckDue::Never,
            AckNews::At(at) if at > now => return AckDue::At(at),
            AckNews::At(_) | AckNews::Unknown => {}
        }
        let epochs: Vec<Epoch> = self.acks.keys().copied().collect();
        let mut earliest: Option<Timestamp> = None;
        for epoch in epochs {
            let Some(vector) = self.ack_vector(epoch) else { continue };
            let Some(acks) = self.acks.get(&epoch) else { continue };
            let said = acks.own().is_some_and(|own| *own.tips == *vector);
            let nothing = acks.own().is_none() && vector.iter().all(Option::is_none);
            if said || nothing {
                continue;
            }
            let at = acks.sent_at.map_or(Timestamp::ZERO, |sent| sent.plus(self.config.params.ack_interval_ms.into()));
            if at <= now {
                return AckDue::Now(epoch);
            }
            earliest = Some(earliest.map_or(at, |known| known.min(at)));
        }
        self.ack_news = earliest.map_or(AckNews::None, AckNews::At);
        earliest.map_or(AckDue::Never, AckDue::At)
    }

    /// Signs the newest vector of an epoch. The caller makes it, and what it covers, durable before it leaves.
    pub fn make_ack(&mut self, now: Timestamp, epoch: Epoch, signer: &dyn Signer) -> Option<AckMessage> {
        let vector = self.ack_vector(epoch)?;
        for (at, tip) in vector.iter().enumerate() {
            let id = LaneId { epoch, author: ValidatorIndex(at as u16) };
            if let (Some(lane), Some(tip)) = (self.lanes.get_mut(id), tip) {
                lane.acked = lane.acked.max(Some(*tip));
            }
        }
        let domain = self.config.domain;
        let acks = self.acks.get_mut(&epoch)?;
        let (message, news) = acks.sign(vector, now, &domain, signer)?;
        let me = acks.me()?;
        self.note_news(epoch, me, &news);
        Some(message)
    }

    /// One's own newest ack of an epoch, with its whole vector.
    pub fn full_ack(&self, epoch: Epoch) -> Option<AckMessage> {
        self.acks.get(&epoch)?.full()
    }

    /// One's own newest acks of the epochs in force.
    pub fn full_acks(&self) -> Vec<AckMessage> {
        self.acks.values().filter_map(Acks::full).collect()
    }

    /// The tips that the own newest ack of an epoch names.
    pub fn own_ack_tips(&self, epoch: Epoch) -> &[Option<Tip>] {
        self.acks.get(&epoch).and_then(Acks::own).map_or(&[], |own| &own.tips)
    }

    /// Takes in a peer's ack.
    pub fn on_ack(&mut self, ack: Verified<Ack>, entries: AckEntries) -> AckOutcome {
        let (signer, epoch) = (ack.signer, ack.statement.epoch);
        let Some(acks) = self.acks.get_mut(&epoch) else { return AckOutcome::Stale };
        let Some(validator) = acks.committee.index_of(&signer) else { return AckOutcome::Refused(AckFault::Stranger) };
        if acks.me() == Some(validator) {
            return AckOutcome::Stale;
        }
        let news = match acks.take(validator, ack, entries) {
            Taken::News(news) => news,
            Taken::Stale => return AckOutcome::Stale,
            Taken::NeedFull => return AckOutcome::NeedFull,
            Taken::Malformed => return AckOutcome::Refused(AckFault::Vector),
        };
        let evidence = contradiction::found(self, epoch, validator, &news).map(Box::new);
        let mut unknown = Vec::new();
        for author in &news.changed {
            let id = LaneId { epoch, author: *author };
            let tip = self.acks.get(&epoch).and_then(|acks| acks.vector(validator)?.tip(*author));
            let Some((lane, tip)) = self.lanes.get(id).zip(tip) else { continue };
            if !lane.holds(tip) {
                unknown.push((id, tip));
            }
        }
        self.note_news(epoch, validator, &news);
        AckOutcome::Advanced { unknown, evidence }
    }

    /// Counts what a validator's newest ack says, in the lanes whose entries changed or where something older counts for it.
    pub(crate) fn note_news(&mut self, epoch: Epoch, validator: ValidatorIndex, news: &News) {
        let Some(acks) = self.acks.get(&epoch) else { return };
        let Some(vector) = acks.vector(validator) else { return };
        let stake = acks.committee.stake(validator);
        let (mut moved, mut loose) = (Vec::new(), Vec::new());
        for author in lanes_to_look_at(acks, validator, news).iter().copied() {
            let id = LaneId { epoch, author };
            let Some(lane) = self.lanes.get_mut(id) else { continue };
            let tip = vector.tip(author);
            if let Some(before) = news.before.as_ref().filter(|before| before.tip(author) != tip) {
                lane.hold_older(validator.position(), before);
            }
            if let Some(tip) = tip.filter(|tip| lane.note(validator.position(), stake, *tip)) {
                moved.push((id, tip));
            }
            if lane.reached_by(validator.position()).is_some_and(|reached| Some(reached.tip) != tip) {
                loose.push(author);
            }
        }
        if let Some(acks) = self.acks.get_mut(&epoch) {
            acks.set_loose(validator, loose);
        }
        for (id, tip) in moved {
            // What lies at or below what a quorum acknowledges changes nothing, but where a fork leaves several chains.
            let below =
                self.lanes.get(id).and_then(|lane| lane.reach.certified).is_some_and(|at| tip.sequence <= at.sequence);
            if !below || self.lanes.get(id).is_some_and(|lane| lane.fork.is_some()) {
                self.touch(id);
            }
        }
    }

    /// Whether prevoting a cut with this tip would contradict an own ack: the two lie on different chains, and no certificate
    /// shows that the network holds this one.
    pub fn contradicts_own_ack(&self, lane: LaneId, tip: Tip) -> bool {
        let Some(state) = self.lanes.get(lane) else { return false };
        let Some(acked) = state.acked else { return false };
        let one_chain = acked == tip || state.covers(acked, tip) || state.covers(tip, acked);
        !one_chain && !self.knows_certificate(lane, tip)
    }
}

/// Lanes in which an ack may change what counts for its signer, ascending: all others stand as they did.
pub(crate) fn lanes_to_look_at<'a>(
    acks: &Acks,
    validator: ValidatorIndex,
    news: &'a News,
) -> Cow<'a, [ValidatorIndex]> {
    let loose = acks.loose(validator);
    if loose.is_empty() {
        return Cow::Borrowed(&news.changed);
    }
    let mut lanes = [&news.changed, loose].concat();
    lanes.sort_unstable();
    lanes.dedup();
    Cow::Owned(lanes)
}
