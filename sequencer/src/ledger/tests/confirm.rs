//! Confirmations and namespaces' views verify with the proofs of `types`, and nothing else does.

use crate::ledger::fixture::*;
use crate::ledger::*;
use squad_types::*;

fn chain() -> Chain {
    let mut chain = Chain::new(4);
    for author in 0..4_u16 {
        let (lane, until) = (chain.lane(author), chain.until());
        let own = [author as u8];
        chain.batch(lane, vec![opaque(1, until, &own), paid(1, author.into(), &own), opaque(4, until, &own)]);
    }
    chain.advance(100);
    chain
}

#[test]
fn every_ordered_transaction_has_a_confirmation_that_holds() {
    let chain = chain();
    let (ordered, execution) = (&chain.blocks[0], &chain.executions[0]);
    for part in &execution.namespaces {
        for (at, tx) in part.transactions.iter().enumerate() {
            let namespace = part.leaf.namespace;
            let confirmation = ordered_confirmation(ordered, &execution.namespaces, namespace, &tx.id).unwrap();
            let Evidenced::Ordered(proof) = &confirmation.evidenced else { panic!("ordered") };
            assert_eq!(confirmation.transaction.id(), tx.id);
            assert_eq!(proof.header.hash(), proof.certificate.block);
            let leaf = proof.namespace_proof.verify(namespace, &proof.header.namespaces_root).unwrap().unwrap();
            assert!(proof.proof.holds(&Digest(tx.id.0), &leaf.transactions_root));
            assert_eq!((proof.proof.index, leaf.count), (at as u64, part.transactions.len() as u32));
        }
    }
    let other = TxId([1; 32]);
    assert_eq!(ordered_confirmation(ordered, &execution.namespaces, NamespaceId(1), &other), None);
}

#[test]
fn a_namespace_sees_all_of_its_transactions_or_a_proof_that_there_are_none() {
    let chain = chain();
    let (ordered, execution) = (&chain.blocks[0], &chain.executions[0]);
    for id in 0..12 {
        let view = execution.namespace_block(ordered, NamespaceId(id));
        let leaf = view.proof.verify(NamespaceId(id), &view.header.namespaces_root).unwrap();
        assert_eq!(leaf.map_or(0, |leaf| leaf.count as usize), view.transactions.len());
        assert_eq!(leaf.is_some(), [1, 4, 9].contains(&id));
        let seen: Vec<TxId> = view.transactions.iter().map(Transaction::id).collect();
        assert_eq!(seen, chain.ordered(id));
    }
}

#[test]
fn a_batch_confirms_at_its_operators_word_and_at_a_quorums() {
    let mut chain = chain();
    let (lane, until) = (chain.lane(2), chain.until());
    let tx = opaque(1, until, b"word");
    let batch = chain.batch(lane, vec![opaque(4, until, b"other"), tx.clone()]);
    let network = chain.ledger.domain().network();
    let word = batched_confirmation(network, &batch, &tx.id).unwrap();
    let Evidenced::Batched(batched) = &word.evidenced else { panic!("batched") };
    assert!(batched.proof.holds(&Digest(tx.id.0), &batched.header.statement.transactions_root));
    assert_eq!((word.transaction.id(), word.network_id), (tx.id, network));
    let certificate = BatchCertificate { lane, headers: vec![batch.signed_header().clone()], acks: vec![] };
    let secured = secured_confirmation(network, certificate.clone(), &batch, &tx.id).unwrap();
    assert_eq!(secured.tier(), Tier::Secured);
    let other = chain.batch(lane, vec![tx.clone()]);
    assert_eq!(secured_confirmation(network, certificate, &other, &tx.id), None, "another batch is not certified");
}
