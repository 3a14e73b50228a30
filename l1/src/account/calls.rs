//! The calls that an operator or a reporter sends.

use super::contracts::Contracts;
use super::questions::Call;
use crate::abi::{
    AllocateParams, AllocationManager, Contact, DelegationManager, DeregisterParams, RegisterParams, Registration,
    Slasher, SquadRegistrar,
};
use alloy_primitives::{Address, B256, Bytes};
use alloy_sol_types::{SolCall, SolValue as _};
use squad_contracts::restaking::commitment;

/// What taking a slashed operator out of the set takes, generously: a slash goes through without.
const SLASH_SPARE: u64 = 300_000;

/// Where a node is, as the registrar keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The bytes of its libp2p peer id, a multihash.
    pub peer: Vec<u8>,
    /// Its multiaddrs in binary form.
    pub addresses: Vec<Vec<u8>>,
}

impl Report {
    fn contact(&self) -> Contact {
        let addresses = self.addresses.iter().map(|address| address.clone().into()).collect();
        Contact { peerId: self.peer.clone().into(), addresses }
    }
}

fn call<C: SolCall>(what: &str, to: Address, call: &C) -> Call {
    Call { what: what.to_owned(), to, data: call.abi_encode().into(), spare: 0 }
}

impl Contracts {
    /// Makes the sender an operator of EigenLayer, whose allocations count after so many blocks.
    pub fn become_operator(&self, allocation_delay: u32, metadata: &str) -> Call {
        let (approver, metadata) = (Address::ZERO, metadata.to_owned());
        let data = DelegationManager::registerAsOperatorCall {
            approver,
            allocationDelay: allocation_delay,
            metadataURI: metadata,
        };
        call("registerAsOperator", self.delegation_manager, &data)
    }

    /// Sets what the sender has allocated of strategies, which ascend, to this network's set.
    pub fn allocate(&self, operator: Address, magnitudes: &[(Address, u64)]) -> Call {
        let (strategies, new) = magnitudes.iter().copied().unzip();
        let params = AllocateParams { operatorSet: self.operator_set(), strategies, newMagnitudes: new };
        let data = AllocationManager::modifyAllocationsCall { operator, params: vec![params] };
        call("modifyAllocations", self.allocation_manager, &data)
    }

    /// Takes the sender into the set with a consensus key and its proof.
    pub fn register(&self, operator: Address, key: Address, proof: &[u8; 65], report: &Report) -> Call {
        let registration = Registration { key, proof: Bytes::copy_from_slice(proof), contact: report.contact() };
        let data = registration.abi_encode().into();
        let params = RegisterParams { avs: self.slasher, operatorSetIds: vec![self.set], data };
        let data = AllocationManager::registerForOperatorSetsCall { operator, params };
        call("registerForOperatorSets", self.allocation_manager, &data)
    }

    /// Takes the sender out of the set.
    pub fn deregister(&self, operator: Address) -> Call {
        let params = DeregisterParams { operator, avs: self.slasher, operatorSetIds: vec![self.set] };
        let data = AllocationManager::deregisterFromOperatorSetsCall { params };
        call("deregisterFromOperatorSets", self.allocation_manager, &data)
    }

    /// Replaces the sender's consensus key.
    pub fn rotate_key(&self, key: Address, proof: &[u8; 65]) -> Call {
        let data = SquadRegistrar::rotateKeyCall { key, proof: Bytes::copy_from_slice(proof) };
        call("rotateKey", self.registrar, &data)
    }

    /// Says where the sender's node is.
    pub fn set_contact(&self, report: &Report) -> Call {
        call("setContact", self.registrar, &SquadRegistrar::setContactCall { contact: report.contact() })
    }

    /// Slashes whom the evidence accuses.
    pub fn slash(&self, evidence: &[u8]) -> Call {
        let data = Slasher::slashCall { evidence: Bytes::copy_from_slice(evidence) };
        Call { spare: SLASH_SPARE, ..call("slash", self.slasher, &data) }
    }

    /// What commits a reporter to evidence.
    pub fn commitment(evidence: &[u8], reporter: Address, salt: B256) -> B256 {
        commitment(evidence, &squad_types::Address(reporter.into_array()), &salt.0).into()
    }

    /// Commits the sender to evidence that it will show later.
    pub fn commit(&self, commitment: B256) -> Call {
        call("commit", self.slasher, &Slasher::commitCall { commitment })
    }

    /// Claims the bounty for evidence that the sender committed itself to.
    pub fn claim(&self, evidence: &[u8], salt: B256) -> Call {
        let data = Slasher::claimCall { evidence: Bytes::copy_from_slice(evidence), salt };
        call("claim", self.slasher, &data)
    }

    /// Pays an incident's bounty of one token to its reporter.
    pub fn pay(&self, incident: B256, token: Address) -> Call {
        call("pay", self.slasher, &Slasher::payCall { incident, token })
    }
}
