//! Judging proposals: hard rules by the ledger, soft rules here, and what is missing is fetched.

use crate::fetch::{Haste, Want};
use crate::input::Peer;
use crate::ledger::{Batches, Execution, Judgement, Proposers};
use crate::output::{Notice, Output};
use crate::sequencer::{Outputs, Sequencer};
use crate::timers::Timer;
use squad_consensus::{Input as Agree, Verdict};
use squad_mempool::Mempool;
use squad_types::{
    Address, HeaderHash, Height, LaneId, ProposalRef, ProposedBlock, Round, Tip, VerifiedBatch, VerifiedProposal,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The batches that this node holds, as the ledger asks for them.
pub(crate) struct Held<'a>(pub(crate) &'a Mempool);

impl Batches for Held<'_> {
    fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        self.0.chain(lane, above, to)
    }
}

/// A judgement that agreement waits for, or that may still change.
#[derive(Clone, Debug)]
struct Open {
    block: Arc<ProposedBlock>,
    proposer: Address,
    fresh: bool,
    refused: bool,
}

/// Judgements of the height under way.
#[derive(Debug, Default)]
pub(crate) struct Judgements {
    executions: BTreeMap<HeaderHash, Arc<Execution>>,
    proposals: BTreeMap<ProposalRef, VerifiedProposal>,
    open: BTreeMap<(Round, HeaderHash), Open>,
}

/// Proposals kept of one height, for peers that miss them: one a round, and some of equivocators.
const MAX_PROPOSALS: usize = 256;

impl Judgements {
    pub(crate) fn keep_execution(&mut self, block: HeaderHash, execution: Execution) {
        self.executions.insert(block, Arc::new(execution));
    }

    pub(crate) fn take_execution(&mut self, block: &HeaderHash) -> Option<Arc<Execution>> {
        self.executions.remove(block)
    }

    pub(crate) fn keep_proposal(&mut self, key: ProposalRef, proposal: VerifiedProposal) {
        if self.proposals.len() < MAX_PROPOSALS {
            self.proposals.insert(key, proposal);
        }
    }

    pub(crate) fn proposal(&self, key: &ProposalRef) -> Option<&VerifiedProposal> {
        self.proposals.get(key)
    }

    /// All proposals that are kept, by round.
    pub(crate) fn proposals(&self) -> impl Iterator<Item = (&ProposalRef, &VerifiedProposal)> {
        self.proposals.iter()
    }

    /// Proposals of an operator at this height.
    pub(crate) fn proposals_of(&self, operator: Address) -> impl Iterator<Item = &VerifiedProposal> {
        self.proposals.values().filter(move |proposal| proposal.proposal().signer == operator)
    }

    /// A block of this height that was judged or is being judged.
    pub(crate) fn block(&self, hash: &HeaderHash) -> Option<&Arc<ProposedBlock>> {
        self.proposals.values().map(VerifiedProposal::block).find(|block| block.hash() == *hash)
    }

    pub(crate) fn clear(&mut self, height: Height) {
        self.executions.clear();
        self.open.clear();
        self.proposals.retain(|key, _| key.height > height);
    }
}

impl Sequencer {
    pub(crate) fn judge(
        &mut self,
        block: Arc<ProposedBlock>,
        round: Round,
        proposer: Address,
        fresh: bool,
        outputs: &mut Outputs,
    ) {
        let open = Open { block, proposer, fresh, refused: false };
        self.judgements.open.insert((round, open.block.hash()), open.clone());
        self.judge_open(round, open, outputs);
    }

    fn judge_open(&mut self, round: Round, open: Open, outputs: &mut Outputs) {
        let hash = open.block.hash();
        let height = open.block.header().height;
        let known = self.judgements.executions.contains_key(&hash);
        if !known {
            match self.ledger_judges(&open.block) {
                Judgement::Valid(execution) => self.judgements.keep_execution(hash, execution),
                Judgement::Missing(ranges) => {
                    let hint = Some(Peer::Operator(open.proposer));
                    ranges.into_iter().for_each(|range| self.want(Want::Batches(range), hint, Haste::Soon, outputs));
                    return;
                }
                Judgement::Invalid(reason) => {
                    tracing::warn!(height = height.0, round = round.0, proposer = %open.proposer, %reason, "invalid proposal");
                    self.judgements.open.remove(&(round, hash));
                    let verdict = if reason.is_about_body() { Verdict::WrongBody } else { Verdict::Invalid };
                    return self.agree(Agree::Judged { height, round, block: hash, verdict }, outputs);
                }
            }
        }
        let refusal = if open.fresh { self.refusal(&open.block) } else { None };
        let verdict = match refusal {
            None => {
                self.judgements.open.remove(&(round, hash));
                Verdict::Valid
            }
            Some(_) if open.refused => return,
            Some(why) => {
                outputs.push(Output::Notice(Notice::Refusing { height, round, why }));
                if let Some(open) = self.judgements.open.get_mut(&(round, hash)) {
                    open.refused = true;
                }
                Verdict::Refuse
            }
        };
        self.agree(Agree::Judged { height, round, block: hash, verdict }, outputs);
    }

    pub(crate) fn ledger_judges(&self, block: &ProposedBlock) -> Judgement {
        let height = block.header().height;
        self.with_proposers(height, |proposers| self.ledger.judge(block, proposers, &Held(&self.mempool)))
    }

    /// Runs something that has to know who proposes in which round of the next height.
    pub(crate) fn with_proposers<T>(&self, height: Height, run: impl FnOnce(Proposers<'_>) -> T) -> T {
        let schedule = self.proposers(height);
        let committee = self.ledger.committee(self.ledger.epoch_of_next());
        run(&|round: Round| Some(committee?.get(schedule.as_ref()?.proposer(round))?.address))
    }

    /// The same for a block that a quorum decided: while the window is not rebuilt, what it left out is taken from its
    /// `skipped` list, which the header's roots prove.
    pub(crate) fn judge_decided(&self, ordered: &squad_types::OrderedBlock) -> Judgement {
        if self.ledger.window_is_complete() {
            self.ledger_judges(&ordered.block)
        } else {
            self.with_proposers(ordered.block.header().height, |proposers| {
                self.ledger.judge_replayed(ordered, proposers, &Held(&self.mempool))
            })
        }
    }

    /// What speaks against prevoting a fresh proposal now, beside its validity.
    fn refusal(&mut self, block: &ProposedBlock) -> Option<&'static str> {
        let ahead = block.header().timestamp.since(self.now);
        let bound = u64::from(self.ledger.params().clock_bound_ms);
        if ahead > bound {
            self.timers.set_if_earlier(Timer::Clock, self.now.plus(ahead - bound));
            return Some("its timestamp lies ahead of this clock");
        }
        if let Some(refusal) = self.ledger.soft_check(block, self.now, self.config.stakes.as_ref()) {
            return Some(refusal.reason());
        }
        if let Some(restricted) = self.without_memory_unbacked(block) {
            return Some(restricted);
        }
        let contradicted = block.cut().iter().any(|entry| self.mempool.contradicts_own_ack(entry.lane, entry.tip));
        if contradicted {
            return Some("its cut contradicts an own ack, and no certificate is known");
        }
        if self.mempool.check_due(self.ledger.state(), block.cut()).is_err() {
            return Some("it leaves out a certified batch that is due");
        }
        None
    }

    /// A node that lost its acks leans on others': over a third of stake besides itself.
    fn without_memory_unbacked(&self, block: &ProposedBlock) -> Option<&'static str> {
        let me = self.me?;
        let restricted = block.cut().iter().any(|entry| {
            self.guard.lane_closed_until(entry.lane.epoch).is_some()
                && !self.mempool.is_available_without(entry.lane, entry.tip, &me)
        });
        restricted.then_some("this node lost its acks, and too few others hold a batch")
    }

    /// Judges again what waited for data.
    pub(crate) fn rejudge_missing(&mut self, outputs: &mut Outputs) {
        self.rejudge(|open| !open.refused, outputs);
    }

    /// Judges again what was refused.
    pub(crate) fn rejudge_refused(&mut self, outputs: &mut Outputs) {
        self.rejudge(|open| open.refused, outputs);
    }

    pub(crate) fn rejudge_all(&mut self, outputs: &mut Outputs) {
        self.rejudge(|_| true, outputs);
    }

    fn rejudge(&mut self, which: impl Fn(&Open) -> bool, outputs: &mut Outputs) {
        let open: Vec<(Round, Open)> = self
            .judgements
            .open
            .iter()
            .filter(|(_, open)| which(open))
            .map(|((round, _), open)| (*round, open.clone()))
            .collect();
        for (round, open) in open {
            if self.agreeing == Some(open.block.header().height) {
                self.judge_open(round, open, outputs);
            }
        }
    }
}
