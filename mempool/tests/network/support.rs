//! A network of mempools without consensus: blocks are whatever cut a node proposes, given to all.

use squad_mempool::{AckDue, AckOutcome, BatchOutcome, Mempool, MempoolConfig, PoolLimits, SealDue, Source, Tips};
use squad_types::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(crate) const NAMESPACE: NamespaceId = NamespaceId(1);

pub(crate) fn domain() -> Domain {
    Domain::new(NetworkId([7; 32]))
}

pub(crate) fn address(at: usize) -> Address {
    Address([at as u8 + 1; 20])
}

pub(crate) fn signer(at: usize) -> KeyedHashSigner {
    KeyedHashSigner(address(at))
}

pub(crate) fn committee(epoch: u64, members: usize) -> Arc<Committee> {
    let member = |at| Member { address: address(at), stake: Stake(1) };
    Arc::new(Committee::new(Epoch(epoch), (0..members).map(member).collect()).unwrap())
}

/// Small blocks, so that limits are met soon: in a committee of four, a batch holds 8 KiB and a lane 32 KiB.
pub(crate) fn params() -> Params {
    Params { max_block_bytes: 64 << 10, lane_bytes: 32 << 10, max_block_transactions: 1_024, ..Params::default() }
}

pub(crate) fn config(me: usize) -> MempoolConfig {
    let namespace = |id: u32| NamespaceSpec {
        id: NamespaceId(id),
        name: format!("n{id}"),
        kind: NamespaceKind::Opaque,
        policy: OrderingPolicy::Fifo,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 100_000,
        quota_bytes_per_second: u64::MAX / 4,
    };
    let namespaces = (1..4).map(namespace).collect();
    MempoolConfig { me: Some(address(me)), params: params(), namespaces, domain: domain(), pool: PoolLimits::default() }
}

pub(crate) fn transaction(nonce: u64, bytes: usize) -> IdentifiedTransaction {
    let mut data = vec![0; bytes.max(8)];
    data[..8].copy_from_slice(&nonce.to_be_bytes());
    Transaction { namespace: NAMESPACE, valid_until: Some(Timestamp(5_000)), hint: None, data: data.into() }.into()
}

/// A batch as an author makes it, honest or not.
pub(crate) fn batch(author: usize, epoch: u64, parent: Option<Tip>, nonce: u64, bytes: usize) -> VerifiedBatch {
    let payload = Payload::pack(vec![transaction(nonce, bytes)]);
    let header = BatchHeader {
        operator: address(author),
        epoch: Epoch(epoch),
        sequence: parent.map_or(Sequence::ZERO, |tip| tip.sequence.next()),
        parent: parent.map_or(BatchId::ZERO, |tip| tip.batch),
        payload: payload.digest(),
        transactions_root: payload.root(),
        count: 1,
        bytes: payload.bytes().len() as u32,
    };
    VerifiedBatch::assemble(Verified::sign(header, &domain(), &signer(author)).into_signed(), payload)
}

pub(crate) fn lane(author: usize) -> LaneId {
    LaneId { epoch: Epoch(0), author: ValidatorIndex(author as u16) }
}

/// What is on its way to a node.
#[derive(Clone)]
pub(crate) enum Mail {
    Batch(VerifiedBatch),
    Ack(AckMessage),
    Fork(Box<BatchPair>),
    Secured(BatchCertificate),
}

/// The network, and everything it ever said.
pub(crate) struct Network {
    pub(crate) nodes: Vec<Mempool>,
    pub(crate) mail: Vec<(usize, Mail)>,
    pub(crate) now: Timestamp,
    pub(crate) states: Vec<ChainState>,
    /// The state that each node has got to.
    pub(crate) at: Vec<usize>,
    pub(crate) batches: BTreeMap<BatchId, VerifiedBatch>,
    /// For each honest node, lane and place, what it acknowledged.
    acked: BTreeMap<(usize, LaneId, Sequence), BatchId>,
    certified: BTreeMap<(LaneId, Sequence), BatchId>,
    pub(crate) honest: BTreeSet<usize>,
    nonce: u64,
}

impl Network {
    pub(crate) fn new(members: usize, forkers: usize) -> Self {
        let genesis = ChainState {
            tips: vec![None; members],
            named_by: vec![Bitmap::default(); members],
            failed_turns: vec![0; members],
            ..ChainState::default()
        };
        Self {
            nodes: (0..members).map(|me| Mempool::new(config(me), committee(0, members))).collect(),
            mail: Vec::new(),
            now: Timestamp(1_000),
            states: vec![genesis],
            at: vec![0; members],
            batches: BTreeMap::new(),
            acked: BTreeMap::new(),
            certified: BTreeMap::new(),
            honest: (0..members - forkers).collect(),
            nonce: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn post(&mut self, from: usize, mail: &Mail) {
        let to = (0..self.nodes.len()).filter(|to| *to != from);
        self.mail.extend(to.map(|to| (to, mail.clone())));
    }

    pub(crate) fn submit(&mut self, at: usize, bytes: usize) -> bool {
        self.nonce += 1;
        self.nodes[at].submit(self.now, Source(at as u64), transaction(self.nonce, bytes), None).is_ok()
    }

    pub(crate) fn seal(&mut self, at: usize) {
        self.now = self.now.plus(1);
        if self.nodes[at].seal_due(self.now) == SealDue::Now
            && let Some(batch) = self.nodes[at].seal(self.now, &signer(at))
        {
            self.batches.insert(batch.id(), batch.clone());
            self.post(at, &Mail::Batch(batch));
        }
    }

    /// A forker sends one node a batch of its own after any batch of its lane.
    pub(crate) fn fork(&mut self, author: usize, to: usize, parent: usize) {
        let own: Vec<Tip> = self
            .batches
            .values()
            .filter(|batch| batch.header().operator == address(author))
            .map(|batch| batch.tip())
            .collect();
        let parent = (!own.is_empty()).then(|| own[parent % own.len()]).filter(|_| !parent.is_multiple_of(5));
        self.nonce += 1;
        let batch = batch(author, 0, parent, self.nonce, 500);
        self.batches.insert(batch.id(), batch.clone());
        self.mail.push((to, Mail::Batch(batch)));
    }

    pub(crate) fn ack(&mut self, at: usize) {
        self.now = self.now.plus(10);
        while let AckDue::Now(epoch) = self.nodes[at].ack_due(self.now) {
            let Some(message) = self.nodes[at].make_ack(self.now, epoch, &signer(at)) else { break };
            self.note_ack(at, &self.nodes[at].full_ack(epoch).unwrap());
            self.post(at, &Mail::Ack(message));
            self.now = self.now.plus(10);
        }
    }

    /// Nobody honest acknowledges two batches at one place of one lane, directly or through a tip above.
    fn note_ack(&mut self, at: usize, full: &AckMessage) {
        let AckEntries::Full(entries) = &full.entries else { panic!("a full ack is full") };
        for entry in entries.iter() {
            let id = LaneId { epoch: full.ack.statement.epoch, author: entry.lane };
            let mut tip = entry.tip;
            while let Some(Tip { sequence, batch }) = tip {
                let known = *self.acked.entry((at, id, sequence)).or_insert(batch);
                if self.honest.contains(&at) {
                    assert_eq!(known, batch, "node {at} acknowledged two batches at {id} {sequence}");
                }
                let header = self.batches[&batch].header();
                tip = sequence.previous().map(|sequence| Tip { sequence, batch: header.parent });
            }
        }
    }

    pub(crate) fn deliver(&mut self, index: usize, keep: bool) {
        if self.mail.is_empty() {
            return;
        }
        let index = index % self.mail.len();
        let (to, mail) = if keep { self.mail[index].clone() } else { self.mail.swap_remove(index) };
        self.receive(to, mail);
    }

    pub(crate) fn receive(&mut self, to: usize, mail: Mail) {
        match mail {
            Mail::Batch(batch) => match self.nodes[to].on_batch(batch) {
                BatchOutcome::Missing(range) => self.fetch(to, range),
                BatchOutcome::Fork { pair, .. } => {
                    self.nodes[to].on_fork(&pair);
                    self.post(to, &Mail::Fork(pair));
                }
                _ => {}
            },
            Mail::Ack(message) => {
                let (signed, entries) = (message.ack.clone(), message.entries);
                let ack = signed.verify(&domain(), &KeyedHashVerifier).unwrap();
                let mut outcome = self.nodes[to].on_ack(ack, entries);
                if outcome == AckOutcome::NeedFull {
                    let from = (0..self.len()).find(|at| address(*at) == message.ack.signer).unwrap();
                    let full = self.nodes[from].full_ack(message.ack.statement.epoch).unwrap();
                    let ack = full.ack.verify(&domain(), &KeyedHashVerifier).unwrap();
                    outcome = self.nodes[to].on_ack(ack, full.entries);
                    assert!(matches!(outcome, AckOutcome::Advanced { .. }), "{outcome:?}");
                }
                if let AckOutcome::Advanced { unknown, .. } = outcome {
                    for (lane, tip) in unknown {
                        self.nodes[to].missing(lane, tip).into_iter().for_each(|range| self.fetch(to, range));
                    }
                }
            }
            Mail::Fork(pair) => {
                self.nodes[to].on_fork(&pair);
            }
            Mail::Secured(certificate) => self.learn(to, certificate),
        }
    }

    fn learn(&mut self, to: usize, certificate: BatchCertificate) {
        let epoch = certificate.lane.epoch;
        let tip = certificate.verify(&domain(), &committee(epoch.0, self.len()), &KeyedHashVerifier).unwrap();
        let lane = certificate.lane;
        for pair in self.nodes[to].on_certificate(certificate) {
            self.nodes[to].on_fork(&pair);
        }
        if let Some(range) = self.nodes[to].missing(lane, tip) {
            self.fetch(to, range);
        }
    }

    /// Answers a fetch from all that was ever sent, as a peer that has it would.
    pub(crate) fn fetch(&mut self, to: usize, range: BatchRange) {
        for _ in 0..200 {
            let Some(range) = self.nodes[to].missing(range.lane, range.to) else { return };
            let mut answer = Vec::new();
            let mut at = range.to.batch;
            while let Some(batch) = self.batches.get(&at).filter(|batch| batch.header().sequence >= range.from) {
                answer.push(batch.clone());
                at = batch.header().parent;
            }
            let before = self.nodes[to].missing(range.lane, range.to);
            for batch in answer.into_iter().rev() {
                if let BatchOutcome::Fork { pair, .. } = self.nodes[to].on_batch(batch) {
                    self.nodes[to].on_fork(&pair);
                    self.post(to, &Mail::Fork(pair));
                }
            }
            if self.nodes[to].missing(range.lane, range.to) == before {
                return;
            }
        }
    }

    /// A node proposes; the block is ordered.
    pub(crate) fn order(&mut self, proposer: usize) {
        if self.at[proposer] + 1 != self.states.len() {
            return self.follow(proposer);
        }
        let mut state = self.states[self.at[proposer]].clone();
        let cut = self.nodes[proposer].propose_cut(&state, Tips::Available);
        self.nodes[proposer].check_due(&state, &cut).unwrap();
        assert!(cut.is_sorted() && cut.windows(2).all(|pair| pair[0].lane < pair[1].lane));
        let bytes: usize = cut
            .iter()
            .flat_map(|entry| self.nodes[proposer].chain(entry.lane, state.tip(entry.lane), entry.tip).unwrap())
            .map(|batch| batch.payload().bytes().len())
            .sum();
        assert!(bytes <= params().max_block_bytes as usize);
        for entry in cut {
            assert!(state.set_tip(entry));
        }
        state.chain_time = state.chain_time.plus(10);
        self.states.push(state);
        self.follow(proposer);
    }

    /// A node applies the next block, fetching what it lacks.
    pub(crate) fn follow(&mut self, node: usize) {
        let Some(state) = self.states.get(self.at[node] + 1).cloned() else { return };
        let before = self.states[self.at[node]].clone();
        let mut committed = Vec::new();
        for (at, tip) in state.tips.iter().enumerate() {
            let id = LaneId { epoch: state.epoch, author: ValidatorIndex(at as u16) };
            let Some(tip) = tip.filter(|tip| before.tip(id) != Some(*tip)) else { continue };
            if let Some(range) = self.nodes[node].missing(id, tip) {
                self.fetch(node, range);
            }
            let chain = self.nodes[node].chain(id, before.tip(id), tip);
            let chain = chain.unwrap_or_else(|| panic!("node {node} cannot hold {id} {tip:?}"));
            assert!(self.nodes[node].holds(id, tip));
            committed.extend(chain.iter().flat_map(|b| b.payload().transactions().iter().map(|tx| tx.id)));
        }
        let above = self.held_above(node, &state);
        let outcome = self.nodes[node].on_ordered(&state, true, &committed, &[]);
        for (id, tip) in above {
            assert!(self.nodes[node].holds(id, tip), "pruned {id} {tip:?}, which lies above the ordered tip");
        }
        for certificate in outcome.left_out {
            self.post(node, &Mail::Secured(certificate));
        }
        self.at[node] += 1;
    }

    /// Every batch that a node holds on a chain above the ordered tips.
    fn held_above(&self, node: usize, state: &ChainState) -> Vec<(LaneId, Tip)> {
        let above = self.batches.values().filter_map(|batch| {
            let id = self.nodes[node].lane_of(&batch.header().operator, batch.header().epoch)?;
            let ordered = state.tip(id);
            let over = ordered.is_none_or(|ordered| ordered.sequence < batch.header().sequence);
            let chain = self.nodes[node].chain(id, ordered, batch.tip()).filter(|_| over)?;
            let first = chain.first()?.header();
            let follows = ordered.map_or(first.parent == BatchId::ZERO, |ordered| ordered.batch == first.parent);
            (follows && self.nodes[node].holds(id, batch.tip())).then(|| (id, batch.tip()))
        });
        above.collect()
    }

    /// Certificates hold, and no two are for different batches at one place.
    pub(crate) fn check_certificates(&mut self) {
        for node in &self.nodes {
            for author in 0..self.nodes.len() {
                let id = lane(author);
                let Some(tip) = node.certified(id) else { continue };
                let certificate = node.certificate(id, tip).expect("what is certified has a certificate");
                let proven = certificate.verify(&domain(), &committee(0, self.nodes.len()), &KeyedHashVerifier);
                assert_eq!(proven, Ok(tip));
                let mut at = Some(tip);
                while let Some(Tip { sequence, batch }) = at {
                    assert_eq!(
                        *self.certified.entry((id, sequence)).or_insert(batch),
                        batch,
                        "two certificates at {id} {sequence}"
                    );
                    let header = self.batches[&batch].header();
                    at = sequence.previous().map(|sequence| Tip { sequence, batch: header.parent });
                }
            }
        }
    }

    /// Delivers all mail, with acks, until nothing is left to say.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            for at in 0..self.len() {
                self.seal(at);
                self.ack(at);
            }
            if self.mail.is_empty() {
                return;
            }
            for (to, mail) in std::mem::take(&mut self.mail) {
                self.receive(to, mail);
            }
        }
        panic!("the network never comes to rest");
    }

    /// Blocks, with everybody following and talking, until nothing of honest lanes is left.
    pub(crate) fn run_dry(&mut self) {
        for round in 0..400 {
            self.settle();
            for at in 0..self.len() {
                while self.at[at] + 1 < self.states.len() {
                    self.follow(at);
                }
            }
            self.settle();
            self.order(round % self.len());
            let idle = |at: &usize| {
                let node = &self.nodes[*at];
                node.stats().pool_transactions == 0
                    && self.honest.iter().all(|author| {
                        let ordered = self.states.last().and_then(|state| state.tip(lane(*author)));
                        node.chain(lane(*author), ordered, ordered.unwrap_or(TOP)).is_some_and(|c| c.is_empty())
                            || self.last_of(*author).is_none()
                    })
            };
            let done = self
                .honest
                .iter()
                .all(|author| self.last_of(*author) == self.states.last().and_then(|state| state.tip(lane(*author))));
            if done && self.honest.iter().all(idle) {
                return;
            }
        }
        let stats: Vec<_> = self.nodes.iter().map(Mempool::stats).collect();
        panic!("some honest batches are never ordered: {stats:?}");
    }

    fn last_of(&self, author: usize) -> Option<Tip> {
        let own = self.batches.values().filter(|batch| batch.header().operator == address(author));
        own.map(|batch| batch.tip()).max()
    }
}

const TOP: Tip = Tip { sequence: Sequence(u64::MAX), batch: BatchId::ZERO };
