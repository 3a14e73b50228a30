//! The access list that a call would use.

use super::{
    CALL_GAS_CAP, CallError, CallOutcome, CallRequest,
    call::{caller, environment, failure, outcome},
};
use crate::{Genesis, state::StateRead};
use alloy_consensus::Header;
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256};
use revm::{ExecuteEvm, state::EvmState};
use std::collections::{BTreeMap, BTreeSet};

/// Runs after which a list that still changes is given up: each run can only add, and a call that looks at its own gas
/// settles within a few.
const MAX_RUNS: usize = 8;
/// Addresses below hold precompiles, which are warm anyway.
const RESERVED: u64 = 0x0200;

/// An access list and what the call does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessOutcome {
    /// Addresses and slots beyond those that are warm anyway, in ascending order.
    pub list: AccessList,
    /// Gas that the call uses with the list.
    pub gas_used: u64,
    /// How the call ended.
    pub outcome: CallOutcome,
}

type Touched = BTreeMap<Address, BTreeSet<B256>>;

/// Runs the call again and again, each time with what the last run touched, until nothing is added.
///
/// # Errors
/// As [`call`](super::call), and [`CallError::Invalid`] where the list does not settle.
pub fn access_list<B: StateRead + Clone>(
    genesis: &Genesis,
    header: &Header,
    base: B,
    request: &CallRequest,
) -> Result<AccessOutcome, CallError> {
    let gas = request.gas.unwrap_or(CALL_GAS_CAP).min(CALL_GAS_CAP);
    let from = request.from.unwrap_or_default();
    let created = || from.create(request.nonce.unwrap_or_default());
    let warm = [from, request.to.unwrap_or_else(created), header.beneficiary];
    let mut touched: Touched = BTreeMap::new();
    for item in request.access_list.iter() {
        touched.entry(item.address).or_default().extend(&item.storage_keys);
    }
    let mut request = request.clone();
    for _ in 0..MAX_RUNS {
        let mut evm = caller(genesis, header, base.clone(), &request);
        let result = evm.transact_one(environment(&request, genesis, gas)).map_err(failure)?;
        let before = touched.clone();
        add(&mut touched, evm.finalize(), &warm);
        if touched == before {
            let gas_used = result.tx_gas_used();
            return Ok(AccessOutcome { list: request.access_list, gas_used, outcome: outcome(result) });
        }
        let item = |(address, keys): (&Address, &BTreeSet<B256>)| AccessListItem {
            address: *address,
            storage_keys: keys.iter().copied().collect(),
        };
        request.access_list = AccessList(touched.iter().map(item).collect());
    }
    Err(CallError::Invalid(format!("the access list still changes after {MAX_RUNS} runs")))
}

/// Adds what a run looked at. An address that is warm anyway is listed only for its slots.
fn add(touched: &mut Touched, state: EvmState, warm: &[Address]) {
    let reserved = Address::from_word(B256::from(alloy_primitives::U256::from(RESERVED)));
    for (address, account) in state {
        let slots = account.storage.keys().map(|slot| B256::from(*slot));
        let listed = !warm.contains(&address) && address >= reserved;
        if listed || !account.storage.is_empty() {
            touched.entry(address).or_default().extend(slots);
        }
    }
}
