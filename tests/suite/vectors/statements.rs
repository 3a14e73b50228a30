//! What is hashed and signed: transactions, trees, EIP-712 structs and digests.

use super::book::Book;
use super::world::{World, filler};
use squad_types::*;

pub(crate) fn write(world: &World, book: &mut Book) {
    network(world, book);
    transactions(world, book);
    trees(world, book);
    signed(world, book);
}

fn network(world: &World, book: &mut Book) {
    let genesis = &world.genesis;
    book.json("genesis.json", genesis);
    book.hash("genesis.network_id", genesis.network_id().as_bytes());
    book.wire("params", &genesis.params);
    book.hash("params.hash", genesis.params.hash(&genesis.namespaces).as_bytes());
    for namespace in &genesis.namespaces {
        book.wire(&format!("namespace_spec.{}", namespace.name), namespace);
    }
    book.wire("committee", &world.committee);
    book.hash("committee.hash", world.committee.hash().as_bytes());
    book.wire("bitmap", &[ValidatorIndex(0), ValidatorIndex(9)].into_iter().collect::<Bitmap>());
}

fn transactions(world: &World, book: &mut Book) {
    for (transaction, name) in world.transactions().iter().zip(["evm", "opaque", "hinted"]) {
        book.wire(&format!("transaction.{name}"), transaction);
        book.wire(&format!("transaction_ref.{name}"), &transaction.reference());
        book.hash(&format!("transaction.{name}.id"), transaction.id().as_bytes());
        book.hash(&format!("transaction.{name}.ethereum_hash"), &transaction.ethereum_hash());
    }
    let payload = world.payload();
    let again = |bytes: &[u8]| {
        let payload = Payload::parse(bytes::Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
        Ok(Payload::pack(payload.transactions().to_vec()).bytes().to_vec())
    };
    book.bytes("payload", payload.bytes().to_vec(), again);
    book.hash("payload.digest", payload.digest().as_bytes());
    book.hash("payload.root", payload.root().as_bytes());
}

fn trees(world: &World, book: &mut Book) {
    let leaves: Vec<Digest> = (0..7_u8).map(|at| merkle::leaf(&[&[at]])).collect();
    for count in 0..=leaves.len() {
        book.hash(&format!("merkle.root.{count}"), merkle::root(&leaves[..count]).as_bytes());
    }
    book.wire("merkle.proof", &merkle::prove(&leaves, 4).unwrap());
    let leaves = world.leaves();
    book.wire("namespace_leaf", &leaves[0]);
    book.hash("namespace_leaf.hash", leaves[0].hash().as_bytes());
    book.hash("namespaces_root", namespace::namespaces_root(&leaves).as_bytes());
    book.wire("namespace_proof.present", &NamespaceProof::build(&leaves, NamespaceId(2)));
    book.wire("namespace_proof.absent_between", &NamespaceProof::build(&[leaves[0], leaves[2]], NamespaceId(2)));
    book.wire("namespace_proof.absent_last", &NamespaceProof::build(&leaves, NamespaceId(9)));
    book.wire("namespace_proof.absent_empty", &NamespaceProof::build(&[], NamespaceId(2)));
    let vector = world.vector();
    book.wire("ack_entry", &AckEntry { lane: ValidatorIndex(1), tip: vector[1] });
    book.hash("ack_entry.leaf", AckEntry { lane: ValidatorIndex(1), tip: vector[1] }.leaf().as_bytes());
    book.hash("ack_entry.closed.leaf", AckEntry { lane: ValidatorIndex(2), tip: None }.leaf().as_bytes());
    book.hash("ack.vector_root", ack::vector_root(&vector).as_bytes());
}

/// A statement's struct hash and digest, and its signed form.
fn statement<T>(world: &World, book: &mut Book, name: &str, value: &T)
where
    T: keys::Statement + Encode + Decode + PartialEq + std::fmt::Debug + Clone + 'static,
{
    book.hash(&format!("{name}.struct_hash"), &value.struct_hash());
    book.hash(&format!("{name}.digest"), world.domain.digest(value).as_bytes());
    book.wire(&format!("signed.{name}"), &world.sign(1, value.clone()));
}

fn signed(world: &World, book: &mut Book) {
    let block = Some(HeaderHash(filler(0xb1)));
    statement(world, book, "prevote", &world.vote(VoteKind::Prevote, block));
    statement(world, book, "precommit", &world.vote(VoteKind::Precommit, block));
    statement(world, book, "prevote_nil", &world.vote(VoteKind::Prevote, None));
    let proposal = Proposal { height: Height(1), round: Round(2), valid_round: None, block: HeaderHash(filler(0xb1)) };
    statement(world, book, "proposal", &proposal);
    statement(world, book, "proposal_again", &Proposal { valid_round: Some(Round(1)), ..proposal });
    statement(world, book, "batch_header", &world.batch_header(1, None));
    let ack = Ack { epoch: Epoch(0), counter: AckCounter(5), root: ack::vector_root(&world.vector()) };
    statement(world, book, "ack", &ack);
    statement(world, book, "ready", &Ready { epoch: Epoch(3) });
    let binding = PeerBinding {
        peer_id: vec![0, 36, 8, 1, 18, 32, 7].into(),
        issued: Timestamp(1_790_000_000_000),
        addresses: vec![vec![4, 127, 0, 0, 1, 6, 0x1e, 0x14].into()],
    };
    statement(world, book, "peer_binding", &binding);
}
