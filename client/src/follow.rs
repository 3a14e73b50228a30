//! Following committees from one epoch to the next.

use crate::trust::{Pin, TrustError, TrustedCommittee};
use squad_types::{CommitteeProof, Epoch, Genesis, NetworkId, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;

/// Committees that a follower keeps: confirmations of the last few epochs stay checkable without asking anybody.
pub const KEPT_COMMITTEES: usize = 8;

/// Follows committees over epochs, each one vouched for by the one before.
///
/// Guarantees that every committee it names was certified by over two thirds of its predecessor's stake, back to the
/// one it was started with. It knows no clock: ask [`TrustedCommittee::check_fresh`] before starting from an old one.
#[derive(Clone, Debug)]
pub struct CommitteeFollower {
    /// Of consecutive epochs, ascending; never empty.
    known: VecDeque<Arc<TrustedCommittee>>,
}

impl CommitteeFollower {
    /// Follows from the network's first committee.
    ///
    /// # Errors
    /// [`TrustError::Members`] if the genesis names no committee.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, TrustError> {
        TrustedCommittee::from_genesis(genesis).map(Self::from_trusted)
    }

    /// Follows from a committee that the reader trusts.
    pub fn from_trusted(trusted: TrustedCommittee) -> Self {
        Self { known: VecDeque::from([Arc::new(trusted)]) }
    }

    /// Follows from a pinned committee along proofs of consecutive epochs, as operators give them: the first for the
    /// pinned epoch, which is believed if its members hash to the pin, the others each vouched for by the one before.
    ///
    /// The first epoch's committee stands in the genesis and has no proof: for a pin of epoch 0, use
    /// [`TrustedCommittee::from_genesis`] and [`TrustedCommittee::pinned`].
    ///
    /// # Errors
    /// [`TrustError::Stale`] or [`TrustError::Future`] if the pin may not be trusted at `now`, [`TrustError::NoProof`]
    /// without any proof, and otherwise what does not hold.
    pub fn from_pin<'a>(
        pin: &Pin,
        proofs: impl IntoIterator<Item = &'a CommitteeProof>,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let mut proofs = proofs.into_iter();
        let first = TrustedCommittee::from_pin(pin, proofs.next().ok_or(TrustError::NoProof(pin.epoch))?)?;
        first.check_fresh(now)?;
        let mut follower = Self::from_trusted(first);
        proofs.try_for_each(|proof| follower.follow(proof))?;
        Ok(follower)
    }

    /// The network.
    pub fn network_id(&self) -> NetworkId {
        self.newest().network_id()
    }

    /// The committee of the highest epoch known.
    pub fn newest(&self) -> &TrustedCommittee {
        // Never empty: made with one, and only trimmed above KEPT_COMMITTEES.
        &self.known[self.known.len() - 1]
    }

    /// The committee of an epoch; none if it is not known yet or no longer kept.
    pub fn committee(&self, epoch: Epoch) -> Option<&TrustedCommittee> {
        self.shared(epoch).map(Arc::as_ref)
    }

    pub(crate) fn shared(&self, epoch: Epoch) -> Option<&Arc<TrustedCommittee>> {
        let oldest = self.known.front()?.epoch();
        self.known.get(usize::try_from(epoch.0.checked_sub(oldest.0)?).ok()?)
    }

    /// Takes in the proof of the committee after one that is known. One that is known already is checked and changes nothing.
    ///
    /// # Errors
    /// [`TrustError`] naming what does not hold.
    pub fn follow(&mut self, proof: &CommitteeProof) -> Result<(), TrustError> {
        let (epoch, newest) = (proof.header.epoch, self.newest().epoch());
        let from = self.committee(epoch).ok_or(TrustError::Epoch { expected: newest, found: epoch })?.clone();
        self.add(from.successor(proof)?)
    }

    /// Adds a checked committee of the epoch after the newest, or compares it with the one that is known.
    pub(crate) fn add(&mut self, next: TrustedCommittee) -> Result<(), TrustError> {
        if let Some(known) = self.committee(next.epoch()) {
            let (committed, found) = (known.hash(), next.hash());
            return if committed == found { Ok(()) } else { Err(TrustError::NextCommittee { committed, found }) };
        }
        self.known.push_back(Arc::new(next));
        if self.known.len() > KEPT_COMMITTEES {
            self.known.pop_front();
        }
        Ok(())
    }
}
