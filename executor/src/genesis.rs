//! The rollup's genesis: chain parameters and prefunded accounts.

use crate::{Error, Result, devnet::dev_accounts, genesis_file::from_geth};
use alloy_consensus::{Header, constants::EMPTY_WITHDRAWALS};
use alloy_eips::{eip1559::BaseFeeParams, eip2935, eip4788, eip7002, eip7251, eip7685::EMPTY_REQUESTS_HASH};
use alloy_primitives::{Address, B64, B256, Bytes, U256, address};
use revm::primitives::hardfork::SpecId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Chain id of the development rollup.
pub const DEV_CHAIN_ID: u64 = 1_516;
/// Where the development rollup collects base fees.
pub const DEV_FEE_VAULT: Address = address!("0x4200000000000000000000000000000000000019");
/// Default gas limit of an EVM block, as Ethereum's in 2025.
pub const DEFAULT_GAS_LIMIT: u64 = 36_000_000;
/// Default base fee of the first block, in wei.
pub const DEFAULT_BASE_FEE: u64 = 1_000_000_000;
/// Smallest gas limit that can hold useful transactions (Ethereum's own minimum is 5000).
pub const MIN_GAS_LIMIT: u64 = 100_000;
/// Bytes of a header's extra data at most.
const MAX_EXTRA_DATA: usize = 32;

/// The EVM rules of the rollup, fixed for its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Hardfork {
    /// March 2024.
    Cancun,
    /// May 2025: EIP-7702, requests hash.
    #[default]
    Prague,
    /// December 2025: transaction gas cap of 2^24 (EIP-7825).
    Osaka,
}

impl Hardfork {
    /// The rules as revm names them.
    pub fn spec(self) -> SpecId {
        match self {
            Self::Cancun => SpecId::CANCUN,
            Self::Prague => SpecId::PRAGUE,
            Self::Osaka => SpecId::OSAKA,
        }
    }

    /// Whether a transaction's gas limit is capped (EIP-7825).
    pub fn has_tx_gas_cap(self) -> bool {
        matches!(self, Self::Osaka)
    }

    /// Whether headers carry a requests hash (EIP-7685).
    pub fn has_requests(self) -> bool {
        !matches!(self, Self::Cancun)
    }
}

/// How an EVM timestamp (seconds) follows from the ordered one (milliseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum TimestampRule {
    /// `max(parent, ordered / 1000)`: true to the clock; several blocks may share a second.
    #[default]
    NotBefore,
    /// `max(parent + 1, ordered / 1000)`: what unmodified execution clients demand; runs ahead
    /// of the clock where blocks come faster than one a second.
    After,
}

/// What stands in the `extra_data` of each EVM block after the genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ExtraData {
    /// The block's place in the order: the ordered height (8 bytes) and which of its EVM blocks this is (4 bytes).
    #[default]
    Place,
    /// Nothing, as the OP Stack demands before Holocene.
    Empty,
    /// The EIP-1559 parameters, as the OP Stack demands in Holocene: a version of 0 (1 byte), the base fee's denominator
    /// and the elasticity (4 bytes each).
    Eip1559,
}

/// One account of the genesis state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisAccount {
    /// Balance in wei.
    #[serde(default)]
    pub balance: U256,
    /// Nonce.
    #[serde(default)]
    pub nonce: u64,
    /// Code, if a contract.
    #[serde(default, skip_serializing_if = "no_code")]
    pub code: Bytes,
    /// Storage slots; a zero value is no slot.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub storage: BTreeMap<U256, U256>,
}

/// Fields of block 0's header that nothing but its hash depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct GenesisHeader {
    /// Proof of work's nonce.
    pub nonce: u64,
    /// Anything, up to 32 bytes.
    pub extra_data: Bytes,
    /// Proof of work's difficulty.
    pub difficulty: U256,
    /// `prev_randao` of block 0.
    pub mix_hash: B256,
    /// Beneficiary of block 0.
    pub coinbase: Address,
}

impl GenesisHeader {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Everything that two executors must share to reach the same state roots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Genesis {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// EVM rules.
    #[serde(default)]
    pub hardfork: Hardfork,
    /// Gas limit of every EVM block.
    #[serde(default = "default_gas_limit")]
    pub gas_limit: u64,
    /// Base fee of block 0 in wei.
    #[serde(default = "default_base_fee")]
    pub base_fee_per_gas: u64,
    /// EIP-1559: gas target is `gas_limit / elasticity`.
    #[serde(default = "default_elasticity")]
    pub elasticity: u64,
    /// EIP-1559: a full block raises the base fee by `1 / denominator`.
    #[serde(default = "default_denominator")]
    pub base_fee_change_denominator: u64,
    /// Who gets the base fees; `None` burns them, as Ethereum does.
    #[serde(default)]
    pub base_fee_vault: Option<Address>,
    /// Who gets the priority fees; `None`: the operator that proposed the ordered block.
    #[serde(default)]
    pub fee_recipient: Option<Address>,
    /// Timestamp of block 0, in seconds.
    #[serde(default)]
    pub timestamp: u64,
    /// How timestamps follow from ordered ones.
    #[serde(default)]
    pub timestamp_rule: TimestampRule,
    /// What headers carry as extra data.
    #[serde(default, skip_serializing_if = "is_place")]
    pub extra_data: ExtraData,
    /// Ordered height from which this rollup lives; blocks below are not its own.
    #[serde(default = "default_first_height")]
    pub first_height: u64,
    /// The rest of block 0's header.
    #[serde(default, skip_serializing_if = "GenesisHeader::is_default")]
    pub header: GenesisHeader,
    /// Genesis state.
    #[serde(default)]
    pub alloc: BTreeMap<Address, GenesisAccount>,
}

fn is_place(rule: &ExtraData) -> bool {
    *rule == ExtraData::Place
}
fn no_code(code: &Bytes) -> bool {
    code.is_empty()
}
fn default_gas_limit() -> u64 {
    DEFAULT_GAS_LIMIT
}
fn default_base_fee() -> u64 {
    DEFAULT_BASE_FEE
}
fn default_elasticity() -> u64 {
    2
}
fn default_denominator() -> u64 {
    8
}
fn default_first_height() -> u64 {
    1
}

impl Genesis {
    /// A genesis with Ethereum's defaults and the system contracts, but no funded account.
    pub fn new(chain_id: u64) -> Self {
        let mut genesis = Self {
            chain_id,
            hardfork: Hardfork::default(),
            gas_limit: DEFAULT_GAS_LIMIT,
            base_fee_per_gas: DEFAULT_BASE_FEE,
            elasticity: default_elasticity(),
            base_fee_change_denominator: default_denominator(),
            base_fee_vault: None,
            fee_recipient: None,
            timestamp: 0,
            timestamp_rule: TimestampRule::default(),
            extra_data: ExtraData::default(),
            first_height: default_first_height(),
            header: GenesisHeader::default(),
            alloc: BTreeMap::new(),
        };
        for (address, code) in system_contracts() {
            // Nonce 1, as on mainnet, so that the account is never "empty".
            let account = GenesisAccount { nonce: 1, code, ..GenesisAccount::default() };
            genesis.alloc.insert(address, account);
        }
        genesis
    }

    /// The development rollup: [`DEV_CHAIN_ID`], ten well-known accounts with 10,000 ether each,
    /// base fees to [`DEV_FEE_VAULT`].
    pub fn devnet() -> Self {
        Self::devnet_for(DEV_CHAIN_ID)
    }

    /// The development rollup under another chain id.
    pub fn devnet_for(chain_id: u64) -> Self {
        let mut genesis = Self::new(chain_id);
        genesis.base_fee_vault = Some(DEV_FEE_VAULT);
        let balance = U256::from(10_000u64) * U256::from(10u64).pow(U256::from(18u64));
        for account in dev_accounts() {
            let funded = GenesisAccount { balance, ..GenesisAccount::default() };
            genesis.alloc.insert(account.address(), funded);
        }
        genesis
    }

    /// Reads a genesis from JSON and checks it: geth's `genesis.json` (it has a `config`), or this type's own fields.
    ///
    /// # Errors
    /// [`Error::Genesis`] with what is wrong.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| Error::Genesis(error.to_string()))?;
        if value.get("config").is_some() {
            return from_geth(text);
        }
        let genesis: Self = serde_json::from_str(text).map_err(|error| Error::Genesis(error.to_string()))?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Checks that the parameters can work.
    ///
    /// # Errors
    /// [`Error::Genesis`] with what is wrong.
    pub fn check(&self) -> Result<()> {
        let fail = |text: String| Err(Error::Genesis(text));
        if self.chain_id == 0 {
            return fail("chainId is 0".into());
        }
        if self.gas_limit < MIN_GAS_LIMIT || self.gas_limit > i64::MAX as u64 {
            return fail(format!("gasLimit is {}, not between {MIN_GAS_LIMIT} and 2^63 - 1", self.gas_limit));
        }
        if self.elasticity == 0 || self.base_fee_change_denominator == 0 {
            return fail("elasticity and baseFeeChangeDenominator must be above 0".into());
        }
        if self.extra_data == ExtraData::Eip1559 && self.eip1559_params().is_none() {
            return fail(
                "extraData is \"eip1559\", so elasticity and baseFeeChangeDenominator must be below 2^32".into(),
            );
        }
        if self.base_fee_per_gas == 0 {
            return fail("baseFeePerGas is 0 and could never rise".into());
        }
        for (address, account) in &self.alloc {
            let bare = account.nonce == 0 && account.code.is_empty();
            if bare && account.storage.values().any(|value| !value.is_zero()) {
                // Creating a contract there would have to fail (EIP-7610); no transaction leaves such an account.
                return fail(format!("alloc: {address} has storage but neither code nor a nonce; give it one of them"));
            }
        }
        if self.header.extra_data.len() > MAX_EXTRA_DATA {
            let length = self.header.extra_data.len();
            return fail(format!("extraData has {length} bytes, more than Ethereum's {MAX_EXTRA_DATA}"));
        }
        Ok(())
    }

    /// The EIP-1559 parameters.
    pub fn base_fee_params(&self) -> BaseFeeParams {
        BaseFeeParams::new(self.base_fee_change_denominator.into(), self.elasticity.into())
    }

    /// Denominator and elasticity as the OP Stack's `eip1559Params` has them, if they fit.
    pub(crate) fn eip1559_params(&self) -> Option<[u8; 8]> {
        let denominator = u32::try_from(self.base_fee_change_denominator).ok()?;
        let elasticity = u32::try_from(self.elasticity).ok()?;
        let mut params = [0; 8];
        params[..4].copy_from_slice(&denominator.to_be_bytes());
        params[4..].copy_from_slice(&elasticity.to_be_bytes());
        Some(params)
    }

    /// The extra data of the EVM block that is the `piece`th of the ordered block at `height`.
    pub(crate) fn extra_data(&self, height: u64, piece: u32) -> Bytes {
        match self.extra_data {
            ExtraData::Place => [&height.to_be_bytes()[..], &piece.to_be_bytes()].concat().into(),
            ExtraData::Empty => Bytes::new(),
            // Checked to fit.
            ExtraData::Eip1559 => [&[0][..], &self.eip1559_params().unwrap_or_default()].concat().into(),
        }
    }

    /// Header of EVM block 0 over the genesis `state_root`.
    pub fn header(&self, state_root: B256) -> Header {
        Header {
            state_root,
            beneficiary: self.header.coinbase,
            difficulty: self.header.difficulty,
            extra_data: self.header.extra_data.clone(),
            mix_hash: self.header.mix_hash,
            nonce: B64::from(self.header.nonce),
            gas_limit: self.gas_limit,
            timestamp: self.timestamp,
            base_fee_per_gas: Some(self.base_fee_per_gas),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: self.hardfork.has_requests().then_some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        }
    }

    /// Binds a database to all parameters, those included that no header names (vault,
    /// timestamp rule …).
    pub fn fingerprint(&self) -> B256 {
        // Field order of the struct and key order of the maps are fixed, so the text is canonical.
        let text = serde_json::to_vec(self).unwrap_or_default();
        alloy_primitives::keccak256(text)
    }
}

/// The contracts that Ethereum's own block processing calls, at their mainnet addresses.
pub fn system_contracts() -> [(Address, Bytes); 4] {
    [
        (eip4788::BEACON_ROOTS_ADDRESS, eip4788::BEACON_ROOTS_CODE.clone()),
        (eip2935::HISTORY_STORAGE_ADDRESS, eip2935::HISTORY_STORAGE_CODE.clone()),
        (eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_CODE.clone()),
        (eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_CODE.clone()),
    ]
}

#[cfg(test)]
#[path = "genesis_tests.rs"]
mod tests;
