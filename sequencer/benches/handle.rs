//! What `Sequencer::handle` costs in a cluster of four, everything that all four nodes do counted together: an empty height,
//! and 1,000 opaque transactions of 512 bytes from their submission to their order at all four. That takes two heights or
//! three, since the first transactions do not wait for the others.
//!
//! Messages go from one to the other at once and every write is durable at once, so nothing but the core is measured: with a
//! keyed hash in place of signatures, and with real ones, checked by every receiver as its driver would.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros write undocumented functions
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a bench measures time; the room itself has none

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use squad_mempool::Source;
use squad_sequencer::ledger::GenesisStakeTable;
use squad_sequencer::{
    AskId, Config, Input, Output, Peer, Recipients, Reply, RequestId, Sequencer, Store, Submission, VerifiedResponse,
};
use squad_types::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NODES: usize = 4;
const TRANSACTIONS: usize = 1_000;
const BYTES: usize = 512;
/// Virtual time between two heights, so that rates refill and quotas are not what is measured.
const PAUSE_MS: u64 = 50;
/// Inputs that a height may take, far above what it takes.
const MAX_INPUTS: usize = 100_000;

/// Nothing is read back: no node is behind.
struct Nothing;

impl Store for Nothing {
    fn block(&self, _: Height) -> Option<OrderedBlock> {
        None
    }

    fn batches(&self, _: LaneId, _: Sequence) -> Vec<Batch> {
        Vec::new()
    }
}

struct Node {
    sequencer: Sequencer,
    address: Address,
    wake: Option<Timestamp>,
    ordered: usize,
}

/// What is under way to a node.
enum Event {
    Message(Address, Arc<Message>),
    Input(Input),
}

/// Four nodes in one loop.
struct Cluster {
    nodes: Vec<Node>,
    domain: Domain,
    verifier: Arc<dyn Verifier>,
    now: Timestamp,
    queue: VecDeque<(usize, Event)>,
    questions: BTreeMap<RequestId, (usize, AskId)>,
    submitted: u64,
}

fn genesis(signers: &[Arc<dyn Signer>]) -> Genesis {
    let namespace = NamespaceSpec {
        id: NamespaceId(1),
        name: "bench".into(),
        kind: NamespaceKind::Opaque,
        policy: OrderingPolicy::Fifo,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 1_024,
        quota_bytes_per_second: 1 << 30,
    };
    let member = |signer: &Arc<dyn Signer>| Member { address: signer.address(), stake: Stake(1) };
    let validators = signers.iter().map(member).collect();
    Genesis {
        name: "bench".into(),
        time: Timestamp(1_000),
        params: Params::default(),
        namespaces: vec![namespace],
        validators,
        settlement: None,
    }
}

impl Cluster {
    fn start(mut signers: Vec<Arc<dyn Signer>>, verifier: Arc<dyn Verifier>) -> Self {
        signers.sort_by_key(|signer| signer.address());
        let genesis = genesis(&signers);
        let stakes = Arc::new(GenesisStakeTable::new(&genesis));
        let domain = Domain::new(genesis.network_id());
        let mut cluster = Self {
            nodes: Vec::new(),
            domain,
            verifier: Arc::clone(&verifier),
            now: Timestamp(1_001),
            queue: VecDeque::new(),
            questions: BTreeMap::new(),
            submitted: 0,
        };
        let mut first = Vec::new();
        for signer in signers {
            let address = signer.address();
            let config = Config::new(genesis.clone(), Some(signer), Arc::clone(&verifier), stakes.clone());
            let (sequencer, outputs) = Sequencer::recover(config, cluster.now, Vec::new(), &Nothing).unwrap();
            cluster.nodes.push(Node { sequencer, address, wake: None, ordered: 0 });
            first.push(outputs);
        }
        for (node, outputs) in first.into_iter().enumerate() {
            cluster.perform(node, outputs);
        }
        for node in 0..NODES {
            for peer in (0..NODES).filter(|peer| *peer != node) {
                let connected = Input::Connected(Peer::Operator(cluster.nodes[peer].address));
                cluster.queue.push_back((node, Event::Input(connected)));
            }
        }
        cluster.run_until(|cluster| cluster.nodes.iter().all(|node| node.sequencer.ledger().height() >= Height(2)));
        cluster
    }

    fn handle(&mut self, node: usize, input: Input) {
        let mut outputs = Vec::new();
        self.nodes[node].sequencer.handle(self.now, input, &mut outputs);
        self.perform(node, outputs);
    }

    fn index(&self, address: Address) -> usize {
        self.nodes.iter().position(|node| node.address == address).unwrap()
    }

    fn perform(&mut self, node: usize, outputs: Vec<Output>) {
        let me = self.nodes[node].address;
        for output in outputs {
            match output {
                Output::Send { to: Recipients::One(Peer::Operator(to)), message, .. } => {
                    self.queue.push_back((self.index(to), Event::Message(me, message)));
                }
                Output::Send { message, .. } => {
                    for peer in (0..NODES).filter(|peer| *peer != node) {
                        self.queue.push_back((peer, Event::Message(me, Arc::clone(&message))));
                    }
                }
                Output::Ask { id, to: Peer::Operator(to), request } => {
                    let number = RequestId(self.questions.keys().next_back().map_or(0, |last| last.0 + 1));
                    self.questions.insert(number, (node, id));
                    let asked = Input::Request { from: Peer::Operator(me), id: number, request };
                    self.queue.push_back((self.index(to), Event::Input(asked)));
                }
                Output::Answer { request, reply, .. } => {
                    let (asker, id) = self.questions.remove(&request).unwrap();
                    let response = match reply {
                        Reply::Now(response) => {
                            VerifiedResponse::verify(*response, &self.domain, self.verifier.as_ref()).ok()
                        }
                        Reply::FromStore(_) => None,
                    };
                    self.queue.push_back((asker, Event::Input(Input::Response { id, response })));
                }
                Output::WakeAt(at) => self.nodes[node].wake = Some(at),
                Output::Ordered(decision) => self.nodes[node].ordered += decision.execution.count(),
                Output::Refused { rejection, .. } => panic!("a transaction of the bench is refused: {rejection}"),
                _ => {}
            }
        }
    }

    /// One event, or the next alarm if there is none.
    fn step(&mut self) {
        match self.queue.pop_front() {
            Some((node, Event::Input(input))) => self.handle(node, input),
            Some((node, Event::Message(from, message))) => {
                let message = Message::clone(&message).verify(&self.domain, self.verifier.as_ref()).unwrap();
                self.handle(node, Input::Message { from: Peer::Operator(from), message });
            }
            None => {
                let alarms = self.nodes.iter().enumerate().filter_map(|(node, state)| Some((state.wake?, node)));
                let (at, node) = alarms.min().expect("a cluster at rest waits for something");
                self.now = self.now.max(at);
                self.nodes[node].wake = None;
                self.handle(node, Input::Wake);
            }
        }
    }

    fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..MAX_INPUTS {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("not done after {MAX_INPUTS} inputs");
    }

    fn transactions(&mut self) -> Vec<IdentifiedTransaction> {
        let until = self.nodes[0].sequencer.ledger().state().chain_time.plus(9_000);
        let transaction = |number: u64| {
            let mut data = vec![0; BYTES];
            data[..8].copy_from_slice(&number.to_be_bytes());
            Transaction { namespace: NamespaceId(1), valid_until: Some(until), hint: None, data: data.into() }.into()
        };
        let first = self.submitted;
        self.submitted += TRANSACTIONS as u64;
        (first..self.submitted).map(transaction).collect()
    }

    /// Submits to all four in turn and has it ordered by all four. What a client's side does is not counted.
    fn order(&mut self) -> Duration {
        let transactions = self.transactions();
        self.now = self.now.plus(PAUSE_MS);
        let wanted = self.nodes[0].ordered + TRANSACTIONS;
        let started = Instant::now();
        for (at, transaction) in transactions.into_iter().enumerate() {
            let submission = Submission { transaction, source: Source(at as u64 % 16), evm: None };
            self.handle(at % NODES, Input::Submit(submission));
        }
        self.run_until(|cluster| cluster.nodes.iter().all(|node| node.ordered >= wanted));
        started.elapsed()
    }
}

impl Cluster {
    /// Has all four decide one more height, with nothing to order.
    fn idle(&mut self) -> Duration {
        let next = self.nodes[0].sequencer.ledger().height().next();
        let started = Instant::now();
        self.run_until(|cluster| cluster.nodes.iter().all(|node| node.sequencer.ledger().height() >= next));
        started.elapsed()
    }
}

fn secret(at: usize) -> EcdsaSigner {
    EcdsaSigner::from_secret([at as u8 + 1; 32]).unwrap()
}

/// How statements are signed and checked.
struct Keys {
    name: &'static str,
    signers: Vec<Arc<dyn Signer>>,
    verifier: Arc<dyn Verifier>,
}

fn keys() -> [Keys; 2] {
    let keyed = |at| Arc::new(KeyedHashSigner(secret(at).address())) as Arc<dyn Signer>;
    let real = |at| Arc::new(secret(at)) as Arc<dyn Signer>;
    [
        Keys { name: "keyed hash", signers: (0..NODES).map(keyed).collect(), verifier: Arc::new(KeyedHashVerifier) },
        Keys { name: "signatures", signers: (0..NODES).map(real).collect(), verifier: Arc::new(EcdsaVerifier) },
    ]
}

fn handle(c: &mut Criterion) {
    let mut group = c.benchmark_group("four nodes");
    group.sample_size(10);
    for Keys { name, signers, verifier } in keys() {
        let mut cluster = Cluster::start(signers, verifier);
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("an empty height, {name}"), |b| {
            b.iter_custom(|times| (0..times).map(|_| cluster.idle()).sum());
        });
        group.throughput(Throughput::Elements(TRANSACTIONS as u64));
        group.bench_function(format!("1000 transactions of 512 bytes, {name}"), |b| {
            b.iter_custom(|times| (0..times).map(|_| cluster.order()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, handle);
criterion_main!(benches);
