//! EigenLayer's core, put together as its own deployment does.

use super::abi::{IInitialize, IStrategyFactory, IStrategyManager};
use super::{Chain, DeployError};
use alloy_primitives::{Address, U256, address, hex};
use alloy_sol_types::{SolCall as _, SolValue as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// One, where fractions are in whole numbers; a token of 18 decimals.
pub(super) const WAD: u64 = 1_000_000_000_000_000_000;

/// What its contracts call themselves.
const VERSION: &str = "v1.4.0";

/// Where mainnet has the beacon chain's deposit contract. Here is nothing: nobody stakes ether.
const DEPOSIT_CONTRACT: Address = address!("0x00000000219ab540356cBB839Cbe05303d7705Fa");

/// EigenLayer's delays, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// How long what is deallocated stays slashable.
    pub deallocation: u32,
    /// How long what is withdrawn does.
    pub withdrawal: u32,
    /// Until an operator's own allocation delay counts.
    pub configuration: u32,
}

/// The delays of a development network: ten minutes at a block a second in place of two weeks.
pub const DELAYS: Delays = Delays { deallocation: 600, withdrawal: 600, configuration: 10 };

/// The creation code of the core's contracts by name.
#[derive(Clone, Debug)]
pub struct Core(BTreeMap<String, Vec<u8>>);

/// The contracts that have to be there.
const NAMES: [&str; 13] = [
    "AVSDirectory",
    "AllocationManager",
    "DelegationManager",
    "EigenPod",
    "EigenPodManager",
    "PauserRegistry",
    "PermissionController",
    "ProxyAdmin",
    "StrategyBase",
    "StrategyFactory",
    "StrategyManager",
    "TransparentUpgradeableProxy",
    "UpgradeableBeacon",
];

impl Core {
    /// Reads what `contracts/core.mjs` wrote.
    pub fn read(path: &Path) -> Result<Self, DeployError> {
        let bad = |why: String| DeployError::Core { path: path.to_owned(), why };
        let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let texts: BTreeMap<String, String> = serde_json::from_slice(&text)
            .map_err(|error| bad(format!("no JSON object of creation code in hex by name: {error}")))?;
        let mut codes = BTreeMap::new();
        for name in NAMES {
            let code = texts.get(name).ok_or_else(|| bad(format!("{name} is missing: have it written anew")))?;
            let code = hex::decode(code).map_err(|error| bad(format!("the code of {name} is no hex: {error}")))?;
            codes.insert(name.to_owned(), code);
        }
        Ok(Self(codes))
    }

    fn with(&self, name: &str, arguments: &[u8]) -> Vec<u8> {
        [self.0.get(name).map(Vec::as_slice).unwrap_or_default(), arguments].concat()
    }
}

/// A token that can be restaked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stakeable {
    /// Its symbol.
    pub symbol: String,
    /// The token.
    pub token: Address,
    /// EigenLayer's strategy for it.
    pub strategy: Address,
    /// What a share of it counts, 1e18 being one.
    pub multiplier: U256,
}

/// Where EigenLayer's core is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EigenLayer {
    /// Who deployed it and owns it.
    pub owner: Address,
    /// Allocations, operator sets, slashing.
    pub allocation_manager: Address,
    /// Operators and who delegates to them.
    pub delegation_manager: Address,
    /// Deposits.
    pub strategy_manager: Address,
    /// Who may act for an operator.
    pub permission_controller: Address,
    /// AVSs of the old kind.
    pub avs_directory: Address,
    /// Stakers on the beacon chain.
    pub eigen_pod_manager: Address,
    /// Makes strategies.
    pub strategy_factory: Address,
    /// Upgrades the others.
    pub proxy_admin: Address,
    /// Who may pause them.
    pub pauser_registry: Address,
}

/// Contracts to come, each at the address that the next nonce gives.
pub(super) struct Creations<'a> {
    chain: &'a Chain,
    from: Address,
    nonce: u64,
    pub(super) gas: u64,
}

impl<'a> Creations<'a> {
    pub(super) async fn begin(chain: &'a Chain, from: Address) -> Result<Self, DeployError> {
        Ok(Self { chain, from, nonce: chain.nonce(from).await?, gas: 0 })
    }

    /// The address of the contract that is created so many contracts from now.
    pub(super) fn ahead(&self, contracts: u64) -> Address {
        self.from.create(self.nonce + contracts)
    }

    pub(super) async fn create(&mut self, name: &str, code: Vec<u8>) -> Result<Address, DeployError> {
        let expected = self.ahead(0);
        self.gas += self.chain.create(name, self.from, expected, code).await?;
        self.nonce += 1;
        Ok(expected)
    }
}

/// How many contracts come before the proxies: the implementations, and what they are given.
const BEFORE_PROXIES: u64 = 13;

impl EigenLayer {
    /// Puts it on the chain, and says what that took in gas.
    pub async fn deploy(chain: &Chain, core: &Core, delays: &Delays) -> Result<(Self, u64), DeployError> {
        let owner = chain.deployer().await?;
        let mut made = Creations::begin(chain, owner).await?;
        // Proxies are created with their implementations, which have to know the proxies.
        let proxy = |number: u64| made.ahead(BEFORE_PROXIES + number);
        let (permissions, delegation, strategies, allocation) = (proxy(0), proxy(1), proxy(2), proxy(3));
        let (directory, pods, factory) = (proxy(4), proxy(5), proxy(6));
        let version = VERSION.to_owned();

        let admin = made.create("ProxyAdmin", core.with("ProxyAdmin", &[])).await?;
        let arguments = (Vec::<Address>::new(), owner).abi_encode_params();
        let pausers = made.create("PauserRegistry", core.with("PauserRegistry", &arguments)).await?;
        let mut implement = async |name: &str, arguments: Vec<u8>| made.create(name, core.with(name, &arguments)).await;
        let permissions_code = implement("PermissionController", version.abi_encode()).await?;
        let arguments = (strategies, pods, allocation, pausers, permissions, delays.withdrawal, version.clone());
        let delegation_code = implement("DelegationManager", arguments.abi_encode_params()).await?;
        let arguments = (delegation, pausers, version.clone()).abi_encode_params();
        let strategies_code = implement("StrategyManager", arguments.clone()).await?;
        let directory_code = implement("AVSDirectory", arguments).await?;
        let arguments = (delegation, pausers, permissions, delays.deallocation, delays.configuration, version.clone());
        let allocation_code = implement("AllocationManager", arguments.abi_encode_params()).await?;
        let arguments = (DEPOSIT_CONTRACT, pods, 0_u64, version.clone());
        let pod = implement("EigenPod", arguments.abi_encode_params()).await?;
        let pod_beacon = implement("UpgradeableBeacon", pod.abi_encode()).await?;
        let arguments = (DEPOSIT_CONTRACT, pod_beacon, delegation, pausers, version.clone());
        let pods_code = implement("EigenPodManager", arguments.abi_encode_params()).await?;
        let arguments = (strategies, pausers, version).abi_encode_params();
        let strategy = implement("StrategyBase", arguments.clone()).await?;
        let strategy_beacon = implement("UpgradeableBeacon", strategy.abi_encode()).await?;
        let factory_code = implement("StrategyFactory", arguments).await?;

        let begin = IInitialize::initializeCall { owner, paused: U256::ZERO }.abi_encode();
        let strategies_begin =
            IStrategyManager::initializeCall { owner, whitelister: factory, paused: U256::ZERO }.abi_encode();
        let factory_begin =
            IStrategyFactory::initializeCall { owner, paused: U256::ZERO, beacon: strategy_beacon }.abi_encode();
        let proxies = [
            (permissions, permissions_code, Vec::new()),
            (delegation, delegation_code, begin.clone()),
            (strategies, strategies_code, strategies_begin),
            (allocation, allocation_code, begin.clone()),
            (directory, directory_code, begin.clone()),
            (pods, pods_code, begin),
            (factory, factory_code, factory_begin),
        ];
        for (expected, code, begin) in proxies {
            let arguments = (code, admin, alloy_primitives::Bytes::from(begin)).abi_encode_params();
            let name = "TransparentUpgradeableProxy";
            let found = made.create(name, core.with(name, &arguments)).await?;
            if found != expected {
                let (expected, found) = (expected.to_string(), found.to_string());
                return Err(DeployError::Other { what: "a proxy's address", expected, found });
            }
        }
        let core = Self {
            owner,
            allocation_manager: allocation,
            delegation_manager: delegation,
            strategy_manager: strategies,
            permission_controller: permissions,
            avs_directory: directory,
            eigen_pod_manager: pods,
            strategy_factory: factory,
            proxy_admin: admin,
            pauser_registry: pausers,
        };
        Ok((core, made.gas))
    }

    /// Makes a test token, of which one counts so many hundredths, and a strategy for it, as anybody may; says what that took in gas.
    pub async fn add_token(
        &self,
        chain: &Chain,
        name: &str,
        symbol: &str,
        percent: u64,
    ) -> Result<(Stakeable, u64), DeployError> {
        let mut made = Creations::begin(chain, self.owner).await?;
        let arguments = (name.to_owned(), symbol.to_owned()).abi_encode_params();
        let code = squad_contracts::restaking::test_token().create_with(&arguments);
        let token = made.create("TestToken", code).await?;
        let call = IStrategyFactory::deployNewStrategyCall { token }.abi_encode();
        let to = Some(self.strategy_factory);
        let done = chain.send("a strategy for a token", self.owner, to, call.into()).await?;
        let asked = IStrategyFactory::deployedStrategiesCall { token };
        let strategy = chain.call("a token's strategy", self.strategy_factory, &asked).await?;
        let multiplier = U256::from(percent) * U256::from(WAD / 100);
        Ok((Stakeable { symbol: symbol.to_owned(), token, strategy, multiplier }, made.gas + done.gas))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_lacks_something_says_what_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("core.json");
        let says = || Core::read(&path).unwrap_err().to_string();
        assert!(says().contains("core.json"), "{}", says());
        std::fs::write(&path, "[]").unwrap();
        assert!(says().contains("no JSON object of creation code"), "{}", says());
        let mut all: BTreeMap<&str, &str> = NAMES.iter().map(|name| (*name, "0x00ff")).collect();
        let write = |all: &BTreeMap<&str, &str>| std::fs::write(&path, serde_json::to_vec(all).unwrap()).unwrap();
        write(&all);
        let core = Core::read(&path).unwrap();
        assert_eq!(core.with("EigenPod", &[7]), [0, 255, 7]);
        all.insert("EigenPod", "0xzz");
        write(&all);
        assert!(says().contains("the code of EigenPod is no hex"), "{}", says());
        all.remove("EigenPod");
        write(&all);
        assert!(says().contains("EigenPod is missing"), "{}", says());
    }
}
