//! A cluster: nodes, a network, virtual time, a seed. The same seed gives the same run.

mod config;
mod flow;
mod l1;
mod machine;
mod post;
mod states;
mod waits;

use l1::{SettlementLayer, View};

use config::hears;
pub use config::{ClusterConfig, FOLLOWER_PEERS, StakeTableChange, max_transaction_bytes, namespaces};
use waits::Waits;

use crate::byzantine::Behaviour;
use crate::cpu::{Cores, Counter, CountingSigner, CountingVerifier, Cpu};
use crate::disk::Stream;
use crate::invariants::{Invariants, Violation};
use crate::keys::{Keys, RunSigner};
use crate::network::pipe::Pipe;
use crate::network::{Network, NodeIndex};
use crate::node::{Effect, Node};
use crate::packet::{Parcel, Questions};
use crate::queue::{Instant, Queue};
use crate::rng::Rng;
use crate::traffic::Traffic;
use crate::watch::Watch;
use squad_sequencer::ledger::StakeTable;
use squad_sequencer::{Config, Input, Memory, Peer, PersistId, Submission};
use squad_types::{
    Address, Domain, Genesis, Height, IdentifiedTransaction, Message, NamespaceId, Signer, Timestamp, Transaction,
    TxId, Verifier,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The namespace of plain bytes that clusters order.
pub const OPAQUE: NamespaceId = NamespaceId(1);

/// The time at which runs begin.
pub const START: Instant = Instant(1_000_000_000);

/// How often a misbehaving node may say something of its own.
const MISCHIEF_MS: u64 = 50;

/// What waits for a node's own thread.
#[derive(Debug)]
pub(crate) enum Work {
    Parcel(Parcel),
    Wake { life: u64, at: Timestamp },
    Connect { peer: NodeIndex, life: u64 },
    Submit(Box<Submission>),
}

#[derive(Debug)]
enum Event {
    /// It reaches the receiver's connection.
    Arrive(Parcel),
    /// It leaves the sender's connection, after work that took a while.
    Depart(Parcel),
    /// Something may be through a node's connection.
    Pipe {
        node: NodeIndex,
        up: bool,
    },
    /// A worker has checked it, or there was nothing to check.
    Work {
        node: NodeIndex,
        work: Work,
    },
    /// The node's thread is free.
    Free {
        node: NodeIndex,
    },
    Synced {
        node: NodeIndex,
        stream: Stream,
        upto: PersistId,
        life: u64,
    },
    Restart {
        node: NodeIndex,
        memory: Memory,
    },
    /// A misbehaving node held a message back until now.
    Late {
        node: NodeIndex,
        to: NodeIndex,
        message: Arc<Message>,
    },
    Mischief {
        node: NodeIndex,
    },
    /// Who lags behind the settlement layer by so much may see another block of it.
    Layer {
        node: NodeIndex,
        lag: u64,
    },
}

impl Event {
    /// The node that has to run for this to happen.
    fn node(&self) -> Option<NodeIndex> {
        match self {
            Self::Work { node, .. } | Self::Free { node } | Self::Synced { node, .. } => Some(*node),
            _ => None,
        }
    }
}

/// A node's connection, up and down.
struct Connection {
    up: Pipe<Parcel>,
    down: Pipe<Parcel>,
}

/// A cluster under way.
pub struct Cluster {
    /// The nodes: members, newcomers, twins, followers.
    pub nodes: Vec<Node>,
    /// The network between them.
    pub network: Network,
    /// What must hold, checked as the run goes.
    pub invariants: Invariants,
    /// The network's genesis.
    pub genesis: Genesis,
    /// What went over the network.
    pub traffic: Traffic,
    /// Who writes down what happens, if anybody.
    pub watch: Watch,
    /// Whether a violation panics at once. If not, the run stops and [`Self::violation`] says why.
    pub strict: bool,
    /// The first invariant that was violated.
    pub violation: Option<Violation>,
    queue: Queue<Event>,
    now: Instant,
    rng: Rng,
    behaviours: BTreeMap<NodeIndex, Box<dyn Behaviour>>,
    /// Nodes whose next chance to say something of their own is in the queue.
    mischief: BTreeSet<NodeIndex>,
    questions: Questions,
    next_question: u64,
    waits: Waits,
    slow_disks: BTreeMap<NodeIndex, u64>,
    paused: Vec<Instant>,
    cpus: Vec<Option<Cpu>>,
    layer: Arc<SettlementLayer>,
    views: Vec<Arc<View>>,
    connections: Vec<Option<Connection>>,
    domain: Domain,
    keys: Keys,
    /// Of the nodes that have an operator.
    signers: Vec<RunSigner>,
    addresses: Vec<Address>,
    operators: BTreeMap<Address, Vec<NodeIndex>>,
    first_follower: NodeIndex,
    scratch: Vec<u8>,
    /// Room for what comes of an input.
    effects: Vec<Effect>,
    /// Messages for everyone so far.
    gossiped: u64,
    submitted: u64,
    /// A hash over everything that happened: equal for equal runs.
    trace: u64,
    /// Events handled.
    pub handled: u64,
}

impl Cluster {
    /// Makes a cluster; nothing runs yet.
    ///
    /// # Panics
    /// If the configuration makes no genesis.
    pub fn new(config: &ClusterConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let genesis = config.genesis();
        genesis.check().unwrap_or_else(|error| panic!("the cluster's genesis is unusable: {error}"));
        let own = (0..config.operators()).chain(config.twins.iter().copied());
        let signers: Vec<RunSigner> = own.map(|number| config.keys.signer(number)).collect();
        let addresses: Vec<Address> = signers.iter().map(Signer::address).collect();
        let mut operators: BTreeMap<Address, Vec<NodeIndex>> = BTreeMap::new();
        for (node, address) in addresses.iter().enumerate() {
            operators.entry(*address).or_default().push(node);
        }
        let layer = SettlementLayer::of(config, &genesis);
        let views: Vec<_> = (0..config.nodes()).map(|_| Arc::new(View::new(&layer))).collect();
        let mut nodes = Vec::with_capacity(config.nodes());
        let mut cpus = Vec::with_capacity(config.nodes());
        let shared = config.shared_cores.map(Cores::new);
        let committee = genesis.committee().ok().map(Arc::new);
        for (node, view) in views.iter().enumerate() {
            let counter = Arc::new(Counter::default());
            let signer = signers
                .get(node)
                .map(|signer| Arc::new(CountingSigner(signer.clone(), Arc::clone(&counter))) as Arc<dyn Signer>);
            let verifier: Arc<dyn Verifier> = Arc::new(CountingVerifier(config.keys.verifier(), Arc::clone(&counter)));
            let stakes = Arc::clone(view) as Arc<dyn StakeTable>;
            let mut own = Config::new(genesis.clone(), signer, verifier, stakes);
            config.adjust(&mut own);
            own.committee.clone_from(&committee);
            nodes.push(Node::new(own));
            let cpu = |(costs, cores): &(_, usize)| Cpu::new(Clone::clone(costs), *cores, shared.clone(), counter);
            cpus.push(config.cpu.as_ref().map(cpu));
        }
        let connection = |(up, down): (u64, u64)| Connection { up: Pipe::new(up), down: Pipe::new(down) };
        let domain = Domain::new(genesis.network_id());
        let links = rng.fork(1);
        let mut invariants = Invariants::new(domain, config.keys.verifier(), &genesis);
        config.twins.iter().for_each(|node| invariants.corrupt(addresses[*node]));
        Self {
            network: Network::new(config.links, config.places.clone(), links),
            invariants,
            genesis,
            traffic: Traffic::new(config.nodes()),
            watch: Watch::default(),
            strict: true,
            violation: None,
            queue: Queue::default(),
            now: START,
            rng,
            behaviours: BTreeMap::new(),
            mischief: BTreeSet::new(),
            questions: Questions::new(),
            next_question: 0,
            waits: Waits::new(config),
            slow_disks: BTreeMap::new(),
            paused: vec![Instant::default(); config.nodes()],
            cpus,
            layer,
            views,
            connections: (0..config.nodes()).map(|_| config.bandwidth.map(connection)).collect(),
            domain,
            first_follower: addresses.len(),
            keys: config.keys,
            signers,
            addresses,
            operators,
            scratch: Vec::new(),
            effects: Vec::new(),
            gossiped: 0,
            nodes,
            submitted: 0,
            trace: 0,
            handled: 0,
        }
    }

    /// Starts all nodes.
    pub fn start_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node, Memory::Kept);
        }
    }

    /// Starts a node and connects it with all that run.
    pub fn start(&mut self, node: NodeIndex, memory: Memory) {
        let mut effects = Vec::new();
        self.nodes[node].start(self.now, memory, &mut effects);
        let operator = self.address(node);
        self.invariants.started(node, &operator);
        self.watch.life(self.now, node, true);
        self.watch.notices(self.now, node, &self.nodes[node].notices);
        let at = self.charge(node, None, &effects);
        self.perform(node, &mut effects, at);
        let soon = self.now.plus(100);
        let life = self.nodes[node].life;
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            if self.nodes[peer].is_up() && self.are_linked(node, peer) {
                self.queue.push(soon, Event::Work { node, work: Work::Connect { peer, life } });
                let peer_life = self.nodes[peer].life;
                self.queue.push(soon, Event::Work { node: peer, work: Work::Connect { peer: node, life: peer_life } });
            }
        }
    }

    /// Whether two nodes are connected when both run.
    fn are_linked(&self, one: NodeIndex, other: NodeIndex) -> bool {
        let (low, high) = (one.min(other), one.max(other));
        if high < self.first_follower {
            return true;
        }
        hears(high, low, self.first_follower)
    }

    /// Makes a node misbehave from now on.
    pub fn corrupt(&mut self, node: NodeIndex, behaviour: impl Behaviour + 'static) {
        self.corrupt_with(node, Box::new(behaviour));
    }

    /// Makes a node misbehave from now on.
    pub fn corrupt_with(&mut self, node: NodeIndex, behaviour: Box<dyn Behaviour>) {
        self.behaviours.insert(node, behaviour);
        self.distrust(node);
        if self.mischief.insert(node) {
            self.queue.push(self.now.plus_ms(MISCHIEF_MS), Event::Mischief { node });
        }
    }

    /// Nothing is promised any more about what a node's operator says.
    pub fn distrust(&mut self, node: NodeIndex) {
        if let Some(operator) = self.addresses.get(node) {
            self.invariants.corrupt(*operator);
        }
    }

    /// Makes a node behave again. What it said cannot be unsaid, so nothing is promised about it still.
    pub fn redeem(&mut self, node: NodeIndex) {
        self.behaviours.remove(&node);
    }

    /// Kills a node: what was not synced may be gone.
    pub fn crash(&mut self, node: NodeIndex) {
        if self.nodes[node].is_up() {
            self.nodes[node].sequencer = None;
            self.after_crash(node);
        }
    }

    fn after_crash(&mut self, node: NodeIndex) {
        let mut rng = self.rng.fork(node as u64);
        self.nodes[node].disk.crash(&mut rng);
        self.nodes[node].crash_at = None;
        self.nodes[node].life += 1;
        self.invariants.crashed(node);
        self.watch.life(self.now, node, false);
        if let Some(cpu) = &mut self.cpus[node] {
            cpu.crash();
        }
        let gone = self.peer_of(node);
        // A twin that runs on is the same peer to everybody.
        let Peer::Operator(operator) = gone else { return self.tell_gone(node, gone) };
        let another = self.operators.get(&operator).is_some_and(|nodes| nodes.iter().any(|n| self.nodes[*n].is_up()));
        if !another {
            self.tell_gone(node, gone);
        }
    }

    fn tell_gone(&mut self, node: NodeIndex, gone: Peer) {
        for peer in (0..self.nodes.len()).filter(|peer| *peer != node) {
            if self.are_linked(node, peer) {
                self.input(peer, Input::Disconnected(gone));
            }
        }
    }

    /// Starts a node again after a while.
    pub fn restart_in(&mut self, node: NodeIndex, ms: u64, memory: Memory) {
        self.queue.push(self.now.plus_ms(ms), Event::Restart { node, memory });
    }

    /// Runs until `done`, or until that much virtual time has passed, or an invariant is violated. Whether it was done.
    pub fn run_until(&mut self, ms: u64, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now.plus_ms(ms);
        loop {
            if done(self) {
                return true;
            }
            if self.violation.is_some() || !self.step(end) {
                return done(self);
            }
        }
    }

    /// Handles the next event, if it is not after `end`; else time moves there.
    pub fn step(&mut self, end: Instant) -> bool {
        let Some((at, event)) = self.queue.pop_until(end) else {
            self.now = end;
            self.layer.advance(end);
            return false;
        };
        self.now = at;
        self.layer.advance(at);
        self.handled += 1;
        self.handle(event);
        true
    }

    /// Runs for that much virtual time.
    pub fn run(&mut self, ms: u64) {
        self.run_until(ms, |_| false);
    }

    /// Virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A node's operator. Followers have none.
    pub fn address(&self, node: NodeIndex) -> Address {
        self.addresses.get(node).copied().unwrap_or_default()
    }

    /// An operator's first node.
    pub fn node_of(&self, operator: &Address) -> Option<NodeIndex> {
        self.operators.get(operator)?.first().copied()
    }

    /// Nodes of operators, twins included.
    pub fn operator_nodes(&self) -> usize {
        self.first_follower
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

    /// Events that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Microseconds that a node's processor worked; none if work takes no time here.
    pub fn cpu_micros(&self, node: NodeIndex) -> Option<u64> {
        self.cpus[node].as_ref().map(|cpu| cpu.used / 1_000)
    }

    /// The most inputs that ever waited for a node's thread.
    pub fn most_waiting(&self, node: NodeIndex) -> usize {
        self.cpus[node].as_ref().map_or(0, |cpu| cpu.most_waiting)
    }

    /// The most bytes that ever waited in a node's connection, up and down.
    pub fn most_backlog(&self, node: NodeIndex) -> (u64, u64) {
        self.connections[node].as_ref().map_or((0, 0), |connection| (connection.up.most, connection.down.most))
    }

    /// Submits a fresh transaction of some bytes to a node.
    pub fn submit(&mut self, node: NodeIndex, bytes: usize) -> TxId {
        self.submit_to(node, OPAQUE, bytes)
    }

    /// Submits a fresh transaction of some bytes in a namespace to a node.
    pub fn submit_to(&mut self, node: NodeIndex, namespace: NamespaceId, bytes: usize) -> TxId {
        let transaction = self.fresh_transaction(node, namespace, bytes);
        self.submit_transaction(node, transaction)
    }

    /// A transaction unlike all others, valid for nearly as long as a node knows that it may be.
    pub fn fresh_transaction(&mut self, node: NodeIndex, namespace: NamespaceId, bytes: usize) -> Transaction {
        self.submitted += 1;
        let mut data = self.submitted.to_be_bytes().to_vec();
        data.resize(bytes.max(8), 0x5a);
        let chain_time = self.nodes[node].sequencer.as_ref().map(|s| s.ledger().state().chain_time).unwrap_or_default();
        let window = u64::from(self.genesis.params.window_ms);
        let until = chain_time.plus(window - window.min(2_000) / 2);
        Transaction { namespace, valid_until: Some(until), hint: None, data: data.into() }
    }

    /// Submits this transaction to a node.
    pub fn submit_transaction(&mut self, node: NodeIndex, transaction: Transaction) -> TxId {
        let transaction: IdentifiedTransaction = transaction.into();
        let id = transaction.id;
        let submission = Submission { transaction, source: squad_mempool::Source(node as u64), evm: None };
        self.hear_client(node, Work::Submit(Box::new(submission)));
        id
    }

    /// Hands a node an input.
    pub fn input(&mut self, node: NodeIndex, input: Input) {
        self.input_of(node, None, input);
    }

    fn mix(&mut self, value: u64) {
        self.trace = Rng::new(self.trace ^ value).next();
    }

    pub(crate) fn violated(&mut self, violation: Violation) {
        assert!(!self.strict, "{violation}");
        self.violation.get_or_insert(violation);
    }
}
