//! The genesis of a network: everything that its nodes agree on before the first height.

use crate::codec::{Encode, encode_bytes};
use crate::codec_struct;
use crate::committee::{Committee, CommitteeError, Member};
use crate::hash::{HeaderHash, NetworkId, keccak256};
use crate::keys::Address;
use crate::limits::{MAX_NAME_BYTES, MAX_NAMESPACES, MAX_TRANSACTION_BYTES};
use crate::namespace::{NamespaceKind, NamespaceSpec, OrderingPolicy, WriteAccess};
use crate::params::Params;
use crate::quantity::{Epoch, NamespaceId, Timestamp};
use serde::{Deserialize, Serialize};

/// The genesis of a network. Its hash is the network id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// The network's name.
    pub name: String,
    /// When it starts: the timestamp that the first header must lie above.
    pub time: Timestamp,
    /// Parameters.
    #[serde(default)]
    pub params: Params,
    /// Namespaces in ascending order of id.
    pub namespaces: Vec<NamespaceSpec>,
    /// The first committee, in ascending order of address.
    pub validators: Vec<Member>,
    /// Where stake comes from after the first committees; none: those stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settlement: Option<Settlement>,
}

/// The settlement layer that says who is at stake: every operator reads the same table at the same blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settlement {
    /// Its chain's id.
    pub chain_id: u64,
    /// The stake table's address there.
    pub stake_table: Address,
    /// The table is read at every so-many-th block.
    pub every_blocks: u32,
    /// How many blocks behind the newest final one.
    pub lag_blocks: u32,
}

codec_struct!(Settlement { chain_id, stake_table, every_blocks, lag_blocks });

/// Why a genesis cannot start a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// The validators are no committee.
    #[error("validators: {0}")]
    Committee(#[from] CommitteeError),
    /// Namespaces out of order or twice the same.
    #[error("namespace {0} is listed twice or out of ascending order")]
    NamespaceOrder(NamespaceId),
    /// Two namespaces of one name.
    #[error("two namespaces are named '{0}'")]
    NamespaceTwice(String),
    /// A name that no URL path could hold.
    #[error("'{0}' is no name: use 1 to {MAX_NAME_BYTES} lower-case letters, digits and dashes")]
    Name(String),
    /// A namespace whose settings contradict one another.
    #[error("namespace '{name}': {what}")]
    Namespace {
        /// Its name.
        name: String,
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// Too many namespaces.
    #[error("{0} namespaces are over the limit of {MAX_NAMESPACES}")]
    TooManyNamespaces(usize),
    /// A parameter out of its range.
    #[error("{name} = {value} is out of range: {expected}")]
    Param {
        /// The parameter.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it may be.
        expected: &'static str,
    },
}

impl Genesis {
    /// keccak256 over the canonical form.
    pub fn network_id(&self) -> NetworkId {
        let mut bytes = Vec::new();
        encode_bytes(self.name.as_bytes(), &mut bytes);
        self.time.encode(&mut bytes);
        self.params.encode(&mut bytes);
        crate::codec::encode_list(&self.namespaces, &mut bytes);
        crate::codec::encode_list(&self.validators, &mut bytes);
        // Nothing where there is none: networks that were there before keep their ids.
        if let Some(settlement) = &self.settlement {
            settlement.encode(&mut bytes);
        }
        NetworkId(keccak256(&bytes))
    }

    /// The parent hash of the first block: the network id, which is the hash of nothing else.
    pub fn parent_hash(&self) -> HeaderHash {
        HeaderHash(self.network_id().0)
    }

    /// The first committee.
    pub fn committee(&self) -> Result<Committee, CommitteeError> {
        Committee::new(Epoch::ZERO, self.validators.clone())
    }

    /// Checks everything that a network would otherwise trip over later.
    pub fn check(&self) -> Result<(), GenesisError> {
        self.committee()?;
        check_name(&self.name)?;
        if self.namespaces.len() > MAX_NAMESPACES {
            return Err(GenesisError::TooManyNamespaces(self.namespaces.len()));
        }
        if let Some(pair) = self.namespaces.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(GenesisError::NamespaceOrder(pair[1].id));
        }
        for (at, namespace) in self.namespaces.iter().enumerate() {
            check_namespace(namespace)?;
            if self.namespaces[..at].iter().any(|earlier| earlier.name == namespace.name) {
                return Err(GenesisError::NamespaceTwice(namespace.name.clone()));
            }
        }
        self.check_settlement()?;
        self.check_params()
    }

    fn check_settlement(&self) -> Result<(), GenesisError> {
        let Some(settlement) = &self.settlement else { return Ok(()) };
        let checks = [
            ("settlement.chain_id", settlement.chain_id, settlement.chain_id > 0, "above 0"),
            (
                "settlement.every_blocks",
                settlement.every_blocks.into(),
                (1..=100_000).contains(&settlement.every_blocks),
                "1 to 100000",
            ),
            ("settlement.lag_blocks", settlement.lag_blocks.into(), settlement.lag_blocks <= 100_000, "at most 100000"),
        ];
        if settlement.stake_table == Address::ZERO {
            return Err(GenesisError::Param { name: "settlement.stake_table", value: 0, expected: "an address" });
        }
        match checks.into_iter().find(|(_, _, fine, _)| !fine) {
            Some((name, value, _, expected)) => Err(GenesisError::Param { name, value, expected }),
            None => Ok(()),
        }
    }

    fn check_params(&self) -> Result<(), GenesisError> {
        let p = &self.params;
        let checks = [
            ("inclusion_heights", p.inclusion_heights, (1..=1_000).contains(&p.inclusion_heights), "1 to 1000"),
            (
                "max_block_bytes",
                p.max_block_bytes,
                (65_536..=256 << 20).contains(&p.max_block_bytes),
                "64 KiB to 256 MiB",
            ),
            (
                "max_block_transactions",
                p.max_block_transactions,
                (1..=crate::limits::MAX_BLOCK_TRANSACTIONS as u32).contains(&p.max_block_transactions),
                "1 to 262144",
            ),
            ("ack_interval_ms", p.ack_interval_ms, p.ack_interval_ms <= 1_000, "at most 1000"),
            ("batch_age_ms", p.batch_age_ms, p.batch_age_ms <= 1_000, "at most 1000"),
            ("idle_interval_ms", p.idle_interval_ms, (10..=60_000).contains(&p.idle_interval_ms), "10 to 60000"),
            ("window_ms", p.window_ms, (1_000..=600_000).contains(&p.window_ms), "1000 to 600000"),
            (
                "epoch_heights",
                p.epoch_heights,
                p.epoch_heights >= 16.max(p.inclusion_heights.saturating_add(10)),
                "at least 16, and 10 more than inclusion_heights: lanes take what is certain to be ordered before they expire",
            ),
            ("propose_timeout_ms", p.propose_timeout_ms, (10..=60_000).contains(&p.propose_timeout_ms), "10 to 60000"),
            ("vote_timeout_ms", p.vote_timeout_ms, (10..=60_000).contains(&p.vote_timeout_ms), "10 to 60000"),
            ("timeout_step_ms", p.timeout_step_ms, (1..=60_000).contains(&p.timeout_step_ms), "1 to 60000"),
        ];
        if let Some((name, value, _, expected)) = checks.into_iter().find(|(_, _, fine, _)| !fine) {
            return Err(GenesisError::Param { name, value: value.into(), expected });
        }
        // A validator's batch must always fit, whatever the others hold.
        let smallest = p.max_batch_bytes(self.validators.len());
        if let Some(namespace) = self.namespaces.iter().find(|ns| ns.max_transaction_bytes as usize + 64 > smallest) {
            return Err(GenesisError::Namespace {
                name: namespace.name.clone(),
                what: "max_transaction_bytes does not fit a batch: lower it or raise max_block_bytes",
            });
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), GenesisError> {
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(fine) {
        return Err(GenesisError::Name(name.chars().take(80).collect()));
    }
    Ok(())
}

fn check_namespace(namespace: &NamespaceSpec) -> Result<(), GenesisError> {
    check_name(&namespace.name)?;
    let opaque = namespace.kind == NamespaceKind::Opaque;
    let what =
        if namespace.max_transaction_bytes == 0 || namespace.max_transaction_bytes as usize > MAX_TRANSACTION_BYTES {
            "max_transaction_bytes must be 1 to 131072"
        } else if opaque && matches!(namespace.access, WriteAccess::AllowList(_)) {
            "an allow-list needs senders, which opaque transactions do not have: use everybody or closed"
        } else if opaque && namespace.policy == OrderingPolicy::PriorityFee {
            "priority-fee needs fees, which opaque transactions do not have: use fifo or shuffled"
        } else {
            return Ok(());
        };
    Err(GenesisError::Namespace { name: namespace.name.clone(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Stake;

    #[test]
    fn an_epoch_too_short_for_its_lanes_is_refused_whatever_the_numbers_are() {
        let with = |inclusion_heights, epoch_heights| {
            let validators = vec![Member { address: Address([1; 20]), stake: Stake(1) }];
            let params = Params { inclusion_heights, epoch_heights, ..Params::default() };
            let genesis = Genesis {
                name: "test".into(),
                time: Timestamp(1),
                params,
                namespaces: Vec::new(),
                validators,
                settlement: None,
            };
            genesis.check_params().map_err(|error| error.to_string())
        };
        assert_eq!(with(6, 16), Ok(()));
        assert!(with(7, 16).unwrap_err().contains("epoch_heights"));
        assert!(with(u32::MAX, 16).unwrap_err().contains("inclusion_heights"));
    }

    #[test]
    fn a_settlement_layer_is_part_of_the_network_and_checked() {
        let with = |settlement| {
            let validators = vec![Member { address: Address([1; 20]), stake: Stake(1) }];
            let (time, params) = (Timestamp(1), Params::default());
            Genesis { name: "test".into(), time, params, namespaces: Vec::new(), validators, settlement }
        };
        let settlement = Settlement { chain_id: 1, stake_table: Address([2; 20]), every_blocks: 32, lag_blocks: 0 };
        let other = Settlement { stake_table: Address([3; 20]), ..settlement };
        let ids = [None, Some(settlement), Some(other)].map(|settlement| with(settlement).network_id());
        assert!(ids[0] != ids[1] && ids[1] != ids[2]);
        assert_eq!(with(Some(settlement)).check(), Ok(()));
        let wrong = [
            (Settlement { chain_id: 0, ..settlement }, "settlement.chain_id"),
            (Settlement { stake_table: Address::ZERO, ..settlement }, "settlement.stake_table"),
            (Settlement { every_blocks: 0, ..settlement }, "settlement.every_blocks"),
            (Settlement { lag_blocks: 100_001, ..settlement }, "settlement.lag_blocks"),
        ];
        for (settlement, name) in wrong {
            assert!(with(Some(settlement)).check().unwrap_err().to_string().contains(name), "{name}");
        }
        let text = serde_json::to_string(&with(Some(settlement))).unwrap();
        assert_eq!(serde_json::from_str::<Genesis>(&text).unwrap(), with(Some(settlement)));
        assert!(!serde_json::to_string(&with(None)).unwrap().contains("settlement"));
    }
}
