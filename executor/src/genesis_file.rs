//! Reading a rollup's genesis from a file, geth's `genesis.json` among others.
//!
//! What geth's format does not have stands in `config.squad`, which other clients pass over:
//!
//! ```json
//! { "config": { "chainId": 7331, "cancunTime": 0, "pragueTime": 0,
//!               "squad": { "baseFeeVault": "0x…", "feeRecipient": "0x…", "timestampRule": "not_before",
//!                          "firstHeight": 1, "elasticity": 2, "baseFeeChangeDenominator": 8,
//!                          "extraData": "place" } },
//!   "gasLimit": "0x2255100", "baseFeePerGas": "0x3b9aca00", "timestamp": "0x0",
//!   "alloc": { "f39f…": { "balance": "0xde0b6b3a7640000" } } }
//! ```
//!
//! Without it, base fees are burnt and each block has a later second than its parent, so that an unmodified client with
//! the same file accepts the blocks.

use crate::{
    DEFAULT_BASE_FEE, Error, ExtraData, Genesis, GenesisAccount, GenesisHeader, Hardfork, Result, TimestampRule,
    system_contracts,
};
use alloy_primitives::{Address, B256, Bytes, U256};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{collections::BTreeMap, str::FromStr};

/// A number as geth takes it: a JSON number, or a string in decimal or hexadecimal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Number(U256);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let parsed = match &value {
            serde_json::Value::Number(number) => number.as_u64().map(U256::from),
            serde_json::Value::String(text) => U256::from_str(text).ok(),
            _ => None,
        };
        parsed.map(Self).ok_or_else(|| D::Error::custom(format!("{value} is not a number")))
    }
}

impl Number {
    fn small(self, what: &str) -> Result<u64> {
        u64::try_from(self.0).map_err(|_| Error::Genesis(format!("{what} is {}, above 2^64 - 1", self.0)))
    }
}

/// 32 bytes, or fewer with zeros in front, as geth takes storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot(U256);

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").unwrap_or(&text);
        let parsed = if digits.is_empty() { Ok(U256::ZERO) } else { U256::from_str_radix(digits, 16) };
        parsed.map(Self).map_err(|_| D::Error::custom(format!("storage: {text} is not up to 32 bytes in hexadecimal")))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct AllocFile {
    balance: Number,
    nonce: Number,
    code: Bytes,
    storage: BTreeMap<Slot, Slot>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct SquadFile {
    base_fee_vault: Option<Address>,
    fee_recipient: Option<Address>,
    timestamp_rule: Option<TimestampRule>,
    extra_data: ExtraData,
    first_height: Option<u64>,
    elasticity: Option<u64>,
    base_fee_change_denominator: Option<u64>,
}

/// Only what decides something here; forks before Cancun are all in force.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    chain_id: Number,
    terminal_total_difficulty: Option<Number>,
    cancun_time: Option<u64>,
    prague_time: Option<u64>,
    osaka_time: Option<u64>,
    amsterdam_time: Option<u64>,
    #[serde(default)]
    squad: SquadFile,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GenesisFile {
    config: ConfigFile,
    #[serde(default)]
    nonce: Number,
    #[serde(default)]
    timestamp: Number,
    #[serde(default)]
    extra_data: Bytes,
    gas_limit: Number,
    #[serde(default)]
    difficulty: Number,
    #[serde(default)]
    mix_hash: B256,
    #[serde(default)]
    coinbase: Address,
    base_fee_per_gas: Option<Number>,
    #[serde(default)]
    excess_blob_gas: Number,
    #[serde(default)]
    blob_gas_used: Number,
    alloc: BTreeMap<String, AllocFile>,
}

/// The rules in force at `timestamp`. They hold for the chain's life, so none may begin later.
fn hardfork(config: &ConfigFile, timestamp: u64) -> Result<Hardfork> {
    let fail = |text: String| Err(Error::Genesis(text));
    let forks = [
        ("cancunTime", config.cancun_time),
        ("pragueTime", config.prague_time),
        ("osakaTime", config.osaka_time),
        ("amsterdamTime", config.amsterdam_time),
    ];
    for (name, at) in forks {
        if let Some(at) = at.filter(|at| *at > timestamp) {
            return fail(format!(
                "config.{name} is {at}, after the genesis ({timestamp}): the rules of a rollup do not change; set it to {timestamp} or leave it out"
            ));
        }
    }
    match forks.map(|(_, at)| at.is_some()) {
        [.., true] => fail("config.amsterdamTime is set, but the latest rules known here are Osaka's".into()),
        [true, true, true, _] => Ok(Hardfork::Osaka),
        [true, true, false, _] => Ok(Hardfork::Prague),
        [true, false, false, _] => Ok(Hardfork::Cancun),
        _ => {
            fail("config.cancunTime, pragueTime and osakaTime build on each other; set all up to the one wanted".into())
        }
    }
}

fn account(address: &str, file: AllocFile) -> Result<(Address, GenesisAccount)> {
    let parsed =
        Address::from_str(address).map_err(|_| Error::Genesis(format!("alloc: {address} is not an address")))?;
    let nonce = file.nonce.small("alloc: a nonce")?;
    let storage = file.storage.into_iter().map(|(slot, value)| (slot.0, value.0)).collect();
    Ok((parsed, GenesisAccount { balance: file.balance.0, nonce, code: file.code, storage }))
}

/// Reads geth's format.
pub(crate) fn from_geth(text: &str) -> Result<Genesis> {
    let file: GenesisFile = serde_json::from_str(text).map_err(|error| Error::Genesis(error.to_string()))?;
    let fail = |text: String| Err(Error::Genesis(text));
    if file.excess_blob_gas != Number::default() || file.blob_gas_used != Number::default() {
        return fail("excessBlobGas and blobGasUsed must be 0: this chain carries no blobs".into());
    }
    if file.config.terminal_total_difficulty.is_some_and(|total| total.0 > file.difficulty.0) {
        return fail("config.terminalTotalDifficulty is above the genesis' difficulty: there is no mining here".into());
    }
    let timestamp = file.timestamp.small("timestamp")?;
    let hardfork = hardfork(&file.config, timestamp)?;
    let squad = &file.config.squad;
    let mut genesis = Genesis::new(file.config.chain_id.small("config.chainId")?);
    genesis.alloc = BTreeMap::new();
    for (address, entry) in file.alloc {
        let (address, entry) = account(&address, entry)?;
        if genesis.alloc.insert(address, entry).is_some() {
            return fail(format!("alloc: {address} stands there twice"));
        }
    }
    genesis.hardfork = hardfork;
    genesis.timestamp = timestamp;
    genesis.gas_limit = file.gas_limit.small("gasLimit")?;
    genesis.base_fee_per_gas = file.base_fee_per_gas.map_or(Ok(DEFAULT_BASE_FEE), |fee| fee.small("baseFeePerGas"))?;
    genesis.base_fee_vault = squad.base_fee_vault;
    genesis.fee_recipient = squad.fee_recipient;
    genesis.timestamp_rule = squad.timestamp_rule.unwrap_or(TimestampRule::After);
    genesis.extra_data = squad.extra_data;
    genesis.first_height = squad.first_height.unwrap_or(genesis.first_height);
    genesis.elasticity = squad.elasticity.unwrap_or(genesis.elasticity);
    genesis.base_fee_change_denominator =
        squad.base_fee_change_denominator.unwrap_or(genesis.base_fee_change_denominator);
    genesis.header = GenesisHeader {
        nonce: file.nonce.small("nonce")?,
        extra_data: file.extra_data,
        difficulty: file.difficulty.0,
        mix_hash: file.mix_hash,
        coinbase: file.coinbase,
    };
    genesis.check()?;
    needs_system_contracts(&genesis)?;
    Ok(genesis)
}

/// A block is invalid to other clients where the contracts that Prague's end of a block calls are not there.
fn needs_system_contracts(genesis: &Genesis) -> Result<()> {
    if !genesis.hardfork.has_requests() {
        return Ok(());
    }
    // The first two may be absent: nothing is called then.
    for (address, _) in &system_contracts()[2..] {
        if genesis.alloc.get(address).is_none_or(|account| account.code.is_empty()) {
            return Err(Error::Genesis(format!(
                "config.pragueTime is set, but alloc has no contract at {address}, which every block calls; add Ethereum's"
            )));
        }
    }
    Ok(())
}
