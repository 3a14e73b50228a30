//! A network's contracts and what they rest on of EigenLayer's core, as far as commands and nodes use them: with the same answers,
//! the same errors and the same delays, and without an EVM.

use crate::abi::{
    Allocation, AllocationManager, Contact, DelegationManager, OperatorSet, Registration, Slasher, SquadRegistrar,
    StakeTable, Strategy,
};
use alloy_primitives::{Address, B256, Signature, U256};
use alloy_sol_types::{SolCall, SolError, SolValue as _, sol};
use squad_contracts::restaking::{commitment, key_digest};
use squad_types::{Decode as _, Domain, EcdsaVerifier, Evidence, NetworkId};
use std::collections::BTreeMap;

sol! {
    error Tombstoned(address operator);
    error TooLittleStake(uint64 weight, uint64 minimum);
    error NotRegistered(address operator);
    error BadProof(address key);
    error KeyTaken(address key, address operator);
    error RotationPending(uint32 from);
    error BadContact();
    error UnknownKey(address key);
    error AlreadySlashed(bytes32 incident);
    error NoLongerSlashable(address operator);
    error NotSlashed(bytes32 incident);
    error NoCommitment(bytes32 commitment);
    error AlreadyClaimed(bytes32 incident, address reporter);
    error AlreadyMemberOfSet();
    error NotMemberOfSet();
    error InvalidPermissions();
    error InvalidOperator();
    error ActivelyDelegated();
    error UninitializedAllocationDelay();
    error ModificationAlreadyPending();
    error InsufficientMagnitude();
    error SameMagnitude();
}

/// The contracts beside the stake table.
pub const REGISTRAR: Address = Address::repeat_byte(8);
/// The AVS.
pub const SLASHER: Address = Address::repeat_byte(9);
/// EigenLayer's allocations.
pub const ALLOCATIONS: Address = Address::repeat_byte(10);
/// EigenLayer's delegations.
pub const DELEGATIONS: Address = Address::repeat_byte(11);
/// What can be restaked: the first counts as it is, the second a twentieth.
pub const STRATEGIES: [Address; 2] = [Address::repeat_byte(0x21), Address::repeat_byte(0x22)];
/// The question whether an incident was slashed.
pub const INCIDENTS: [u8; 4] = Slasher::incidentsCall::SELECTOR;
/// Blocks for which stake stays slashable.
pub const DELAY: u32 = 100_800;
/// Blocks until a new key counts.
pub const ROTATION: u32 = 50;
/// The least weight: 32 tokens.
pub const MINIMUM: u64 = 32_000_000;

const WAD: u64 = 1_000_000_000_000_000_000;
const SET: u32 = 1;
const MULTIPLIERS: [u64; 2] = [WAD, WAD / 20];

/// One operator.
#[derive(Clone, Debug, Default)]
pub struct Operator {
    /// Whether EigenLayer knows it.
    pub known: bool,
    /// When its allocations count, if that is settled.
    pub allocation_delay: Option<u32>,
    /// What is delegated to it, in whole shares.
    pub shares: [u64; 2],
    /// What it has allocated.
    pub magnitude: [u64; 2],
    /// A change that does not count yet.
    pub pending: [Option<(i128, u32)>; 2],
    /// Whether it is in the set.
    pub member: bool,
    /// When it left.
    pub left: Option<u64>,
    /// Its consensus key.
    pub key: Address,
    /// Its next one, and from when it counts.
    pub next: Option<(Address, u32)>,
    /// Whether it is barred.
    pub tombstoned: bool,
    /// Where its node is.
    pub contact: Option<Contact>,
}

/// Whom an incident took stake of, when, and who reported it.
pub type Slash = (Address, u64, Address);

/// All of it.
#[derive(Clone, Debug)]
pub struct Restaked {
    /// The network that evidence has to be of.
    pub network: NetworkId,
    /// Everybody.
    pub operators: BTreeMap<Address, Operator>,
    /// Whose a key is or was.
    pub keys: BTreeMap<Address, Address>,
    /// What was slashed.
    pub slashed: BTreeMap<B256, Slash>,
    /// When somebody committed to what.
    pub commitments: BTreeMap<B256, u64>,
    /// Whether there is a bounty.
    pub pays: bool,
    /// Bounties paid.
    pub paid: Vec<(B256, Address)>,
}

type Answer = Result<Vec<u8>, Vec<u8>>;

fn refuse<T>(error: impl SolError) -> Result<T, Vec<u8>> {
    Err(error.abi_encode())
}

fn decode<C: SolCall>(data: &[u8]) -> C {
    C::abi_decode_validate(data).unwrap()
}

macro_rules! answers {
    ($data:ident, $($call:ty => |$decoded:pat_param| $answer:expr),* $(,)?) => {
        match <[u8; 4]>::try_from(&$data[..4]).unwrap() {
            $(<$call as SolCall>::SELECTOR => {
                #[allow(unused_variables)]
                let $decoded = decode::<$call>($data);
                Ok(<$call as SolCall>::abi_encode_returns(&$answer))
            })*
            other => panic!("no such function here: {other:?}"),
        }
    };
}

impl Restaked {
    /// Contracts of a network without operators.
    pub fn new(network: NetworkId) -> Self {
        Self {
            network,
            operators: BTreeMap::new(),
            keys: BTreeMap::new(),
            slashed: BTreeMap::new(),
            commitments: BTreeMap::new(),
            pays: false,
            paid: Vec::new(),
        }
    }

    /// Adds an operator with so many tokens of each strategy, all allocated, and in the set with a key.
    pub fn join(&mut self, operator: Address, key: Address, shares: [u64; 2]) {
        let known = Operator {
            known: true,
            allocation_delay: Some(0),
            shares,
            magnitude: [WAD; 2],
            member: true,
            key,
            ..Default::default()
        };
        self.keys.insert(key, operator);
        self.operators.insert(operator, known);
    }

    fn of(&self, operator: Address) -> Operator {
        self.operators.get(&operator).cloned().unwrap_or_default()
    }

    fn slashable(&self, block: u64, operator: Address) -> bool {
        let found = self.of(operator);
        found.member || found.left.is_some_and(|left| block <= left + u64::from(DELAY))
    }

    fn settle(&mut self, block: u64) {
        for operator in self.operators.values_mut() {
            for (magnitude, pending) in operator.magnitude.iter_mut().zip(&mut operator.pending) {
                if let Some((diff, _)) = pending.filter(|(_, from)| u64::from(*from) <= block) {
                    *magnitude = u64::try_from(i128::from(*magnitude) + diff).unwrap();
                    *pending = None;
                }
            }
        }
    }

    fn weight(&self, operator: Address) -> u64 {
        let found = self.of(operator);
        let weigh = |at: usize| {
            let (down, _) = found.pending[at].filter(|(diff, _)| *diff < 0).unwrap_or_default();
            let lasting = u64::try_from(i128::from(found.magnitude[at]) + down).unwrap();
            u128::from(found.shares[at]) * u128::from(lasting) * u128::from(MULTIPLIERS[at] / 1_000_000)
                / u128::from(WAD)
                / 1_000_000
        };
        u64::try_from(weigh(0) + weigh(1)).unwrap()
    }

    /// What a call comes to, from an account in a block. What it changes stays, unless it fails.
    pub fn call(&mut self, block: u64, from: Address, to: Address, data: &[u8]) -> Answer {
        self.settle(block);
        match to {
            crate::testing::TABLE => self.table(data),
            REGISTRAR => self.registrar(block, from, data),
            SLASHER => self.slasher(block, from, data),
            ALLOCATIONS => self.allocations(block, from, data),
            DELEGATIONS => self.delegations(from, data),
            // A strategy's token, which here is the strategy itself.
            _ if STRATEGIES.contains(&to) => answers!(data, Strategy::underlyingTokenCall => |_| to),
            _ => Ok(Vec::new()),
        }
    }

    fn table(&self, data: &[u8]) -> Answer {
        answers!(data,
            StakeTable::registrarCall => |_| REGISTRAR,
            StakeTable::allocationManagerCall => |_| ALLOCATIONS,
            StakeTable::operatorSetCall => |_| OperatorSet { avs: SLASHER, id: SET },
            StakeTable::strategiesCall => |_| StakeTable::strategiesReturn {
                strategies: STRATEGIES.to_vec(), multipliers: MULTIPLIERS.map(U256::from).to_vec(),
            },
            StakeTable::minimumStakeCall => |_| MINIMUM,
            StakeTable::mostMembersCall => |_| 100_u16,
            StakeTable::lookaheadCall => |_| 50_700_u32,
            StakeTable::evidenceWindowCall => |_| 50_400_u32,
            StakeTable::weightOfCall => |call| if self.of(call.operator).member { self.weight(call.operator) } else { 0 },
        )
    }

    fn bind(&mut self, operator: Address, key: Address, proof: &[u8]) -> Result<(), Vec<u8>> {
        let ours = |address: Address| squad_types::Address(address.into_array());
        let digest = key_digest(crate::testing::CHAIN, &ours(REGISTRAR), &ours(operator), &ours(key));
        let signed = Signature::from_raw(proof).and_then(|proof| proof.recover_address_from_prehash(&digest.into()));
        if !signed.is_ok_and(|signer| signer == key) {
            return refuse(BadProof { key });
        }
        match self.keys.get(&key) {
            Some(owner) if *owner != operator => refuse(KeyTaken { key, operator: *owner }),
            _ => {
                self.keys.insert(key, operator);
                Ok(())
            }
        }
    }

    fn registrar(&mut self, block: u64, from: Address, data: &[u8]) -> Answer {
        let selector: [u8; 4] = data[..4].try_into().unwrap();
        if selector == SquadRegistrar::rotateKeyCall::SELECTOR || selector == SquadRegistrar::setContactCall::SELECTOR {
            let found = self.of(from);
            if !found.member {
                return refuse(NotRegistered { operator: from });
            }
            if selector == SquadRegistrar::setContactCall::SELECTOR {
                let contact = decode::<SquadRegistrar::setContactCall>(data).contact;
                self.operators.entry(from).or_default().contact = Some(contact);
                return Ok(Vec::new());
            }
            let call = decode::<SquadRegistrar::rotateKeyCall>(data);
            if let Some((_, until)) = found.next.filter(|(_, until)| u64::from(*until) > block) {
                return refuse(RotationPending { from: until });
            }
            self.bind(from, call.key, &call.proof)?;
            let counts = u32::try_from(block).unwrap() + ROTATION;
            let operator = self.operators.entry(from).or_default();
            (operator.key, operator.next) = (found.next.map_or(found.key, |(key, _)| key), Some((call.key, counts)));
            return Ok(Vec::new());
        }
        let key_of = |operator: Address| {
            let found = self.of(operator);
            let counts = found.next.filter(|(_, from)| u64::from(*from) <= block);
            if found.tombstoned { Address::ZERO } else { counts.map_or(found.key, |(key, _)| key) }
        };
        answers!(data,
            SquadRegistrar::mostOperatorsCall => |_| U256::from(128),
            SquadRegistrar::rotationDelayCall => |_| ROTATION,
            SquadRegistrar::operatorOfCall => |call| self.keys.get(&call.key).copied().unwrap_or_default(),
            SquadRegistrar::keyOfCall => |call| key_of(call.operator),
            SquadRegistrar::nextKeyOfCall => |call| {
                let (key, from) = self.of(call.operator).next.unwrap_or_default();
                SquadRegistrar::nextKeyOfReturn { key, from }
            },
            SquadRegistrar::isTombstonedCall => |call| self.of(call.operator).tombstoned,
            SquadRegistrar::contactOfCall => |call| self.of(call.operator).contact.unwrap_or(Contact {
                peerId: Default::default(), addresses: Vec::new(),
            }),
        )
    }

    fn judge(&self, evidence: &[u8]) -> (squad_types::Address, B256, u8) {
        let read = Evidence::from_bytes(bytes(evidence)).unwrap();
        let accused = read.verify(&Domain::new(self.network), &EcdsaVerifier).unwrap();
        (accused, read.incident(&self.network).unwrap().0.into(), evidence[0])
    }

    fn slash(&mut self, block: u64, evidence: &[u8]) -> Answer {
        let (accused, incident, _) = self.judge(evidence);
        let key = Address::from(accused.0);
        let Some(operator) = self.keys.get(&key).copied() else { return refuse(UnknownKey { key }) };
        if self.slashed.contains_key(&incident) {
            return refuse(AlreadySlashed { incident });
        }
        if !self.slashable(block, operator) {
            return refuse(NoLongerSlashable { operator });
        }
        self.slashed.insert(incident, (operator, block, Address::ZERO));
        let found = self.operators.entry(operator).or_default();
        found.tombstoned = true;
        if std::mem::take(&mut found.member) {
            found.left = Some(block);
        }
        Ok(incident.abi_encode())
    }

    fn slasher(&mut self, block: u64, from: Address, data: &[u8]) -> Answer {
        let selector: [u8; 4] = data[..4].try_into().unwrap();
        match selector {
            Slasher::slashCall::SELECTOR => return self.slash(block, &decode::<Slasher::slashCall>(data).evidence),
            Slasher::commitCall::SELECTOR => {
                self.commitments.entry(decode::<Slasher::commitCall>(data).commitment).or_insert(block);
                return Ok(Vec::new());
            }
            Slasher::claimCall::SELECTOR => {
                let call = decode::<Slasher::claimCall>(data);
                let (_, incident, _) = self.judge(&call.evidence);
                let Some(found) = self.slashed.get_mut(&incident) else { return refuse(NotSlashed { incident }) };
                if found.2 != Address::ZERO {
                    return refuse(AlreadyClaimed { incident, reporter: found.2 });
                }
                let made = commitment(&call.evidence, &squad_types::Address(from.into_array()), &call.salt.0).into();
                if self.commitments.get(&made).is_none_or(|at| *at >= found.1) {
                    return refuse(NoCommitment { commitment: made });
                }
                found.2 = from;
                return Ok(Vec::new());
            }
            Slasher::payCall::SELECTOR => {
                let call = decode::<Slasher::payCall>(data);
                self.paid.push((call.incident, call.token));
                return Ok(Vec::new());
            }
            _ => {}
        }
        let coming = |incident: B256, token: Address| {
            self.pays && self.slashed.contains_key(&incident) && !self.paid.contains(&(incident, token))
        };
        answers!(data,
            Slasher::networkCall => |_| B256::from(self.network.0),
            Slasher::sinkCall => |_| if self.pays { Address::repeat_byte(0x51) } else { Address::ZERO },
            Slasher::bountyCall => |_| U256::from(if self.pays { WAD / 20 } else { 0 }),
            Slasher::claimBlocksCall => |_| 7_200_u32,
            Slasher::fractionsCall => |call| U256::from(WAD) / (call.kind + U256::from(1)),
            Slasher::committedAtCall => |call|
                U256::from(self.commitments.get(&call.commitment).copied().unwrap_or_default()),
            Slasher::incidentsCall => |call| {
                let (operator, slashed, reporter) = self.slashed.get(&call.incident).copied().unwrap_or_default();
                Slasher::incidentsReturn { operator, slashedAt: slashed, reporter, slashId: U256::from(1) }
            },
            Slasher::bountiesCall => |call| U256::from(if coming(call.incident, call.token) { WAD } else { 0 }),
        )
    }

    fn delegations(&mut self, from: Address, data: &[u8]) -> Answer {
        if data[..4] == DelegationManager::registerAsOperatorCall::SELECTOR {
            let call = decode::<DelegationManager::registerAsOperatorCall>(data);
            let operator = self.operators.entry(from).or_default();
            if std::mem::replace(&mut operator.known, true) {
                return refuse(ActivelyDelegated {});
            }
            operator.allocation_delay = Some(call.allocationDelay);
            return Ok(Vec::new());
        }
        answers!(data,
            DelegationManager::isOperatorCall => |call| self.of(call.operator).known,
            DelegationManager::minWithdrawalDelayBlocksCall => |_| DELAY,
            DelegationManager::operatorSharesCall => |call| {
                let at = STRATEGIES.iter().position(|strategy| *strategy == call.strategy).unwrap();
                U256::from(self.of(call.operator).shares[at]) * U256::from(WAD)
            },
        )
    }

    fn modify(&mut self, block: u64, call: &AllocationManager::modifyAllocationsCall) -> Answer {
        let slashable = self.slashable(block, call.operator);
        let operator = self.operators.entry(call.operator).or_default();
        if !operator.known {
            return refuse(InvalidOperator {});
        }
        let Some(delay) = operator.allocation_delay else { return refuse(UninitializedAllocationDelay {}) };
        for (strategy, new) in call.params[0].strategies.iter().zip(&call.params[0].newMagnitudes) {
            let at = STRATEGIES.iter().position(|known| known == strategy).unwrap();
            if operator.pending[at].is_some() {
                return refuse(ModificationAlreadyPending {});
            }
            let now = operator.magnitude[at];
            let wait = match new.cmp(&now) {
                std::cmp::Ordering::Equal => return refuse(SameMagnitude {}),
                std::cmp::Ordering::Less if slashable => DELAY + 1,
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Greater if *new > WAD => return refuse(InsufficientMagnitude {}),
                std::cmp::Ordering::Greater => delay,
            };
            if wait == 0 {
                operator.magnitude[at] = *new;
            } else {
                let from = u32::try_from(block).unwrap() + wait;
                operator.pending[at] = Some((i128::from(*new) - i128::from(now), from));
            }
        }
        Ok(Vec::new())
    }

    fn register(&mut self, from: Address, call: &AllocationManager::registerForOperatorSetsCall) -> Answer {
        let (operator, found) = (call.operator, self.of(call.operator));
        assert_eq!((call.params.avs, &call.params.operatorSetIds), (SLASHER, &vec![SET]));
        if from != operator {
            return refuse(InvalidPermissions {});
        }
        if !found.known {
            return refuse(InvalidOperator {});
        }
        if found.member {
            return refuse(AlreadyMemberOfSet {});
        }
        if found.tombstoned {
            return refuse(Tombstoned { operator });
        }
        let weight = self.weight(operator);
        if weight < MINIMUM {
            return refuse(TooLittleStake { weight, minimum: MINIMUM });
        }
        let registration = Registration::abi_decode_validate(&call.params.data).unwrap();
        self.bind(operator, registration.key, &registration.proof)?;
        if registration.contact.addresses.is_empty() || registration.contact.peerId.len() < 3 {
            return refuse(BadContact {});
        }
        let found = self.operators.entry(operator).or_default();
        (found.member, found.left, found.key, found.next) = (true, None, registration.key, None);
        found.contact = Some(registration.contact);
        Ok(Vec::new())
    }

    fn allocations(&mut self, block: u64, from: Address, data: &[u8]) -> Answer {
        match data[..4].try_into().unwrap() {
            AllocationManager::modifyAllocationsCall::SELECTOR => return self.modify(block, &decode(data)),
            AllocationManager::registerForOperatorSetsCall::SELECTOR => return self.register(from, &decode(data)),
            AllocationManager::deregisterFromOperatorSetsCall::SELECTOR => {
                let call: AllocationManager::deregisterFromOperatorSetsCall = decode(data);
                let found = self.operators.entry(call.params.operator).or_default();
                if !std::mem::take(&mut found.member) {
                    return refuse(NotMemberOfSet {});
                }
                found.left = Some(block);
                return Ok(Vec::new());
            }
            _ => {}
        }
        let place = |strategy: &Address| STRATEGIES.iter().position(|known| known == strategy).unwrap();
        answers!(data,
            AllocationManager::DEALLOCATION_DELAYCall => |_| DELAY,
            AllocationManager::ALLOCATION_CONFIGURATION_DELAYCall => |_| 126_000_u32,
            AllocationManager::delegationCall => |_| DELEGATIONS,
            AllocationManager::getAllocationDelayCall => |call| {
                let delay = self.of(call.operator).allocation_delay;
                AllocationManager::getAllocationDelayReturn { isSet: delay.is_some(), delay: delay.unwrap_or_default() }
            },
            AllocationManager::getAllocationCall => |call| {
                let (found, at) = (self.of(call.operator), place(&call.strategy));
                let (diff, from) = found.pending[at].unwrap_or_default();
                Allocation { currentMagnitude: found.magnitude[at], pendingDiff: diff, effectBlock: from }
            },
            AllocationManager::getAllocatableMagnitudeCall => |call| {
                let (found, at) = (self.of(call.operator), place(&call.strategy));
                let (up, _) = found.pending[at].filter(|(diff, _)| *diff > 0).unwrap_or_default();
                WAD - found.magnitude[at] - u64::try_from(up).unwrap()
            },
            AllocationManager::getMaxMagnitudeCall => |_| WAD,
            AllocationManager::getMemberCountCall => |_|
                U256::from(self.operators.values().filter(|operator| operator.member).count()),
            AllocationManager::isMemberOfOperatorSetCall => |call| self.of(call.operator).member,
            AllocationManager::isOperatorSlashableCall => |call| self.slashable(block, call.operator),
        )
    }
}

fn bytes(bytes: &[u8]) -> alloy_primitives::bytes::Bytes {
    alloy_primitives::bytes::Bytes::copy_from_slice(bytes)
}
