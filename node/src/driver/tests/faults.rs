//! Disks that fail.

use super::*;
use crate::driver::disk::Disk;
use crate::driver::held::Held;
use crate::driver::inbox::{Event, Inbox};
use squad_sequencer::{After, Checkpoint, LogRecord, PersistId, Restriction, Write};
use squad_storage::testing::{Fault, FaultDisk};
use squad_storage::{Store, StoreIdentity};
use squad_types::{Batch, BatchHeader, Epoch, LaneId, Payload, Signed, Transaction, ValidatorIndex, VerifiedBatch};
use std::sync::mpsc::Receiver;

fn store(disk: &FaultDisk) -> Store {
    let identity = StoreIdentity { network_id: [1; 32], operator: [2; 20] };
    let options = Options {
        log_file_bytes: 1 << 20,
        segment_bytes: 1 << 20,
        free_space_mark: 0,
        spare_files: 0,
        ..Options::default()
    };
    let index = tempfile::tempdir().unwrap();
    let options = Options { index_dir: Some(index.keep()), ..options };
    Store::open("/data", identity, options, Arc::new(disk.clone()), &mut |_| {}).unwrap().0
}

fn driver_disk(disk: &FaultDisk) -> (Disk, Receiver<Event>) {
    let (inbox, events) = Inbox::new();
    let fsync = NodeMetrics::new().unwrap().fsync;
    (Disk::start(&store(disk), &inbox, fsync).unwrap(), events)
}

fn record() -> Write {
    Write::Log(LogRecord::Restricted(Restriction { votes_from: Height(7), lane_from: Epoch(1) }))
}

fn batch(sequence: u64) -> Write {
    let data = Bytes::from(vec![sequence as u8; 100]);
    let transaction = Transaction { namespace: BYTES, valid_until: None, hint: None, data };
    let payload = Payload::pack(vec![transaction.into()]);
    let header = BatchHeader {
        operator: operator(0),
        epoch: Epoch::ZERO,
        sequence: squad_types::Sequence(sequence),
        parent: Default::default(),
        payload: payload.digest(),
        transactions_root: payload.root(),
        count: 1,
        bytes: payload.bytes().len() as u32,
    };
    let domain = squad_types::Domain::new(squad_types::NetworkId([1; 32]));
    let signature = signer(0).sign(&domain.digest(&header));
    let batch = VerifiedBatch::assemble(Signed { statement: header, signer: operator(0), signature }, payload);
    Write::Batch { lane: LaneId { epoch: Epoch::ZERO, author: ValidatorIndex(0) }, batch }
}

fn checkpoint() -> Write {
    Write::Checkpoint(Box::new(Checkpoint {
        tip: None,
        state: Default::default(),
        committees: Vec::new(),
        window_base: squad_sequencer::ledger::Ledger::genesis(&genesis(4)).unwrap().window_base().clone(),
        acks: Vec::new(),
        seen: Vec::new(),
        evidence: Vec::new(),
        restriction: None,
    }))
}

/// Takes the disk's reports until they give an answer.
fn until<T>(disk: &mut Disk, events: &Receiver<Event>, mut wanted: impl FnMut(&Disk) -> Option<T>) -> T {
    let end = std::time::Instant::now() + FAILURE;
    loop {
        disk.flush().unwrap();
        disk.advance();
        if let Some(found) = wanted(disk) {
            return found;
        }
        assert!(std::time::Instant::now() < end, "the disk does not report");
        let wait = disk.deadline().map_or(FAILURE, |at| at.saturating_duration_since(std::time::Instant::now()));
        // A report, or the end of a checkpoint's wait.
        let _ = events.recv_timeout(wait.max(Duration::from_millis(1)));
    }
}

#[test]
fn an_effect_leaves_only_after_the_report_of_its_write() {
    let (mut disk, events) = driver_disk(&FaultDisk::new(1));
    let mut held = Held::default();
    disk.persist(PersistId(1), record(), &[]).unwrap();
    disk.persist(PersistId(1), batch(0), &[]).unwrap();
    let after = After { log: Some(PersistId(1)), bulk: Some(PersistId(1)) };
    assert_eq!(held.offer(after, "vote", &disk.durable()), None, "nothing was reported durable yet");
    let released = until(&mut disk, &events, |disk| Some(held.release(&disk.durable())).filter(|all| !all.is_empty()));
    assert_eq!(released, ["vote"]);
    assert!(disk.durable().covers(&after));
    disk.close();
}

#[test]
fn a_write_that_nothing_waits_for_shares_the_sync_of_the_next_that_something_does() {
    let (mut disk, events) = driver_disk(&FaultDisk::new(5));
    for id in 1..=3 {
        disk.persist(PersistId(id), record(), &[]).unwrap();
    }
    disk.want(&After { log: Some(PersistId(3)), bulk: None });
    disk.flush().unwrap();
    assert!(matches!(events.recv_timeout(FAILURE), Ok(Event::Durable)));
    assert!(disk.advance());
    assert_eq!(disk.durable().log, PersistId(3), "one sync for all of them");
    // In the end it is synced by itself.
    disk.persist(PersistId(4), record(), &[]).unwrap();
    disk.persist(PersistId(1), batch(0), &[]).unwrap();
    let all = After { log: Some(PersistId(4)), bulk: Some(PersistId(1)) };
    until(&mut disk, &events, |disk| disk.durable().covers(&all).then_some(()));
    disk.close();
}

#[test]
fn after_a_failed_log_nothing_counts_as_durable() {
    let faults = FaultDisk::new(2);
    let (mut disk, events) = driver_disk(&faults);
    faults.fail_file("log-", Fault::Error);
    disk.persist(PersistId(1), record(), &[]).unwrap();
    disk.want(&After { log: Some(PersistId(1)), bulk: None });
    disk.flush().unwrap();
    let failed = loop {
        match events.recv_timeout(FAILURE).unwrap() {
            Event::Failed(why) => break why,
            _ => assert!(!disk.advance()),
        }
    };
    assert!(failed.contains("injected"), "{failed}");
    assert!(disk.is_dead() && !disk.advance());
    assert_eq!(disk.durable().log, PersistId(0));
}

#[test]
fn a_full_disk_holds_batches_back_but_no_votes_and_a_checkpoint_does_not_overtake_its_blocks() {
    let faults = FaultDisk::new(3);
    let (mut disk, events) = driver_disk(&faults);
    faults.set_capacity(Some(0));
    // A batch of a segment that is not there yet cannot be written, and a checkpoint stands on it.
    for sequence in 0..6_000 {
        disk.persist(PersistId(sequence + 1), batch(sequence), &[]).unwrap();
    }
    disk.persist(PersistId(1), record(), &[]).unwrap();
    disk.persist(PersistId(2), checkpoint(), &[]).unwrap();
    disk.persist(PersistId(3), record(), &[]).unwrap();
    let votes = After { log: Some(PersistId(3)), bulk: None };
    until(&mut disk, &events, |disk| disk.durable().covers(&votes).then_some(()));
    assert!(disk.durable().bulk < PersistId(6_000), "the disk was to be full");
    assert!(!disk.is_dead());
    faults.set_capacity(None);
    until(&mut disk, &events, |disk| (disk.durable().bulk == PersistId(6_000)).then_some(()));
    disk.close();
    // The checkpoint was left out: the log still begins with what came before it.
    let identity = StoreIdentity { network_id: [1; 32], operator: [2; 20] };
    let options = Options { log_file_bytes: 1 << 20, segment_bytes: 1 << 20, free_space_mark: 0, ..Options::default() };
    let options = Options { index_dir: Some(tempfile::tempdir().unwrap().keep()), ..options };
    let (_, recovered) = Store::open("/data", identity, options, Arc::new(faults), &mut |_| {}).unwrap();
    assert!(recovered.checkpoint.is_none());
    assert_eq!(recovered.records.len(), 2);
}

#[test]
fn a_batch_is_stored_as_it_travels() {
    let (mut disk, _events) = driver_disk(&FaultDisk::new(4));
    let write = batch(0);
    let Write::Batch { batch: sent, .. } = &write else { unreachable!() };
    let sent = sent.to_batch();
    let wire = disk.persist(PersistId(1), write, &[]).unwrap().unwrap();
    let message: squad_types::Message = squad_types::Decode::from_bytes(wire.clone()).unwrap();
    assert_eq!(message, squad_types::Message::Batch(sent.clone()));
    let stored: Batch = squad_types::Decode::from_bytes(wire.slice(1..)).unwrap();
    assert_eq!(stored, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_fails_ends_and_the_others_go_on() {
    let mut cluster = Cluster::start(4).await;
    cluster.ready(0).await;
    cluster.stop_node(3).await;
    let faults = FaultDisk::new(5);
    cluster.start_node_on(3, Arc::new(faults.clone())).await;
    let tip = *cluster.backend(0).tip().borrow();
    cluster.reach(3, tip).await;
    let mut node = cluster.nodes[3].take().unwrap();
    faults.fail_file("log-", Fault::Error);
    let error = tokio::time::timeout(FAILURE, node.failed()).await.expect("the node goes on").to_string();
    assert!(error.contains("disk failed"), "{error}");
    node.stop().await.unwrap();
    let accepted = cluster.submit(1, "without the fourth", Tier::Ordered).await.unwrap();
    assert_eq!(accepted.tier, Tier::Ordered);
}
