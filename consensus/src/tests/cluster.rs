//! A cluster of `Consensus` in one queue: virtual time, chosen delays, chosen verdicts, crashes at chosen outputs.

use crate::{
    Config, Consensus, HighestStatements, Input, LogEntry, Output, ProposerRotation, StartHeight, TimeoutConfig,
    Verdict,
};
use squad_types::{
    Address, Bitmap, CommitCertificate, Committee, Digest, Domain, Epoch, Evidence, Header, HeaderHash, Height,
    KeyedHashSigner, KeyedHashVerifier, L1Anchor, Member, MerkleRoot, NetworkId, PROTOCOL_VERSION, Proposal,
    ProposedBlock, Round, Signed, Stake, Timestamp, Verified, VerifiedProposal, Vote, VoteCertificate, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Wire {
    Proposal(VerifiedProposal),
    Vote(Verified<Vote>),
    Votes(VoteCertificate),
}

#[derive(Clone, Debug)]
enum Event {
    Deliver(usize, Wire),
    Timer(usize, crate::TimeoutToken),
    Judged(usize, Height, Round, HeaderHash, Verdict),
    Recover(usize),
}

/// Milliseconds until a message from one node arrives at another; none loses it.
pub(super) type Route = Box<dyn FnMut(usize, usize, u64, &Wire) -> Option<u64>>;
/// A node's verdict on a block in a round, fresh or not; none withholds it.
pub(super) type Judge = Box<dyn FnMut(usize, &ProposedBlock, Round, bool) -> Option<Verdict>>;

pub(super) struct Node {
    pub(super) consensus: Consensus,
    pub(super) log: Vec<LogEntry>,
    /// Entries of the log that a publication has proved durable.
    proved: usize,
    pub(super) decided: Vec<CommitCertificate>,
    pub(super) outputs: Vec<String>,
    /// A dead node hears nothing. Byzantine nodes are dead, and speak through `inject`.
    pub(super) dead: bool,
    /// Outputs until the next crash.
    pub(super) crash_in: Option<usize>,
}

pub(super) struct Cluster {
    pub(super) committee: Arc<Committee>,
    pub(super) domain: Domain,
    pub(super) nodes: Vec<Node>,
    pub(super) now: u64,
    pub(super) route: Route,
    pub(super) judge: Judge,
    pub(super) evidence: Vec<Evidence>,
    pub(super) missing: Vec<(usize, HeaderHash)>,
    /// A crash loses the log entries that no publication waited for.
    pub(super) torn: bool,
    pub(super) recover_after: u64,
    pub(super) last: Height,
    rotation: ProposerRotation,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    built: u64,
    published: BTreeMap<(Address, Height, Round, u8), BTreeSet<Option<HeaderHash>>>,
    pub(super) blocks: BTreeMap<HeaderHash, Arc<ProposedBlock>>,
}

pub(super) fn address(node: usize) -> Address {
    let mut address = Address([0xaa; 20]);
    address.0[0] = node as u8;
    address
}

impl Cluster {
    /// `stakes.len()` nodes that decide heights 1 to `last`.
    pub(super) fn new(stakes: &[u64], last: u64) -> Self {
        let members = stakes.iter().enumerate().map(|(i, stake)| Member { address: address(i), stake: Stake(*stake) });
        let committee = Arc::new(Committee::new(Epoch(0), members.collect()).unwrap());
        let rotation = ProposerRotation::new(&committee, &Digest([5; 32]));
        let domain = Domain::new(NetworkId([1; 32]));
        let mut cluster = Self {
            committee,
            domain,
            nodes: Vec::new(),
            now: 0,
            route: Box::new(|_, _, _, _| Some(10)),
            judge: Box::new(|_, _, _, _| Some(Verdict::Valid)),
            evidence: Vec::new(),
            missing: Vec::new(),
            torn: false,
            recover_after: 50,
            last: Height(last),
            rotation,
            queue: BTreeMap::new(),
            sequence: 0,
            built: 0,
            published: BTreeMap::new(),
            blocks: BTreeMap::new(),
        };
        for node in 0..stakes.len() {
            let consensus = Consensus::new(cluster.config(node));
            let (log, decided, outputs) = (Vec::new(), Vec::new(), Vec::new());
            cluster.nodes.push(Node { consensus, log, proved: 0, decided, outputs, dead: false, crash_in: None });
        }
        cluster
    }

    pub(super) fn config(&self, node: usize) -> Config {
        Config { domain: self.domain, address: address(node), timeouts: TimeoutConfig::default() }
    }

    pub(super) fn proposer(&self, height: u64, round: u32) -> usize {
        self.rotation.schedule(Height(height), &BTreeSet::new()).proposer(Round(round)).position()
    }

    pub(super) fn start_height(&self, height: Height, voting: bool) -> StartHeight {
        StartHeight {
            height,
            epoch: Epoch(0),
            committee: Arc::clone(&self.committee),
            next_committee: Arc::clone(&self.committee),
            proposers: Arc::new(self.rotation.schedule(height, &BTreeSet::new())),
            voting,
        }
    }

    /// Starts everybody that is not dead.
    pub(super) fn start(&mut self) {
        for node in 0..self.nodes.len() {
            self.begin(node);
        }
    }

    fn begin(&mut self, node: usize) {
        let height = self.next_height(node);
        self.input(node, Input::AllowSigning { from: Height(1) });
        self.input(node, Input::StartHeight(self.start_height(height, true)));
    }

    fn next_height(&self, node: usize) -> Height {
        Height(self.nodes[node].decided.len() as u64 + 1)
    }

    /// A block that nobody else builds.
    pub(super) fn block(&mut self, height: Height, round: Round, proposer: usize) -> Arc<ProposedBlock> {
        self.built += 1;
        let header = Header {
            version: PROTOCOL_VERSION,
            network_id: NetworkId([1; 32]),
            height,
            epoch: Epoch(0),
            parent_hash: HeaderHash([0; 32]),
            proposer: address(proposer),
            origin_round: round,
            timestamp: Timestamp(self.built),
            l1_anchor: L1Anchor::default(),
            cut_digest: Digest::ZERO,
            namespaces_root: MerkleRoot::ZERO,
            tx_count: 0,
            params_hash: Digest::ZERO,
            committee_hash: Digest::ZERO,
            next_committee_hash: Digest::ZERO,
            signers: Bitmap::default(),
        };
        let block = Arc::new(ProposedBlock::new(header, Vec::new(), Vec::new(), None));
        self.blocks.insert(block.hash(), Arc::clone(&block));
        block
    }

    pub(super) fn sign_vote(
        &self,
        node: usize,
        kind: VoteKind,
        height: u64,
        round: u32,
        block: Option<HeaderHash>,
    ) -> Verified<Vote> {
        let vote = Vote { kind, height: Height(height), round: Round(round), block };
        Verified::sign(vote, &self.domain, &KeyedHashSigner(address(node)))
    }

    pub(super) fn sign_proposal(
        &self,
        node: usize,
        round: u32,
        valid_round: Option<u32>,
        block: &Arc<ProposedBlock>,
    ) -> VerifiedProposal {
        let (height, hash) = (block.header().height, block.hash());
        let proposal = Proposal { height, round: Round(round), valid_round: valid_round.map(Round), block: hash };
        let signed = Verified::sign(proposal, &self.domain, &KeyedHashSigner(address(node)));
        VerifiedProposal::assemble(signed, Arc::clone(block))
    }

    fn push(&mut self, after: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    /// Delivers a message whatever the route says.
    pub(super) fn inject(&mut self, to: usize, after: u64, wire: Wire) {
        self.push(after, Event::Deliver(to, wire));
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        if self.nodes[node].dead {
            return;
        }
        let mut out = Vec::new();
        let signer = KeyedHashSigner(address(node));
        self.nodes[node].consensus.handle(input, &signer, &KeyedHashVerifier, &mut out);
        for output in out {
            if let Some(left) = &mut self.nodes[node].crash_in {
                if *left == 0 {
                    self.crash(node);
                    return;
                }
                *left -= 1;
            }
            self.perform(node, output);
            if self.nodes[node].dead {
                return;
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize) {
        let torn = self.torn;
        let crashed = &mut self.nodes[node];
        crashed.crash_in = None;
        crashed.dead = true;
        if torn {
            crashed.log.truncate(crashed.proved);
        }
        self.push(self.recover_after, Event::Recover(node));
    }

    fn recover(&mut self, node: usize) {
        let bytes: Vec<_> = self.nodes[node].log.iter().map(squad_types::Encode::to_bytes).collect();
        let entries = bytes.into_iter().map(|bytes| squad_types::Decode::from_bytes(bytes).unwrap());
        self.nodes[node].consensus = Consensus::recover(self.config(node), entries);
        self.nodes[node].dead = false;
        self.begin(node);
    }

    fn perform(&mut self, node: usize, output: Output) {
        self.nodes[node].outputs.push(format!("{output:?}"));
        match output {
            Output::Log(entry) => self.nodes[node].log.push(entry),
            Output::PublishProposal { proposal, .. } => {
                self.publish(node, proposal.proposal().signed().clone().into(), Wire::Proposal(proposal));
            }
            Output::PublishVote { vote, .. } => self.publish(node, vote.signed().clone().into(), Wire::Vote(vote)),
            Output::PublishVotes(certificate) => self.send(node, &Wire::Votes(certificate)),
            Output::RelayVotes(votes) => {
                for vote in votes {
                    self.send(node, &Wire::Vote(Verified::from_own_log(vote)));
                }
            }
            Output::Judge { block, round, fresh, .. } => {
                if let Some(verdict) = (self.judge)(node, &block, round, fresh) {
                    self.push(0, Event::Judged(node, block.header().height, round, block.hash(), verdict));
                }
            }
            Output::MissingProposal { block, .. } => self.missing.push((node, block)),
            Output::BuildValue { height, round } => {
                let block = self.block(height, round, node);
                self.input(node, Input::Propose { round, block });
            }
            Output::Schedule { token, after } => self.push(after.as_millis() as u64, Event::Timer(node, token)),
            Output::Decided { block, certificate } => self.decide(node, &block, certificate),
            Output::Evidence(evidence) => {
                evidence.verify(&self.domain, &KeyedHashVerifier).unwrap();
                self.evidence.push(*evidence);
            }
            Output::Halt(error) => panic!("node {node} halts: {error}"),
            Output::Cancel(_) | Output::RoundStarted { .. } => {}
        }
    }

    fn decide(&mut self, node: usize, block: &ProposedBlock, certificate: CommitCertificate) {
        assert_eq!(block.hash(), certificate.block);
        certificate.verify(&self.domain, &self.committee, &KeyedHashVerifier).unwrap();
        if certificate.height < self.next_height(node) {
            // It was handed the last height's decision while it was still at it.
            let known = &self.nodes[node].decided[certificate.height.0 as usize - 1];
            assert_eq!(known.block, certificate.block);
            return;
        }
        assert_eq!(certificate.height, self.next_height(node));
        for other in &self.nodes {
            if let Some(decided) = other.decided.get(certificate.height.0 as usize - 1) {
                assert_eq!(decided.block, certificate.block, "two nodes decided differently at {}", certificate.height);
            }
        }
        let next = certificate.height.next();
        self.nodes[node].decided.push(certificate);
        if next <= self.last {
            self.input(node, Input::StartHeight(self.start_height(next, true)));
        }
    }

    /// Sends something signed, after checking that nothing else was ever signed in its slot.
    fn publish(&mut self, node: usize, slot: Slot, wire: Wire) {
        self.nodes[node].proved = self.nodes[node].log.len();
        if slot.signer == address(node) {
            let signed = self.published.entry((slot.signer, slot.height, slot.round, slot.kind)).or_default();
            signed.insert(slot.block);
            assert_eq!(signed.len(), 1, "node {node} signed twice at {} round {}", slot.height, slot.round);
            let highest: &HighestStatements = self.nodes[node].consensus.own_statements();
            assert!(highest.prevote.is_some() || highest.proposal.is_some() || highest.precommit.is_some());
        }
        self.send(node, &wire);
    }

    fn send(&mut self, from: usize, wire: &Wire) {
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            if let Some(delay) = (self.route)(from, to, self.now, wire) {
                self.push(delay, Event::Deliver(to, wire.clone()));
            }
        }
    }

    /// Handles the next event; false if there is none.
    pub(super) fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else { return false };
        self.now = at;
        match event {
            Event::Deliver(node, Wire::Proposal(proposal)) => self.input(node, Input::Proposal(proposal)),
            Event::Deliver(node, Wire::Vote(vote)) => self.input(node, Input::Vote(vote)),
            Event::Deliver(node, Wire::Votes(certificate)) => self.input(node, Input::Votes(certificate)),
            Event::Timer(node, token) => self.input(node, Input::Timeout(token)),
            Event::Judged(node, height, round, block, verdict) => {
                self.input(node, Input::Judged { height, round, block, verdict })
            }
            Event::Recover(node) => self.recover(node),
        }
        true
    }

    /// Runs until these nodes have decided the last height.
    pub(super) fn run_until_decided(&mut self, nodes: &[usize], limit_ms: u64) {
        while nodes.iter().any(|node| self.next_height(*node) <= self.last) {
            assert!(self.step(), "nothing left to do at {} ms, decided {:?}", self.now, self.progress());
            assert!(self.now <= limit_ms, "no decision within {limit_ms} ms, decided {:?}", self.progress());
        }
    }

    /// Runs for a while.
    pub(super) fn run_for(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while self.queue.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    fn progress(&self) -> Vec<(usize, Round)> {
        self.nodes.iter().map(|node| (node.decided.len(), node.consensus.round())).collect()
    }

    /// Hands a node the decisions that another has, as catching up would.
    pub(super) fn catch_up(&mut self, node: usize, from: usize) {
        let missing = self.nodes[from].decided[self.nodes[node].decided.len()..].to_vec();
        self.nodes[node].decided.extend(missing);
        let next = self.next_height(node);
        if next <= self.last {
            self.input(node, Input::StartHeight(self.start_height(next, true)));
        }
    }
}

struct Slot {
    signer: Address,
    height: Height,
    round: Round,
    kind: u8,
    block: Option<HeaderHash>,
}

impl From<Signed<Vote>> for Slot {
    fn from(vote: Signed<Vote>) -> Self {
        let Vote { kind, height, round, block } = vote.statement;
        Self { signer: vote.signer, height, round, kind: kind as u8, block }
    }
}

impl From<Signed<Proposal>> for Slot {
    fn from(proposal: Signed<Proposal>) -> Self {
        let Proposal { height, round, block, .. } = proposal.statement;
        Self { signer: proposal.signer, height, round, kind: 2, block: Some(block) }
    }
}
