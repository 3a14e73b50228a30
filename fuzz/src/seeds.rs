//! Where fuzzing starts: the frozen wire vectors, and a few texts that have none.

use std::collections::BTreeMap;
use std::sync::OnceLock;

const VECTORS: &str = include_str!("../../tests/vectors/wire.txt");

/// The signed example of EIP-155: a legacy transaction on chain 1.
const LEGACY: &str = "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";

/// A keystore in web3's form; nobody's key.
const KEYSTORE: &str = r#"{"address":"008aeeda4d805471df9b2a5b0f38a0c3bcba786b","crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},"ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":{"dklen":32,"n":4096,"p":6,"r":8,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},"mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},"id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

/// All seeds by name; bytes that the vectors give in hex are decoded.
pub fn all() -> &'static BTreeMap<String, Vec<u8>> {
    static SEEDS: OnceLock<BTreeMap<String, Vec<u8>>> = OnceLock::new();
    SEEDS.get_or_init(read)
}

fn read() -> BTreeMap<String, Vec<u8>> {
    let lines = VECTORS.lines().filter_map(|line| line.split_once(" = "));
    let bytes = |value: &str| hex::decode(value).unwrap_or_else(|_| value.as_bytes().to_vec());
    let mut seeds: BTreeMap<String, Vec<u8>> = lines.map(|(name, value)| (name.to_owned(), bytes(value))).collect();
    let accounts = squad_executor::dev_accounts();
    let transfer = accounts[0].transfer(1, 0, accounts[1].address(), Default::default());
    seeds.insert("evm_raw.transfer".into(), transfer.to_vec());
    seeds.insert("evm_raw.legacy".into(), bytes(LEGACY));
    seeds.insert("hex_text.legacy".into(), format!("0x{LEGACY}").into_bytes());
    seeds.insert("config_toml.sample".into(), squad_node::config::SAMPLE.as_bytes().to_vec());
    seeds.insert("keystore_json.web3".into(), KEYSTORE.as_bytes().to_vec());
    seeds
}

/// The seeds that a target starts from: those whose name is one of `prefixes`, or goes on with a dot after it.
pub fn of(prefixes: &[&str]) -> Vec<&'static [u8]> {
    let begins = |name: &str| {
        let rests = prefixes.iter().filter_map(|prefix| name.strip_prefix(prefix));
        rests.into_iter().any(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    all().iter().filter(|(name, _)| begins(name)).map(|(_, bytes)| bytes.as_slice()).collect()
}
