//! Operators that restake: as they would on mainnet, but for delays, and for signing by themselves.

use super::abi::{
    AllocateParams, IAllocationManager, IDelegationManager, ISquadRegistrar, IStrategyManager, IToken, OperatorSet,
    RegisterParams, Registration, Where,
};
use super::core::{Delays, EigenLayer, Stakeable, WAD};
use super::network::{Contracts, SET, weight};
use super::{Chain, DeployError};
use alloy_primitives::{Address, U256};
use alloy_sol_types::{SolCall as _, SolValue as _};

/// Ether that an account begins with.
const ETHER: u64 = 100;

/// Where a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The bytes of its libp2p peer id.
    pub peer_id: Vec<u8>,
    /// Its multiaddrs, in binary.
    pub addresses: Vec<Vec<u8>>,
}

impl From<&Contact> for Where {
    fn from(contact: &Contact) -> Self {
        let addresses = contact.addresses.iter().map(|address| address.clone().into()).collect();
        Self { peerId: contact.peer_id.clone().into(), addresses }
    }
}

/// Restakes operators for a network.
#[derive(Clone, Copy, Debug)]
pub struct Restaker<'a> {
    /// The chain.
    pub chain: &'a Chain,
    /// EigenLayer.
    pub core: &'a EigenLayer,
    /// What counts.
    pub tokens: &'a [Stakeable],
    /// The network's contracts.
    pub contracts: &'a Contracts,
}

impl Restaker<'_> {
    /// What an operator with so many whole tokens of each kind weighs, wholly allocated.
    pub fn weight(tokens: &[Stakeable], amount: u64) -> u64 {
        weight(tokens, amount)
    }

    async fn send(&self, what: &str, from: Address, to: Address, call: Vec<u8>) -> Result<u64, DeployError> {
        Ok(self.chain.send(what, from, Some(to), call.into()).await?.gas)
    }

    /// Gives an account ether and so many whole tokens of each kind, deposits these, and registers it as an operator.
    pub async fn deposit(&self, operator: Address, amount: u64) -> Result<u64, DeployError> {
        let wad = U256::from(WAD);
        self.chain.fund(operator, U256::from(ETHER) * wad).await?;
        let amount = U256::from(amount) * wad;
        let manager = self.core.strategy_manager;
        let mut gas = 0;
        for Stakeable { token, strategy, .. } in self.tokens {
            let mint = IToken::mintCall { to: operator, amount }.abi_encode();
            gas += self.send("minting tokens", operator, *token, mint).await?;
            let approve = IToken::approveCall { spender: manager, amount }.abi_encode();
            gas += self.send("approving a deposit", operator, *token, approve).await?;
            let deposit = IStrategyManager::depositIntoStrategyCall { strategy: *strategy, token: *token, amount };
            gas += self.send("a deposit", operator, manager, deposit.abi_encode()).await?;
        }
        let register = IDelegationManager::registerAsOperatorCall {
            approver: Address::ZERO,
            allocationDelay: 0,
            uri: String::new(),
        };
        let to = self.core.delegation_manager;
        Ok(gas + self.send("registering as EigenLayer's operator", operator, to, register.abi_encode()).await?)
    }

    /// Lets the time pass until the operators' allocation delays count.
    pub async fn wait(&self, delays: &Delays) -> Result<(), DeployError> {
        self.chain.mine(u64::from(delays.configuration) + 1).await
    }

    /// Allocates all that an operator has to the network, and registers it with a key that has signed that it is its own.
    pub async fn join(
        &self,
        operator: Address,
        key: Address,
        proof: &[u8],
        contact: &Contact,
    ) -> Result<u64, DeployError> {
        let avs = self.contracts.slasher;
        let allocate = IAllocationManager::modifyAllocationsCall {
            operator,
            params: vec![AllocateParams {
                operatorSet: OperatorSet { avs, id: SET },
                strategies: self.tokens.iter().map(|token| token.strategy).collect(),
                newMagnitudes: vec![WAD; self.tokens.len()],
            }],
        };
        let to = self.core.allocation_manager;
        let gas = self.send("allocating stake", operator, to, allocate.abi_encode()).await?;
        let registration = Registration { key, proof: proof.to_vec().into(), contact: contact.into() };
        let register = IAllocationManager::registerForOperatorSetsCall {
            operator,
            params: RegisterParams { avs, operatorSetIds: vec![SET], data: registration.abi_encode().into() },
        };
        Ok(gas + self.send("registering for the network", operator, to, register.abi_encode()).await?)
    }

    /// Says where an operator's node is, if that is not what the registrar has. Of who has left or is barred it takes nothing more.
    pub async fn contact(&self, operator: Address, contact: &Contact) -> Result<(), DeployError> {
        let registrar = self.contracts.registrar;
        let known = self.chain.call("where a node is", registrar, &ISquadRegistrar::contactOfCall { operator }).await?;
        let contact = Where::from(contact);
        if known.peerId == contact.peerId && known.addresses == contact.addresses {
            return Ok(());
        }
        let set = OperatorSet { avs: self.contracts.slasher, id: SET };
        let asked = IAllocationManager::isMemberOfOperatorSetCall { operator, operatorSet: set };
        let member = self.chain.call("whether an operator is in the set", self.core.allocation_manager, &asked).await?;
        let asked = ISquadRegistrar::isTombstonedCall { operator };
        if !member || self.chain.call("whether an operator is barred", registrar, &asked).await? {
            return Ok(());
        }
        let call = ISquadRegistrar::setContactCall { contact }.abi_encode();
        self.send("saying where a node is", operator, registrar, call).await.map(drop)
    }
}
