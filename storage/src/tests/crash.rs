//! Crashes at any operation: what was reported durable is there, nothing else is half there.

use proptest::prelude::*;

use super::model::{Model, Running, start, without_index};
use super::support::small;
use crate::testing::{Fault, FaultDisk, Random};
use crate::{Options, StorageError};

/// A fault may strike; any other failure is a bug.
fn excuse(disk: &FaultDisk, result: Result<(), StorageError>) -> bool {
    match result {
        Ok(()) => false,
        Err(error) => {
            assert!(disk.struck(), "failed without a fault: {error}");
            true
        }
    }
}

fn restart(disk: &FaultDisk, random: &mut Random) -> FaultDisk {
    match random.below(3) {
        0 => disk.process_kill(),
        1 => disk.process_kill().power_cut(random.draw()),
        _ => disk.power_cut(random.draw()),
    }
}

/// Works until a fault strikes or the actions are over; the writers are gone afterwards.
fn work(disk: &FaultDisk, model: &mut Model, mut running: Running, random: &mut Random, actions: u64) {
    for _ in 0..actions {
        let result = model.act(&mut running, random);
        if excuse(disk, result) {
            break;
        }
    }
}

fn crash_and_recover(seed: u64, rounds: u64, options: &Options) {
    let mut random = Random::new(seed);
    let mut disk = FaultDisk::new(random.draw());
    let mut model = Model::default();
    for _ in 0..rounds {
        let fault = [Fault::PowerCut, Fault::PowerCut, Fault::Error, Fault::NoSpace][random.below(4) as usize];
        disk.fail_after(1 + random.below(90), fault);
        match start(&disk, options) {
            Ok((running, recovered)) => {
                model.check(&running.store, &recovered);
                work(&disk, &mut model, running, &mut random, 60);
            }
            Err(error) => assert!(disk.struck(), "refused to open after a crash: {error}"),
        }
        disk = restart(&disk, &mut random);
    }
    let (running, recovered) = start(&disk, options).unwrap();
    model.check(&running.store, &recovered);
}

/// A part of the usual number of cases, so that PROPTEST_CASES still scales it.
fn cases(part: u32) -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / part, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(cases(4))]

    #[test]
    fn what_was_durable_survives_crashes_and_nothing_is_half_there(seed: u64) {
        crash_and_recover(seed, 8, &without_index());
    }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn an_index_from_before_the_crash_never_hides_or_invents_records(seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { index_dir: Some(dir.path().join("index")), ..small() };
        crash_and_recover(seed, 6, &options);
    }
}

/// The same actions on a new disk, with a fault at one operation; false if there are fewer operations.
fn strike(seed: u64, at: u64, fault: Fault, kill_first: bool) -> bool {
    let options = without_index();
    let disk = FaultDisk::new(at);
    let mut model = Model::default();
    let mut random = Random::new(seed);
    disk.fail_after(at, fault);
    if let Ok((running, recovered)) = start(&disk, &options) {
        model.check(&running.store, &recovered);
        work(&disk, &mut model, running, &mut random, 50);
    }
    let struck = disk.struck();
    let mut disk = if kill_first { disk.process_kill() } else { disk.power_cut(at) };
    for cut in 0..2 {
        let (mut running, recovered) = start(&disk, &options).unwrap();
        model.check(&running.store, &recovered);
        for _ in 0..3 {
            model.act(&mut running, &mut random).unwrap();
        }
        drop(running);
        disk = disk.power_cut(cut ^ at);
    }
    let (running, recovered) = start(&disk, &options).unwrap();
    model.check(&running.store, &recovered);
    struck
}

fn every_operation_may_be_struck_by(fault: Fault, kill_first: bool) {
    let mut at = 1;
    while strike(11, at, fault, kill_first) {
        at += 1;
    }
    assert!(at > 120, "only {at} operations were tried");
}

#[test]
fn power_may_go_at_any_operation() {
    every_operation_may_be_struck_by(Fault::PowerCut, false);
}

#[test]
fn any_operation_may_fail_and_the_power_go_after_it() {
    every_operation_may_be_struck_by(Fault::Error, false);
}

#[test]
fn any_operation_may_fail_and_the_process_start_again() {
    every_operation_may_be_struck_by(Fault::Error, true);
}

#[test]
fn any_operation_may_find_the_disk_full() {
    every_operation_may_be_struck_by(Fault::NoSpace, true);
}
