//! The state machine: routes inputs by height, keeps what comes early, and runs one height at a time.

use crate::effects::{Keys, LOOKAHEAD, Shared};
use crate::evidence::Added;
use crate::input::{Input, StartHeight};
use crate::log::LogEntry;
use crate::output::Output;
use crate::running::{Running, Tools};
use crate::slots::HighestStatements;
use crate::timeouts::TimeoutConfig;
use squad_types::{
    Address, Bitmap, Domain, HeaderHash, Height, Round, Signer, Verified, VerifiedProposal, Verifier, Vote,
    VoteCertificate,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rounds above this are taken for nonsense: years of failed rounds, and far from where a u32 ends.
const MAX_ROUND: Round = Round(1 << 24);

/// What one node's agreement depends on beside its inputs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network that statements are signed for.
    pub domain: Domain,
    /// This node's operator. The signer handed in has to be its.
    pub address: Address,
    /// How long the steps wait.
    pub timeouts: TimeoutConfig,
}

/// Why agreement cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Replaying the log led to another statement than the one recorded. Either the log is damaged or the code is; signing on could break agreement.
    #[error(
        "at height {height}, round {round} the log holds another statement of this node than its replay asks for; keep the log and report it"
    )]
    Diverged {
        /// The height.
        height: Height,
        /// The round.
        round: Round,
    },
    /// Malachite stopped, which it does only on a broken assumption.
    #[error("the agreement core stopped: {0}")]
    Core(String),
    /// An entry of the log names a block that no entry before holds.
    #[error("the log of height {height} names block {block}, which it does not hold; entries before it are missing")]
    BlockNotLogged {
        /// The height.
        height: Height,
        /// The block.
        block: HeaderHash,
    },
    /// The proposers were scheduled for another committee.
    #[error("the proposers of height {height} are scheduled for {scheduled} members, its committee has {members}")]
    Schedule {
        /// The height.
        height: Height,
        /// Members that the schedule knows.
        scheduled: usize,
        /// Members of the committee.
        members: usize,
    },
}

/// Agreement, one height after another.
///
/// Guarantees, given that `Log` outputs are durable before later publications leave and that the log is handed to
/// [`Consensus::recover`] after a crash: this node never signs two statements for one slot; it decides only what a quorum
/// precommitted; the same inputs and keys give the same outputs. Nothing is signed before [`Input::AllowSigning`].
///
/// Not guaranteed: progress without timers being fired and peers' statements being handed in, again if they were lost.
#[derive(Debug)]
pub struct Consensus {
    pub(crate) config: Config,
    pub(crate) shared: Shared,
    pub(crate) running: Option<Running>,
    /// The log of the height that a crash interrupted.
    pub(crate) recovered: Vec<LogEntry>,
    /// The highest height that the log speaks of: what was signed below it is not known, so nothing more is.
    pub(crate) floor: Height,
    signing_from: Option<Height>,
    /// Proposals for the height after the current one: one a member.
    early: BTreeMap<Address, VerifiedProposal>,
    /// The proposals of the height before, for peers that have not decided it.
    previous: Vec<VerifiedProposal>,
    halted: bool,
}

impl Consensus {
    /// A node without a past.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            shared: Shared::default(),
            running: None,
            recovered: Vec::new(),
            floor: Height::ZERO,
            signing_from: None,
            early: BTreeMap::new(),
            previous: Vec::new(),
            halted: false,
        }
    }

    /// Takes an input, appends what is to be done to `out`.
    ///
    /// After `Halt` every input is ignored.
    pub fn handle(&mut self, input: Input, signer: &dyn Signer, verifier: &dyn Verifier, out: &mut Vec<Output>) {
        if self.halted {
            return;
        }
        debug_assert_eq!(signer.address(), self.config.address, "the signer is another operator's");
        let keys = Keys { signer, verifier };
        match input {
            Input::StartHeight(start) => self.start(start, keys, out),
            Input::Proposal(proposal) => self.on_proposal(proposal, keys, out),
            Input::Vote(vote) => self.on_vote(vote, keys, out),
            Input::Votes(certificate) => self.on_votes(&certificate, keys, out),
            Input::AllowSigning { from } => self.allow_signing(from, keys, out),
            Input::Judged { height, round, block, verdict } => {
                self.run(keys, out, |running, tools| {
                    if running.height() == height {
                        running.judged(round, block, verdict, tools);
                    }
                });
            }
            Input::Propose { round, block } => {
                self.run(keys, out, |running, tools| running.propose(round, &block, tools))
            }
            Input::Timeout(token) => {
                if self.shared.timers.take(token) {
                    self.run(keys, out, |running, tools| running.timeout(token, tools));
                }
            }
        }
    }

    /// The height under way; none before the first `StartHeight`.
    pub fn height(&self) -> Option<Height> {
        self.running.as_ref().map(Running::height)
    }

    /// The round under way.
    pub fn round(&self) -> Round {
        self.running.as_ref().map(Running::round).unwrap_or_default()
    }

    /// Whether this node takes part in the height under way, rather than following it.
    pub fn is_voting(&self) -> bool {
        self.running.as_ref().is_some_and(Running::is_voting)
    }

    /// Who is known to have precommitted `block` in any round of `height`, by place in that height's committee; late
    /// precommits included. Empty for heights that were not run here or lie over 16 heights back.
    pub fn precommitters(&self, height: Height, block: HeaderHash) -> Bitmap {
        self.shared.watch.precommitters(height, block)
    }

    /// The proposal of a round for a block, for a peer that lacks it: of the height under way or the one before.
    pub fn proposal(&self, height: Height, round: Round, block: HeaderHash) -> Option<VerifiedProposal> {
        if self.height() == Some(height) {
            return self.running.as_ref()?.proposal_of(round, block);
        }
        let wanted = |known: &&VerifiedProposal| {
            let statement = known.proposal().statement;
            (statement.height, statement.round, statement.block) == (height, round, block)
        };
        self.previous.iter().find(wanted).cloned()
    }

    /// Whether a block is none that was proposed in a round of the last 16 heights, as far as is known here, while another one was.
    /// Who votes for such a block has seen a second proposal, or lies. No longer once it is proved that there were two.
    pub fn is_rival(&self, height: Height, round: Round, block: HeaderHash) -> bool {
        self.shared.watch.is_rival(height, round, block)
    }

    /// Who voted for such a block in a round, and for which.
    pub fn votes_for_rivals(&self, height: Height, round: Round) -> Vec<(Address, HeaderHash)> {
        self.shared.watch.votes_for_rivals(height, round)
    }

    /// The newest statements of a validator that this node has seen in the last 16 heights: the answer to an operator that
    /// asks for its own before it signs.
    pub fn highest_statements(&self, signer: &Address) -> HighestStatements {
        self.shared.watch.highest(signer)
    }

    /// The newest statements that this node knows to be its own, from its log, its life, or peers' echoes.
    pub fn own_statements(&self) -> &HighestStatements {
        self.shared.slots.highest()
    }

    fn run(&mut self, keys: Keys<'_>, out: &mut Vec<Output>, act: impl FnOnce(&mut Running, &mut Tools<'_>)) {
        let Some(running) = &mut self.running else { return };
        let mut tools = Tools { config: &self.config, shared: &mut self.shared, keys, out };
        act(running, &mut tools);
        running.settle(&mut tools);
        if let Some(error) = running.take_fault() {
            tracing::error!(%error, "agreement stops");
            self.halted = true;
            out.push(Output::Halt(error));
        }
    }

    fn start(&mut self, start: StartHeight, keys: Keys<'_>, out: &mut Vec<Output>) {
        if self.height().is_some_and(|height| start.height <= height) {
            tracing::warn!(height = %start.height, "asked to begin a height that was begun before; ignored");
            return;
        }
        let (scheduled, members) = (start.proposers.members(), start.committee.len());
        if scheduled != members {
            self.halted = true;
            out.push(Output::Halt(Error::Schedule { height: start.height, scheduled, members }));
            return;
        }
        if let Some(running) = self.running.take() {
            self.previous = running.into_parts().1;
        }
        let early = std::mem::take(&mut self.early).into_values().collect();
        self.begin(start, early, keys, out);
    }

    fn allow_signing(&mut self, from: Height, keys: Keys<'_>, out: &mut Vec<Output>) {
        self.signing_from = Some(from);
        let restart = self
            .running
            .as_ref()
            .is_some_and(|running| !running.is_voting() && !running.is_decided() && self.votes_at(running.start()));
        if let Some(running) = self.running.take_if(|_| restart) {
            let (start, proposals) = running.into_parts();
            self.begin(start, proposals, keys, out);
        }
    }

    fn votes_at(&self, start: &StartHeight) -> bool {
        let allowed = self.signing_from.is_some_and(|from| from <= start.height);
        allowed && start.voting && self.floor <= start.height && start.committee.contains(&self.config.address)
    }

    fn begin(&mut self, start: StartHeight, proposals: Vec<VerifiedProposal>, keys: Keys<'_>, out: &mut Vec<Output>) {
        let (height, voting) = (start.height, self.votes_at(&start));
        out.extend(self.shared.timers.cancel_all().into_iter().map(Output::Cancel));
        self.shared.watch.open(height, &start.committee);
        self.shared.watch.open(height.next(), &start.next_committee);
        self.shared.watch.admit_up_to(height, Round(LOOKAHEAD));
        self.shared.slots.prune(height);
        self.recovered.retain(|entry| entry.height() >= height);
        let recovered = if voting { std::mem::take(&mut self.recovered) } else { Vec::new() };
        self.running = Some(Running::new(start, &self.config, voting));
        self.run(keys, out, |running, tools| running.begin(&recovered, tools));
        for proposal in proposals {
            self.on_proposal(proposal, keys, out);
        }
    }

    fn on_proposal(&mut self, proposal: VerifiedProposal, keys: Keys<'_>, out: &mut Vec<Output>) {
        let statement = proposal.proposal().statement;
        let signer = proposal.proposal().signer;
        if signer == self.config.address && self.echoed_proposal(proposal.proposal(), out) {
            return;
        }
        match self.height() {
            Some(height) if statement.height == height => {
                self.run(keys, out, |running, tools| running.proposal(&proposal, tools))
            }
            _ => {
                let added = self.shared.watch.add_proposal(proposal.proposal());
                let next = self.height().is_some_and(|height| statement.height == height.next());
                if added == Added::New && next {
                    let known = self.early.get(&signer);
                    if known.is_none_or(|known| known.proposal().statement.round > statement.round) {
                        self.early.insert(signer, proposal);
                    }
                }
                accuse(added, out);
            }
        }
    }

    fn on_vote(&mut self, vote: Verified<Vote>, keys: Keys<'_>, out: &mut Vec<Output>) {
        if vote.signer == self.config.address && self.echoed_vote(&vote, out) {
            return;
        }
        match self.height() {
            Some(height) if vote.statement.height == height && vote.statement.round <= MAX_ROUND => {
                self.run(keys, out, |running, tools| running.vote(&vote, tools));
            }
            _ => accuse(self.shared.watch.add_vote(&vote), out),
        }
    }

    fn on_votes(&mut self, certificate: &VoteCertificate, keys: Keys<'_>, out: &mut Vec<Output>) {
        if Some(certificate.vote.height) == self.height() && certificate.vote.round <= MAX_ROUND {
            self.run(keys, out, |running, tools| running.certificate(certificate, tools));
        }
    }

    /// Deals with a vote of one's own that a peer sent. Only a contradiction of what the slot holds goes on, as evidence.
    fn echoed_vote(&mut self, vote: &Verified<Vote>, out: &mut Vec<Output>) -> bool {
        let Vote { height, round, kind, .. } = vote.statement;
        if self.height().is_some_and(|current| height < current) {
            return false;
        }
        match self.shared.slots.held_vote(height, round, kind) {
            Some((held, _)) => held.statement == vote.statement,
            None => {
                // Signed in a life that the log does not tell of. The slot is taken; the core will find out.
                self.shared.slots.restore_vote(vote.clone(), true);
                out.push(Output::Log(LogEntry::EchoedVote(Arc::clone(vote.shared()))));
                true
            }
        }
    }

    fn echoed_proposal(&mut self, proposal: &Verified<squad_types::Proposal>, out: &mut Vec<Output>) -> bool {
        let statement = proposal.statement;
        if self.height().is_some_and(|current| statement.height < current) {
            return false;
        }
        match self.shared.slots.held_proposal(statement.height, statement.round) {
            Some(held) => held.statement == statement,
            None => {
                self.shared.slots.restore_proposal(proposal.clone(), true);
                out.push(Output::Log(LogEntry::EchoedProposal(Arc::clone(proposal.shared()))));
                true
            }
        }
    }
}

/// Passes on the evidence of a contradiction.
pub(crate) fn accuse(added: Added, out: &mut Vec<Output>) {
    if let Added::Conflict(Some(evidence)) = added {
        out.push(Output::Evidence(evidence));
    }
}
