//! What the ledger's tests build chains from.

use super::*;
use squad_types::*;

pub(super) fn address(at: u16) -> Address {
    let mut address = Address::ZERO;
    address.0[..2].copy_from_slice(&at.to_be_bytes());
    address.0[2] = 1;
    address
}

/// A genesis of equal validators with an opaque fifo, an opaque shuffled and a fee-ordered EVM namespace.
pub(super) fn genesis(validators: u16) -> Genesis {
    let spec = |id: u32, kind, policy| NamespaceSpec {
        id: NamespaceId(id),
        name: format!("ns-{id}"),
        kind,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 4_096,
        quota_bytes_per_second: 1 << 20,
    };
    let members = (0..validators).map(|at| Member { address: address(at), stake: Stake(1_000) });
    Genesis {
        name: "test".into(),
        time: Timestamp(1_000_000),
        params: Params { epoch_heights: 16, epoch_ms: 1_000, window_ms: 2_000, ..Params::default() },
        namespaces: vec![
            spec(1, NamespaceKind::Opaque, OrderingPolicy::Fifo),
            spec(4, NamespaceKind::Opaque, OrderingPolicy::Shuffled),
            spec(9, NamespaceKind::Evm { chain_id: 7 }, OrderingPolicy::PriorityFee),
        ],
        validators: members.collect(),
        settlement: None,
    }
}

/// Batches in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Store(BTreeMap<(LaneId, Tip), VerifiedBatch>);

impl Batches for Store {
    fn chain(&self, lane: LaneId, above: Option<Tip>, to: Tip) -> Option<Vec<VerifiedBatch>> {
        let first = above.map_or(Sequence::ZERO, |tip| tip.sequence.next());
        let (mut chain, mut at) = (Vec::new(), to);
        while at.sequence >= first {
            let batch = self.0.get(&(lane, at))?.clone();
            at.batch = batch.header().parent;
            let below = at.sequence.previous();
            chain.push(batch);
            match below {
                Some(below) => at.sequence = below,
                None => break,
            }
        }
        chain.reverse();
        Some(chain)
    }
}

/// A chain that one hand drives: it signs for everybody.
pub(super) struct Chain {
    pub(super) genesis: Genesis,
    pub(super) ledger: Ledger,
    pub(super) store: Store,
    pub(super) stakes: GenesisStakeTable,
    pub(super) heads: BTreeMap<LaneId, Tip>,
    pub(super) blocks: Vec<OrderedBlock>,
    pub(super) executions: Vec<Execution>,
    pub(super) now: Timestamp,
    pub(super) silent: Vec<Address>,
    pub(super) readies: Vec<Signed<Ready>>,
}

impl WindowSource for Vec<OrderedBlock> {
    fn block(&self, height: Height) -> Option<OrderedBlock> {
        self.iter().find(|ordered| ordered.block.header().height == height).cloned()
    }
}

pub(super) fn turn(ledger: &Ledger) -> impl Fn(Round) -> Option<Address> + use<> {
    let (height, committee) = (ledger.height().0, ledger.committee(ledger.epoch_of_next()).cloned());
    move |round| {
        let members = committee.as_ref()?.members();
        Some(members[((height + u64::from(round.0)) % members.len() as u64) as usize].address)
    }
}

pub(super) fn opaque(namespace: u32, valid_until: u64, data: &[u8]) -> IdentifiedTransaction {
    let valid_until = Some(Timestamp(valid_until));
    let data = bytes::Bytes::copy_from_slice(data);
    Transaction { namespace: NamespaceId(namespace), valid_until, hint: None, data }.into()
}

pub(super) fn paid(sender: u8, fee: u64, data: &[u8]) -> IdentifiedTransaction {
    let hint = Some(FeeHint { sender: Address([sender; 20]), fee });
    let data = bytes::Bytes::copy_from_slice(data);
    Transaction { namespace: NamespaceId(9), valid_until: None, hint, data }.into()
}

impl Chain {
    pub(super) fn new(validators: u16) -> Self {
        Self::of(genesis(validators))
    }

    pub(super) fn of(genesis: Genesis) -> Self {
        Self {
            ledger: Ledger::genesis(&genesis).unwrap(),
            store: Store::default(),
            stakes: GenesisStakeTable::new(&genesis),
            heads: BTreeMap::new(),
            blocks: Vec::new(),
            executions: Vec::new(),
            now: genesis.time,
            silent: Vec::new(),
            readies: Vec::new(),
            genesis,
        }
    }

    pub(super) fn lane(&self, author: u16) -> LaneId {
        LaneId { epoch: self.ledger.epoch_of_next(), author: ValidatorIndex(author) }
    }

    /// Adds a batch to a lane.
    pub(super) fn batch(&mut self, lane: LaneId, transactions: Vec<IdentifiedTransaction>) -> VerifiedBatch {
        let batch = self.batch_after(lane, self.heads.get(&lane).copied(), transactions);
        self.heads.insert(lane, batch.tip());
        batch
    }

    pub(super) fn batch_after(
        &mut self,
        lane: LaneId,
        above: Option<Tip>,
        transactions: Vec<IdentifiedTransaction>,
    ) -> VerifiedBatch {
        let operator = self.ledger.committee(lane.epoch).unwrap().get(lane.author).unwrap().address;
        let payload = Payload::pack(transactions);
        let header = BatchHeader {
            operator,
            epoch: lane.epoch,
            sequence: above.map_or(Sequence::ZERO, |tip| tip.sequence.next()),
            parent: above.map_or(BatchId::ZERO, |tip| tip.batch),
            payload: payload.digest(),
            transactions_root: payload.root(),
            count: payload.transactions().len() as u32,
            bytes: payload.bytes().len() as u32,
        };
        let signed = Verified::sign(header, self.ledger.domain(), &KeyedHashSigner(operator)).into_signed();
        let batch = VerifiedBatch::assemble(signed, payload);
        self.store.0.insert((lane, batch.tip()), batch.clone());
        batch
    }

    /// What a proposer of the next height wants: every lane's head.
    pub(super) fn draft(&self, round: u32) -> Draft {
        let height = self.ledger.height().next();
        let listed = height.0.checked_sub(limits::SIGNERS_LAG).filter(|at| *at > 0);
        let signers = listed.map(|at| self.blocks[at as usize - 1].certificate.signers.clone());
        Draft {
            proposer: turn(&self.ledger)(Round(round)).unwrap(),
            origin_round: Round(round),
            now: self.now,
            l1_anchor: L1Anchor::default(),
            signers: signers.unwrap_or_default(),
            cut: self.heads.iter().map(|(lane, tip)| CutEntry { lane: *lane, tip: *tip }).collect(),
            readies: self.readies.clone(),
        }
    }

    pub(super) fn build(&self, draft: Draft) -> Result<(Arc<ProposedBlock>, Execution), BuildError> {
        self.ledger.build(draft, &turn(&self.ledger), &self.stakes, &self.store)
    }

    pub(super) fn judge(&self, block: &ProposedBlock) -> Judgement {
        self.ledger.judge(block, &turn(&self.ledger), &self.store)
    }

    /// Builds, judges and applies the next block, `step` milliseconds later.
    pub(super) fn advance(&mut self, step: u64) -> Applied {
        self.advance_from(0, step)
    }

    pub(super) fn advance_from(&mut self, round: u32, step: u64) -> Applied {
        self.now = self.now.plus(step);
        let (block, built) = self.build(self.draft(round)).unwrap();
        let Judgement::Valid(judged) = self.judge(&block) else { panic!("{:?}", self.judge(&block)) };
        assert_eq!(built, judged, "judging gives what building gave");
        let ordered = self.certify(block, &judged);
        let applied = self.ledger.apply(&ordered, &judged);
        self.blocks.push(ordered);
        self.executions.push(judged);
        applied
    }

    pub(super) fn certify(&self, block: Arc<ProposedBlock>, execution: &Execution) -> OrderedBlock {
        let (height, hash) = (block.header().height, block.hash());
        let vote = Vote { kind: VoteKind::Precommit, height, round: Round(0), block: Some(hash) };
        let committee = self.ledger.committee(block.header().epoch).unwrap();
        let members = committee.members().iter().filter(|member| !self.silent.contains(&member.address));
        let precommits = members.map(|member| {
            let vote = Verified::sign(vote, self.ledger.domain(), &KeyedHashSigner(member.address));
            (committee.index_of(&member.address).unwrap(), vote.signature)
        });
        let certificate = CommitCertificate::assemble(height, Round(0), hash, precommits.collect());
        OrderedBlock { block, certificate, skipped: execution.skipped.clone() }
    }

    /// All transactions ordered so far, by namespace.
    pub(super) fn ordered(&self, namespace: u32) -> Vec<TxId> {
        let parts = self.executions.iter().flat_map(|execution| &execution.namespaces);
        let own = parts.filter(|part| part.leaf.namespace == NamespaceId(namespace));
        own.flat_map(|part| part.transactions.iter().map(|tx| tx.id)).collect()
    }

    /// When a transaction that is submitted now should end: in the middle of the window.
    pub(super) fn until(&self) -> u64 {
        self.ledger.state().chain_time.0 + u64::from(self.genesis.params.window_ms) / 2
    }
}
