//! A node that orders what it is handed, with real signatures and no network behind it.

use crate::api::{
    Accepted, Answer, Answers, Backend, BoxFuture, CertifiedHeader, LaneStatus, Latencies, NamespaceStatus, NodeStatus,
    PeerStatus, Readiness, RejectCode, Rejected, Submission, Ticket, TrafficStatus,
};
use squad_client::testing::{TestBlock, TestChain};
use squad_types::{
    Address, Committee, CommitteeProof, Confirmation, Encode, Epoch, Evidence, Genesis, Height, NamespaceBlock,
    NamespaceId, NamespaceSpec, Stake, Tier, Timestamp, Transaction, TxId, WriteAccess,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

/// The chain time that the fake always has.
pub(crate) const CHAIN_TIME: u64 = 1_000_000;
/// Its window.
pub(crate) const WINDOW: u64 = 10_000;

struct State {
    chain: TestChain,
    blocks: Vec<TestBlock>,
    confirmations: BTreeMap<TxId, Confirmation>,
    oldest: u64,
    refusal: Option<Rejected>,
    silent: Vec<Answers>,
    is_silent: bool,
    evidence: Vec<Evidence>,
    readiness: Readiness,
}

/// A node for tests.
pub(crate) struct FakeBackend {
    state: Mutex<State>,
    tip: watch::Sender<Height>,
    namespaces: Arc<Vec<NamespaceSpec>>,
    genesis: Arc<Genesis>,
}

impl FakeBackend {
    /// A node with an EVM namespace (1, `evm`, chain id 1001), an opaque one (2, `bytes`), a closed one (3, `shut`) and an
    /// EVM one that only address 0x09…09 may write to (4, `club`).
    pub(crate) fn new() -> Arc<Self> {
        let chain = TestChain::new(4);
        let mut namespaces = chain.genesis.namespaces.clone();
        let variant = |of: &NamespaceSpec, id, name: &str, access| NamespaceSpec {
            id: NamespaceId(id),
            name: name.into(),
            access,
            ..of.clone()
        };
        let shut = variant(&namespaces[1], 3, "shut", WriteAccess::Closed);
        let club = variant(&namespaces[0], 4, "club", WriteAccess::AllowList(vec![Address([9; 20])]));
        namespaces.extend([shut, club]);
        let genesis = Arc::new(chain.genesis.clone());
        let state = State {
            chain,
            blocks: Vec::new(),
            confirmations: BTreeMap::new(),
            oldest: 1,
            evidence: Vec::new(),
            refusal: None,
            silent: Vec::new(),
            is_silent: false,
            readiness: Readiness::Ready,
        };
        let tip = watch::Sender::new(Height::ZERO);
        Arc::new(Self { state: Mutex::new(state), tip, namespaces: Arc::new(namespaces), genesis })
    }

    /// Refuses every submission so.
    pub(crate) fn refuse(&self, refusal: Rejected) {
        self.state.lock().unwrap().refusal = Some(refusal);
    }

    /// Takes submissions and never answers.
    pub(crate) fn silence(&self) {
        self.state.lock().unwrap().is_silent = true;
    }

    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        self.state.lock().unwrap().readiness = readiness;
    }

    /// The node has caught somebody.
    pub(crate) fn catch(&self, evidence: Evidence) {
        self.state.lock().unwrap().evidence.push(evidence);
    }

    /// Forgets blocks below a height.
    pub(crate) fn prune(&self, oldest: u64) {
        self.state.lock().unwrap().oldest = oldest;
    }

    /// Orders a block of one opaque transaction and returns its height.
    pub(crate) fn order(&self, data: &[u8]) -> Height {
        let until = Some(Timestamp(CHAIN_TIME + 1));
        let tx = Transaction { namespace: NamespaceId(2), valid_until: until, hint: None, data: data.to_vec().into() };
        let height = self.state.lock().unwrap().order(tx).0;
        self.tip.send_replace(height);
        height
    }

    /// Calls that it was silent to and that still wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().unwrap().silent.len()
    }

    /// Drops them, as a node does that goes down.
    pub(crate) fn forget_waiting(&self) {
        self.state.lock().unwrap().silent.clear();
    }

    fn take(&self, submission: Submission) -> Result<Accepted, Rejected> {
        let mut state = self.state.lock().unwrap();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let Submission { namespace, data, valid_until, evm, wait, with_confirmation, .. } = submission;
        let tx = Transaction { namespace, valid_until, hint: evm.map(|facts| facts.hint()), data };
        let id = tx.id();
        let confirmation = match wait {
            Tier::Batched => state.chain.batched(&state.chain.batch(0, None, vec![tx]), 0),
            Tier::Secured => state.chain.secured(0, &[state.chain.batch(0, None, vec![tx])], 0),
            Tier::Ordered => {
                let (height, confirmation) = state.order(tx);
                self.tip.send_replace(height);
                confirmation
            }
        };
        state.confirmations.insert(id, confirmation.clone());
        Ok(Accepted { id, tier: wait, confirmation: with_confirmation.then(|| Box::new(confirmation)) })
    }

    fn find<T>(&self, height: Height, of: impl FnOnce(&TestBlock) -> T) -> Result<Option<T>, Rejected> {
        let state = self.state.lock().unwrap();
        if height.0 < state.oldest {
            let reason = format!("height {height} is pruned: the lowest kept is {}", state.oldest);
            return Err(Rejected::new(RejectCode::Pruned, reason));
        }
        Ok(state.blocks.get(height.0 as usize - 1).map(of))
    }
}

impl State {
    fn order(&mut self, tx: Transaction) -> (Height, Confirmation) {
        let namespace = tx.namespace;
        let block = self.chain.block(vec![tx]);
        let confirmation = block.confirmation(namespace, 0);
        let height = block.header.height;
        self.blocks.push(block);
        (height, confirmation)
    }
}

fn now<T: Send + 'static>(value: T) -> BoxFuture<'static, T> {
    Box::pin(std::future::ready(value))
}

impl Backend for FakeBackend {
    fn submit(&self, tickets: Vec<Ticket>, answers: Answers) -> BoxFuture<'_, ()> {
        if self.state.lock().unwrap().is_silent {
            self.state.lock().unwrap().silent.push(answers);
            return now(());
        }
        for ticket in tickets {
            let answer = Answer { number: ticket.number, outcome: self.take(ticket.submission) };
            // Whoever asked may have gone.
            let _ = answers.send(vec![answer]);
        }
        now(())
    }

    fn confirmation(&self, id: TxId, wait: Option<Tier>) -> BoxFuture<'_, Result<Option<Confirmation>, Rejected>> {
        let found = self.state.lock().unwrap().confirmations.get(&id).cloned();
        match (&found, wait) {
            // A tier that is never reached.
            (Some(confirmation), Some(tier)) if confirmation.tier() < tier => Box::pin(std::future::pending()),
            _ => now(Ok(found)),
        }
    }

    fn namespace_block(
        &self,
        namespace: NamespaceId,
        height: Height,
    ) -> BoxFuture<'_, Result<Option<Arc<NamespaceBlock>>, Rejected>> {
        now(self.find(height, |block| Arc::new(block.namespace_block(namespace))))
    }

    fn header(&self, height: Height) -> BoxFuture<'_, Result<Option<CertifiedHeader>, Rejected>> {
        now(self.find(height, |block| CertifiedHeader {
            header: block.header.clone(),
            certificate: block.certificate.clone(),
        }))
    }

    fn tip(&self) -> watch::Receiver<Height> {
        self.tip.subscribe()
    }

    fn committee(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<Committee>, Rejected>> {
        let state = self.state.lock().unwrap();
        now(Ok((epoch <= state.chain.epoch).then(|| state.chain.committee().for_epoch(epoch))))
    }

    fn committee_proof(&self, epoch: Epoch) -> BoxFuture<'_, Result<Option<CommitteeProof>, Rejected>> {
        let state = self.state.lock().unwrap();
        let first = state.blocks.iter().filter(|block| block.header.epoch.next() == epoch);
        now(Ok(first.filter_map(TestBlock::committee_proof).next()))
    }

    fn status(&self) -> BoxFuture<'_, NodeStatus> {
        let state = self.state.lock().unwrap();
        let tip = state.blocks.last().map(|block| (block.hash(), block.header.timestamp)).unwrap_or_default();
        let operator = state.chain.signers.first().map(squad_types::Signer::address).unwrap_or_default();
        now(NodeStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            network: self.genesis.name.clone(),
            network_id: self.genesis.network_id(),
            operator,
            in_committee: true,
            committee_size: 4,
            readiness: state.readiness.clone(),
            height: Height(state.blocks.len() as u64),
            oldest_height: Height(state.oldest),
            round: Default::default(),
            epoch: state.chain.epoch,
            proposer: Some(operator),
            chain_time: Timestamp(CHAIN_TIME),
            tip_hash: tip.0,
            tip_time: tip.1,
            clock: crate::cli::now(),
            uptime_ms: 1,
            peers: vec![PeerStatus {
                peer_id: "peer".into(),
                operator: Some(operator),
                address: "/ip4/127.0.0.1/tcp/1".into(),
                round_trip_ms: Some(1),
            }],
            lanes: vec![LaneStatus {
                operator,
                stake: Stake(100),
                unordered_batches: 0,
                unordered_bytes: 0,
                closed: false,
            }],
            namespaces: vec![NamespaceStatus {
                id: NamespaceId(2),
                name: "bytes".into(),
                ordered_transactions: 1,
                ordered_bytes: 1,
                admitted_transactions: 1,
                refused_transactions: 0,
            }],
            traffic: TrafficStatus::default(),
            latencies: Latencies::default(),
            evidence: 0,
            disk_free_bytes: None,
            clock_skew_ms: Some(3),
            warnings: vec!["a test is under way".into()],
        })
    }

    fn genesis(&self) -> Arc<Genesis> {
        Arc::clone(&self.genesis)
    }

    fn namespaces(&self) -> Arc<Vec<NamespaceSpec>> {
        Arc::clone(&self.namespaces)
    }

    fn chain_time(&self) -> (Timestamp, u64) {
        (Timestamp(CHAIN_TIME), WINDOW)
    }

    fn evidence(&self) -> BoxFuture<'_, Vec<Evidence>> {
        now(self.state.lock().unwrap().evidence.clone())
    }
}

/// The canonical bytes of a value, for comparisons with what came over a wire.
pub(crate) fn bytes<T: Encode>(value: &T) -> Vec<u8> {
    value.to_bytes().to_vec()
}
