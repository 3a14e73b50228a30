//! A network with committees over some epochs, and what these signed: confirmations and committee proofs, true and nearly true.

use crate::common::Draw;
use squad_types::hash::keccak256;
use squad_types::namespace::PlacedLeaf;
use squad_types::*;

/// The network of everything that is true.
pub(crate) const NETWORK: NetworkId = NetworkId([0x51; 32]);
/// When the first committee was known to be bonded: some moment in 2026, in milliseconds.
pub(crate) const START: u64 = 1_790_000_000_000;
/// Committees of consecutive epochs.
pub(crate) const EPOCHS: usize = 5;

/// Keys of operators, in ascending order of address.
pub(crate) fn keys(count: u64) -> Vec<EcdsaSigner> {
    let key = |at: u64| {
        let mut secret = [0x5a; 32];
        secret[24..].copy_from_slice(&at.to_be_bytes());
        EcdsaSigner::from_secret(secret).unwrap()
    };
    let mut keys: Vec<_> = (0..count).map(key).collect();
    keys.sort_by_key(Signer::address);
    keys
}

/// A network. `spoil` says how often what it makes is not as it should be: one in that many times, at each place where
/// something can be wrong; never, if it is none.
pub(crate) struct World<'a> {
    pub(crate) draw: Draw,
    pub(crate) spoil: Option<u64>,
    /// How many members sign, the first ones; all of them, if there are no more.
    pub(crate) signing: usize,
    /// Namespaces of a block, and transactions of each; drawn, if there is none.
    pub(crate) shape: Option<(u64, u64)>,
    keys: &'a [EcdsaSigner],
    domain: Domain,
    other: Domain,
    /// Of consecutive epochs, with when each was last known to be bonded.
    pub(crate) committees: Vec<(Committee, Timestamp)>,
}

impl<'a> World<'a> {
    pub(crate) fn new(seed: u64, keys: &'a [EcdsaSigner], spoil: Option<u64>) -> Self {
        let mut draw = Draw(seed);
        let first = draw.below(3) * draw.below(1 << 40);
        let committees = (0..EPOCHS as u64).map(|at| {
            let size = match draw.below(40) {
                0 => 9 + draw.below(24),
                1..=4 => 6 + draw.below(4),
                _ => 1 + draw.below(5),
            };
            // Often on a whole second, so that times fall on the very ends of what is trusted.
            let as_of = Timestamp(START + at * 100_000 + draw.below(2) * 500);
            (committee(&mut draw, keys, Epoch(first + at), size as usize), as_of)
        });
        let committees = committees.collect();
        let (domain, other) = (Domain::new(NETWORK), Domain::new(NetworkId([0x52; 32])));
        Self { draw, spoil, signing: usize::MAX, shape: None, keys, domain, other, committees }
    }

    /// Committees of `size` operators with equal stake, from epoch 0 on.
    pub(crate) fn of_size(keys: &'a [EcdsaSigner], size: usize) -> Self {
        let mut world = Self::new(1, keys, None);
        let members: Vec<_> =
            keys[..size].iter().map(|key| Member { address: key.address(), stake: Stake(1 << 40) }).collect();
        for (at, (committee, _)) in world.committees.iter_mut().enumerate() {
            *committee = Committee::new(Epoch(at as u64), members.clone()).unwrap();
        }
        world
    }

    fn spoiled(&mut self) -> bool {
        self.spoil.is_some_and(|one_in| self.draw.one_in(one_in))
    }

    fn key(&self, address: &Address) -> &'a EcdsaSigner {
        &self.keys[self.keys.binary_search_by_key(address, Signer::address).unwrap()]
    }

    fn header(&mut self, at: usize, namespaces_root: MerkleRoot) -> Header {
        let (committee, as_of) = &self.committees[at];
        let next = self.committees.get(at + 1);
        let (epoch, committee_hash) = (committee.epoch(), committee.hash());
        let (next_committee_hash, timestamp) = match next {
            Some((next, as_of)) => (next.hash(), *as_of),
            None => (Digest::ZERO, as_of.plus(100_000)),
        };
        let signers = (0..committee.len() as u16).map(ValidatorIndex).filter(|at| at.0 % 3 != 1).collect();
        let mut header = Header {
            version: PROTOCOL_VERSION,
            network_id: NETWORK,
            height: Height(1 + self.draw.below(1 << 50)),
            epoch,
            parent_hash: HeaderHash(self.draw.hash()),
            proposer: self.keys[0].address(),
            origin_round: Round(self.draw.below(3) as u32),
            timestamp,
            l1_anchor: L1Anchor::default(),
            cut_digest: Digest(self.draw.hash()),
            namespaces_root,
            tx_count: self.draw.next() as u32,
            params_hash: Digest(self.draw.hash()),
            committee_hash,
            next_committee_hash,
            signers,
        };
        if self.spoiled() {
            match self.draw.below(6) {
                0 => header.version = self.draw.below(300) as u16,
                1 => header.network_id = NetworkId([0x52; 32]),
                2 => header.epoch = Epoch(header.epoch.0.wrapping_add(self.draw.below(5)).wrapping_sub(2)),
                3 => header.committee_hash = Digest(self.draw.hash()),
                4 => header.namespaces_root = MerkleRoot::ZERO,
                _ => header.signers = Bitmap::default(),
            }
        }
        header
    }

    /// A quorum's precommits for a header, as a rule.
    fn certify(&mut self, at: usize, header: &Header) -> CommitCertificate {
        let committee = self.committees[at].0.clone();
        let block = Some(header.hash());
        let round = Round(self.draw.below(3) as u32);
        let mut signed = Vote { kind: VoteKind::Precommit, height: header.height, round, block };
        let mut domain = &self.domain;
        let mut stated = round;
        if self.spoil.is_some_and(|one_in| self.draw.one_in(one_in)) {
            match self.draw.below(6) {
                0 => signed.kind = VoteKind::Prevote,
                1 => signed.height = signed.height.next(),
                2 => signed.block = Some(HeaderHash(self.draw.hash())),
                3 => signed.block = None,
                4 => stated = stated.next(),
                _ => domain = &self.other,
            }
        }
        let digest = domain.digest(&signed);
        let absent = if self.spoil.is_some() && self.draw.one_in(2) { 6 } else { u64::MAX };
        let mut precommits = Vec::new();
        for (place, member) in committee.members().iter().enumerate().take(self.signing) {
            if self.spoil.is_some() && self.draw.one_in(absent) {
                continue;
            }
            let another = self.spoil.is_some() && self.draw.one_in(150);
            let key = if another { &self.keys[0] } else { self.key(&member.address) };
            precommits.push((ValidatorIndex(place as u16), key.sign(&digest)));
        }
        let block = signed.block.unwrap_or_default();
        let mut certificate = CommitCertificate::assemble(signed.height, stated, block, precommits);
        if self.spoiled() && !certificate.signatures.is_empty() {
            self.spoil_signatures(&mut certificate, committee.len() as u64);
        }
        certificate
    }

    fn spoil_signatures(&mut self, certificate: &mut CommitCertificate, members: u64) {
        let (signers, signatures) = (&mut certificate.signers, &mut certificate.signatures);
        match self.draw.below(7) {
            0 => drop(signatures.pop()),
            1 => signatures.push(signatures[0]),
            2 => signatures.reverse(),
            3 => {
                signers.insert(ValidatorIndex((members + self.draw.below(17)) as u16));
                signatures.push(signatures[0]);
            }
            4 => signers.insert(ValidatorIndex(self.draw.below(members) as u16)),
            5 => *signers = signers.iter().map(|place| ValidatorIndex(place.0 + 1)).collect(),
            _ => {
                let mut bytes = *signatures[0].as_bytes();
                bytes[64] ^= 1;
                signatures[0] = Signature::parse(bytes).unwrap();
            }
        }
    }

    fn transaction(&mut self, namespace: NamespaceId) -> TransactionRef {
        let valid_until = (!self.draw.one_in(2)).then(|| Timestamp(1 + self.draw.below(1 << 40)));
        TransactionRef { namespace, valid_until, data_hash: Digest(self.draw.hash()) }
    }

    /// What a block holds for some namespaces, as leaves of its header's root, with their transactions.
    fn content(&mut self) -> Vec<(NamespaceLeaf, Vec<TransactionRef>)> {
        let (mut namespace, mut content) = (0, Vec::new());
        for _ in 0..self.shape.map_or_else(|| 1 + self.draw.below(5), |(namespaces, _)| namespaces) {
            namespace += 1 + self.draw.below(3) as u32;
            let few = if self.draw.one_in(20) { 40 + self.draw.below(100) } else { 1 + self.draw.below(6) };
            let count = self.shape.map_or(few, |(_, transactions)| transactions);
            let list: Vec<_> = (0..count).map(|_| self.transaction(NamespaceId(namespace))).collect();
            let mut leaf = NamespaceLeaf {
                namespace: NamespaceId(namespace),
                count: list.len() as u32,
                transactions_root: merkle::root(&ids(&list)),
            };
            if self.spoiled() {
                match self.draw.below(4) {
                    0 => leaf.count += 1,
                    1 => leaf.transactions_root = MerkleRoot(self.draw.hash()),
                    // What an impossible path leads to in Solidity.
                    2 => leaf.transactions_root = MerkleRoot::ZERO,
                    _ => leaf.namespace = NamespaceId(namespace + 1),
                }
            }
            content.push((leaf, list));
        }
        content
    }

    /// The bytes of a confirmation for which the committee at a place answers.
    pub(crate) fn confirmation(&mut self, at: usize) -> Vec<u8> {
        let content = self.content();
        let chosen = self.draw.below(content.len() as u64) as usize;
        let (leaf, list) = &content[chosen];
        let index = self.draw.below(list.len() as u64) as usize;
        let hashes: Vec<_> = content.iter().map(|(leaf, _)| leaf.hash()).collect();
        let header = self.header(at, merkle::root(&hashes));
        let certificate = self.certify(at, &header);
        let mut placed = PlacedLeaf { leaf: *leaf, proof: merkle::prove(&hashes, chosen).unwrap() };
        let mut proof = merkle::prove(&ids(list), index).unwrap();
        if self.spoiled() {
            let another = self.draw.below(content.len() as u64) as usize;
            match self.draw.below(5) {
                0 => placed.leaf.count ^= 1,
                1 => placed = PlacedLeaf { leaf: content[another].0, proof: merkle::prove(&hashes, another).unwrap() },
                2 => self.spoil_path(&mut placed.proof),
                _ => self.spoil_path(&mut proof),
            }
        }
        // Nobody honest signs a zero root, and it must not stand for a path that leads nowhere.
        if header.namespaces_root == MerkleRoot::ZERO {
            placed.proof.index = placed.proof.count;
        }
        if leaf.transactions_root == MerkleRoot::ZERO {
            proof.index = proof.count;
        }
        let mut namespace_proof = NamespaceProof::Present(placed);
        if self.spoiled() {
            let leaves: Vec<_> = content.iter().map(|(leaf, _)| *leaf).collect();
            namespace_proof = NamespaceProof::build(&leaves, NamespaceId(self.draw.below(12) as u32));
        }
        let mut transaction = list[index];
        if self.spoiled() {
            match self.draw.below(4) {
                0 => transaction.valid_until = Some(Timestamp::ZERO),
                1 => transaction.valid_until = None,
                2 => transaction.namespace = NamespaceId(transaction.namespace.0 + 1),
                _ => transaction.data_hash = Digest(self.draw.hash()),
            }
        }
        let network_id = if self.spoiled() { NetworkId([0x52; 32]) } else { NETWORK };
        let prefix = 32 + transaction.to_bytes().len() + 1;
        let (signed, votes) = (header.clone(), certificate.clone());
        let mut evidenced = Evidenced::Ordered(Box::new(Ordered { header, certificate, namespace_proof, proof }));
        if self.spoiled() {
            evidenced = self.batched(at, &transaction);
            return Confirmation { network_id, transaction, evidenced }.to_bytes().to_vec();
        }
        let mut bytes = Confirmation { network_id, transaction, evidenced }.to_bytes().to_vec();
        self.spoil_form(&mut bytes, prefix, &signed, &votes);
        bytes
    }

    fn spoil_path(&mut self, path: &mut MerkleProof) {
        match self.draw.below(6) {
            0 => path.index ^= 1,
            1 => path.count += 1,
            2 => path.count = path.index,
            3 => drop(path.siblings.pop()),
            4 => path.siblings.push(Digest(self.draw.hash())),
            _ => path.siblings.reverse(),
        }
    }

    /// Tier T0: one operator's word, which Rust takes for what it is.
    fn batched(&self, at: usize, transaction: &TransactionRef) -> Evidenced {
        let leaves = [Digest(transaction.id().0)];
        let operator = self.committees[at].0.members()[0].address;
        let header = BatchHeader {
            operator,
            epoch: self.committees[at].0.epoch(),
            sequence: Sequence(3),
            parent: BatchId([1; 32]),
            payload: PayloadDigest([2; 32]),
            transactions_root: merkle::root(&leaves),
            count: 1,
            bytes: 100,
        };
        let header = Verified::sign(header, &self.domain, self.key(&operator)).into_signed();
        Evidenced::Batched(Batched { header, proof: merkle::prove(&leaves, 0).unwrap() })
    }

    /// The bytes of a proof of the committee after the one at a place.
    pub(crate) fn proof(&mut self, at: usize) -> Vec<u8> {
        let mut header = self.header(at, MerkleRoot(self.draw.0.to_be_bytes().repeat(4).try_into().unwrap()));
        let mut members = self.committees[at + 1].0.members().to_vec();
        let mut behind = Vec::new();
        if self.spoiled() {
            match self.draw.below(8) {
                0 => members.reverse(),
                1 => members.push(members[0]),
                2 => members[0].stake = Stake::ZERO,
                3 => members[0].stake = Stake(Committee::MAX_TOTAL + self.draw.below(2)),
                4 => members.clear(),
                5 => members[0].stake = members[0].stake.next(),
                6 => behind.push(0),
                _ => header.timestamp = Timestamp(self.draw.next()),
            }
            // The committee may have signed for such members, or not.
            if self.draw.one_in(2) {
                let mut listed = self.committees[at + 1].0.epoch().to_bytes().to_vec();
                members.encode(&mut listed);
                listed.extend_from_slice(&behind);
                header.next_committee_hash = Digest(keccak256(&listed));
            }
        }
        let certificate = self.certify(at, &header);
        let (signed, votes) = (header.clone(), certificate.clone());
        let mut bytes = CommitteeProof { header, certificate, members }.to_bytes().to_vec();
        bytes.extend_from_slice(&behind);
        self.spoil_form(&mut bytes, 0, &signed, &votes);
        bytes
    }

    /// Second forms of the same value, which must be refused: of a set of places and of a signature. The header begins at
    /// `prefix`, and its certificate follows it.
    fn spoil_form(&mut self, bytes: &mut Vec<u8>, prefix: usize, header: &Header, certificate: &CommitCertificate) {
        if !self.spoiled() {
            return;
        }
        let behind = prefix + header.to_bytes().len();
        let (of_header, of_certificate) = (prefix + 318, behind + 44);
        let signatures = of_certificate + certificate.signers.to_bytes().len() + 4;
        let signature = signatures + 65 * self.draw.below(certificate.signatures.len().max(1) as u64) as usize;
        match self.draw.below(5) {
            0 => add_zero_place(bytes, of_header),
            1 => add_zero_place(bytes, of_certificate),
            2 if !certificate.signatures.is_empty() => {
                let s: [u8; 32] = bytes[signature + 32..signature + 64].try_into().unwrap();
                let s = secp256k1::SecretKey::from_byte_array(s).unwrap().negate();
                bytes[signature + 32..signature + 64].copy_from_slice(&s.secret_bytes());
                bytes[signature + 64] ^= 1;
            }
            3 if !certificate.signatures.is_empty() => bytes[signature + 64] += 27,
            _ if !certificate.signatures.is_empty() => bytes[signature..signature + 32].fill(0),
            _ => {}
        }
    }
}

/// Adds a byte without a place to the set whose length stands at an offset.
pub(crate) fn add_zero_place(bytes: &mut Vec<u8>, at: usize) {
    let length = bytes[at + 3];
    bytes[at + 3] = length + 1;
    bytes.insert(at + 4 + usize::from(length), 0);
}

fn ids(list: &[TransactionRef]) -> Vec<Digest> {
    list.iter().map(|transaction| Digest(transaction.id().0)).collect()
}

fn committee(draw: &mut Draw, keys: &[EcdsaSigner], epoch: Epoch, size: usize) -> Committee {
    let mut places: Vec<usize> = (0..keys.len()).collect();
    let kind = draw.below(5);
    let mut member = || {
        let at = places.swap_remove(draw.below(places.len() as u64) as usize);
        let stake = match kind {
            0 => 1 + draw.below(3),
            1 => 1 + draw.below(1_000),
            2 => Committee::MAX_TOTAL / size as u64,
            _ => 100,
        };
        Member { address: keys[at].address(), stake: Stake(stake) }
    };
    let mut members: Vec<_> = (0..size).map(|_| member()).collect();
    members.sort();
    Committee::new(epoch, members).unwrap()
}
