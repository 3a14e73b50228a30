//! Timers: how long each step waits, and the tokens that tell a live timer from a stale one.

use squad_types::{Height, Params, Round};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeoutKind {
    /// How long a round waits for its proposal.
    Propose,
    /// How long a round waits for more prevotes once a quorum of any has been seen.
    Prevote,
    /// How long a round waits for more precommits once a quorum of any has been seen.
    Precommit,
    /// When the own statements of a round are sent again.
    Rebroadcast,
}

/// Names one timer. The core hands it out with `Output::Schedule` and takes it back with `Input::Timeout`; a token of a
/// timer that was cancelled or replaced since is ignored, so whoever keeps the timers may fire late or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeoutToken {
    /// The height that it was set at.
    pub height: Height,
    /// The round that it was set in.
    pub round: Round,
    /// What it is for.
    pub kind: TimeoutKind,
    /// Counts every timer ever set, because malachite's own timeouts carry no height.
    pub generation: u64,
}

/// How long the steps of round 0 wait, and how much more each later round waits, so that a slow network catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeoutConfig {
    /// Wait for a proposal in round 0.
    pub propose: Duration,
    /// Added per round.
    pub propose_step: Duration,
    /// Wait for prevotes in round 0.
    pub prevote: Duration,
    /// Added per round.
    pub prevote_step: Duration,
    /// Wait for precommits in round 0.
    pub precommit: Duration,
    /// Added per round.
    pub precommit_step: Duration,
    /// Time between sending the own statements again.
    pub rebroadcast: Duration,
    /// No wait is longer than this.
    pub max: Duration,
}

impl Default for TimeoutConfig {
    /// For validators that are up to about 300 ms apart.
    fn default() -> Self {
        Self {
            propose: Duration::from_millis(1_000),
            propose_step: Duration::from_millis(500),
            prevote: Duration::from_millis(500),
            prevote_step: Duration::from_millis(250),
            precommit: Duration::from_millis(500),
            precommit_step: Duration::from_millis(250),
            rebroadcast: Duration::from_millis(1_000),
            max: Duration::from_secs(30),
        }
    }
}

impl From<&Params> for TimeoutConfig {
    fn from(params: &Params) -> Self {
        let milliseconds = |value: u32| Duration::from_millis(value.into());
        let (vote, step) = (milliseconds(params.vote_timeout_ms), milliseconds(params.timeout_step_ms));
        Self {
            propose: milliseconds(params.propose_timeout_ms),
            propose_step: step,
            prevote: vote,
            prevote_step: step,
            precommit: vote,
            precommit_step: step,
            ..Self::default()
        }
    }
}

impl TimeoutConfig {
    /// How long a timer of `kind` waits in `round`: linear in the round, at most `max`.
    pub fn duration(&self, kind: TimeoutKind, round: Round) -> Duration {
        let (first, step) = match kind {
            TimeoutKind::Propose => (self.propose, self.propose_step),
            TimeoutKind::Prevote => (self.prevote, self.prevote_step),
            TimeoutKind::Precommit => (self.precommit, self.precommit_step),
            TimeoutKind::Rebroadcast => (self.rebroadcast, self.prevote_step),
        };
        first.saturating_add(step.saturating_mul(round.0)).min(self.max)
    }
}

/// The timers that are running: at most one of each kind.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    generation: u64,
    running: BTreeMap<TimeoutKind, TimeoutToken>,
}

impl Timers {
    /// Sets a timer, in place of an earlier one of its kind.
    pub(crate) fn schedule(&mut self, height: Height, round: Round, kind: TimeoutKind) -> TimeoutToken {
        self.generation += 1;
        let token = TimeoutToken { height, round, kind, generation: self.generation };
        self.running.insert(kind, token);
        token
    }

    /// Stops the timer of `kind` if it was set in `round`.
    pub(crate) fn cancel(&mut self, round: Round, kind: TimeoutKind) -> Option<TimeoutToken> {
        match self.running.get(&kind) {
            Some(token) if token.round == round => self.running.remove(&kind),
            _ => None,
        }
    }

    /// Stops all timers.
    pub(crate) fn cancel_all(&mut self) -> Vec<TimeoutToken> {
        std::mem::take(&mut self.running).into_values().collect()
    }

    /// Takes a timer that has run out; false for a stale token.
    pub(crate) fn take(&mut self, token: TimeoutToken) -> bool {
        if self.running.get(&token.kind) != Some(&token) {
            return false;
        }
        self.running.remove(&token.kind);
        true
    }

    /// The timers that are running.
    pub(crate) fn running(&self) -> impl Iterator<Item = TimeoutToken> + '_ {
        self.running.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_the_round_up_to_the_maximum() {
        let config = TimeoutConfig::default();
        assert_eq!(config.duration(TimeoutKind::Propose, Round(0)), config.propose);
        assert_eq!(config.duration(TimeoutKind::Propose, Round(2)), config.propose + config.propose_step * 2);
        assert_eq!(config.duration(TimeoutKind::Precommit, Round(u32::MAX)), config.max);
    }

    #[test]
    fn only_the_newest_token_of_a_kind_counts_and_only_once() {
        let mut timers = Timers::default();
        let old = timers.schedule(Height(1), Round(0), TimeoutKind::Rebroadcast);
        let new = timers.schedule(Height(1), Round(0), TimeoutKind::Rebroadcast);
        assert!(!timers.take(old));
        assert!(timers.take(new));
        assert!(!timers.take(new));
        let propose = timers.schedule(Height(1), Round(0), TimeoutKind::Propose);
        assert_eq!(timers.cancel(Round(1), TimeoutKind::Propose), None);
        assert_eq!(timers.cancel(Round(0), TimeoutKind::Propose), Some(propose));
        assert!(!timers.take(propose));
    }
}
