//! Ethereum's official state and blockchain tests, run through the executor's own path: the pre-state becomes block 0 in
//! the database, and the signed transactions are those of an ordered block. Of a state test, the state root, the logs,
//! and whether the transaction is refused must be the official ones; of a blockchain test, the hash of each block, and so
//! every field of its header.
//!
//! They are not part of this repository. With a checkout of them:
//!
//! ```text
//! SQUAD_ETHEREUM_TESTS=…/tests cargo test --release -p squad-executor official -- --ignored --nocapture
//! ```

use super::{
    block::{Built, Piece, fill_roots},
    *,
};
use crate::{
    Hardfork, SenderTransaction, SkipCode, decode_all,
    source::OrderedBlock,
    state::{Account, AccountDelta, Caches, Codes, Delta, StateWriter},
};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, Log, keccak256};
use alloy_rlp::Decodable;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Env {
    current_coinbase: Address,
    current_gas_limit: U256,
    current_number: U256,
    current_timestamp: U256,
    current_base_fee: Option<U256>,
    current_random: Option<B256>,
    current_excess_blob_gas: Option<U256>,
}

#[derive(Deserialize)]
struct Pre {
    balance: U256,
    nonce: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
}

#[derive(Deserialize)]
struct Post {
    hash: B256,
    logs: B256,
    txbytes: Bytes,
    #[serde(rename = "expectException")]
    exception: Option<String>,
}

#[derive(Deserialize)]
struct StateTest {
    env: Env,
    pre: BTreeMap<Address, Pre>,
    post: BTreeMap<String, Vec<Post>>,
}

#[derive(Deserialize)]
struct ChainTest {
    network: String,
    pre: BTreeMap<Address, Pre>,
    #[serde(rename = "genesisRLP")]
    genesis: Bytes,
    blocks: Vec<ChainBlock>,
}

#[derive(Deserialize)]
struct ChainBlock {
    rlp: Bytes,
    #[serde(rename = "expectException")]
    exception: Option<String>,
}

/// What became of a case; a failure is a text.
enum Passed {
    Yes,
    /// It has what this chain does not: blobs, withdrawals, a block that is invalid for another reason than its
    /// transactions, or an account that no genesis may have.
    LeftOut,
}

#[derive(Default)]
struct Tally {
    states: usize,
    chains: usize,
    left_out: usize,
    failed: Vec<String>,
}

impl Tally {
    fn count(&mut self, name: String, outcome: Result<Passed, String>, kind: fn(&mut Self) -> &mut usize) {
        match outcome {
            Ok(Passed::Yes) => *kind(self) += 1,
            Ok(Passed::LeftOut) => self.left_out += 1,
            Err(what) => self.failed.push(format!("{name}: {what}")),
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

fn fork(name: &str) -> Option<Hardfork> {
    match name {
        "Cancun" => Some(Hardfork::Cancun),
        "Prague" => Some(Hardfork::Prague),
        "Osaka" => Some(Hardfork::Osaka),
        _ => None,
    }
}

fn header(env: &Env) -> Header {
    Header {
        beneficiary: env.current_coinbase,
        gas_limit: env.current_gas_limit.saturating_to(),
        number: env.current_number.saturating_to(),
        timestamp: env.current_timestamp.saturating_to(),
        base_fee_per_gas: Some(env.current_base_fee.map_or(10, |fee| fee.saturating_to())),
        mix_hash: env.current_random.unwrap_or_default(),
        excess_blob_gas: Some(env.current_excess_blob_gas.map_or(0, |gas| gas.saturating_to())),
        ..Header::default()
    }
}

fn delta(pre: &BTreeMap<Address, Pre>) -> Delta {
    let mut delta = Delta::default();
    for (address, account) in pre {
        let code_hash = keccak256(&account.code);
        delta.codes.insert(code_hash, account.code.clone());
        let change = AccountDelta {
            account: Some(Account { nonce: account.nonce.saturating_to(), balance: account.balance, code_hash }),
            wiped: false,
            storage: account.storage.clone(),
        };
        delta.accounts.insert(*address, change);
    }
    delta
}

/// Tests of EIP-7610: a contract is created where an account has storage and neither code nor nonce. [`Genesis::check`]
/// refuses such an account and no transaction makes one, so the EVM need not look for it.
const BARE_STORAGE: [&str; 5] = [
    "InitCollisionParis",
    "RevertInCreateInInitCreate2Paris",
    "RevertInCreateInInit_Paris",
    "create2collisionStorageParis",
    "dynamicAccountOverwriteEmpty_Paris",
];

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn rules(hardfork: Hardfork) -> Genesis {
    let mut genesis = Genesis::new(1);
    genesis.hardfork = hardfork;
    genesis
}

fn ordered(transactions: Vec<bytes::Bytes>, hash: B256) -> OrderedBlock {
    OrderedBlock {
        height: 1,
        timestamp_ms: 0,
        hash,
        parent_hash: B256::ZERO,
        proposer: Address::ZERO,
        transactions,
        checkpoint: bytes::Bytes::new(),
    }
}

/// Runs `with` on an empty state that is forgotten afterwards.
fn scratch<T>(db: &redb::Database, with: impl FnOnce(&mut StateWriter<'_>) -> Result<T, String>) -> Result<T, String> {
    let tx = db.begin_write().map_err(text)?;
    let result = {
        let (caches, codes) = (Caches::new(1 << 20), Codes::default());
        let mut state = StateWriter::open(&tx, &caches, &codes, 1).map_err(text)?;
        with(&mut state)
    };
    tx.abort().map_err(text)?;
    result
}

fn state_test(db: &redb::Database, hardfork: Hardfork, test: &StateTest, post: &Post) -> Result<Passed, String> {
    let genesis = rules(hardfork);
    let decoded = SenderTransaction::decode(&post.txbytes, 1);
    if matches!(&decoded, Err(reason) if reason.code == SkipCode::BlobTransaction) {
        return Ok(Passed::LeftOut);
    }
    let (root, logs, skipped) = scratch(db, |state| {
        let before = state.apply(0, &delta(&test.pre)).map_err(text)?;
        let ordered = ordered(vec![post.txbytes.0.clone()], B256::ZERO);
        let header = header(&test.env);
        // BLOCKHASH of these tests: the keccak of the number in decimal.
        for number in header.number.saturating_sub(256)..header.number {
            state.seal(number, keccak256(number.to_string())).map_err(text)?;
        }
        let mut queue = vec![decoded].into_iter().enumerate().peekable();
        let mut skipped = Vec::new();
        let built = Piece::new(&genesis, &*state, &header).run(&ordered, &mut queue, &mut skipped);
        let (root, logs) = match built.map_err(text)? {
            None => (before, Vec::new()),
            Some(Built { body, delta, .. }) => {
                let root = state.apply(1, &delta).map_err(text)?;
                (root, body.receipts.into_iter().flat_map(|receipt| receipt.logs).collect::<Vec<Log>>())
            }
        };
        Ok((root, keccak256(alloy_rlp::encode(&logs)), skipped))
    })?;
    if skipped.is_empty() == post.exception.is_some() {
        return Err(format!("refused: {skipped:?}, expected {:?}", post.exception));
    }
    if (root, logs) != (post.hash, post.logs) {
        return Err(format!("root {root} logs {logs}, expected {} and {}", post.hash, post.logs));
    }
    Ok(Passed::Yes)
}

/// Header, raw transactions, and whether there are withdrawals.
fn take_apart(mut rlp: &[u8]) -> alloy_rlp::Result<(Header, Vec<bytes::Bytes>, bool)> {
    let mut block = alloy_rlp::Header::decode_bytes(&mut rlp, true)?;
    let header = Header::decode(&mut block)?;
    let mut list = alloy_rlp::Header::decode_bytes(&mut block, true)?;
    let mut raws = Vec::new();
    while !list.is_empty() {
        let whole = list;
        let item = alloy_rlp::Header::decode(&mut list)?;
        let (raw, rest) = list.split_at_checked(item.payload_length).ok_or(alloy_rlp::Error::InputTooShort)?;
        // A legacy transaction is a list itself; the others are wrapped into a string.
        let raw = if item.list { &whole[..whole.len() - rest.len()] } else { raw };
        raws.push(bytes::Bytes::copy_from_slice(raw));
        list = rest;
    }
    alloy_rlp::Header::decode_bytes(&mut block, true)?;
    let withdrawals = alloy_rlp::Header::decode_bytes(&mut block, true)?;
    Ok((header, raws, !withdrawals.is_empty()))
}

fn chain_test(db: &redb::Database, hardfork: Hardfork, test: &ChainTest) -> Result<Passed, String> {
    let genesis = rules(hardfork);
    scratch(db, |state| {
        let mut parent = take_apart(&test.genesis).map_err(text)?.0;
        let root = state.apply(0, &delta(&test.pre)).map_err(text)?;
        if root != parent.state_root {
            return Err(format!("genesis root {root}, expected {}", parent.state_root));
        }
        state.seal(0, parent.hash_slow()).map_err(text)?;
        for block in &test.blocks {
            let Ok((given, raws, withdrawals)) = take_apart(&block.rlp) else { return Ok(Passed::LeftOut) };
            let decoded = decode_all(&raws, 1);
            let blobs = decoded.iter().any(|tx| matches!(tx, Err(reason) if reason.code == SkipCode::BlobTransaction));
            if block.exception.is_some() || withdrawals || blobs || given.parent_hash != parent.hash_slow() {
                return Ok(Passed::LeftOut);
            }
            let ordered = ordered(raws, given.parent_beacon_block_root.unwrap_or_default());
            let (mut queue, mut skipped) = (decoded.into_iter().enumerate().peekable(), Vec::new());
            let mut piece = Piece::new(&genesis, &*state, &given);
            piece.begin(&ordered).map_err(text)?;
            piece.take(&ordered, &mut queue, &mut skipped).map_err(text)?;
            let Built { body, delta, requests_hash } = piece.end(1).map_err(text)?;
            if !skipped.is_empty() || queue.peek().is_some() {
                return Err(format!("block {}: skipped {skipped:?}", given.number));
            }
            let mut header = Header { requests_hash, ..given.clone() };
            header.base_fee_per_gas = Some(next_base_fee(&genesis, &parent));
            fill_roots(&mut header, &body);
            header.state_root = state.apply(given.number, &delta).map_err(text)?;
            if header != given {
                return Err(format!("block {}: {header:?}, expected {given:?}", given.number));
            }
            state.seal(given.number, header.hash_slow()).map_err(text)?;
            parent = header;
        }
        Ok(Passed::Yes)
    })
}

fn is_state_test(test: &serde_json::Value) -> bool {
    test["post"].as_object().is_some_and(|posts| posts.values().all(serde_json::Value::is_array))
}

fn run_file(db: &redb::Database, path: &Path, tally: &mut Tally) {
    let content = std::fs::read_to_string(path).unwrap();
    let tests: BTreeMap<String, serde_json::Value> = serde_json::from_str(&content).unwrap_or_default();
    for (name, test) in tests {
        if BARE_STORAGE.iter().any(|left_out| name.starts_with(left_out)) {
            tally.left_out += 1;
            continue;
        }
        if is_state_test(&test) {
            let test: StateTest = match serde_json::from_value(test) {
                Ok(test) => test,
                // Malformed on purpose, for clients that read these files directly.
                Err(_) => {
                    tally.left_out += 1;
                    continue;
                }
            };
            for (hardfork, posts) in test.post.iter().filter_map(|(name, posts)| Some((fork(name)?, posts))) {
                for (at, post) in posts.iter().enumerate() {
                    let outcome = state_test(db, hardfork, &test, post);
                    tally.count(format!("{name} {hardfork:?} {at}"), outcome, |tally| &mut tally.states);
                }
            }
        } else if test.get("blocks").is_some() {
            let Ok(test) = serde_json::from_value::<ChainTest>(test) else {
                tally.left_out += 1;
                continue;
            };
            if let Some(hardfork) = fork(&test.network) {
                tally.count(name, chain_test(db, hardfork, &test), |tally| &mut tally.chains);
            }
        }
    }
}

#[test]
#[ignore = "needs the official tests: set SQUAD_ETHEREUM_TESTS to a folder of them"]
fn official_tests_pass() {
    let dir = std::env::var_os("SQUAD_ETHEREUM_TESTS").expect("SQUAD_ETHEREUM_TESTS is not set");
    let mut found = Vec::new();
    files(Path::new(&dir), &mut found);
    found.sort();
    let disk = tempfile::tempdir().unwrap();
    let db = redb::Database::create(disk.path().join("tests")).unwrap();
    let mut tally = Tally::default();
    for path in &found {
        run_file(&db, path, &mut tally);
    }
    let Tally { states, chains, left_out, failed } = tally;
    println!("{} files: {states} state tests and {chains} chains passed, {left_out} left out", found.len());
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(states + chains > 0, "no test for a known fork in {}", Path::new(&dir).display());
}
