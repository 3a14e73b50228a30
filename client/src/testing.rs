//! Fabricates networks and chains with real signatures, for the tests of whoever follows blocks.
//!
//! No node runs here: blocks are made up and certified by all keys. What a real network checks beyond certificates and
//! proofs (lanes, chain state, parameters) is left out or zero.

use bytes::Bytes;
use squad_types::ack::{vector_leaves, vector_root};
use squad_types::namespace::namespaces_root;
use squad_types::transaction::ids;
use squad_types::{
    Ack, AckCounter, AckProof, BatchCertificate, BatchHeader, BatchId, Batched, CommitCertificate, Committee,
    CommitteeProof, Confirmation, Digest, Domain, EcdsaSigner, Epoch, Evidenced, Genesis, Header, HeaderHash, Height,
    IdentifiedTransaction, L1Anchor, LaneId, Member, MerkleProof, NamespaceBlock, NamespaceId, NamespaceKind,
    NamespaceLeaf, NamespaceProof, NamespaceSpec, Ordered, OrderingPolicy, PROTOCOL_VERSION, Params, Payload, Round,
    Secured, Sequence, Signer, Stake, Timestamp, Tip, Transaction, ValidatorIndex, Verified, VerifiedBatch,
    WriteAccess, merkle,
};
use std::collections::BTreeMap;

/// When fabricated networks start: some moment in 2026.
pub const GENESIS_TIME: Timestamp = Timestamp(1_790_000_000_000);

/// Milliseconds between fabricated blocks.
pub const BLOCK_INTERVAL_MS: u64 = 100;

/// The `seed`-th key of tests. Anybody can compute it.
pub fn key(seed: u64) -> EcdsaSigner {
    let mut secret = [0x5a; 32];
    secret[24..].copy_from_slice(&seed.to_be_bytes());
    EcdsaSigner::from_secret(secret).expect("the secret lies below the group order")
}

/// Keys `from` to `from + count`, in ascending order of address, as committees list them.
pub fn keys(from: u64, count: u64) -> Vec<EcdsaSigner> {
    let mut keys: Vec<_> = (from..from + count).map(key).collect();
    keys.sort_by_key(Signer::address);
    keys
}

/// An opaque transaction.
pub fn opaque(namespace: NamespaceId, data: impl Into<Bytes>, valid_until: Timestamp) -> Transaction {
    Transaction { namespace, valid_until: Some(valid_until), hint: None, data: data.into() }
}

/// An Ethereum transaction in its EIP-2718 form; it is not looked at.
pub fn evm(namespace: NamespaceId, data: impl Into<Bytes>) -> Transaction {
    Transaction { namespace, valid_until: None, hint: None, data: data.into() }
}

fn spec(id: u32, name: &str, kind: NamespaceKind) -> NamespaceSpec {
    NamespaceSpec {
        id: NamespaceId(id),
        name: name.to_owned(),
        kind,
        policy: OrderingPolicy::Fifo,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 64 * 1024,
        quota_bytes_per_second: 1 << 30,
    }
}

/// A genesis for these keys with an EVM namespace (1, `evm`, chain id 1001) and an opaque one (2, `bytes`).
pub fn genesis(signers: &[EcdsaSigner]) -> Genesis {
    Genesis {
        name: "fabricated".to_owned(),
        time: GENESIS_TIME,
        params: Params::default(),
        namespaces: vec![
            spec(1, "evm", NamespaceKind::Evm { chain_id: 1001 }),
            spec(2, "bytes", NamespaceKind::Opaque),
        ],
        validators: members(signers),
        settlement: None,
    }
}

fn members(signers: &[EcdsaSigner]) -> Vec<Member> {
    signers.iter().map(|signer| Member { address: signer.address(), stake: Stake(100) }).collect()
}

fn committee(epoch: Epoch, signers: &[EcdsaSigner]) -> Committee {
    Committee::new(epoch, members(signers)).expect("keys are distinct and in order")
}

/// A chain that grows block by block. All members of an epoch's committee sign everything.
#[derive(Clone, Debug)]
pub struct TestChain {
    /// The network's genesis.
    pub genesis: Genesis,
    /// The keys of the current epoch, in ascending order of address.
    pub signers: Vec<EcdsaSigner>,
    /// The keys of the next epoch.
    pub next_signers: Vec<EcdsaSigner>,
    /// The current epoch.
    pub epoch: Epoch,
    tip: Option<Header>,
    first_of_epoch: bool,
}

impl TestChain {
    /// A chain of `members` keys with equal stake.
    pub fn new(members: u64) -> Self {
        Self::with_genesis(genesis(&keys(1, members)), keys(1, members))
    }

    /// A chain from a genesis whose validators are `signers`.
    pub fn with_genesis(genesis: Genesis, signers: Vec<EcdsaSigner>) -> Self {
        let next_signers = signers.clone();
        Self { genesis, signers, next_signers, epoch: Epoch::ZERO, tip: None, first_of_epoch: true }
    }

    /// What its signatures cover.
    pub fn domain(&self) -> Domain {
        Domain::new(self.genesis.network_id())
    }

    /// The committee of the current epoch.
    pub fn committee(&self) -> Committee {
        committee(self.epoch, &self.signers)
    }

    /// Makes the next block the first of the next epoch, whose block will name `after` as the committee that follows it.
    pub fn start_epoch(&mut self, after: Vec<EcdsaSigner>) {
        self.signers = std::mem::replace(&mut self.next_signers, after);
        self.epoch = self.epoch.next();
        self.first_of_epoch = true;
    }

    /// Orders transactions of any namespaces, in this order.
    pub fn block(&mut self, transactions: Vec<Transaction>) -> TestBlock {
        let mut by_namespace: BTreeMap<NamespaceId, Vec<IdentifiedTransaction>> = BTreeMap::new();
        let tx_count = transactions.len() as u32;
        for transaction in transactions {
            by_namespace.entry(transaction.namespace).or_default().push(transaction.into());
        }
        let leaf = |(namespace, list): (&NamespaceId, &Vec<IdentifiedTransaction>)| NamespaceLeaf {
            namespace: *namespace,
            count: list.len() as u32,
            transactions_root: merkle::root(&ids(list)),
        };
        let leaves: Vec<_> = by_namespace.iter().map(leaf).collect();
        let header = self.header(namespaces_root(&leaves), tx_count);
        let certificate = self.certify(&header);
        let next_committee = std::mem::take(&mut self.first_of_epoch).then(|| members(&self.next_signers));
        self.tip = Some(header.clone());
        TestBlock { header, certificate, next_committee, leaves, by_namespace }
    }

    fn header(&self, namespaces_root: squad_types::MerkleRoot, tx_count: u32) -> Header {
        let (height, parent_hash, time) = match &self.tip {
            Some(tip) => (tip.height.next(), tip.hash(), tip.timestamp),
            None => (Height(1), self.genesis.parent_hash(), self.genesis.time),
        };
        Header {
            version: PROTOCOL_VERSION,
            network_id: self.genesis.network_id(),
            height,
            epoch: self.epoch,
            parent_hash,
            proposer: self.signers[height.0 as usize % self.signers.len()].address(),
            origin_round: Round(0),
            timestamp: time.plus(BLOCK_INTERVAL_MS),
            l1_anchor: L1Anchor::default(),
            cut_digest: Digest::ZERO,
            namespaces_root,
            tx_count,
            params_hash: self.genesis.params.hash(&self.genesis.namespaces),
            committee_hash: self.committee().hash(),
            next_committee_hash: committee(self.epoch.next(), &self.next_signers).hash(),
            signers: Default::default(),
        }
    }

    /// Everybody's precommit for a header, whatever it says: also for headers that no honest member would sign.
    pub fn certify(&self, header: &Header) -> CommitCertificate {
        self.certify_by(header, self.signers.len())
    }

    /// The first `count` members' precommits for a header.
    pub fn certify_by(&self, header: &Header, count: usize) -> CommitCertificate {
        let mut certificate = CommitCertificate::assemble(header.height, Round(0), header.hash(), Vec::new());
        let digest = self.domain().digest(&certificate.vote());
        for (at, signer) in self.signers.iter().enumerate().take(count) {
            certificate.signers.insert(ValidatorIndex(at as u16));
            certificate.signatures.push(signer.sign(&digest));
        }
        certificate
    }

    /// A batch in the lane of the member at `author`; `parent` is the batch before it.
    pub fn batch(
        &self,
        author: usize,
        parent: Option<&VerifiedBatch>,
        transactions: Vec<Transaction>,
    ) -> VerifiedBatch {
        let payload = Payload::pack(transactions.into_iter().map(Into::into).collect());
        let header = BatchHeader {
            operator: self.signers[author].address(),
            epoch: self.epoch,
            sequence: parent.map_or(Sequence::ZERO, |parent| parent.header().sequence.next()),
            parent: parent.map_or(BatchId::ZERO, VerifiedBatch::id),
            payload: payload.digest(),
            transactions_root: payload.root(),
            count: payload.transactions().len() as u32,
            bytes: payload.bytes().len() as u32,
        };
        let signed = Verified::sign(header, &self.domain(), &self.signers[author]).into_signed();
        VerifiedBatch::assemble(signed, payload)
    }

    /// The T0 confirmation of the transaction at `index` of a batch.
    ///
    /// # Panics
    /// If the batch has no such transaction.
    pub fn batched(&self, batch: &VerifiedBatch, index: usize) -> Confirmation {
        let (transaction, proof) = place(batch.payload().transactions(), index);
        let evidenced = Evidenced::Batched(Batched { header: batch.signed_header().clone(), proof });
        Confirmation { network_id: self.genesis.network_id(), transaction, evidenced }
    }

    /// The T1 confirmation of the transaction at `index` of the first batch: everybody acknowledges the last of `lane`,
    /// batches of the member at `author` that follow one another.
    ///
    /// # Panics
    /// If the batch has no such transaction, or there is no batch.
    pub fn secured(&self, author: usize, lane: &[VerifiedBatch], index: usize) -> Confirmation {
        let (transaction, proof) = place(lane[0].payload().transactions(), index);
        let tip = lane[lane.len() - 1].tip();
        let mut vector: Vec<Option<Tip>> = vec![None; self.signers.len()];
        vector[author] = Some(tip);
        let path = merkle::prove(&vector_leaves(&vector), author).expect("the author is in the committee");
        let ack = |(at, signer): (usize, &EcdsaSigner)| {
            let ack = Ack { epoch: self.epoch, counter: AckCounter(7 + at as u64), root: vector_root(&vector) };
            let ack = Verified::sign(ack, &self.domain(), signer).into_signed();
            AckProof { validator: ValidatorIndex(at as u16), ack, tip, path: path.clone() }
        };
        let certificate = BatchCertificate {
            lane: LaneId { epoch: self.epoch, author: ValidatorIndex(author as u16) },
            headers: lane.iter().map(|batch| batch.signed_header().clone()).collect(),
            acks: self.signers.iter().enumerate().map(ack).collect(),
        };
        let evidenced = Evidenced::Secured(Secured { certificate, proof });
        Confirmation { network_id: self.genesis.network_id(), transaction, evidenced }
    }
}

fn place(list: &[IdentifiedTransaction], index: usize) -> (squad_types::TransactionRef, MerkleProof) {
    let proof = merkle::prove(&ids(list), index).expect("there is a transaction at this index");
    (list[index].transaction.reference(), proof)
}

/// A fabricated ordered block.
#[derive(Clone, Debug)]
pub struct TestBlock {
    /// The header.
    pub header: Header,
    /// Everybody's precommits.
    pub certificate: CommitCertificate,
    /// The next committee, in the first block of an epoch.
    pub next_committee: Option<Vec<Member>>,
    leaves: Vec<NamespaceLeaf>,
    by_namespace: BTreeMap<NamespaceId, Vec<IdentifiedTransaction>>,
}

impl TestBlock {
    /// The header's hash.
    pub fn hash(&self) -> HeaderHash {
        self.header.hash()
    }

    /// The block as one namespace sees it.
    pub fn namespace_block(&self, namespace: NamespaceId) -> NamespaceBlock {
        let transactions = self.by_namespace.get(&namespace).map(Vec::as_slice).unwrap_or_default();
        NamespaceBlock {
            header: self.header.clone(),
            certificate: self.certificate.clone(),
            next_committee: self.next_committee.clone(),
            namespace,
            proof: NamespaceProof::build(&self.leaves, namespace),
            transactions: transactions.iter().map(|tx| tx.transaction.clone()).collect(),
        }
    }

    /// The T2 confirmation of a namespace's transaction at `index`.
    ///
    /// # Panics
    /// If the block has no such transaction.
    pub fn confirmation(&self, namespace: NamespaceId, index: usize) -> Confirmation {
        let (transaction, proof) = place(&self.by_namespace[&namespace], index);
        let ordered = Ordered {
            header: self.header.clone(),
            certificate: self.certificate.clone(),
            namespace_proof: NamespaceProof::build(&self.leaves, namespace),
            proof,
        };
        let evidenced = Evidenced::Ordered(Box::new(ordered));
        Confirmation { network_id: self.header.network_id, transaction, evidenced }
    }

    /// The proof of the next epoch's committee; none unless this is the first block of its epoch.
    pub fn committee_proof(&self) -> Option<CommitteeProof> {
        let members = self.next_committee.clone()?;
        Some(CommitteeProof { header: self.header.clone(), certificate: self.certificate.clone(), members })
    }
}
