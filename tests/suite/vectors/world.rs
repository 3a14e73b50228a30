//! The small fixed network that all examples are about: four operators, three namespaces, fixed keys and times.

use squad_types::transaction::ids;
use squad_types::*;

/// Four operators, by ascending address.
pub(crate) struct World {
    pub(crate) signers: Vec<EcdsaSigner>,
    pub(crate) genesis: Genesis,
    pub(crate) domain: Domain,
    pub(crate) committee: Committee,
}

/// A hash that stands for something that is not in the examples.
pub(crate) fn filler(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn spec(id: u32, name: &str, kind: NamespaceKind, policy: OrderingPolicy, access: WriteAccess) -> NamespaceSpec {
    NamespaceSpec {
        id: NamespaceId(id),
        name: name.to_owned(),
        kind,
        policy,
        access,
        max_transaction_bytes: 65_536,
        quota_bytes_per_second: 1_000_000,
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut signers: Vec<_> = (1..=4).map(|seed| EcdsaSigner::from_secret([seed; 32]).unwrap()).collect();
        signers.sort_by_key(Signer::address);
        let member =
            |(at, signer): (usize, &EcdsaSigner)| Member { address: signer.address(), stake: Stake(100 + at as u64) };
        let allowed = WriteAccess::AllowList(vec![Address([0x11; 20]), Address([0x22; 20])]);
        let genesis = Genesis {
            name: "vectors".to_owned(),
            time: Timestamp(1_790_000_000_000),
            params: Params::default(),
            namespaces: vec![
                spec(1, "evm", NamespaceKind::Evm { chain_id: 7331 }, OrderingPolicy::Fifo, WriteAccess::Everybody),
                spec(2, "bytes", NamespaceKind::Opaque, OrderingPolicy::Shuffled, WriteAccess::Closed),
                spec(3, "auction", NamespaceKind::Evm { chain_id: 7332 }, OrderingPolicy::PriorityFee, allowed),
            ],
            validators: signers.iter().enumerate().map(member).collect(),
            settlement: None,
        };
        genesis.check().unwrap();
        let (domain, committee) = (Domain::new(genesis.network_id()), genesis.committee().unwrap());
        Self { signers, genesis, domain, committee }
    }

    pub(crate) fn sign<T: keys::Statement + Clone>(&self, at: usize, statement: T) -> Signed<T> {
        Verified::sign(statement, &self.domain, &self.signers[at]).into_signed()
    }

    pub(crate) fn transactions(&self) -> Vec<Transaction> {
        let hint = FeeHint { sender: Address([0x11; 20]), fee: 7 };
        let transaction = |namespace, valid_until: Option<u64>, hint, data: &'static [u8]| Transaction {
            namespace: NamespaceId(namespace),
            valid_until: valid_until.map(Timestamp),
            hint,
            data: bytes::Bytes::from_static(data),
        };
        vec![
            transaction(1, None, None, b"\x02 an Ethereum transaction"),
            transaction(2, Some(9_000), None, b"plain bytes"),
            transaction(3, None, Some(hint), b"\x02 one with a fee"),
        ]
    }

    pub(crate) fn payload(&self) -> Payload {
        Payload::pack(self.transactions().into_iter().map(Into::into).collect())
    }

    /// The place of the transaction at `index` of the payload, under the batch's root.
    pub(crate) fn place(&self, index: usize) -> MerkleProof {
        merkle::prove(&ids(self.payload().transactions()), index).unwrap()
    }

    pub(crate) fn batch_header(&self, author: usize, parent: Option<&BatchHeader>) -> BatchHeader {
        let payload = self.payload();
        BatchHeader {
            operator: self.signers[author].address(),
            epoch: Epoch(0),
            sequence: parent.map_or(Sequence(0), |parent| parent.sequence.next()),
            parent: parent.map_or(BatchId::ZERO, BatchHeader::id),
            payload: payload.digest(),
            transactions_root: payload.root(),
            count: payload.transactions().len() as u32,
            bytes: payload.bytes().len() as u32,
        }
    }

    /// Two batches of one lane, signed.
    pub(crate) fn chain(&self) -> Vec<Signed<BatchHeader>> {
        let first = self.batch_header(1, None);
        let second = self.batch_header(1, Some(&first));
        vec![self.sign(1, first), self.sign(1, second)]
    }

    pub(crate) fn tip_of(header: &BatchHeader) -> Tip {
        Tip { sequence: header.sequence, batch: header.id() }
    }

    /// Where lane 1 stands, as everybody acknowledges it.
    pub(crate) fn vector(&self) -> Vec<Option<Tip>> {
        let mut vector = vec![None; self.signers.len()];
        vector[1] = self.chain().last().map(|signed| Self::tip_of(&signed.statement));
        vector
    }

    pub(crate) fn ack_proof(&self, at: usize, vector: &[Option<Tip>]) -> AckProof {
        let ack = Ack { epoch: Epoch(0), counter: AckCounter(5), root: ack::vector_root(vector) };
        AckProof {
            validator: ValidatorIndex(at as u16),
            ack: self.sign(at, ack),
            tip: vector[1].unwrap(),
            path: merkle::prove(&ack::vector_leaves(vector), 1).unwrap(),
        }
    }

    pub(crate) fn batch_certificate(&self) -> BatchCertificate {
        let acks = (0..3).map(|at| self.ack_proof(at, &self.vector())).collect();
        let certificate = BatchCertificate {
            lane: LaneId { epoch: Epoch(0), author: ValidatorIndex(1) },
            headers: self.chain(),
            acks,
        };
        certificate.verify(&self.domain, &self.committee, &EcdsaVerifier).unwrap();
        certificate
    }

    pub(crate) fn leaves(&self) -> Vec<NamespaceLeaf> {
        let leaf = |transaction: &Transaction| NamespaceLeaf {
            namespace: transaction.namespace,
            count: 1,
            transactions_root: merkle::root(&[Digest(transaction.id().0)]),
        };
        self.transactions().iter().map(leaf).collect()
    }

    pub(crate) fn header(&self) -> Header {
        Header {
            version: PROTOCOL_VERSION,
            network_id: self.genesis.network_id(),
            height: Height(1),
            epoch: Epoch(0),
            parent_hash: self.genesis.parent_hash(),
            proposer: self.signers[2].address(),
            origin_round: Round(1),
            timestamp: Timestamp(1_790_000_000_100),
            l1_anchor: L1Anchor { number: 21_000_000, hash: Digest(filler(0xa1)) },
            cut_digest: self.state().digest(),
            namespaces_root: namespace::namespaces_root(&self.leaves()),
            tx_count: 3,
            params_hash: self.genesis.params.hash(&self.genesis.namespaces),
            committee_hash: self.committee.hash(),
            next_committee_hash: self.committee.for_epoch(Epoch(1)).hash(),
            signers: [ValidatorIndex(0), ValidatorIndex(3)].into_iter().collect(),
        }
    }

    pub(crate) fn state(&self) -> ChainState {
        ChainState {
            chain_time: Timestamp(100),
            epoch: Epoch(0),
            epoch_start: Height(1),
            epoch_start_time: Timestamp(0),
            previous_tips: Vec::new(),
            tips: self.vector(),
            ready: vec![Address([0x33; 20])],
            named_by: vec![[ValidatorIndex(2)].into_iter().collect(), Bitmap::default()],
            failed_turns: vec![0, 1, 0, 2],
            recent_rounds: vec![Round(1), Round(0)],
        }
    }

    pub(crate) fn block(&self) -> ProposedBlock {
        let lane = LaneId { epoch: Epoch(0), author: ValidatorIndex(1) };
        let cut = vec![CutEntry { lane, tip: self.vector()[1].unwrap() }];
        let readies = vec![self.sign(0, Ready { epoch: Epoch(0) })];
        ProposedBlock::new(self.header(), cut, readies, Some(self.genesis.validators.clone()))
    }

    pub(crate) fn vote(&self, kind: VoteKind, block: Option<HeaderHash>) -> Vote {
        Vote { kind, height: Height(1), round: Round(2), block }
    }

    /// Three of four precommits for the block: a quorum.
    pub(crate) fn commit(&self) -> CommitCertificate {
        let block = self.header().hash();
        let vote = self.vote(VoteKind::Precommit, Some(block));
        let precommits = (0..3).map(|at| (ValidatorIndex(at as u16), self.sign(at, vote).signature)).collect();
        let certificate = CommitCertificate::assemble(Height(1), Round(2), block, precommits);
        certificate.verify(&self.domain, &self.committee, &EcdsaVerifier).unwrap();
        certificate
    }

    pub(crate) fn ordered(&self) -> OrderedBlock {
        OrderedBlock { block: std::sync::Arc::new(self.block()), certificate: self.commit(), skipped: vec![4, 9] }
    }
}
