//! Rust and Solidity say the same of the same bytes: what a confirmation proves, which committee follows from which, and that
//! other bytes prove nothing. In an embedded EVM, over confirmations and committee proofs, true, nearly true and mangled.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod world;

use bytes::Bytes;
use common::{CASES, Deployed, SHARDS};
use revm::context_interface::result::ExecutionResult;
use squad_client::{CLOCK_SLACK_MS, Pin, Place, TRUSTING_PERIOD_MS, TrustedCommittee};
use squad_contracts::{Anchor, Followed, Shown};
use squad_types::hash::keccak256;
use squad_types::*;
use std::collections::BTreeMap;
use world::{EPOCHS, NETWORK, START, World};

/// Cases of one network before the next is made.
const OF_A_WORLD: u64 = 250;
/// The committee that a contract has followed to when it is asked.
const NEWEST: usize = 2;

/// A contract, and what it knows: epochs with their committees' hashes and times.
struct Bridge {
    contract: Deployed,
    known: BTreeMap<Epoch, Pin>,
}

fn pin(network_id: NetworkId, followed: Followed) -> Pin {
    Pin { network_id, epoch: followed.epoch, committee_hash: followed.committee_hash, as_of: followed.as_of }
}

fn events(result: &ExecutionResult) -> Option<Vec<Followed>> {
    let read = |log: &revm::primitives::Log| {
        assert_eq!(log.topics()[0], squad_contracts::COMMITTEE_EVENT);
        squad_contracts::followed(log.topics()[1].as_slice(), &log.data.data).unwrap()
    };
    result.is_success().then(|| result.logs().iter().map(read).collect())
}

impl Bridge {
    fn deploy(first: &TrustedCommittee) -> Self {
        let pin = first.pin();
        let anchor =
            Anchor { network: pin.network_id, epoch: pin.epoch, committee_hash: pin.committee_hash, as_of: pin.as_of };
        let code = squad_contracts::certificate_verifier().create_from(&anchor);
        Self {
            contract: Deployed::create(code, pin.as_of.0.div_ceil(1_000)),
            known: BTreeMap::from([(pin.epoch, pin)]),
        }
    }

    /// Anchored at a world's first committee, and led on to a later one.
    fn over(world: &mut World<'_>, newest: usize) -> Self {
        let (first, as_of) = world.committees[0].clone();
        let mut bridge = Self::deploy(&TrustedCommittee::new(NETWORK, first.clone(), as_of));
        let spoil = world.spoil.take();
        let proofs: Vec<_> = (0..newest).map(|at| world.proof(at)).collect();
        world.spoil = spoil;
        bridge.contract.set_time(START / 1_000 + 1_000);
        let proofs: Vec<_> = proofs.iter().map(Vec::as_slice).collect();
        let sent = bridge.contract.send(squad_contracts::advance(&first.to_bytes(), &proofs));
        let followed = events(&sent).unwrap_or_else(|| panic!("true proofs are refused: {sent:?}"));
        bridge.known.extend(followed.into_iter().map(|next| (next.epoch, pin(NETWORK, next))));
        assert_eq!(bridge.known.len(), newest + 1);
        bridge
    }

    fn verify_by_rust(&self, confirmation: &[u8], committee: &[u8], now: Timestamp) -> Option<Shown> {
        let confirmation = Confirmation::from_bytes(Bytes::copy_from_slice(confirmation)).ok()?;
        let pin = self.known.get(&confirmation.epoch())?;
        let trusted = by_pin(pin, committee)?;
        let verified = squad_client::verify(&confirmation, &trusted, now).ok()?;
        let Place::Block { height, hash, timestamp, index } = verified.place() else { return None };
        let transaction = *verified.transaction();
        let (id, epoch) = (transaction.id(), verified.epoch());
        Some(Shown { transaction, id, epoch, height, block: hash, timestamp, index })
    }

    fn advance_by_rust(&self, committee: &[u8], proofs: &[Vec<u8>], now: Timestamp) -> Option<Vec<Followed>> {
        let mut trusted = by_pin(self.known.last_key_value()?.1, committee)?;
        let mut followed = Vec::new();
        for proof in proofs {
            let proof = CommitteeProof::from_bytes(Bytes::copy_from_slice(proof)).ok()?;
            trusted.follow(&proof, now).ok()?;
            let Pin { epoch, committee_hash, as_of, .. } = trusted.pin();
            followed.push(Followed { epoch, committee_hash, as_of });
        }
        Some(followed)
    }
}

fn by_pin(pin: &Pin, committee: &[u8]) -> Option<TrustedCommittee> {
    let committee = Committee::from_bytes(Bytes::copy_from_slice(committee)).ok()?;
    TrustedCommittee::new(pin.network_id, committee, pin.as_of).pinned_by(pin).ok()
}

/// A time at which a committee counts, as a rule; in seconds.
fn some_time(world: &mut World<'_>, as_of: Timestamp) -> u64 {
    let (oldest, newest) = (as_of.0.saturating_sub(CLOCK_SLACK_MS), as_of.0 + TRUSTING_PERIOD_MS);
    match world.draw.below(12) {
        0 => oldest / 1_000 - 2 + world.draw.below(5),
        1 => newest / 1_000 - 2 + world.draw.below(5),
        _ => as_of.0.div_ceil(1_000) + world.draw.below(TRUSTING_PERIOD_MS / 1_000),
    }
}

/// The bytes of the committee at a place, as a rule.
fn some_committee(world: &mut World<'_>, at: usize) -> Vec<u8> {
    let committee = world.committees[at].0.clone();
    if !world.draw.one_in(15) {
        return committee.to_bytes().to_vec();
    }
    let mut bytes = committee.to_bytes().to_vec();
    match world.draw.below(3) {
        0 => committee.for_epoch(committee.epoch().next()).to_bytes().to_vec(),
        1 => world.committees[world.draw.below(EPOCHS as u64) as usize].0.to_bytes().to_vec(),
        _ => {
            world.draw.mangle(&mut bytes);
            bytes
        }
    }
}

/// What came out: how often something was proven, and how often something was refused, by the error's selector.
#[derive(Default)]
struct Counts {
    proven: u64,
    refused: BTreeMap<[u8; 4], u64>,
}

impl Counts {
    fn count(&mut self, result: &ExecutionResult) {
        if result.is_success() {
            self.proven += 1;
        } else {
            let output = result.output().unwrap_or_else(|| panic!("neither an answer nor an error: {result:?}"));
            let selector = output.get(..4).unwrap_or_else(|| panic!("an error without a name: {result:?}"));
            *self.refused.entry(selector.try_into().unwrap()).or_default() += 1;
        }
    }

    fn add(&mut self, other: Self) {
        self.proven += other.proven;
        other.refused.into_iter().for_each(|(selector, count)| *self.refused.entry(selector).or_default() += count);
    }
}

fn case_of_a_confirmation(world: &mut World<'_>, bridge: &mut Bridge, counts: &mut Counts) {
    let at = world.draw.below(NEWEST as u64 + 1) as usize;
    let at = if world.draw.one_in(40) { at + 1 } else { at };
    let mut confirmation = world.confirmation(at);
    if world.draw.one_in(4) {
        world.draw.mangle(&mut confirmation);
    }
    let committee = some_committee(world, at);
    let seconds = some_time(world, world.committees[at].1);
    bridge.contract.set_time(seconds);
    let result = bridge.contract.call(squad_contracts::verify(&confirmation, &committee));
    let solidity = result.is_success().then(|| squad_contracts::shown(result.output().unwrap()).unwrap());
    let rust = bridge.verify_by_rust(&confirmation, &committee, Timestamp(1_000 * seconds));
    let shown = || format!("at {seconds}: {result:?}\n0x{}\n0x{}", hex::encode(&confirmation), hex::encode(&committee));
    assert_eq!(solidity, rust, "{}", shown());
    counts.count(&result);
}

fn case_of_a_step(world: &mut World<'_>, bridge: &mut Bridge, counts: &mut Counts) {
    let last = NEWEST + world.draw.below((EPOCHS - 1 - NEWEST) as u64) as usize;
    let mut proofs: Vec<_> = (NEWEST..=last).map(|at| world.proof(at)).collect();
    if world.draw.one_in(12) {
        match world.draw.below(3) {
            0 => proofs.reverse(),
            1 => proofs[0] = world.proof(NEWEST - 1),
            _ => proofs.push(proofs[0].clone()),
        }
    }
    if world.draw.one_in(4) {
        let at = world.draw.below(proofs.len() as u64) as usize;
        world.draw.mangle(&mut proofs[at]);
    }
    let committee = some_committee(world, NEWEST);
    let seconds = some_time(world, world.committees[NEWEST].1);
    bridge.contract.set_time(seconds);
    let slices: Vec<_> = proofs.iter().map(Vec::as_slice).collect();
    let result = bridge.contract.call(squad_contracts::advance(&committee, &slices));
    let rust = bridge.advance_by_rust(&committee, &proofs, Timestamp(1_000 * seconds));
    let shown = || format!("at {seconds}: {result:?}\n{proofs:x?}\n0x{}", hex::encode(&committee));
    assert_eq!(events(&result), rust, "{}", shown());
    counts.count(&result);
}

fn agree(seed: u64, cases: u64) -> (Counts, Counts) {
    let keys = world::keys(60);
    let (mut confirmations, mut steps) = (Counts::default(), Counts::default());
    for network in 0..cases.div_ceil(OF_A_WORLD) {
        let mut world = World::new(seed << 32 | network, &keys, Some(30));
        let mut bridge = Bridge::over(&mut world, NEWEST);
        for case in 0..OF_A_WORLD {
            if case % 4 == 0 {
                case_of_a_step(&mut world, &mut bridge, &mut steps);
            } else {
                case_of_a_confirmation(&mut world, &mut bridge, &mut confirmations);
            }
        }
    }
    (confirmations, steps)
}

/// The errors that the contract can end with, by selector.
fn errors() -> BTreeMap<[u8; 4], String> {
    let artifact = squad_contracts::certificate_verifier();
    let named = artifact.abi.as_array().unwrap().iter().filter(|item| item["type"] == "error");
    let signature = |item: &serde_json::Value| {
        let types: Vec<_> =
            item["inputs"].as_array().unwrap().iter().map(|input| input["type"].as_str().unwrap()).collect();
        format!("{}({})", item["name"].as_str().unwrap(), types.join(","))
    };
    named.map(signature).map(|name| (keccak256(name.as_bytes())[..4].try_into().unwrap(), name)).collect()
}

#[test]
fn rust_and_solidity_say_the_same_of_a_hundred_thousand_confirmations_and_committee_proofs() {
    let shards: Vec<_> = (1..=SHARDS).map(|seed| std::thread::spawn(move || agree(seed, CASES / SHARDS))).collect();
    let (mut confirmations, mut steps) = (Counts::default(), Counts::default());
    for shard in shards {
        let (of_confirmations, of_steps) = shard.join().unwrap();
        confirmations.add(of_confirmations);
        steps.add(of_steps);
    }
    // Every way to be refused was gone, and no other.
    let mut unseen = errors();
    for counts in [&confirmations, &steps] {
        eprintln!("{} prove something", counts.proven);
        for (selector, count) in &counts.refused {
            eprintln!(
                "{count:6} {}",
                errors().get(selector).unwrap_or_else(|| panic!("an unnamed error: {selector:?}"))
            );
            unseen.remove(selector);
        }
    }
    assert!(unseen.is_empty(), "never seen: {unseen:?}");
    let total = |counts: &Counts| counts.proven + counts.refused.values().sum::<u64>();
    assert!(total(&confirmations) + total(&steps) >= CASES);
    assert!(confirmations.proven > CASES / 8 && steps.proven > CASES / 24);
}

#[test]
fn a_set_of_places_has_one_form() {
    let keys = world::keys(11);
    let mut world = World::of_size(&keys, 11);
    // A quorum among the first eight, who need one byte of the two that the committee may have.
    world.signing = 8;
    let mut bridge = Bridge::over(&mut world, NEWEST);
    let (mut bytes, committee) = (world.confirmation(NEWEST), world.committees[NEWEST].0.to_bytes());
    let now = Timestamp(world.committees[NEWEST].1.0.next_multiple_of(1_000));
    bridge.contract.set_time(now.0 / 1_000);
    let verify = |bridge: &mut Bridge, bytes: &[u8]| {
        let result = bridge.contract.call(squad_contracts::verify(bytes, &committee));
        (result.is_success(), bridge.verify_by_rust(bytes, &committee, now).is_some())
    };
    assert_eq!(verify(&mut bridge, &bytes), (true, true));
    let confirmation = Confirmation::from_bytes(Bytes::copy_from_slice(&bytes)).unwrap();
    let Evidenced::Ordered(ordered) = &confirmation.evidenced else { panic!("ordered") };
    let behind = 32 + confirmation.transaction.to_bytes().len() + 1 + ordered.header.to_bytes().len();
    world::add_zero_place(&mut bytes, behind + 44);
    assert_eq!(verify(&mut bridge, &bytes), (false, false));
}

/// Prints what checking costs: `cargo test -p squad-contracts --test certificates gas -- --nocapture`.
#[test]
fn gas_grows_with_signatures_and_hardly_with_anything_else() {
    let keys = world::keys(100);
    eprintln!("gas with the transaction's own 21 000 and its data: verify, advance; then both without these");
    for size in [4, 32, 100] {
        for signing in [2 * size / 3 + 1, size] {
            let mut world = World::of_size(&keys, size);
            world.signing = signing;
            world.shape = Some((8, 1_000));
            let mut bridge = Bridge::over(&mut world, NEWEST);
            let committee = world.committees[NEWEST].0.to_bytes();
            let (confirmation, proof) = (world.confirmation(NEWEST), world.proof(NEWEST));
            let calls =
                [squad_contracts::verify(&confirmation, &committee), squad_contracts::advance(&committee, &[&proof])];
            let costs = calls.map(|data| {
                let given = 21_000 + data.iter().map(|byte| if *byte == 0 { 4 } else { 16 }).sum::<u64>();
                let result = bridge.contract.call(data);
                assert!(result.is_success(), "{result:?}");
                (result.tx_gas_used(), result.tx_gas_used() - given)
            });
            let [(verify, verifying), (advance, advancing)] = costs;
            eprintln!("{signing:3} of {size:3}: {verify} {advance}; {verifying} {advancing}");
            let least = 3_000 * signing as u64;
            assert!(verifying > least && verifying < 2 * least + 30_000, "{verifying}");
            assert!(advancing > least && advancing < 2 * least + 60_000, "{advancing}");
        }
    }
}
