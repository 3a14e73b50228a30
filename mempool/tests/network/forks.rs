//! An author that signs two headers at one place.

use crate::support::*;
use squad_mempool::{AckOutcome, BatchFault, BatchOutcome, Mempool, Tips};
use squad_types::*;

fn is_fork(outcome: &BatchOutcome) -> bool {
    matches!(outcome, BatchOutcome::Fork { .. })
}

/// A member's ack of its own making, whatever it holds.
fn forged_ack(member: usize, counter: u64, tips: &[Option<Tip>]) -> (Verified<Ack>, AckEntries) {
    let root = ack::vector_root(tips);
    let statement = Ack { epoch: Epoch(0), counter: AckCounter(counter), root };
    let entry = |(at, tip): (usize, &Option<Tip>)| AckEntry { lane: ValidatorIndex(at as u16), tip: *tip };
    (
        Verified::sign(statement, &domain(), &signer(member)),
        AckEntries::Full(tips.iter().enumerate().map(entry).collect()),
    )
}

fn hear(node: &mut Mempool, member: usize, counter: u64, tips: &[Option<Tip>]) -> AckOutcome {
    let (ack, entries) = forged_ack(member, counter, tips);
    node.on_ack(ack, entries)
}

#[test]
fn a_second_header_at_one_place_closes_the_lane_and_leaves_every_later_ack() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let (one, other) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    node.on_batch(one.clone());
    let acked = node.make_ack(Timestamp(0), Epoch(0), &signer(0)).unwrap();
    let AckEntries::Full(entries) = acked.entries else { panic!() };
    assert_eq!(entries[3].tip, Some(one.tip()));
    let BatchOutcome::Fork { pair, .. } = node.on_batch(other.clone()) else { panic!("no fork seen") };
    assert!(Evidence::Batches((*pair).clone()).verify(&domain(), &KeyedHashVerifier).is_ok());
    assert!(node.on_fork(&pair) && !node.on_fork(&pair));
    node.on_batch(batch(3, 0, Some(one.tip()), 3, 100));
    let AckEntries::Full(entries) = node.make_ack(Timestamp(9), Epoch(0), &signer(0)).unwrap().entries else {
        panic!()
    };
    assert_eq!(entries[3].tip, None);
    assert!(!node.contradicts_own_ack(lane(3), one.tip()));
    assert!(node.contradicts_own_ack(lane(3), other.tip()));
}

#[test]
fn a_fork_is_seen_among_batches_that_wait_and_below_the_ordered_tip() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let first = batch(3, 0, None, 1, 100);
    let (second, other) = (batch(3, 0, Some(first.tip()), 2, 100), batch(3, 0, Some(first.tip()), 3, 100));
    assert!(matches!(node.on_batch(second.clone()), BatchOutcome::Missing(_)));
    assert!(is_fork(&node.on_batch(other)));

    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    node.on_batch(first.clone());
    node.on_batch(second.clone());
    let mut state = network.states[0].clone();
    state.set_tip(CutEntry { lane: lane(3), tip: second.tip() });
    node.on_ordered(&state, true, &[], &[]);
    assert!(is_fork(&node.on_batch(batch(3, 0, None, 4, 100))));
    assert_eq!(node.on_batch(first), BatchOutcome::Known);
}

#[test]
fn what_was_secured_before_the_fork_stays_certified_and_is_cut_though_every_ack_drops_the_lane() {
    let mut network = Network::new(4, 1);
    let (first, other) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    let node = &mut network.nodes[0];
    node.on_batch(first.clone());
    let tips = [None, None, None, Some(first.tip())];
    hear(node, 1, 1, &tips);
    hear(node, 2, 1, &tips);
    hear(node, 3, 1, &tips);
    assert_eq!(node.certified(lane(3)), Some(first.tip()));
    let BatchOutcome::Fork { pair, .. } = node.on_batch(other.clone()) else { panic!() };
    node.on_fork(&pair);
    for member in 1..4 {
        hear(node, member, 2, &[None; 4]);
    }
    assert_eq!(node.certified(lane(3)), Some(first.tip()));
    let certificate = node.certificate(lane(3), first.tip()).unwrap();
    assert_eq!(certificate.verify(&domain(), &committee(0, 4), &KeyedHashVerifier), Ok(first.tip()));
    assert_eq!(node.propose_cut(&network.states[0], Tips::Available), [CutEntry { lane: lane(3), tip: first.tip() }]);

    // A node that acknowledged the other branch may vote for this one once it knows the certificate.
    let late = &mut network.nodes[1];
    late.on_batch(other);
    late.make_ack(Timestamp(0), Epoch(0), &signer(1));
    let BatchOutcome::Fork { pair, .. } = late.on_batch(first.clone()) else { panic!() };
    late.on_fork(&pair);
    assert!(late.contradicts_own_ack(lane(3), first.tip()));
    late.on_certificate(certificate);
    assert!(!late.contradicts_own_ack(lane(3), first.tip()));
    assert_eq!(late.propose_cut(&network.states[0], Tips::Available), [CutEntry { lane: lane(3), tip: first.tip() }]);
}

#[test]
fn without_a_certificate_nothing_of_a_closed_lane_is_cut() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let (first, other) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    node.on_batch(first.clone());
    hear(node, 1, 1, &[None, None, None, Some(first.tip())]);
    hear(node, 2, 1, &[None, None, None, Some(first.tip())]);
    assert_eq!(node.propose_cut(&network.states[0], Tips::Available).len(), 1);
    let BatchOutcome::Fork { pair, .. } = node.on_batch(other) else { panic!() };
    node.on_fork(&pair);
    assert_eq!(node.propose_cut(&network.states[0], Tips::Available), []);
}

#[test]
fn acks_on_two_branches_are_not_added_up() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let base = batch(3, 0, None, 1, 100);
    let (left, right) = (batch(3, 0, Some(base.tip()), 2, 100), batch(3, 0, Some(base.tip()), 3, 100));
    node.on_batch(base.clone());
    node.on_batch(left.clone());
    let BatchOutcome::Fork { pair, stored } = node.on_batch(right.clone()) else { panic!() };
    assert_eq!(stored.len(), 1);
    node.on_fork(&pair);
    hear(node, 1, 1, &[None, None, None, Some(left.tip())]);
    hear(node, 2, 1, &[None, None, None, Some(right.tip())]);
    hear(node, 3, 1, &[None, None, None, Some(left.tip())]);
    assert_eq!(node.certified(lane(3)), None, "no one chain of headers holds a quorum");
    assert_eq!(node.available(lane(3)), Some(left.tip()));
}

#[test]
fn contradictory_acks_are_proved_even_with_an_empty_entry_between_them() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let (left, right) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    let above = batch(3, 0, Some(right.tip()), 3, 100);
    node.on_batch(left.clone());
    let BatchOutcome::Fork { pair, .. } = node.on_batch(right) else { panic!() };
    node.on_fork(&pair);
    node.on_batch(above.clone());
    hear(node, 1, 1, &[None, None, None, Some(left.tip())]);
    hear(node, 1, 2, &[None; 4]);
    let AckOutcome::Advanced { evidence, .. } = hear(node, 1, 3, &[None, None, None, Some(above.tip())]) else {
        panic!("not taken")
    };
    let accused = evidence.expect("a proof").verify(&domain(), &KeyedHashVerifier);
    assert_eq!(accused, Ok(address(1)));
}

#[test]
fn an_honest_validators_acks_are_never_evidence() {
    let mut network = Network::new(4, 0);
    for round in 0..40 {
        for at in 0..4 {
            network.submit(at, 300);
            network.seal(at);
            network.ack(at);
        }
        for (to, mail) in std::mem::take(&mut network.mail) {
            if let Mail::Ack(message) = &mail {
                let ack = message.ack.clone().verify(&domain(), &KeyedHashVerifier).unwrap();
                let outcome = network.nodes[to].on_ack(ack, message.entries.clone());
                assert!(!matches!(outcome, AckOutcome::Advanced { evidence: Some(_), .. }));
            } else {
                network.receive(to, mail);
            }
        }
        if round % 3 == 0 {
            network.order(round % 4);
            (0..4).for_each(|at| network.follow(at));
        }
    }
}

#[test]
fn junk_branches_of_a_closed_lane_give_way_to_the_branch_that_is_needed() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let mine = batch(3, 0, None, 1, 4_000);
    node.on_batch(mine.clone());
    node.make_ack(Timestamp(0), Epoch(0), &signer(0));
    for nonce in 10..200 {
        if let BatchOutcome::Fork { pair, .. } = node.on_batch(batch(3, 0, None, nonce, 8_000)) {
            node.on_fork(&pair);
        }
        assert!(node.stats().lane_bytes <= 100 << 10);
    }
    let needed = batch(3, 0, None, 1_000, 8_000);
    let above = batch(3, 0, Some(needed.tip()), 1_001, 8_000);
    for batch in [&needed, &above] {
        let outcome = node.on_batch(batch.clone());
        assert!(matches!(outcome, BatchOutcome::Stored(_)), "{outcome:?}");
    }
    assert!(node.holds(lane(3), above.tip()));
    assert!(node.holds(lane(3), mine.tip()), "what was acknowledged stays");
    assert_ne!(node.on_batch(batch(3, 0, None, 5, 9_000)), BatchOutcome::Refused(BatchFault::NoRoom));
}

#[test]
fn once_one_branch_is_ordered_the_other_is_gone() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let (left, right) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    let above_left = batch(3, 0, Some(left.tip()), 3, 100);
    let above_right = batch(3, 0, Some(right.tip()), 4, 100);
    node.on_batch(left);
    node.on_batch(above_left.clone());
    let BatchOutcome::Fork { .. } = node.on_batch(right.clone()) else { panic!() };
    node.on_batch(above_right.clone());
    let mut state = network.states[0].clone();
    state.set_tip(CutEntry { lane: lane(3), tip: right.tip() });
    let outcome = node.on_ordered(&state, true, &[], &[]);
    assert_eq!(outcome.pruned.len(), 3);
    assert!(!node.holds(lane(3), above_left.tip()));
    assert!(node.holds(lane(3), above_right.tip()));
    assert_eq!(node.stats().lane_bytes, above_right.payload().bytes().len());
}

#[test]
fn an_ack_that_goes_back_takes_nothing_away() {
    let mut network = Network::new(4, 1);
    let node = &mut network.nodes[0];
    let first = batch(3, 0, None, 1, 100);
    let second = batch(3, 0, Some(first.tip()), 2, 100);
    node.on_batch(first.clone());
    node.on_batch(second.clone());
    for member in 1..4 {
        hear(node, member, 1, &[None, None, None, Some(second.tip())]);
    }
    assert_eq!(node.certified(lane(3)), Some(second.tip()));
    hear(node, 1, 2, &[None, None, None, Some(first.tip())]);
    hear(node, 2, 2, &[None, None, None, Some(Tip { sequence: Sequence(900), batch: BatchId([1; 32]) })]);
    assert_eq!(node.certified(lane(3)), Some(second.tip()));
    assert!(node.certificate(lane(3), first.tip()).is_some());
}

#[test]
fn an_author_that_acknowledges_its_other_branch_takes_no_certificate_back() {
    let (one, other) = (batch(3, 0, None, 1, 100), batch(3, 0, None, 2, 100));
    let acked = |me: usize, batches: &[&VerifiedBatch], times: u64| {
        let mut node = Mempool::new(config(me), committee(0, 4));
        batches.iter().for_each(|batch| drop(node.on_batch((*batch).clone())));
        let made = (0..times).filter_map(|at| node.make_ack(Timestamp(at), Epoch(0), &signer(me))).last();
        let message = made.unwrap();
        (message.ack.verify(&domain(), &KeyedHashVerifier).unwrap(), node.full_ack(Epoch(0)).unwrap().entries)
    };
    let [mine, theirs, authors] = [acked(0, &[&one], 1), acked(1, &[&one], 1), acked(3, &[&one], 1)];
    let turned = acked(3, &[&other], 2);
    // The second branch comes before or after the ack that names it.
    for late in [false, true] {
        let mut node = Mempool::new(config(2), committee(0, 4));
        node.on_batch(one.clone());
        for (ack, entries) in [&mine, &theirs, &authors] {
            node.on_ack(ack.clone(), entries.clone());
        }
        assert_eq!(node.certified(lane(3)), Some(one.tip()));
        if late {
            node.on_ack(turned.0.clone(), turned.1.clone());
        }
        let BatchOutcome::Fork { pair, .. } = node.on_batch(other.clone()) else { panic!("two batches at one place") };
        node.on_fork(&pair);
        node.on_ack(turned.0.clone(), turned.1.clone());
        assert_eq!(node.certified(lane(3)), Some(one.tip()), "a certificate is lost ({late})");
        assert!(node.certificate(lane(3), one.tip()).is_some());
        let cut = node.propose_cut(&Network::new(4, 1).states[0], Tips::Available);
        assert_eq!(cut, [CutEntry { lane: lane(3), tip: one.tip() }]);
    }
}
