//! A committee that is known by its hash alone is enough to start from.
#![allow(clippy::unwrap_used, missing_docs)]

use squad_client::testing::{self, GENESIS_TIME, TestChain};
use squad_client::{CommitteeFollower, Pin, TRUSTING_PERIOD_MS, TrustError, TrustedCommittee};
use squad_types::{CommitteeProof, Epoch, Timestamp};

const NOW: Timestamp = Timestamp(GENESIS_TIME.0 + 3_600_000);

/// Proofs of the committees of epochs 1 to 4, each of other keys.
fn proofs() -> Vec<CommitteeProof> {
    let mut chain = TestChain::new(4);
    (1..=4_u64)
        .map(|epoch| {
            if epoch > 1 {
                chain.start_epoch(testing::keys(epoch * 10, 4));
            }
            chain.block(Vec::new()).committee_proof().unwrap()
        })
        .collect()
}

/// The committee of epoch 2, as somebody publishes it who followed from the genesis.
fn pin(proofs: &[CommitteeProof]) -> Pin {
    let genesis = TestChain::new(4).genesis;
    let mut follower = CommitteeFollower::from_genesis(&genesis).unwrap();
    proofs[..2].iter().for_each(|proof| follower.follow(proof).unwrap());
    follower.newest().pin()
}

#[test]
fn a_pin_and_the_proofs_from_its_epoch_on_lead_to_the_newest_committee() {
    let proofs = proofs();
    let pin = pin(&proofs);
    assert_eq!(pin.epoch, Epoch(2));
    let follower = CommitteeFollower::from_pin(&pin, &proofs[1..], NOW).unwrap();
    assert_eq!(follower.newest().epoch(), Epoch(4));
    let mut whole = CommitteeFollower::from_genesis(&TestChain::new(4).genesis).unwrap();
    proofs.iter().for_each(|proof| whole.follow(proof).unwrap());
    assert_eq!(follower.newest(), whole.newest());
}

#[test]
fn a_pin_survives_its_text() {
    let pin = pin(&proofs());
    let text = serde_json::to_string(&pin).unwrap();
    assert_eq!(serde_json::from_str::<Pin>(&text).unwrap(), pin);
}

#[test]
fn other_members_than_the_pinned_ones_are_refused() {
    let proofs = proofs();
    let pin = pin(&proofs);
    let mut other = proofs[1].clone();
    other.members[0].stake.0 += 1;
    assert!(matches!(CommitteeFollower::from_pin(&pin, [&other], NOW), Err(TrustError::Pin { .. })));
    // A pinned committee needs no certificate before it, but every later one does.
    let mut later = proofs[2].clone();
    later.certificate.signatures.truncate(1);
    assert!(matches!(CommitteeFollower::from_pin(&pin, [&proofs[1], &later], NOW), Err(TrustError::Certificate(_))));
}

#[test]
fn a_gap_between_proofs_another_network_and_no_proof_are_refused() {
    let proofs = proofs();
    let pin = pin(&proofs);
    let refused = |proofs: &[CommitteeProof]| CommitteeFollower::from_pin(&pin, proofs, NOW).unwrap_err();
    assert_eq!(refused(&proofs[2..]), TrustError::Epoch { expected: Epoch(2), found: Epoch(3) });
    assert_eq!(
        refused(&[proofs[1].clone(), proofs[3].clone()]),
        TrustError::Epoch { expected: Epoch(2), found: Epoch(3) }
    );
    assert_eq!(refused(&[]), TrustError::NoProof(Epoch(2)));
    let mut foreign = proofs[1].clone();
    foreign.header.network_id.0[0] ^= 1;
    assert!(matches!(refused(&[foreign]), TrustError::Network { .. }));
}

#[test]
fn a_pin_is_of_use_for_the_trusting_period_only() {
    let proofs = proofs();
    let pin = pin(&proofs);
    let at = |now| CommitteeFollower::from_pin(&pin, &proofs[1..], now);
    assert!(at(pin.as_of.plus(TRUSTING_PERIOD_MS)).is_ok());
    assert!(matches!(at(pin.as_of.plus(TRUSTING_PERIOD_MS + 1)), Err(TrustError::Stale { .. })));
}

#[test]
fn a_pinned_first_committee_comes_from_the_genesis() {
    let genesis = TestChain::new(4).genesis;
    let pin = TrustedCommittee::from_genesis(&genesis).unwrap().pin();
    assert!(TrustedCommittee::from_genesis(&genesis).unwrap().pinned(pin.committee_hash).is_ok());
    let other = TrustedCommittee::from_genesis(&testing::genesis(&testing::keys(7, 4))).unwrap();
    assert!(matches!(other.pinned(pin.committee_hash), Err(TrustError::Pin { .. })));
}
