//! After a crash: the slots from the log, then its entries through the core again, in order, silently.
//!
//! What the log proves durable was published or would have been allowed to be, so nothing replayed is published but the
//! last own statements, which peers may not have got. A statement that the crash kept from the log was never published
//! either: its slot is free, and replay signs it as if for the first time (logged first).

use crate::consensus::{Config, Consensus, Error};
use crate::context::{At, Value, Who, mal_round, mal_round_opt};
use crate::convert::{mal_polka, mal_proposal, mal_vote};
use crate::log::LogEntry;
use crate::output::Output;
use crate::running::{Running, Tools, judge, mal_timeout};
use arc_malachitebft_core_consensus::{Input as Core, ProposedValue};
use arc_malachitebft_core_types as mal;
use squad_types::{Height, Verified, VoteKind};
use std::sync::Arc;

impl Consensus {
    /// A node with a past: `entries` are the log's, in order, at least those from the last `Started` on.
    ///
    /// The entries of the height that was under way are replayed when it is begun again and signing is allowed. Until then,
    /// and at heights below it, the node only follows.
    pub fn recover(config: Config, entries: impl IntoIterator<Item = LogEntry>) -> Self {
        let mut consensus = Self::new(config);
        let mut kept: Vec<LogEntry> = Vec::new();
        for entry in entries {
            if let LogEntry::Started(started) = &entry {
                // Echoes hold their slots whatever was begun after them.
                let is_echo = |entry: &LogEntry| matches!(entry, LogEntry::EchoedVote(_) | LogEntry::EchoedProposal(_));
                kept.retain(|earlier| is_echo(earlier) && earlier.height() >= started.height);
                consensus.floor = started.height;
            }
            kept.push(entry);
        }
        let mine = consensus.config.address;
        for entry in kept.iter().filter(|entry| entry.height() >= consensus.floor) {
            let slots = &mut consensus.shared.slots;
            match entry {
                LogEntry::Vote(vote) if vote.signer == mine => {
                    slots.restore_vote(Verified::from_own_log(vote.clone()), false);
                }
                LogEntry::Proposal(proposal) if proposal.signer == mine => {
                    slots.restore_proposal(Verified::from_own_log(proposal.clone()), false);
                }
                LogEntry::EchoedVote(vote) => {
                    slots.restore_vote(Verified::from_own_log(vote.clone()), true);
                }
                LogEntry::EchoedProposal(proposal) => {
                    slots.restore_proposal(Verified::from_own_log(proposal.clone()), true);
                }
                _ => {}
            }
        }
        consensus.recovered = kept;
        consensus
    }
}

impl Running {
    /// Takes the height up where its log ends.
    pub(crate) fn replay(&mut self, entries: &[LogEntry], tools: &mut Tools<'_>) {
        self.desk.replaying = true;
        self.with_engine(tools, |engine, effects| {
            engine.start(effects);
            engine.begin_replay();
        });
        let height = self.height();
        for entry in entries.iter().filter(|entry| entry.height() == height) {
            self.replay_entry(entry, tools);
        }
        self.with_engine(tools, |engine, _| engine.end_replay());
        self.desk.replaying = false;
        if !self.desk.decided && self.desk.fault.is_none() {
            self.resume(tools);
        }
    }

    fn replay_entry(&mut self, entry: &LogEntry, tools: &mut Tools<'_>) {
        let height = self.height();
        let here = |running: &Self, block| match running.desk.gate.block(&block) {
            Some(_) => Ok(()),
            None => Err(Error::BlockNotLogged { height, block }),
        };
        let fed = match entry {
            LogEntry::Started(_) | LogEntry::EchoedVote(_) | LogEntry::EchoedProposal(_) => None,
            LogEntry::Block(block) => {
                self.desk.gate.logged_block(block);
                None
            }
            LogEntry::Proposal(proposal) => Some(here(self, proposal.statement.block).map(|()| {
                self.desk.gate.fed_proposal(&Verified::from_own_log(proposal.clone()));
                Core::Proposal(mal_proposal(proposal, &self.desk.committee))
            })),
            LogEntry::Vote(vote) => {
                let vote = Verified::from_own_log(Arc::clone(vote));
                Some(Ok(Core::Vote(mal_vote(&vote, &self.desk.committee))))
            }
            LogEntry::Ruling(ruling) => Some(here(self, ruling.block).map(|()| {
                self.desk.gate.logged_ruling(ruling.block, ruling.valid);
                let value = ProposedValue {
                    height: At(height),
                    round: mal_round(ruling.round),
                    valid_round: mal_round_opt(ruling.valid_round),
                    proposer: Who::of(&ruling.proposer, &self.desk.committee),
                    value: Value(ruling.block),
                    validity: mal::Validity::from_bool(ruling.valid),
                };
                Core::ProposedValue(value, mal::ValueOrigin::Consensus)
            })),
            LogEntry::Polka(certificate) => {
                mal_polka(certificate, &self.desk.committee).map(|polka| Ok(Core::PolkaCertificate(polka)))
            }
            LogEntry::Elapsed(elapsed) => {
                let timeout = mal::Timeout::new(mal_round(elapsed.round), mal_timeout(elapsed.kind));
                Some(Ok(Core::TimeoutElapsed(timeout)))
            }
        };
        match fed {
            Some(Ok(input)) => self.feed(input, tools),
            Some(Err(error)) => self.desk.fault = Some(error),
            None => {}
        }
    }

    /// Says what the replay kept silent about and still holds.
    fn resume(&mut self, tools: &mut Tools<'_>) {
        let (height, round) = (self.height(), self.round());
        let proposer = self.start().committee.get(self.start().proposers.proposer(round)).map(|member| member.address);
        tools.out.extend(proposer.map(|proposer| Output::RoundStarted { height, round, proposer }));
        let timers: Vec<_> = tools.shared.timers.running().collect();
        for token in timers {
            let after = tools.config.timeouts.duration(token.kind, token.round);
            tools.out.push(Output::Schedule { token, after });
        }
        self.publish_last_statements(height, tools);
        for (message, fresh) in self.desk.gate.unjudged() {
            tools.out.push(judge(&message, fresh));
        }
        if self.desk.building == Some(round) && tools.shared.slots.held_proposal(height, round).is_none() {
            tools.out.push(Output::BuildValue { height, round });
        } else {
            self.desk.building = None;
        }
    }

    fn publish_last_statements(&self, height: Height, tools: &mut Tools<'_>) {
        let highest = tools.shared.slots.highest().clone();
        if let Some(proposal) = highest.proposal.filter(|proposal| proposal.statement.height == height) {
            self.publish_own_proposal(proposal.statement.round, tools);
        }
        for vote in [highest.prevote, highest.precommit].into_iter().flatten() {
            let (round, kind): (_, VoteKind) = (vote.statement.round, vote.statement.kind);
            let held = tools.shared.slots.held_vote(height, round, kind).filter(|_| vote.statement.height == height);
            let again =
                held.map(|(vote, covers_fresh)| Output::PublishVote { vote: vote.clone(), covers_fresh, again: true });
            tools.out.extend(again);
        }
    }
}
