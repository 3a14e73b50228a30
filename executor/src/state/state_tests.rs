//! The state in the database against a naive model that keeps every version of everything.

use super::*;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::{
    EMPTY_ROOT_HASH, Nibbles, TrieAccount,
    proof::verify_proof,
    root::{state_root_unhashed, storage_root_unhashed},
};
use proptest::prelude::*;
use redb::{Database, ReadableDatabase, backends::InMemoryBackend};
use std::{collections::BTreeMap, sync::Arc};

const ACCOUNTS: u8 = 12;
const SLOTS: u8 = 10;

type Model = BTreeMap<Address, (Account, BTreeMap<U256, U256>)>;

fn leaf((account, slots): &(Account, BTreeMap<U256, U256>)) -> TrieAccount {
    let root = storage_root_unhashed(slots.iter().map(|(slot, value)| (B256::from(*slot), *value)));
    TrieAccount::new(account.nonce, account.balance, root, account.code_hash)
}

fn reference_root(state: &Model) -> B256 {
    state_root_unhashed(state.iter().map(|(address, entry)| (*address, leaf(entry))))
}

/// Address, nonce and balance unless it is deleted, whether it is wiped, slots.
type Change = (u8, Option<(u64, u64)>, bool, Vec<(u8, u64)>);

fn change() -> impl Strategy<Value = Change> {
    (
        0..ACCOUNTS,
        prop::option::weighted(0.8, (1u64..5, 0u64..9)),
        prop::bool::weighted(0.1),
        prop::collection::vec((0..SLOTS, 0u64..4), 0..6),
    )
}

fn delta(changes: Vec<Change>) -> Delta {
    let mut delta = Delta::default();
    for (who, account, wiped, slots) in changes {
        let account =
            account.map(|(nonce, balance)| Account { nonce, balance: U256::from(balance), ..Account::default() });
        let storage = slots.into_iter().map(|(slot, value)| (U256::from(slot), U256::from(value))).collect();
        delta.accounts.insert(Address::repeat_byte(who), AccountDelta { account, wiped, storage });
    }
    delta
}

fn apply_to_model(model: &mut Model, delta: &Delta) {
    for (address, change) in &delta.accounts {
        let Some(account) = change.account else {
            model.remove(address);
            continue;
        };
        let entry = model.entry(*address).or_insert_with(|| (account, BTreeMap::new()));
        entry.0 = account;
        if change.wiped {
            entry.1.clear();
        }
        entry.1.extend(&change.storage);
        entry.1.retain(|_, value| !value.is_zero());
    }
}

struct State {
    db: Database,
    caches: Caches,
    codes: Arc<Codes>,
    history: u64,
}

impl State {
    fn new(cache_bytes: usize, history: u64) -> Self {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        Self { db, caches: Caches::new(cache_bytes), codes: Arc::default(), history }
    }

    fn apply(&self, number: u64, delta: &Delta) -> B256 {
        let tx = self.db.begin_write().unwrap();
        let root = {
            let mut writer = StateWriter::open(&tx, &self.caches, &self.codes, self.history).unwrap();
            let root = writer.apply(number, delta).unwrap();
            writer.seal(number, keccak256(number.to_be_bytes())).unwrap();
            root
        };
        tx.commit().unwrap();
        root
    }

    fn view(&self, number: u64) -> Result<StateView, StateError> {
        StateView::open(&self.db.begin_read().unwrap(), self.codes.clone(), number)
    }
}

/// Everything that can be read from a view is what the model says, and every proof holds.
fn check_view(view: &StateView, model: &Model) -> Result<(), TestCaseError> {
    let root = reference_root(model);
    for who in 0..ACCOUNTS {
        let address = Address::repeat_byte(who);
        let expected = model.get(&address);
        prop_assert_eq!(view.account(address).unwrap(), expected.map(|entry| entry.0));
        let slots: Vec<_> = (0..SLOTS).map(U256::from).collect();
        let proof = view.prove(root, address, &slots).unwrap();
        let encoded = expected.map(|entry| alloy_rlp::encode(leaf(entry)));
        let key = Nibbles::unpack(keccak256(address));
        prop_assert!(verify_proof(root, key, encoded, &proof.proof).is_ok());
        prop_assert_eq!(proof.storage_root, expected.map_or(EMPTY_ROOT_HASH, |entry| leaf(entry).storage_root));
        for (slot, proved) in slots.iter().zip(&proof.slots) {
            let value = expected.and_then(|entry| entry.1.get(slot)).copied().unwrap_or_default();
            prop_assert_eq!(view.storage(address, *slot).unwrap(), value);
            prop_assert_eq!((proved.slot, proved.value), (*slot, value));
            let key = Nibbles::unpack(keccak256(slot.to_be_bytes::<32>()));
            let encoded = (!value.is_zero()).then(|| alloy_rlp::encode(value));
            prop_assert!(verify_proof(proof.storage_root, key, encoded, &proved.proof).is_ok());
        }
    }
    Ok(())
}

proptest! {
    // Each case rebuilds whole tries with an unoptimised keccak.
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn roots_history_and_proofs_agree_with_a_model_that_keeps_everything(
        blocks in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..12),
        history in 1u64..8,
        cache_bytes in prop_oneof![Just(0usize), Just(4_000), Just(1 << 20)],
    ) {
        let state = State::new(cache_bytes, history);
        let mut model = Model::new();
        let mut versions = Vec::new();
        for (number, block) in (0u64..).zip(blocks) {
            let delta = delta(block);
            apply_to_model(&mut model, &delta);
            prop_assert_eq!(state.apply(number, &delta), reference_root(&model));
            versions.push(model.clone());
        }
        let head = versions.len() as u64 - 1;
        for (number, model) in (0u64..).zip(&versions) {
            match state.view(number) {
                Ok(view) => {
                    prop_assert!(number + history >= head, "block {} is still kept", number);
                    check_view(&view, model)?;
                }
                Err(error) => {
                    prop_assert!(number + history < head, "{}", error);
                    let oldest = head - history;
                    prop_assert_eq!(error, StateError::NotKept { number, oldest, newest: head });
                }
            }
        }
        let view = state.view(head).unwrap();
        prop_assert_eq!(view.rebuild_root().unwrap(), reference_root(&model));
        prop_assert_eq!(view.stored_root().unwrap(), reference_root(&model));
        prop_assert!(state.view(head + 1).is_err());
        prop_assert_eq!(view.block_hash(head).unwrap(), keccak256(head.to_be_bytes()));
    }
}

#[test]
fn a_shorter_history_goes_away_bit_by_bit_and_a_longer_one_grows() {
    let mut state = State::new(1 << 20, 40);
    let change = |number: u64| delta(vec![(1, Some((1, number)), false, vec![(0, number)])]);
    let oldest = |state: &State, head: u64| (0..=head).find(|number| state.view(*number).is_ok()).unwrap();
    for number in 0..=50 {
        state.apply(number, &change(number));
    }
    assert_eq!(oldest(&state, 50), 10);
    state.history = 2;
    state.apply(51, &change(51));
    assert_eq!(oldest(&state, 51), 18, "eight blocks go at once");
    let view = state.view(18).unwrap();
    assert_eq!(view.account(Address::repeat_byte(1)).unwrap().unwrap().balance, U256::from(18));
    for number in 52..=60 {
        state.apply(number, &change(number));
    }
    assert_eq!(oldest(&state, 60), 58);
    state.history = 10;
    for number in 61..=65 {
        state.apply(number, &change(number));
    }
    assert_eq!(oldest(&state, 65), 58);
    // A view goes on to read what it was opened on.
    assert_eq!(view.storage(Address::repeat_byte(1), U256::ZERO).unwrap(), U256::from(18));
}

#[test]
fn a_proof_far_back_is_refused_and_a_wrong_root_is_damage() {
    let state = State::new(1 << 20, 1_000);
    state.apply(0, &Delta::default());
    // Fewer accounts than the limit, changed often enough.
    let per_block = 2_500u64;
    for number in 1..=(MAX_PROOF_CHANGES as u64 / per_block) + 1 {
        let mut delta = Delta::default();
        for who in 0..per_block {
            let account = Account { nonce: number, ..Account::default() };
            let change = AccountDelta { account: Some(account), ..AccountDelta::default() };
            delta.accounts.insert(Address::from_word(B256::from(U256::from(who))), change);
        }
        state.apply(number, &delta);
    }
    let error = state.view(0).unwrap().prove(EMPTY_ROOT_HASH, Address::ZERO, &[]).unwrap_err();
    assert_eq!(error, StateError::TooManyChanges { number: 0, limit: MAX_PROOF_CHANGES });
    let error = state.view(20).unwrap().prove(B256::ZERO, Address::ZERO, &[]).unwrap_err();
    assert!(matches!(error, StateError::Damaged(_)), "{error}");
}

/// Ethereum's official trie tests: a key that is not hexadecimal is text, `null` removes.
#[test]
fn ethereums_own_trie_vectors_have_their_roots() {
    let files = [
        include_str!("../../tests/vectors/ethereum-tests/hex_encoded_securetrie_test.json"),
        include_str!("../../tests/vectors/ethereum-tests/trieanyorder_secureTrie.json"),
        include_str!("../../tests/vectors/ethereum-tests/trietest_secureTrie.json"),
    ];
    let bytes = |text: &str| -> Vec<u8> {
        text.strip_prefix("0x").map_or_else(|| text.into(), |digits| hex::decode(digits).unwrap())
    };
    let mut roots = 0;
    for file in files {
        let tests: BTreeMap<String, serde_json::Value> = serde_json::from_str(file).unwrap();
        for (name, test) in tests {
            let steps: Vec<(String, Option<String>)> = match &test["in"] {
                serde_json::Value::Object(pairs) => {
                    pairs.iter().map(|(key, value)| (key.clone(), value.as_str().map(str::to_owned))).collect()
                }
                steps => serde_json::from_value(steps.clone()).unwrap(),
            };
            let source = trie::tests::Maps::default();
            let mut trie = trie::Trie::open(&source).unwrap();
            for (key, value) in steps {
                let key = keccak256(bytes(&key));
                match value {
                    Some(value) => trie.insert(&key, bytes(&value)).unwrap(),
                    None => trie.remove(&key).unwrap(),
                }
            }
            let expected: B256 = test["root"].as_str().unwrap().parse().unwrap();
            assert_eq!(trie.commit().0, expected, "{name}");
            roots += 1;
        }
    }
    assert!(roots >= 8, "{roots}");
}

#[test]
fn code_is_read_by_its_hash_and_missing_code_is_named() {
    let state = State::new(1 << 20, 1);
    let code = Bytes::from_static(&[0x60, 0x01, 0x00]);
    let hash = keccak256(&code);
    let mut change = Delta::default();
    change.codes.insert(hash, code.clone());
    state.apply(0, &change);
    let view = state.view(0).unwrap();
    assert_eq!(view.code(hash).unwrap().original_bytes(), code);
    assert_eq!(view.code(B256::ZERO).unwrap().original_bytes(), Bytes::new());
    assert_eq!(view.code(B256::repeat_byte(1)).unwrap_err(), StateError::CodeMissing(B256::repeat_byte(1)));
}
