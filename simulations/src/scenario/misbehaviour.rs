//! Who misbehaves, and how.

use super::is_default;
use serde::{Deserialize, Serialize};

/// Ways to misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BehaviourName {
    /// Says nothing.
    Silent,
    /// Two blocks in one round.
    EquivocatingProposer,
    /// A block and nil.
    EquivocatingVoter,
    /// Two batches at one place. Strength: which sequence.
    LaneForker,
    /// Own batches to few. Strength: every which peer gets them.
    WithholdBatches,
    /// Votes and proposals to few. Strength: every which peer gets them.
    WithholdVotes,
    /// Everything to few. Strength: every which peer gets it.
    SelectiveSender,
    /// Everything late. Strength: milliseconds.
    Delayer,
    /// Leaves a lane out. Strength: whose.
    Censor,
    /// Forgets its lock.
    LockIgnorer,
    /// Votes nil.
    Naysayer,
    /// Keeps acks and certificates back. Strength: milliseconds.
    CertificateHoarder,
    /// Repeats others.
    Replayer,
    /// Repeats itself and votes far ahead. Strength: how often.
    Spammer,
    /// Two acks under one counter.
    TwoTonguedAcker,
    /// Acks of batches that do not exist.
    Fabulist,
    /// Blocks that break the rules.
    MalformingProposer,
    /// Signatures and quorums that are none.
    Forger,
    /// Own batches to the next proposer at once and to all others late. Strength: milliseconds.
    Baiter,
}

impl BehaviourName {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Silent,
        Self::EquivocatingProposer,
        Self::EquivocatingVoter,
        Self::LaneForker,
        Self::WithholdBatches,
        Self::WithholdVotes,
        Self::SelectiveSender,
        Self::Delayer,
        Self::Censor,
        Self::LockIgnorer,
        Self::Naysayer,
        Self::CertificateHoarder,
        Self::Replayer,
        Self::Spammer,
        Self::TwoTonguedAcker,
        Self::Fabulist,
        Self::MalformingProposer,
        Self::Forger,
        Self::Baiter,
    ];

    /// Its name in scenarios.
    pub fn name(self) -> String {
        let text = serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned));
        text.unwrap_or_default()
    }
}

/// A node that misbehaves for a while.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByzantineSpec {
    /// Which.
    pub node: usize,
    /// How.
    pub behaviour: BehaviourName,
    /// What the behaviour takes: see its name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub strength: u64,
    /// From when on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from_ms: u64,
    /// Until when; for ever if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}
