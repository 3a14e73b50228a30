//! The evidence that the contracts' own tests slash by is what operators find: the same bytes come out here.
#![allow(clippy::unwrap_used, missing_docs)]

use squad_types::hash::keccak256;
use squad_types::*;

const HEIGHT: u64 = 1;

struct Liar {
    domain: Domain,
    signer: EcdsaSigner,
}

impl Liar {
    fn signed<T: keys::Statement + Clone>(&self, statement: T) -> Signed<T> {
        Verified::sign(statement, &self.domain, &self.signer).into_signed()
    }

    fn header(&self, payload: [u8; 32]) -> BatchHeader {
        BatchHeader {
            operator: self.signer.address(),
            epoch: Epoch(HEIGHT),
            sequence: Sequence(0),
            parent: BatchId([0; 32]),
            payload: PayloadDigest(payload),
            transactions_root: MerkleRoot::ZERO,
            count: 1,
            bytes: 9,
        }
    }

    fn ack(&self, counter: u64, header: &BatchHeader) -> AckProof {
        let tip = Tip { sequence: header.sequence, batch: header.id() };
        let leaves = ack::vector_leaves(&[Some(tip)]);
        let ack = Ack { epoch: Epoch(HEIGHT), counter: AckCounter(counter), root: merkle::root(&leaves) };
        AckProof { validator: ValidatorIndex(0), ack: self.signed(ack), tip, path: merkle::prove(&leaves, 0).unwrap() }
    }
}

#[test]
fn the_contracts_slash_by_what_operators_find() {
    let mut secret = [0; 32];
    secret[30..].copy_from_slice(&[0xc0, 0xde]);
    let liar = Liar {
        domain: Domain::new(NetworkId(keccak256(b"a network"))),
        signer: EcdsaSigner::from_secret(secret).unwrap(),
    };
    let (one, other) = (keccak256(b"one"), keccak256(b"other"));
    let vote = |block| {
        let block = Some(HeaderHash(block));
        liar.signed(Vote { kind: VoteKind::Precommit, height: Height(HEIGHT), round: Round(0), block })
    };
    let proposal = |block| {
        let block = HeaderHash(block);
        liar.signed(Proposal { height: Height(HEIGHT), round: Round(0), valid_round: None, block })
    };
    let (first, second) = (liar.header(one), liar.header(other));
    let evidence = [
        Evidence::Votes(VotePair { first: vote(one), second: vote(other) }),
        Evidence::Proposals(ProposalPair { first: proposal(one), second: proposal(other) }),
        Evidence::Batches(BatchPair { first: liar.signed(first.clone()), second: liar.signed(second.clone()) }),
        Evidence::Acks(AckPair {
            lower: liar.ack(1, &first),
            higher: liar.ack(2, &second),
            lane: ValidatorIndex(0),
            headers: vec![liar.signed(second)],
        }),
    ];
    let test = include_str!("../../test/Restaking.t.sol");
    for (kind, evidence) in evidence.iter().enumerate() {
        assert_eq!(evidence.verify(&liar.domain, &EcdsaVerifier), Ok(liar.signer.address()), "kind {kind}");
        let hash = hex::encode(keccak256(&evidence.to_bytes()));
        assert!(
            test.contains(&hash),
            "test/Restaking.t.sol slashes by other bytes of kind {kind} than those that hash to {hash}"
        );
    }
}
