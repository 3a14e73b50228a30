//! A cluster: nodes, a network, virtual time, a seed. The same seed gives the same run.

use crate::byzantine::{Behaviour, Tools};
use crate::disk::Stream;
use crate::invariants::{Invariants, Observed};
use crate::network::{Links, Network, NodeIndex};
use crate::node::{Effect, Node};
use crate::queue::{Instant, Queue};
use crate::rng::Rng;
use squad_sequencer::ledger::{GenesisStakeTable, StakeTable};
use squad_sequencer::{
    AskId, Config, Input, Memory, Output, Peer, PersistId, Recipients, Reply, RequestId, Submission, VerifiedResponse,
};
use squad_types::{
    Address, Domain, Genesis, Height, IdentifiedTransaction, KeyedHashSigner, KeyedHashVerifier, Member, Message,
    NamespaceId, NamespaceKind, NamespaceSpec, OrderingPolicy, Params, Request, Response, Signer, Stake, Timestamp,
    Transaction, TxId, VerifiedMessage, Verifier, WriteAccess,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a cluster is made of.
#[derive(Clone)]
pub struct ClusterConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// The first committee's stakes, one a member.
    pub stakes: Vec<u64>,
    /// Operators beyond the committee: they run and follow, and join if the stake table lets them.
    pub newcomers: usize,
    /// Parameters.
    pub params: Params,
    /// How links behave.
    pub links: Links,
    /// How long a sync takes, in microseconds.
    pub sync_micros: u64,
    /// Changes of stake by epoch: the whole table from then on, by node.
    pub stake_changes: Vec<(u64, Vec<(NodeIndex, u64)>)>,
    /// A node this many heights behind starts from a snapshot.
    pub snapshot_gap: u64,
    /// Heights between two checkpoints.
    pub checkpoint_interval: u64,
}

impl ClusterConfig {
    /// `members` of equal stake on a quick network.
    pub fn equal(seed: u64, members: usize) -> Self {
        let params = Params {
            idle_interval_ms: 200,
            propose_timeout_ms: 200,
            vote_timeout_ms: 100,
            timeout_step_ms: 100,
            ..Params::default()
        };
        Self {
            seed,
            stakes: vec![1; members],
            newcomers: 0,
            params,
            links: Links::default(),
            sync_micros: 500,
            stake_changes: Vec::new(),
            snapshot_gap: 10_000,
            checkpoint_interval: 16,
        }
    }
}

/// The namespace of plain bytes that clusters order.
pub const OPAQUE: NamespaceId = NamespaceId(1);

/// The time at which runs begin.
pub const START: Instant = Instant(1_000_000_000);

enum Event {
    Deliver { from: NodeIndex, to: NodeIndex, message: Arc<Message> },
    Ask { from: NodeIndex, to: NodeIndex, ask: AskId, request: Request, life: u64 },
    Answered { to: NodeIndex, ask: AskId, response: Box<Response>, life: u64 },
    Synced { node: NodeIndex, stream: Stream, upto: PersistId, life: u64 },
    Wake { node: NodeIndex, life: u64 },
    Connect { node: NodeIndex, peer: NodeIndex, life: u64 },
    Restart { node: NodeIndex, memory: Memory },
}

struct Question {
    asker: NodeIndex,
    ask: AskId,
    asker_life: u64,
    answerer: NodeIndex,
}

/// A cluster under way.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The network between them.
    pub network: Network,
    /// What must hold, checked as the run goes.
    pub invariants: Invariants,
    /// The network's genesis.
    pub genesis: Genesis,
    queue: Queue<Event>,
    now: Instant,
    rng: Rng,
    behaviours: BTreeMap<NodeIndex, Box<dyn Behaviour>>,
    questions: BTreeMap<RequestId, Question>,
    next_question: u64,
    sync_micros: u64,
    domain: Domain,
    addresses: Vec<Address>,
    submitted: u64,
    /// A hash over everything that happened: equal for equal runs.
    trace: u64,
    /// Events handled.
    pub handled: u64,
}

fn address(node: NodeIndex) -> Address {
    let mut bytes = [0; 20];
    bytes[0] = 0xa0;
    bytes[12..].copy_from_slice(&(node as u64).to_be_bytes());
    Address(bytes)
}

impl Cluster {
    /// Makes a cluster; nothing runs yet.
    ///
    /// # Panics
    /// If the configuration makes no genesis.
    pub fn new(config: &ClusterConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let addresses: Vec<Address> = (0..config.stakes.len() + config.newcomers).map(address).collect();
        let member = |(node, stake): (usize, &u64)| Member { address: addresses[node], stake: Stake(*stake) };
        let genesis = Genesis {
            name: "simulated".to_owned(),
            time: Timestamp(START.0 / 1_000),
            params: config.params.clone(),
            namespaces: namespaces(),
            validators: config.stakes.iter().enumerate().map(member).collect(),
        };
        genesis.check().unwrap_or_else(|error| panic!("the cluster's genesis is unusable: {error}"));
        let mut stakes = GenesisStakeTable::new(&genesis);
        for (epoch, table) in &config.stake_changes {
            let members = table.iter().map(|(node, stake)| Member { address: addresses[*node], stake: Stake(*stake) });
            stakes = stakes.with_change(squad_types::Epoch(*epoch), members.collect());
        }
        let stakes: Arc<dyn StakeTable> = Arc::new(stakes);
        let verifier: Arc<dyn Verifier> = Arc::new(KeyedHashVerifier);
        let node = |address: &Address| {
            let signer: Arc<dyn Signer> = Arc::new(KeyedHashSigner(*address));
            let mut node = Config::new(genesis.clone(), Some(signer), Arc::clone(&verifier), Arc::clone(&stakes));
            node.snapshot_gap = config.snapshot_gap;
            node.checkpoint_interval = config.checkpoint_interval;
            Node::new(node)
        };
        let domain = Domain::new(genesis.network_id());
        let links = rng.fork(1);
        Self {
            nodes: addresses.iter().map(node).collect(),
            network: Network::new(config.links, links),
            invariants: Invariants::new(domain),
            genesis,
            queue: Queue::default(),
            now: START,
            rng,
            behaviours: BTreeMap::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            sync_micros: config.sync_micros,
            domain,
            addresses,
            submitted: 0,
            trace: 0,
            handled: 0,
        }
    }

    /// Starts all nodes of the first committee and the newcomers.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node, Memory::Kept);
        }
    }

    /// Starts a node and connects it with all that run.
    pub fn start(&mut self, node: NodeIndex, memory: Memory) {
        let effects = self.nodes[node].start(self.now, memory);
        self.perform(node, effects);
        let life = self.nodes[node].life;
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            if self.nodes[peer].is_up() {
                self.queue.push(self.now.plus(100), Event::Connect { node, peer, life });
                let peer_life = self.nodes[peer].life;
                self.queue.push(self.now.plus(100), Event::Connect { node: peer, peer: node, life: peer_life });
            }
        }
    }

    /// Makes a node misbehave from now on.
    pub fn corrupt(&mut self, node: NodeIndex, behaviour: impl Behaviour + 'static) {
        self.behaviours.insert(node, Box::new(behaviour));
        self.invariants.corrupt(self.addresses[node]);
    }

    /// Kills a node: what was not synced may be gone.
    pub fn crash(&mut self, node: NodeIndex) {
        self.nodes[node].sequencer = None;
        self.after_crash(node);
    }

    fn after_crash(&mut self, node: NodeIndex) {
        let mut rng = self.rng.fork(node as u64);
        self.nodes[node].disk.crash(&mut rng);
        self.nodes[node].crash_at = None;
        self.nodes[node].life += 1;
        let gone = Peer::Operator(self.addresses[node]);
        for peer in 0..self.nodes.len() {
            let effects = self.nodes[peer].handle(self.now, Input::Disconnected(gone));
            self.perform(peer, effects);
        }
    }

    /// Starts a node again after a while.
    pub fn restart_in(&mut self, node: NodeIndex, ms: u64, memory: Memory) {
        self.queue.push(self.now.plus_ms(ms), Event::Restart { node, memory });
    }

    /// Runs until `done`, or until that much virtual time has passed. Whether it was done.
    pub fn run_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.plus_ms(ms);
        loop {
            if done(self) {
                return true;
            }
            match self.queue.next_at() {
                Some(at) if at <= end => {
                    if let Some((at, event)) = self.queue.pop() {
                        self.now = at;
                        self.handled += 1;
                        self.handle(event);
                    }
                }
                _ => {
                    self.now = end;
                    return done(self);
                }
            }
        }
    }

    /// Runs for that much virtual time.
    pub fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A node's operator.
    pub fn address(&self, node: NodeIndex) -> Address {
        self.addresses[node]
    }

    /// A node's decided height; zero while it is down.
    pub fn height(&self, node: NodeIndex) -> Height {
        self.nodes[node].sequencer.as_ref().map_or(Height::ZERO, |sequencer| sequencer.ledger().height())
    }

    /// The lowest decided height of these nodes.
    pub fn lowest(&self, nodes: impl IntoIterator<Item = NodeIndex>) -> Height {
        nodes.into_iter().map(|node| self.height(node)).min().unwrap_or_default()
    }

    /// A hash over everything that happened.
    pub fn trace(&self) -> u64 {
        self.trace
    }

    /// Submits a fresh transaction of some bytes to a node.
    pub fn submit(&mut self, node: NodeIndex, bytes: usize) -> TxId {
        self.submitted += 1;
        let mut data = self.submitted.to_be_bytes().to_vec();
        data.resize(bytes.max(8), 0x5a);
        self.submit_data(node, data)
    }

    /// Submits these bytes to a node.
    pub fn submit_data(&mut self, node: NodeIndex, data: Vec<u8>) -> TxId {
        let chain_time = self.nodes[node].sequencer.as_ref().map(|s| s.ledger().state().chain_time).unwrap_or_default();
        let until = chain_time.plus(u64::from(self.genesis.params.window_ms) - 1_000);
        let transaction = Transaction { namespace: OPAQUE, valid_until: Some(until), hint: None, data: data.into() };
        self.submit_transaction(node, transaction)
    }

    /// Submits this transaction to a node.
    pub fn submit_transaction(&mut self, node: NodeIndex, transaction: Transaction) -> TxId {
        let transaction: IdentifiedTransaction = transaction.into();
        let id = transaction.id;
        let submission = Submission { transaction, source: squad_mempool::Source(node as u64), evm: None };
        let effects = self.nodes[node].handle(self.now, Input::Submit(submission));
        self.perform(node, effects);
        id
    }

    /// Hands a node an input.
    pub fn input(&mut self, node: NodeIndex, input: Input) {
        let effects = self.nodes[node].handle(self.now, input);
        self.perform(node, effects);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, &message),
            Event::Ask { from, to, ask, request, life } => self.deliver_question(from, to, ask, request, life),
            Event::Answered { to, ask, response, life } => {
                if self.nodes[to].life == life {
                    let verified = VerifiedResponse::verify(*response, &self.domain, &KeyedHashVerifier).ok();
                    self.input(to, Input::Response { id: ask, response: verified });
                }
            }
            Event::Synced { node, stream, upto, life } => {
                if self.nodes[node].life == life && self.nodes[node].is_up() {
                    let effects = self.nodes[node].synced(stream, upto);
                    self.perform(node, effects);
                }
            }
            Event::Wake { node, life } => {
                if self.nodes[node].life == life {
                    self.input(node, Input::Wake);
                }
            }
            Event::Connect { node, peer, life } => {
                if self.nodes[node].life == life && self.nodes[peer].is_up() {
                    self.input(node, Input::Connected(Peer::Operator(self.addresses[peer])));
                }
            }
            Event::Restart { node, memory } => {
                if !self.nodes[node].is_up() {
                    self.start(node, memory);
                }
            }
        }
    }

    fn deliver(&mut self, from: NodeIndex, to: NodeIndex, message: &Arc<Message>) {
        if !self.nodes[to].is_up() {
            return;
        }
        let verified: Result<VerifiedMessage, _> = (**message).clone().verify(&self.domain, &KeyedHashVerifier);
        let Ok(message) = verified else { return };
        self.mix(to as u64 ^ self.now.0);
        self.input(to, Input::Message { from: Peer::Operator(self.addresses[from]), message });
    }

    fn deliver_question(&mut self, from: NodeIndex, to: NodeIndex, ask: AskId, request: Request, life: u64) {
        if !self.nodes[to].is_up() {
            return;
        }
        self.next_question += 1;
        let id = RequestId(self.next_question);
        self.questions.insert(id, Question { asker: from, ask, asker_life: life, answerer: to });
        self.input(to, Input::Request { from: Peer::Operator(self.addresses[from]), id, request });
    }

    fn perform(&mut self, node: NodeIndex, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Sync(stream) => {
                    let upto = self.nodes[node].disk.last(stream);
                    let life = self.nodes[node].life;
                    self.queue.push(self.now.plus(self.sync_micros), Event::Synced { node, stream, upto, life });
                }
                Effect::Wake(at) => {
                    let life = self.nodes[node].life;
                    let virtual_ms = at.0.saturating_add_signed(-self.nodes[node].skew_ms);
                    let at = Instant(virtual_ms.saturating_mul(1_000)).max(self.now);
                    self.queue.push(at, Event::Wake { node, life });
                }
                Effect::Leave(output) => self.leave(node, *output),
            }
        }
        let crashed =
            self.nodes[node].crash_at.is_some_and(|at| at == self.nodes[node].performed) && !self.nodes[node].is_up();
        if crashed {
            self.after_crash(node);
        }
    }

    fn leave(&mut self, node: NodeIndex, output: Output) {
        self.invariants.observe(Observed { at: self.now, node, operator: self.addresses[node], output: &output });
        match output {
            Output::Send { to, message, .. } => {
                for peer in self.recipients(node, to) {
                    self.send(node, peer, &message);
                }
            }
            Output::Ask { id, to, request } => {
                let life = self.nodes[node].life;
                if let Some(peer) = self.peer(to)
                    && let Some(delay) = self.network.carry(node, peer)
                {
                    self.queue.push(self.now.plus(delay), Event::Ask { from: node, to: peer, ask: id, request, life });
                }
            }
            Output::Answer { request, reply, .. } => {
                let Some(question) = self.questions.remove(&request) else { return };
                let response = match reply {
                    Reply::Now(response) => response,
                    Reply::FromStore(query) => Box::new(self.nodes[node].disk.answer(query)),
                };
                debug_assert_eq!(question.answerer, node, "a node answers its own questions");
                if let Some(delay) = self.network.carry(node, question.asker) {
                    let Question { asker: to, ask, asker_life: life, .. } = question;
                    self.queue.push(self.now.plus(delay), Event::Answered { to, ask, response, life });
                }
            }
            _ => {}
        }
    }

    fn send(&mut self, node: NodeIndex, peer: NodeIndex, message: &Arc<Message>) {
        let messages = match self.behaviours.get_mut(&node) {
            Some(behaviour) => {
                let signer = KeyedHashSigner(self.addresses[node]);
                behaviour.rewrite(peer, message, &Tools { signer: &signer, domain: &self.domain })
            }
            None => vec![Arc::clone(message)],
        };
        for message in messages {
            if let Some(delay) = self.network.carry(node, peer) {
                self.queue.push(self.now.plus(delay), Event::Deliver { from: node, to: peer, message });
            }
        }
    }

    fn peer(&self, peer: Peer) -> Option<NodeIndex> {
        let Peer::Operator(operator) = peer else { return None };
        self.addresses.iter().position(|address| *address == operator)
    }

    fn recipients(&self, node: NodeIndex, to: Recipients) -> Vec<NodeIndex> {
        let others = (0..self.nodes.len()).filter(|peer| *peer != node);
        match to {
            Recipients::One(peer) => self.peer(peer).into_iter().collect(),
            Recipients::Everyone => others.collect(),
            Recipients::Committee => {
                let member = |peer: &NodeIndex| {
                    self.nodes[node]
                        .committees
                        .iter()
                        .rev()
                        .take(3)
                        .any(|committee| committee.contains(&self.addresses[*peer]))
                };
                others.filter(member).collect()
            }
        }
    }

    fn mix(&mut self, value: u64) {
        self.trace = Rng::new(self.trace ^ value).next();
    }
}

/// The namespaces of a simulated network: plain bytes in order, and plain bytes shuffled.
pub fn namespaces() -> Vec<NamespaceSpec> {
    let spec = |id: u32, name: &str, policy: OrderingPolicy| NamespaceSpec {
        id: NamespaceId(id),
        name: name.to_owned(),
        kind: NamespaceKind::Opaque,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 128 * 1024,
        quota_bytes_per_second: 1 << 30,
    };
    vec![spec(1, "bytes", OrderingPolicy::Fifo), spec(2, "lottery", OrderingPolicy::Shuffled)]
}
