//! Genesis files, those of other clients among them.

use super::*;
use alloy_primitives::bytes;

fn refused(text: &str, part: &str) {
    let error = Genesis::from_json(text).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn json_round_trips_and_nonsense_is_refused() {
    let mut genesis = Genesis::devnet();
    let text = serde_json::to_string(&genesis).unwrap();
    assert_eq!(Genesis::from_json(&text).unwrap(), genesis);
    genesis.header.extra_data = bytes!("01");
    let text = serde_json::to_string(&genesis).unwrap();
    assert_eq!(Genesis::from_json(&text).unwrap(), genesis);
    refused("{}", "chainId");
    refused(r#"{"chainId":0}"#, "chainId is 0");
    refused(r#"{"chainId":7,"gasLimit":1}"#, "gasLimit is 1");
    refused(r#"{"chainId":7,"elasticity":0}"#, "elasticity");
    refused(r#"{"chainId":7,"unknown":0}"#, "unknown");
    refused("nothing", "expected");
}

#[test]
fn every_parameter_changes_the_fingerprint() {
    let base = Genesis::devnet();
    let mut vault = base.clone();
    vault.base_fee_vault = None;
    let mut rule = base.clone();
    rule.timestamp_rule = TimestampRule::After;
    let mut header = base.clone();
    header.header.nonce = 1;
    let extra = Genesis { extra_data: ExtraData::Empty, ..base.clone() };
    for other in [vault, rule, header, extra] {
        assert_ne!(base.fingerprint(), other.fingerprint());
    }
}

const GETH: &str = r#"{
    "config": {
        "chainId": 7331, "homesteadBlock": 0, "londonBlock": 0, "terminalTotalDifficulty": 0,
        "terminalTotalDifficultyPassed": true, "shanghaiTime": 0, "cancunTime": 0,
        "blobSchedule": { "cancun": { "target": 3, "max": 6, "baseFeeUpdateFraction": 3338477 } }
    },
    "nonce": "0x42", "timestamp": "0x5", "extraData": "0x1234", "gasLimit": "0x1c9c380", "difficulty": "0x0",
    "mixHash": "0x0000000000000000000000000000000000000000000000000000000000000007",
    "coinbase": "0x0000000000000000000000000000000000000000", "baseFeePerGas": "0x7",
    "alloc": {
        "f39Fd6e51aad88F6F4ce6aB8827279cffFb92266": { "balance": "1000" },
        "0x0000000000000000000000000000000000000abc": {
            "balance": "0x0", "nonce": "0x1", "code": "0x6001",
            "storage": { "0x01": "0x02", "0x0000000000000000000000000000000000000000000000000000000000000002": "0x" }
        }
    }
}"#;

#[test]
fn reads_geths_genesis_and_keeps_what_other_clients_expect() {
    let genesis = Genesis::from_json(GETH).unwrap();
    assert_eq!((genesis.chain_id, genesis.hardfork), (7331, Hardfork::Cancun));
    assert_eq!((genesis.gas_limit, genesis.base_fee_per_gas, genesis.timestamp), (30_000_000, 7, 5));
    assert_eq!((genesis.base_fee_vault, genesis.timestamp_rule), (None, TimestampRule::After));
    let contract = &genesis.alloc[&address!("0000000000000000000000000000000000000abc")];
    assert_eq!((contract.nonce, contract.code.clone()), (1, bytes!("6001")));
    assert_eq!(contract.storage[&U256::ONE], U256::from(2));
    assert_eq!(genesis.alloc.len(), 2);
    let header = genesis.header(B256::ZERO);
    assert_eq!((header.extra_data, header.nonce), (bytes!("1234"), B64::from(0x42u64)));
    assert_eq!((header.mix_hash, header.requests_hash), (B256::with_last_byte(7), None));
}

#[test]
fn what_stands_in_the_squad_section_is_taken() {
    let squad = r#""squad": {"baseFeeVault": "0x4200000000000000000000000000000000000019", "timestampRule": "not_before",
        "firstHeight": 9}, "chainId""#;
    let genesis = Genesis::from_json(&GETH.replacen(r#""chainId""#, squad, 1)).unwrap();
    assert_eq!(genesis.base_fee_vault, Some(DEV_FEE_VAULT));
    assert_eq!((genesis.timestamp_rule, genesis.first_height), (TimestampRule::NotBefore, 9));
    refused(&GETH.replacen(r#""chainId""#, r#""squad": {"vault": 1}, "chainId""#, 1), "vault");
}

#[test]
fn extra_data_follows_the_rule() {
    let with = |rule: &str| {
        let squad = format!(
            r#""squad": {{"extraData": "{rule}", "elasticity": 6, "baseFeeChangeDenominator": 250}}, "chainId""#
        );
        Genesis::from_json(&GETH.replacen(r#""chainId""#, &squad, 1)).unwrap()
    };
    assert_eq!(with("place").extra_data(258, 3), bytes!("000000000000010200000003"));
    assert_eq!(with("place").extra_data, Genesis::from_json(GETH).unwrap().extra_data);
    assert_eq!(with("empty").extra_data(258, 3), Bytes::new());
    // Denominator 250, elasticity 6: OP Mainnet's.
    assert_eq!(with("eip1559").extra_data(258, 3), bytes!("00000000fa00000006"));
    let large = r#""squad": {"extraData": "eip1559", "elasticity": 4294967296}, "chainId""#;
    refused(&GETH.replacen(r#""chainId""#, large, 1), "must be below 2^32");
    refused(&GETH.replacen(r#""chainId""#, r#""squad": {"extraData": "none"}, "chainId""#, 1), "none");
}

#[test]
fn geths_genesis_is_refused_where_it_cannot_hold() {
    let with = |from: &str, to: &str| {
        assert!(GETH.contains(from));
        GETH.replacen(from, to, 1)
    };
    let cancun = r#""cancunTime": 0"#;
    refused(&with(cancun, r#""cancunTime": 6"#), "config.cancunTime is 6, after the genesis (5)");
    refused(&with(cancun, r#""pragueTime": 0"#), "build on each other");
    refused(&with(cancun, r#""cancunTime": 0, "pragueTime": 0, "osakaTime": 9"#), "osakaTime");
    refused(
        &with(cancun, r#""cancunTime": 0, "pragueTime": 0"#),
        "alloc has no contract at 0x00000961Ef480Eb55e80D19ad83579A64c007002",
    );
    refused(&with(r#""terminalTotalDifficulty": 0"#, r#""terminalTotalDifficulty": 1"#), "mining");
    refused(&with("0x1234", &format!("0x{}", "00".repeat(33))), "extraData has 33 bytes");
    refused(&with("0x0000000000000000000000000000000000000abc", "0xabc"), "0xabc is not an address");
    let twice = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    refused(&with("0x0000000000000000000000000000000000000abc", twice), "stands there twice");
    refused(&with(r#""nonce": "0x1", "code": "0x6001","#, ""), "has storage but neither code nor a nonce");
    refused(&with(r#""nonce": "0x1""#, r#""nonce": "0x10000000000000000""#), "above 2^64 - 1");
}
