//! A network of four operators that sign whatever is asked for.

use bytes::Bytes;
use squad_types::{
    Bitmap, CommitCertificate, Committee, Digest, Domain, EcdsaSigner, Epoch, Genesis, Header, HeaderHash, Height,
    L1Anchor, Member, NamespaceBlock, NamespaceId, NamespaceKind, NamespaceLeaf, NamespaceProof, NamespaceSpec,
    OrderingPolicy, PROTOCOL_VERSION, Params, Round, Signer, Stake, Timestamp, Transaction, ValidatorIndex,
    WriteAccess, merkle, namespace::namespaces_root,
};

pub(crate) const NAMESPACE: NamespaceId = NamespaceId(7);

pub(crate) struct Network {
    pub(crate) genesis: Genesis,
    signers: Vec<EcdsaSigner>,
    committee: Committee,
    height: Height,
    parent: HeaderHash,
    first: bool,
}

impl Network {
    pub(crate) fn new() -> Self {
        let mut signers: Vec<_> = (1..=4).map(|at| EcdsaSigner::from_secret([at; 32]).unwrap()).collect();
        signers.sort_by_key(EcdsaSigner::address);
        let validators = signers.iter().map(|signer| Member { address: signer.address(), stake: Stake(10) }).collect();
        let genesis = Genesis {
            name: "test".into(),
            time: Timestamp(1_000),
            params: Params::default(),
            namespaces: vec![NamespaceSpec {
                id: NAMESPACE,
                name: "evm".into(),
                kind: NamespaceKind::Evm { chain_id: 1516 },
                policy: OrderingPolicy::Fifo,
                access: WriteAccess::Everybody,
                max_transaction_bytes: 1024,
                quota_bytes_per_second: 1 << 20,
            }],
            validators,
        };
        let (committee, parent) = (genesis.committee().unwrap(), genesis.parent_hash());
        Self { genesis, signers, committee, height: Height::ZERO, parent, first: true }
    }

    pub(crate) fn next_epoch(&mut self) {
        self.committee = self.committee.for_epoch(self.committee.epoch().next());
        self.first = true;
    }

    pub(crate) fn blocks(&mut self, blocks: Vec<Vec<Bytes>>) -> Vec<NamespaceBlock> {
        blocks.into_iter().map(|raws| self.block(raws)).collect()
    }

    pub(crate) fn block(&mut self, raws: Vec<Bytes>) -> NamespaceBlock {
        self.height = self.height.next();
        let transactions: Vec<_> = raws
            .into_iter()
            .map(|data| Transaction { namespace: NAMESPACE, valid_until: None, hint: None, data })
            .collect();
        let root_of = |items: &[Transaction]| {
            merkle::root(&items.iter().map(|transaction| Digest(transaction.id().0)).collect::<Vec<_>>())
        };
        let neighbour = NamespaceLeaf { namespace: NamespaceId(3), count: 1, transactions_root: root_of(&[]) };
        let mut leaves = vec![neighbour];
        if !transactions.is_empty() {
            let (count, transactions_root) = (transactions.len() as u32, root_of(&transactions));
            leaves.push(NamespaceLeaf { namespace: NAMESPACE, count, transactions_root });
        }
        let next = self.committee.for_epoch(Epoch(self.committee.epoch().0 + 1));
        let header = Header {
            version: PROTOCOL_VERSION,
            network_id: self.genesis.network_id(),
            height: self.height,
            epoch: self.committee.epoch(),
            parent_hash: self.parent,
            proposer: self.signers[0].address(),
            origin_round: Round(0),
            timestamp: Timestamp(1_700_000_000_000 + self.height.0 * 300),
            l1_anchor: L1Anchor::default(),
            cut_digest: Digest([0; 32]),
            namespaces_root: namespaces_root(&leaves),
            tx_count: transactions.len() as u32 + 1,
            params_hash: Digest([0; 32]),
            committee_hash: self.committee.hash(),
            next_committee_hash: next.hash(),
            signers: Bitmap::default(),
        };
        self.parent = header.hash();
        let next_committee = std::mem::take(&mut self.first).then(|| next.members().to_vec());
        let certificate = self.certify(&header);
        let proof = NamespaceProof::build(&leaves, NAMESPACE);
        NamespaceBlock { header, certificate, next_committee, namespace: NAMESPACE, proof, transactions }
    }

    /// A quorum's certificate for `header`.
    fn certify(&self, header: &Header) -> CommitCertificate {
        let (height, block) = (header.height, header.hash());
        let vote = CommitCertificate::assemble(height, Round(0), block, Vec::new()).vote();
        let digest = Domain::new(self.genesis.network_id()).digest(&vote);
        let sign = |(at, signer): (usize, &EcdsaSigner)| (ValidatorIndex(at as u16), signer.sign(&digest));
        CommitCertificate::assemble(
            height,
            Round(0),
            block,
            self.signers.iter().enumerate().take(3).map(sign).collect(),
        )
    }

    /// Signs a changed header anew, as a committee of liars would.
    pub(crate) fn resign(&self, block: &mut NamespaceBlock) {
        block.certificate = self.certify(&block.header);
    }
}
