//! A trusted committee: what everything offline is checked against.

use serde::{Deserialize, Serialize};
use squad_types::{
    CertificateError, CommitCertificate, Committee, CommitteeError, CommitteeProof, Digest, Domain, EcdsaVerifier,
    Epoch, Genesis, Header, HeaderHash, Height, NetworkId, PROTOCOL_VERSION, Timestamp, codec_struct,
};

/// How long a committee may be trusted after it was last known to be bonded: half of the stake's exit delay.
///
/// Later its members may have withdrawn their stake, and whoever holds their old keys could sign another history for free.
pub const TRUSTING_PERIOD_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// How far ahead of the reader's clock a trusted committee's time may lie: clocks differ, and headers may run ahead a little.
pub const CLOCK_SLACK_MS: u64 = 60_000;

/// Why a committee is not, or no longer, trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Too long ago.
    #[error(
        "the trusted committee of epoch {epoch} was last known at {as_of} ms, {days} days ago, and is trusted for 7: get a newer one from somebody you trust"
    )]
    Stale {
        /// Its epoch.
        epoch: Epoch,
        /// When it was last known.
        as_of: Timestamp,
        /// How long ago, in whole days.
        days: u64,
    },
    /// Later than now.
    #[error(
        "the trusted committee of epoch {epoch} is of {as_of} ms, which lies ahead of this clock ({now} ms): set the clock, or get another committee"
    )]
    Future {
        /// Its epoch.
        epoch: Epoch,
        /// Its time.
        as_of: Timestamp,
        /// This clock.
        now: Timestamp,
    },
    /// Not the pinned one.
    #[error("the committee hashes to {found}, the pinned one to {pinned}: do not use it")]
    Pin {
        /// Expected.
        pinned: Digest,
        /// Found.
        found: Digest,
    },
    /// Nothing shows the pinned committee's members.
    #[error(
        "no proof is given for the pinned committee of epoch {0}: begin with the one that an operator gives for epoch {0}"
    )]
    NoProof(Epoch),
    /// Text that is no trusted committee.
    #[error("this is no trusted committee: {0}")]
    Json(String),
    /// Not a committee.
    #[error("the members are no committee: {0}")]
    Members(#[from] CommitteeError),
    /// Of another network.
    #[error("the committee proof is of network {found}, not {expected}")]
    Network {
        /// Trusted.
        expected: NetworkId,
        /// Found.
        found: NetworkId,
    },
    /// Of a protocol that is not known here.
    #[error("the committee proof is of protocol version {0}, {PROTOCOL_VERSION} is known here: update this program")]
    Version(u16),
    /// Not the next one.
    #[error(
        "the committee proof starts from epoch {found}, the committee of epoch {expected} is trusted: follow every epoch in turn"
    )]
    Epoch {
        /// Trusted.
        expected: Epoch,
        /// Found.
        found: Epoch,
    },
    /// The header names another committee than the trusted one.
    #[error("the header is decided by committee {found}, the trusted one of its epoch is {expected}")]
    Committee {
        /// Trusted.
        expected: Digest,
        /// Found.
        found: Digest,
    },
    /// The certificate is for another header.
    #[error("the commit certificate is for block {certified} at height {height}, the header hashes to {found}")]
    Header {
        /// Certified.
        certified: HeaderHash,
        /// The certificate's height.
        height: Height,
        /// The header's hash.
        found: HeaderHash,
    },
    /// The certificate does not hold.
    #[error("commit certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The members are not those that the header commits to.
    #[error("the members hash to {found}, the header commits to {committed}")]
    NextCommittee {
        /// The header's.
        committed: Digest,
        /// Found.
        found: Digest,
    },
}

/// A committee that the reader trusts, with the time at which it was last known to be bonded.
///
/// Where the first one comes from is the reader's business: the genesis, somebody's word, or a hash that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedCommittee {
    network_id: NetworkId,
    as_of: Timestamp,
    committee: Committee,
}

codec_struct!(TrustedCommittee { network_id, as_of, committee });

/// A trusted committee named by its hash alone: short enough to be published, compiled into a bridge, or read out.
///
/// Its members come from anywhere, and are believed only if they hash to it: see
/// [`CommitteeFollower::from_pin`](crate::CommitteeFollower::from_pin).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The network.
    pub network_id: NetworkId,
    /// The epoch that the committee votes in.
    pub epoch: Epoch,
    /// What headers call the committee: [`TrustedCommittee::hash`].
    pub committee_hash: Digest,
    /// When its stake was last known to be bonded, in milliseconds since the Unix epoch. The pin is of use for
    /// [`TRUSTING_PERIOD_MS`] from there on.
    pub as_of: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    network_id: NetworkId,
    as_of: Timestamp,
    committee_hash: Digest,
    committee: Committee,
}

impl TrustedCommittee {
    /// Trusts a committee as of a time.
    pub fn new(network_id: NetworkId, committee: Committee, as_of: Timestamp) -> Self {
        Self { network_id, as_of, committee }
    }

    /// Trusts the first committee of a network, as of its start.
    ///
    /// # Errors
    /// [`TrustError::Members`] if the genesis names no committee.
    pub fn from_genesis(genesis: &Genesis) -> Result<Self, TrustError> {
        Ok(Self::new(genesis.network_id(), genesis.committee()?, genesis.time))
    }

    /// Reads the JSON form: `{"network_id", "as_of", "committee_hash", "committee": {"epoch", "members"}}`.
    ///
    /// # Errors
    /// [`TrustError::Json`] for anything else, [`TrustError::Pin`] if the members do not hash to `committee_hash`.
    pub fn from_json(text: &str) -> Result<Self, TrustError> {
        let form: Form = serde_json::from_str(text).map_err(|error| TrustError::Json(error.to_string()))?;
        Self::new(form.network_id, form.committee, form.as_of).pinned(form.committee_hash)
    }

    /// The JSON form.
    pub fn to_json(&self) -> String {
        let form = Form {
            network_id: self.network_id,
            as_of: self.as_of,
            committee_hash: self.hash(),
            committee: self.committee.clone(),
        };
        // Maps with string keys and no fallible field: serialisation has nothing to fail on.
        serde_json::to_string_pretty(&form).unwrap_or_default()
    }

    /// Passes this committee on only if it hashes to `pin`, which the reader has from a place it trusts.
    ///
    /// # Errors
    /// [`TrustError::Pin`] otherwise.
    pub fn pinned(self, pin: Digest) -> Result<Self, TrustError> {
        let found = self.hash();
        if found == pin { Ok(self) } else { Err(TrustError::Pin { pinned: pin, found }) }
    }

    /// Passes this committee on only if it is the one that `pin` names, as of the pin's time.
    ///
    /// # Errors
    /// [`TrustError::Network`], [`TrustError::Epoch`] or [`TrustError::Pin`] if it is another one.
    pub fn pinned_by(self, pin: &Pin) -> Result<Self, TrustError> {
        let (expected, found) = (pin.network_id, self.network_id);
        if found != expected {
            return Err(TrustError::Network { expected, found });
        }
        let (expected, found) = (pin.epoch, self.epoch());
        if found != expected {
            return Err(TrustError::Epoch { expected, found });
        }
        Self { as_of: pin.as_of, ..self }.pinned(pin.committee_hash)
    }

    /// Its short form, to be published or kept.
    pub fn pin(&self) -> Pin {
        Pin { network_id: self.network_id, epoch: self.epoch(), committee_hash: self.hash(), as_of: self.as_of }
    }

    /// Trusts the members that a proof lists, if they are the pinned committee. What the proof says beyond its members
    /// (header, certificate) is not needed for that and not looked at.
    ///
    /// # Errors
    /// [`TrustError::Network`], [`TrustError::Epoch`], [`TrustError::Members`] or [`TrustError::Pin`] if they are not.
    pub fn from_pin(pin: &Pin, proof: &CommitteeProof) -> Result<Self, TrustError> {
        let committee = Committee::new(proof.header.epoch.next(), proof.members.clone())?;
        Self::new(proof.header.network_id, committee, pin.as_of).pinned_by(pin)
    }

    /// The network.
    pub const fn network_id(&self) -> NetworkId {
        self.network_id
    }

    /// The members.
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// When it was last known to be bonded.
    pub const fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// The epoch it votes in.
    pub const fn epoch(&self) -> Epoch {
        self.committee.epoch()
    }

    /// What headers and pins call it.
    pub fn hash(&self) -> Digest {
        self.committee.hash()
    }

    /// Whether it may be trusted at `now`.
    ///
    /// # Errors
    /// [`TrustError::Stale`] or [`TrustError::Future`].
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), TrustError> {
        let (epoch, as_of) = (self.epoch(), self.as_of);
        if as_of.since(now) > CLOCK_SLACK_MS {
            return Err(TrustError::Future { epoch, as_of, now });
        }
        let age = now.since(as_of);
        if age > TRUSTING_PERIOD_MS {
            return Err(TrustError::Stale { epoch, as_of, days: age / 86_400_000 });
        }
        Ok(())
    }

    /// Moves on to the committee of the next epoch. On an error nothing has changed.
    ///
    /// # Errors
    /// [`TrustError`] naming what does not hold; [`TrustError::Stale`] if this committee may not be trusted at `now` any more.
    pub fn follow(&mut self, proof: &CommitteeProof, now: Timestamp) -> Result<(), TrustError> {
        self.check_fresh(now)?;
        let next = self.successor(proof)?;
        if next.as_of.since(now) > CLOCK_SLACK_MS {
            return Err(TrustError::Future { epoch: next.epoch(), as_of: next.as_of, now });
        }
        *self = next;
        Ok(())
    }

    /// The committee that a proof shows to come next. Does not ask whether this one is fresh.
    pub(crate) fn successor(&self, proof: &CommitteeProof) -> Result<Self, TrustError> {
        self.check_header(&proof.header, &proof.certificate)?;
        self.listed(&proof.header, proof.members.clone())
    }

    /// The committee of the epoch after a checked header's, from the list in its block.
    pub(crate) fn listed(&self, header: &Header, members: Vec<squad_types::Member>) -> Result<Self, TrustError> {
        let committee = Committee::new(header.epoch.next(), members)?;
        let (found, committed) = (committee.hash(), header.next_committee_hash);
        if found != committed {
            return Err(TrustError::NextCommittee { committed, found });
        }
        Ok(Self { network_id: self.network_id, as_of: header.timestamp, committee })
    }

    /// That this committee decided on exactly this header.
    pub(crate) fn check_header(&self, header: &Header, certificate: &CommitCertificate) -> Result<(), TrustError> {
        if header.network_id != self.network_id {
            return Err(TrustError::Network { expected: self.network_id, found: header.network_id });
        }
        if header.version != PROTOCOL_VERSION {
            return Err(TrustError::Version(header.version));
        }
        if header.epoch != self.epoch() {
            return Err(TrustError::Epoch { expected: self.epoch(), found: header.epoch });
        }
        let expected = self.hash();
        if header.committee_hash != expected {
            return Err(TrustError::Committee { expected, found: header.committee_hash });
        }
        certificate.verify(&Domain::new(self.network_id), &self.committee, &EcdsaVerifier)?;
        let found = header.hash();
        if certificate.block != found || certificate.height != header.height {
            return Err(TrustError::Header { certified: certificate.block, height: certificate.height, found });
        }
        Ok(())
    }
}
