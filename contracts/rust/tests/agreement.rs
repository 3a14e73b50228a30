//! Rust and Solidity say the same of the same bytes: whom evidence accuses, and that other bytes accuse nobody. In an embedded
//! EVM, over evidence of every kind, true, nearly true and mangled.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
#[path = "common/judge.rs"]
mod judge;

use common::{CASES, Draw, SHARDS};
use judge::{Judge, by_rust};
use squad_types::*;
use std::collections::BTreeMap;

const NETWORK: NetworkId = NetworkId([0x51; 32]);

/// Makes evidence: mostly true, now and then with something that takes the contradiction away.
struct Maker {
    draw: Draw,
    domain: Domain,
    other: Domain,
    signers: Vec<EcdsaSigner>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let signers = (1..6).map(|at| EcdsaSigner::from_secret([at; 32]).unwrap()).collect();
        let other = Domain::new(NetworkId([0x52; 32]));
        Self { draw: Draw(seed), domain: Domain::new(NETWORK), other, signers }
    }

    fn sign<T: keys::Statement + Clone>(&mut self, by: usize, statement: T) -> Signed<T> {
        let by = if self.draw.one_in(40) { (by + 1) % self.signers.len() } else { by };
        let domain = if self.draw.one_in(60) { &self.other } else { &self.domain };
        let mut signed = Verified::sign(statement, domain, &self.signers[by]).into_signed();
        if self.draw.one_in(60) {
            signed.signer = self.signers[(by + 1) % self.signers.len()].address();
        }
        signed
    }

    fn evidence(&mut self) -> Evidence {
        let by = self.draw.below(5) as usize;
        match self.draw.below(4) {
            0 => {
                let kind = if self.draw.one_in(2) { VoteKind::Prevote } else { VoteKind::Precommit };
                let first = Vote {
                    kind,
                    height: Height(self.draw.next()),
                    round: Round(self.draw.next() as u32),
                    block: (!self.draw.one_in(3)).then(|| HeaderHash(self.draw.hash())),
                };
                let mut second = first;
                match self.draw.below(12) {
                    0 => {}
                    // Two precommits of different rounds are what Tendermint asks for after a lock moves.
                    1 => {
                        second = Vote { round: first.round.next(), block: Some(HeaderHash(self.draw.hash())), ..first }
                    }
                    2 => second.kind = if kind == VoteKind::Prevote { VoteKind::Precommit } else { VoteKind::Prevote },
                    3 => second = Vote { height: first.height.next(), block: None, ..first },
                    4 => second.block = None,
                    5 => second.block = Some(HeaderHash::ZERO),
                    _ => second.block = Some(HeaderHash(self.draw.hash())),
                }
                Evidence::Votes(VotePair { first: self.sign(by, first), second: self.sign(by, second) })
            }
            1 => {
                let first = Proposal {
                    height: Height(self.draw.next()),
                    round: Round(self.draw.next() as u32),
                    valid_round: (!self.draw.one_in(2)).then(|| Round(self.draw.next() as u32)),
                    block: HeaderHash(self.draw.hash()),
                };
                let mut second = first;
                match self.draw.below(8) {
                    0 => {}
                    1 => second.round = first.round.next(),
                    2 => second.valid_round = None,
                    3 => second.valid_round = Some(Round(u32::MAX)),
                    _ => second.block = HeaderHash(self.draw.hash()),
                }
                Evidence::Proposals(ProposalPair { first: self.sign(by, first), second: self.sign(by, second) })
            }
            2 => {
                let first = self.header(by, None);
                let mut second = first.clone();
                match self.draw.below(8) {
                    0 => {}
                    1 => second.sequence = first.sequence.next(),
                    2 => second.epoch = first.epoch.next(),
                    3 => second.operator = self.signers[(by + 1) % 5].address(),
                    4 => second.count ^= 1,
                    _ => second.payload = PayloadDigest(self.draw.hash()),
                }
                Evidence::Batches(BatchPair { first: self.sign(by, first), second: self.sign(by, second) })
            }
            _ => Evidence::Acks(self.acks(by)),
        }
    }

    fn header(&mut self, by: usize, parent: Option<&BatchHeader>) -> BatchHeader {
        let fresh = Sequence(self.draw.below(1 << 40));
        BatchHeader {
            operator: self.signers[by].address(),
            epoch: parent.map_or(Epoch(7), |parent| parent.epoch),
            sequence: parent.map_or(fresh, |parent| parent.sequence.next()),
            parent: parent.map_or(BatchId(self.draw.hash()), BatchHeader::id),
            payload: PayloadDigest(self.draw.hash()),
            transactions_root: MerkleRoot(self.draw.hash()),
            count: self.draw.next() as u32,
            bytes: self.draw.next() as u32,
        }
    }

    /// An operator acknowledges a batch, and another one at its place through a tip some places above.
    fn acks(&mut self, by: usize) -> AckPair {
        let author = self.draw.below(5) as usize;
        let mut chain = vec![self.header(author, None)];
        for _ in 0..self.draw.below(4) {
            let next = self.header(author, chain.last());
            chain.push(next);
        }
        let beside = if self.draw.one_in(6) { chain[0].clone() } else { BatchHeader { count: 0, ..chain[0].clone() } };
        let tip = |header: &BatchHeader| Tip { sequence: header.sequence, batch: header.id() };
        let (low, high) = (tip(&beside), tip(chain.last().unwrap()));
        let members = 1 + self.draw.below(9) as usize;
        let lane = self.draw.below(members as u64) as usize;
        let (mut lower, mut higher) = (self.ack(by, members, lane, low), self.ack(by, members, lane, high));
        if self.draw.one_in(12) {
            std::mem::swap(&mut lower, &mut higher);
        }
        if self.draw.one_in(12) {
            chain.remove(self.draw.below(chain.len() as u64) as usize);
        }
        let headers = chain.into_iter().map(|header| self.sign(author, header)).collect();
        AckPair { lower, higher, lane: ValidatorIndex(lane as u16), headers }
    }

    fn ack(&mut self, by: usize, members: usize, lane: usize, tip: Tip) -> AckProof {
        let mut vector: Vec<Option<Tip>> = (0..members).map(|_| self.draw.one_in(2).then_some(tip)).collect();
        vector[lane] = Some(tip);
        let leaves = ack::vector_leaves(&vector);
        let mut path = merkle::prove(&leaves, lane).unwrap();
        match self.draw.below(20) {
            0 => path.count += 1,
            1 => path.index ^= 1,
            2 => drop(path.siblings.pop()),
            3 => path.siblings.push(Digest([3; 32])),
            _ => {}
        }
        let epoch = Epoch(if self.draw.one_in(30) { 8 } else { 7 });
        let mut statement = Ack { epoch, counter: AckCounter(self.draw.next()), root: merkle::root(&leaves) };
        if self.draw.one_in(10) {
            // What an impossible path leads to in Solidity.
            (statement.root, path.count) = (MerkleRoot::ZERO, path.index);
        }
        AckProof { validator: ValidatorIndex(by as u16), ack: self.sign(by, statement), tip, path }
    }
}

/// Kinds of evidence, and how many of each accuse somebody and how many do not.
type Counts = BTreeMap<Option<u8>, (u64, u64)>;

fn agree(seed: u64, cases: u64) -> Counts {
    let (mut maker, mut judge) = (Maker::new(seed), Judge::deploy(&NETWORK));
    let mut counts = Counts::new();
    for case in 0..cases {
        let evidence = maker.evidence();
        let mut bytes = evidence.to_bytes().to_vec();
        if maker.draw.one_in(3) {
            maker.draw.mangle(&mut bytes);
        }
        let rust = by_rust(&maker.domain, &bytes);
        let (solidity, _) = judge.judge(&bytes);
        let shown = || format!("seed {seed}, case {case}: {evidence:?}\n0x{}", hex::encode(&bytes));
        assert_eq!(solidity, rust, "{}", shown());
        let (accused, refused) = counts.entry(bytes.first().copied()).or_default();
        *if rust.is_some() { accused } else { refused } += 1;
    }
    counts
}

#[test]
fn rust_and_solidity_say_the_same_of_a_hundred_thousand_pieces_of_evidence() {
    let shards: Vec<_> = (1..=SHARDS).map(|seed| std::thread::spawn(move || agree(seed, CASES / SHARDS))).collect();
    let counts: Vec<Counts> = shards.into_iter().map(|shard| shard.join().unwrap()).collect();
    for kind in 0..4 {
        let of_kind = || counts.iter().filter_map(|counts| counts.get(&Some(kind)));
        let (yes, no): (u64, u64) = (of_kind().map(|(yes, _)| yes).sum(), of_kind().map(|(_, no)| no).sum());
        assert!(yes > CASES / 40 && no > CASES / 40, "kind {kind}: {yes} accuse, {no} do not");
    }
}

fn vote(height: u64, round: u32, kind: VoteKind, block: Option<u8>) -> Vote {
    Vote { kind, height: Height(height), round: Round(round), block: block.map(|byte| HeaderHash([byte; 32])) }
}

fn pair(maker: &Maker, first: Vote, second: Vote) -> Vec<u8> {
    let sign = |vote| Verified::sign(vote, &maker.domain, &maker.signers[0]).into_signed();
    Evidence::Votes(VotePair { first: sign(first), second: sign(second) }).to_bytes().to_vec()
}

#[test]
fn one_incident_has_one_id_whoever_proves_it_and_however() {
    let (maker, mut judge) = (Maker::new(2), Judge::deploy(&NETWORK));
    let mut id = |first, second| judge.judge(&pair(&maker, first, second)).0.unwrap().incident;
    let precommit = |block| vote(9, 2, VoteKind::Precommit, block);
    let (one, two, three) = (precommit(Some(1)), precommit(Some(2)), precommit(Some(3)));
    let first = id(one, two);
    assert_eq!((id(two, one), id(one, three), id(three, precommit(None))), (first, first, first));
    let others = [
        id(vote(9, 3, VoteKind::Precommit, Some(1)), vote(9, 3, VoteKind::Precommit, Some(2))),
        id(vote(8, 2, VoteKind::Precommit, Some(1)), vote(8, 2, VoteKind::Precommit, Some(2))),
        id(vote(9, 2, VoteKind::Prevote, Some(1)), vote(9, 2, VoteKind::Prevote, Some(2))),
    ];
    assert!(others.iter().all(|other| *other != first));
}

#[test]
fn what_no_honest_operator_may_be_accused_of() {
    let (maker, mut judge) = (Maker::new(3), Judge::deploy(&NETWORK));
    let precommit = |round, block| vote(9, round, VoteKind::Precommit, block);
    let legal = [
        ("two precommits in different rounds", pair(&maker, precommit(0, Some(1)), precommit(1, Some(2)))),
        ("the same vote twice", pair(&maker, precommit(0, Some(1)), precommit(0, Some(1)))),
        ("a prevote and a precommit", pair(&maker, precommit(0, Some(1)), vote(9, 0, VoteKind::Prevote, Some(2)))),
    ];
    for (what, bytes) in legal {
        assert_eq!((by_rust(&maker.domain, &bytes), judge.judge(&bytes).0), (None, None), "{what}");
    }
    // A signature has a second form, with the other s and the other parity; `ecrecover` takes it.
    let bytes = pair(&maker, precommit(0, Some(1)), precommit(0, Some(2)));
    assert!(judge.judge(&bytes).0.is_some());
    let signature = bytes.len() - 65;
    let s = secp256k1::SecretKey::from_byte_array(bytes[signature + 32..signature + 64].try_into().unwrap()).unwrap();
    let mut twin = bytes.clone();
    twin[signature + 32..signature + 64].copy_from_slice(&s.negate().secret_bytes());
    twin[signature + 64] ^= 1;
    assert_eq!((by_rust(&maker.domain, &twin), judge.judge(&twin).0), (None, None), "a high s");
    // A vote for nil is signed with a zero in the block's place.
    let nil = pair(&maker, precommit(0, None), precommit(0, None));
    let statement = 1 + 8 + 4;
    let mut zero = nil[..1 + statement + 1 + 85].to_vec();
    zero.extend_from_slice(&nil[1..1 + statement]);
    zero.push(1);
    zero.extend_from_slice(&[0; 32]);
    zero.extend_from_slice(&nil[1 + statement + 1..1 + statement + 1 + 85]);
    assert_eq!((by_rust(&maker.domain, &zero), judge.judge(&zero).0), (None, None), "nil passed off as a block");
}

/// Prints what judging costs: `cargo test -p squad-contracts gas -- --nocapture`.
#[test]
fn gas_is_far_below_a_block_for_evidence_of_every_kind() {
    let (mut maker, mut judge) = (Maker::new(4), Judge::deploy(&NETWORK));
    let mut most = [0; 4];
    for _ in 0..2_000 {
        let bytes = maker.evidence().to_bytes();
        let (judged, gas) = judge.judge(&bytes);
        if judged.is_some() {
            most[usize::from(bytes[0])] = most[usize::from(bytes[0])].max(gas);
        }
    }
    eprintln!("gas at most, with the transaction's own 21 000 and its data: {most:?}");
    assert!(most.iter().all(|gas| (30_000..500_000).contains(gas)), "{most:?}");
}
