//! The contracts of one network.

use super::abi::{OperatorSet, SlasherArguments, TableArguments};
use super::core::{Creations, DELAYS, EigenLayer, Stakeable, WAD};
use super::{Chain, DeployError};
use crate::abi::StakeTable::committeeCall;
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolValue as _;
use serde::{Deserialize, Serialize};
use squad_contracts::restaking;
use squad_types::{Member, NetworkId, Stake};

/// The number of the network's operator set.
pub const SET: u32 = 1;

/// What the contracts of a development network are created with, beside addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// Who weighs less is in no committee, in units of the table.
    pub minimum_stake: u64,
    /// The most members of a committee.
    pub most_members: u16,
    /// The most operators in the set.
    pub most_operators: u64,
    /// From the block that the table is read at until the committee's epoch is over, in blocks.
    pub epoch_blocks: u32,
    /// How long after that evidence can be brought, in blocks.
    pub evidence_window: u32,
    /// Until a new consensus key counts, in blocks.
    pub rotation_delay: u32,
    /// What is taken for two votes, two proposals, two batch headers, two acks, in hundredths.
    pub percent: [u64; 4],
}

/// The settings of a development network, with blocks of a second.
pub const STAKE_TABLE: TableSettings = TableSettings {
    minimum_stake: 32_000_000,
    most_members: 100,
    most_operators: 128,
    epoch_blocks: 120,
    evidence_window: 480,
    rotation_delay: 10,
    percent: [50, 50, 25, 10],
};

// The table's own rule: nobody gets away before the window is over.
const _: () = assert!(
    STAKE_TABLE.epoch_blocks + STAKE_TABLE.evidence_window <= DELAYS.deallocation
        && STAKE_TABLE.epoch_blocks + STAKE_TABLE.evidence_window <= DELAYS.withdrawal
);

/// Where a network's contracts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// Who is at stake.
    pub stake_table: Address,
    /// Whose a key is.
    pub registrar: Address,
    /// Takes stake; the AVS.
    pub slasher: Address,
}

impl Contracts {
    /// Where they will be, if nothing is created by the core's owner before: the genesis names one of them.
    pub async fn ahead(chain: &Chain, core: &EigenLayer) -> Result<Self, DeployError> {
        let next = Creations::begin(chain, core.owner).await?;
        Ok(Self { stake_table: next.ahead(0), registrar: next.ahead(1), slasher: next.ahead(2) })
    }

    /// Puts them there, and says what that took in gas.
    pub async fn deploy(
        &self,
        chain: &Chain,
        core: &EigenLayer,
        tokens: &[Stakeable],
        settings: &TableSettings,
        network: &NetworkId,
    ) -> Result<u64, DeployError> {
        let mut made = Creations::begin(chain, core.owner).await?;
        let mut tokens: Vec<&Stakeable> = tokens.iter().collect();
        tokens.sort_by_key(|token| token.strategy);
        let table = TableArguments {
            allocationManager: core.allocation_manager,
            operatorSet: OperatorSet { avs: self.slasher, id: SET },
            registrar: self.registrar,
            strategies: tokens.iter().map(|token| token.strategy).collect(),
            multipliers: tokens.iter().map(|token| token.multiplier).collect(),
            minimumStake: settings.minimum_stake,
            mostMembers: settings.most_members,
            epochBlocks: settings.epoch_blocks,
            evidenceWindow: settings.evidence_window,
        };
        let registrar = (self.stake_table, U256::from(settings.most_operators), settings.rotation_delay);
        let slasher = SlasherArguments {
            registrar: self.registrar,
            strategyManager: core.strategy_manager,
            network: B256::from(network.0),
            fractions: settings.percent.map(|percent| U256::from(percent) * U256::from(WAD / 100)),
            // This core can only burn.
            sink: Address::ZERO,
            bounty: U256::ZERO,
            claimBlocks: settings.evidence_window,
            metadataURI: String::new(),
        };
        let creations = [
            ("StakeTable", self.stake_table, restaking::stake_table(), table.abi_encode()),
            ("SquadRegistrar", self.registrar, restaking::squad_registrar(), registrar.abi_encode_params()),
            ("Slasher", self.slasher, restaking::slasher(), slasher.abi_encode()),
        ];
        for (name, expected, artifact, arguments) in creations {
            let found = made.create(name, artifact.create_with(&arguments)).await?;
            if found != expected {
                let (expected, found) = (expected.to_string(), found.to_string());
                return Err(DeployError::Other { what: "a contract's address", expected, found });
            }
        }
        Ok(made.gas)
    }

    /// Who is at stake as of the newest block. The table refuses to say that it is nobody.
    pub async fn members(&self, chain: &Chain) -> Result<Vec<Member>, DeployError> {
        let answer = chain.call("who is at stake", self.stake_table, &committeeCall { epoch: 0 }).await?;
        let member = |member: &crate::abi::Member| Member {
            address: squad_types::Address(member.key.into_array()),
            stake: Stake(member.stake),
        };
        Ok(answer.members.iter().map(member).collect())
    }
}

/// What so many whole tokens of each kind weigh, in units of the table.
pub(super) fn weight(tokens: &[Stakeable], amount: u64) -> u64 {
    let unit = U256::from(1_000_000_000_000_u64);
    let shares = U256::from(amount) * U256::from(WAD);
    let sum = tokens.iter().map(|token| shares * token.multiplier / U256::from(WAD)).sum::<U256>();
    u64::try_from(sum / unit).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_weighs_what_its_tokens_count() {
        let token = |percent: u64| Stakeable {
            symbol: String::new(),
            token: Address::ZERO,
            strategy: Address::ZERO,
            multiplier: U256::from(percent) * U256::from(WAD / 100),
        };
        assert_eq!(weight(&[token(100)], 100), 100_000_000);
        assert_eq!(weight(&[token(100), token(5)], 1_000), 1_050_000_000);
        assert_eq!(weight(&[], 1_000), 0);
    }
}
