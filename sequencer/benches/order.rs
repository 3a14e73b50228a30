//! What ordering costs: a block of 50,000 opaque transactions of 512 bytes, from four lanes.
#![allow(missing_docs, clippy::unwrap_used)] // criterion's macros write undocumented functions

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use squad_sequencer::ledger::{Batches, Draft, GenesisStakeTable, Judgement, Ledger};
use squad_types::*;
use std::collections::BTreeMap;

const TRANSACTIONS: usize = 50_000;
const BYTES: usize = 512;
const LANES: u16 = 4;

#[derive(Default)]
struct Store(BTreeMap<LaneId, Vec<VerifiedBatch>>);

impl Batches for Store {
    fn chain(&self, lane: LaneId, _: Option<Tip>, _: Tip) -> Option<Vec<VerifiedBatch>> {
        self.0.get(&lane).cloned()
    }
}

fn operator(at: u16) -> Address {
    let mut address = Address([1; 20]);
    address.0[..2].copy_from_slice(&at.to_be_bytes());
    address
}

fn genesis(policy: OrderingPolicy) -> Genesis {
    let params = Params { max_block_bytes: 64 << 20, ..Params::default() };
    let namespace = NamespaceSpec {
        id: NamespaceId(1),
        name: "bench".into(),
        kind: NamespaceKind::Opaque,
        policy,
        access: WriteAccess::Everybody,
        max_transaction_bytes: 1_024,
        quota_bytes_per_second: 1 << 30,
    };
    let validators = (0..LANES).map(|at| Member { address: operator(at), stake: Stake(1) }).collect();
    Genesis {
        name: "bench".into(),
        time: Timestamp(1),
        params,
        namespaces: vec![namespace],
        validators,
        settlement: None,
    }
}

fn fill(ledger: &Ledger) -> (Store, Vec<CutEntry>) {
    let (mut store, mut cut) = (Store::default(), Vec::new());
    let per_batch = limits::MAX_BATCH_BYTES / (BYTES + 17);
    for author in 0..LANES {
        let lane = LaneId { epoch: Epoch(0), author: ValidatorIndex(author) };
        let numbers: Vec<usize> =
            (0..TRANSACTIONS).filter(|at| at % usize::from(LANES) == usize::from(author)).collect();
        let (mut parent, mut batches) = (BatchId::ZERO, Vec::new());
        for (sequence, chunk) in numbers.chunks(per_batch).enumerate() {
            let transaction = |at: &usize| {
                let mut data = vec![0; BYTES];
                data[..8].copy_from_slice(&at.to_be_bytes());
                let (valid_until, data) = (Some(Timestamp(9_000)), data.into());
                Transaction { namespace: NamespaceId(1), valid_until, hint: None, data }.into()
            };
            let payload = Payload::pack(chunk.iter().map(transaction).collect());
            let header = BatchHeader {
                operator: operator(author),
                epoch: Epoch(0),
                sequence: Sequence(sequence as u64),
                parent,
                payload: payload.digest(),
                transactions_root: payload.root(),
                count: payload.transactions().len() as u32,
                bytes: payload.bytes().len() as u32,
            };
            let signed = Verified::sign(header, ledger.domain(), &KeyedHashSigner(operator(author)));
            let batch = VerifiedBatch::assemble(signed.into_signed(), payload);
            parent = batch.id();
            batches.push(batch);
        }
        cut.push(CutEntry { lane, tip: batches.last().unwrap().tip() });
        store.0.insert(lane, batches);
    }
    (store, cut)
}

fn order(c: &mut Criterion) {
    let mut group = c.benchmark_group("order 50k opaque transactions of 512 bytes");
    group.sample_size(20).throughput(Throughput::Elements(TRANSACTIONS as u64));
    for (name, policy) in [("fifo", OrderingPolicy::Fifo), ("shuffled", OrderingPolicy::Shuffled)] {
        let genesis = genesis(policy);
        let ledger = Ledger::genesis(&genesis).unwrap();
        let (store, cut) = fill(&ledger);
        let stakes = GenesisStakeTable::new(&genesis);
        let proposer = |_: Round| Some(operator(0));
        let draft = Draft {
            proposer: operator(0),
            origin_round: Round(0),
            now: Timestamp(500),
            l1_anchor: L1Anchor::default(),
            signers: Bitmap::default(),
            cut,
            readies: Vec::new(),
        };
        let (block, execution) = ledger.build(draft, &proposer, &stakes, &store).unwrap();
        assert_eq!(execution.count(), TRANSACTIONS);
        group.bench_function(format!("judge, {name}"), |b| {
            b.iter(|| {
                let judgement = ledger.judge(&block, &proposer, &store);
                assert!(matches!(judgement, Judgement::Valid(_)));
                judgement
            });
        });
        let certificate = CommitCertificate::assemble(Height(1), Round(0), block.hash(), Vec::new());
        let ordered = OrderedBlock { block, certificate, skipped: Vec::new() };
        group.bench_function(format!("apply, {name}"), |b| {
            b.iter_batched_ref(|| ledger.clone(), |ledger| ledger.apply(&ordered, &execution), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, order);
criterion_main!(benches);
