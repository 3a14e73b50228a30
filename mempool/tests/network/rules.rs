//! Admission, rule by rule, and the wire forms of acks.

use crate::support::*;
use squad_mempool::{AckFault, AckOutcome, EvmFacts, Mempool, MempoolConfig, PoolLimits, Rejection, Source};
use squad_types::*;
use std::sync::Arc;

fn spec(id: u32, kind: NamespaceKind, access: WriteAccess, policy: OrderingPolicy) -> NamespaceSpec {
    NamespaceSpec {
        id: NamespaceId(id),
        name: format!("n{id}"),
        kind,
        policy,
        access,
        max_transaction_bytes: 1_000,
        quota_bytes_per_second: 10_000,
    }
}

fn node() -> Mempool {
    let evm = NamespaceKind::Evm { chain_id: 7 };
    let namespaces = vec![
        spec(1, NamespaceKind::Opaque, WriteAccess::Everybody, OrderingPolicy::Fifo),
        spec(2, evm, WriteAccess::AllowList(vec![address(5)]), OrderingPolicy::PriorityFee),
        spec(3, NamespaceKind::Opaque, WriteAccess::Closed, OrderingPolicy::Fifo),
    ];
    let pool = PoolLimits { source_bytes_per_second: 5_000, ..PoolLimits::default() };
    Mempool::new(MempoolConfig { namespaces, pool, ..config(0) }, committee(0, 4))
}

fn tx(namespace: u32, bytes: usize, until: Option<u64>) -> IdentifiedTransaction {
    let data = vec![9; bytes].into();
    Transaction { namespace: NamespaceId(namespace), valid_until: until.map(Timestamp), hint: None, data }.into()
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let mut node = node();
    let mut offer = |tx, evm| node.submit(Timestamp(50_000), Source(1), tx, evm);
    let facts = EvmFacts { sender: address(5), chain_id: Some(7), fee: 3 };
    assert_eq!(offer(tx(8, 10, None), None), Err(Rejection::UnknownNamespace(NamespaceId(8))));
    assert_eq!(offer(tx(3, 10, Some(1)), None), Err(Rejection::ClosedNamespace(NamespaceId(3))));
    assert_eq!(offer(tx(1, 0, Some(1)), None), Err(Rejection::Empty));
    let too_large = Rejection::TooLarge { bytes: 1_001, max: 1_000, namespace: NamespaceId(1) };
    assert_eq!(offer(tx(1, 1_001, Some(1)), None), Err(too_large));
    assert_eq!(offer(tx(1, 10, None), None), Err(Rejection::ValidityMissing { window_ms: 10_000 }));
    let late = Rejection::ValidityTooLong { until: Timestamp(10_001), latest: Timestamp(10_000) };
    assert_eq!(offer(tx(1, 10, Some(10_001)), None), Err(late));
    let over = Rejection::Expired { until: Timestamp(0), chain_time: Timestamp(0) };
    assert_eq!(offer(tx(1, 10, Some(0)), None), Err(over));
    assert_eq!(offer(tx(2, 10, None), None), Err(Rejection::NotEvm(NamespaceId(2))));
    assert_eq!(offer(tx(2, 10, Some(5)), Some(facts)), Err(Rejection::ValidityNotAllowed));
    for given in [None, Some(8)] {
        let wrong = Rejection::WrongChainId { given, expected: 7, namespace: NamespaceId(2) };
        assert_eq!(offer(tx(2, 10, None), Some(EvmFacts { chain_id: given, ..facts })), Err(wrong));
    }
    let stranger = Rejection::NotAllowed { sender: address(6), namespace: NamespaceId(2) };
    assert_eq!(offer(tx(2, 10, None), Some(EvmFacts { sender: address(6), ..facts })), Err(stranger));
    assert_eq!(offer(tx(1, 10, Some(10_000)), None), Ok(()));
    assert_eq!(offer(tx(1, 10, Some(10_000)), None), Err(Rejection::Duplicate));
    assert_eq!(offer(tx(2, 10, None), Some(facts)), Ok(()));
    let sealed = node.seal(Timestamp(50_000), &signer(0)).unwrap();
    let hints: Vec<_> = sealed.payload().transactions().iter().map(|tx| tx.transaction.hint).collect();
    assert_eq!(hints, [None, Some(FeeHint { sender: address(5), fee: 3 })]);
}

#[test]
fn a_client_and_a_namespace_are_held_to_their_rates_and_told_when_to_come_back() {
    let mut node = node();
    let mut now = Timestamp(50_000);
    let offer = |node: &mut Mempool, source, nonce: u64, now| {
        let mut data = vec![0; 900];
        data[..8].copy_from_slice(&nonce.to_be_bytes());
        let tx = Transaction {
            namespace: NamespaceId(1),
            valid_until: Some(Timestamp(9_000)),
            hint: None,
            data: data.into(),
        };
        node.submit(now, Source(source), tx.into(), None)
    };
    let taken = (0..20).filter(|nonce| offer(&mut node, 1, *nonce, now).is_ok()).count();
    assert_eq!(taken, 5, "5000 bytes a second");
    let Err(refusal) = offer(&mut node, 1, 30, now) else { panic!() };
    assert!(matches!(refusal, Rejection::Quota { whose: "client", .. }));
    let taken = (100..120).filter(|nonce| offer(&mut node, nonce + 7, *nonce, now).is_ok()).count();
    assert_eq!(taken, 5, "10000 bytes a second for all");
    assert!(matches!(offer(&mut node, 999, 200, now), Err(Rejection::Quota { whose: "namespace", .. })));
    now = now.plus(refusal.retry_after_ms().unwrap());
    assert_eq!(offer(&mut node, 1, 31, now), Ok(()));
}

#[test]
fn an_oversized_transaction_is_refused_by_what_a_batch_can_carry() {
    let mut node = Mempool::new(config(0), committee(0, 4));
    let refusal = node.submit(Timestamp(0), Source(0), transaction(1, 8_192), None);
    assert!(matches!(refusal, Err(Rejection::TooLarge { max, .. }) if max < 8_192));
    assert_eq!(node.submit(Timestamp(0), Source(0), transaction(1, 8_100), None), Ok(()));
    assert!(node.seal(Timestamp(0), &signer(0)).is_some());
}

/// A committee large enough that acks carry changes only.
#[test]
fn changes_rebuild_the_signed_root_or_the_full_vector_is_asked_for() {
    let mut network = Network::new(20, 0);
    let mut acks = Vec::new();
    for round in 0..4 {
        network.submit(round, 100);
        network.seal(round);
        for (to, mail) in std::mem::take(&mut network.mail) {
            if to == 5 {
                network.receive(to, mail);
            }
        }
        network.ack(5);
        acks.extend(network.mail.drain(..).filter_map(|(to, mail)| match mail {
            Mail::Ack(message) if to == 6 => Some(message),
            _ => None,
        }));
    }
    assert_eq!(acks.len(), 4);
    let hear = |node: &mut Mempool, message: &AckMessage| {
        let ack = message.ack.clone().verify(&domain(), &KeyedHashVerifier).unwrap();
        node.on_ack(ack, message.entries.clone())
    };
    assert!(matches!(acks[3].entries, AckEntries::Changed { ref entries, .. } if entries.len() == 1));
    let listener = &mut network.nodes[6];
    assert!(matches!(hear(listener, &acks[0]), AckOutcome::Advanced { .. }));
    assert!(matches!(hear(listener, &acks[1]), AckOutcome::Advanced { .. }));
    assert_eq!(hear(listener, &acks[0]), AckOutcome::Stale);
    assert_eq!(hear(listener, &acks[3]), AckOutcome::NeedFull, "the third was lost");
    let mut lying = acks[2].clone();
    if let AckEntries::Changed { entries, .. } = &mut lying.entries {
        Arc::make_mut(entries)[0].tip = None;
    }
    assert_eq!(hear(listener, &lying), AckOutcome::NeedFull);
    let full = network.nodes[5].full_ack(Epoch(0)).unwrap();
    let listener = &mut network.nodes[6];
    assert!(matches!(hear(listener, &full), AckOutcome::Advanced { unknown, .. } if unknown.len() == 2));

    let mut lying = full.clone();
    lying.ack.statement.counter = full.ack.statement.counter.next();
    if let AckEntries::Full(entries) = &mut lying.entries {
        Arc::make_mut(entries)[0].tip = None;
    }
    let resigned = Verified::sign(lying.ack.statement, &domain(), &signer(5));
    assert_eq!(listener.on_ack(resigned, lying.entries), AckOutcome::Refused(AckFault::Vector));
    let stranger = Verified::sign(full.ack.statement, &domain(), &signer(30));
    assert_eq!(listener.on_ack(stranger, full.entries), AckOutcome::Refused(AckFault::Stranger));
}
