//! Blocks, certificates, confirmations and evidence.

use super::book::Book;
use super::world::World;
use squad_types::*;

pub(crate) fn write(world: &World, book: &mut Book) {
    let header = world.header();
    book.wire("header", &header);
    book.hash("header.hash", header.hash().as_bytes());
    book.wire("chain_state", &world.state());
    book.hash("chain_state.digest", world.state().digest().as_bytes());
    book.wire("proposed_block", &world.block());
    book.wire("commit_certificate", &world.commit());
    book.wire("vote_certificate", &votes(world));
    book.wire("ack_proof", &world.ack_proof(0, &world.vector()));
    book.wire("batch_certificate", &world.batch_certificate());
    book.wire("ordered_block", &world.ordered());
    book.wire("namespace_block.present", &namespace_block(world, NamespaceId(2)));
    book.wire("namespace_block.absent", &namespace_block(world, NamespaceId(9)));
    for confirmation in confirmations(world) {
        book.wire(&format!("confirmation.{}", confirmation.tier()), &confirmation);
        book.json(&format!("confirmation_json.{}", confirmation.tier()), &confirmation);
    }
    for evidence in evidence(world) {
        let name = match &evidence {
            Evidence::Votes(_) => "votes",
            Evidence::Proposals(_) => "proposals",
            Evidence::Batches(_) => "batches",
            Evidence::Acks(_) => "acks",
        };
        evidence.verify(&world.domain, &EcdsaVerifier).unwrap();
        book.wire(&format!("evidence.{name}"), &evidence);
        book.json(&format!("evidence_json.{name}"), &evidence);
    }
}

/// Prevotes of three of four for the block.
pub(crate) fn votes(world: &World) -> VoteCertificate {
    let vote = world.vote(VoteKind::Prevote, Some(world.header().hash()));
    let at = [0_u16, 1, 3];
    VoteCertificate {
        vote,
        signers: at.iter().map(|at| ValidatorIndex(*at)).collect(),
        signatures: at.iter().map(|at| world.sign(usize::from(*at), vote).signature).collect(),
    }
}

/// The block as one namespace sees it.
pub(crate) fn namespace_block(world: &World, namespace: NamespaceId) -> NamespaceBlock {
    NamespaceBlock {
        header: world.header(),
        certificate: world.commit(),
        next_committee: Some(world.genesis.validators.clone()),
        namespace,
        proof: NamespaceProof::build(&world.leaves(), namespace),
        transactions: world.transactions().into_iter().filter(|tx| tx.namespace == namespace).collect(),
    }
}

/// One of each tier, all true.
fn confirmations(world: &World) -> Vec<Confirmation> {
    let transaction = &world.transactions()[1];
    let confirmation = |evidenced| Confirmation {
        network_id: world.genesis.network_id(),
        transaction: transaction.reference(),
        evidenced,
    };
    let ordered = Ordered {
        header: world.header(),
        certificate: world.commit(),
        namespace_proof: NamespaceProof::build(&world.leaves(), transaction.namespace),
        proof: merkle::prove(&[Digest(transaction.id().0)], 0).unwrap(),
    };
    let all = vec![
        confirmation(Evidenced::Batched(Batched { header: world.chain()[0].clone(), proof: world.place(1) })),
        confirmation(Evidenced::Secured(Secured { certificate: world.batch_certificate(), proof: world.place(1) })),
        confirmation(Evidenced::Ordered(Box::new(ordered))),
    ];
    let trusted = squad_client::TrustedCommittee::from_genesis(&world.genesis).unwrap();
    for confirmation in &all {
        squad_client::verify(confirmation, &trusted, world.genesis.time).unwrap();
    }
    all
}

/// One of each kind, all true.
pub(crate) fn evidence(world: &World) -> Vec<Evidence> {
    let (one, other) = (HeaderHash([1; 32]), HeaderHash([2; 32]));
    let vote = |block| world.sign(0, world.vote(VoteKind::Prevote, block));
    let proposal = |block| world.sign(0, Proposal { height: Height(4), round: Round(0), valid_round: None, block });
    let header = world.batch_header(1, None);
    let forked = BatchHeader { count: 2, ..header.clone() };
    let vector = |tip: &BatchHeader| {
        let mut vector = world.vector();
        vector[1] = Some(World::tip_of(tip));
        vector
    };
    vec![
        Evidence::Votes(VotePair { first: vote(Some(one)), second: vote(None) }),
        Evidence::Proposals(ProposalPair { first: proposal(one), second: proposal(other) }),
        Evidence::Batches(BatchPair { first: world.sign(1, header.clone()), second: world.sign(1, forked.clone()) }),
        Evidence::Acks(AckPair {
            lower: world.ack_proof(2, &vector(&header)),
            higher: world.ack_proof(2, &vector(&forked)),
            lane: ValidatorIndex(1),
            headers: vec![world.sign(1, forked)],
        }),
    ]
}
