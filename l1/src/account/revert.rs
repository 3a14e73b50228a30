//! What a contract says when it refuses.

use alloy_primitives::{Address, B256, Bytes, U256, hex, keccak256};
use squad_contracts::restaking::{slasher, squad_registrar, stake_table};
use squad_contracts::{Artifact, evidence_verifier};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

/// What is shown of a text or of bytes that nobody knows.
const MAX_SHOWN: usize = 200;

/// Errors of Solidity itself, and of EigenLayer's core from v1.4 to v1.12, with what to do about them.
const KNOWN: &[(&str, &str)] = &[
    ("Error(string message)", ""),
    ("Panic(uint256 code)", ""),
    ("AlreadyMemberOfSet()", "the operator is in the set already"),
    ("NotMemberOfSet()", "the operator is not in the set"),
    ("InvalidCaller()", "EigenLayer does not let this account do that"),
    ("InvalidPermissions()", "EigenLayer does not let this account do that: use the operator's own"),
    ("InvalidOperator()", "EigenLayer knows no such operator: `squad operator register --as-operator` makes one"),
    ("OperatorNotRegistered()", "EigenLayer knows no such operator: `squad operator register --as-operator` makes one"),
    ("OperatorNotSlashable()", "the operator has left, and its stake is free"),
    ("UninitializedAllocationDelay()", "the operator's allocation delay does not count yet"),
    ("ModificationAlreadyPending()", "an earlier change of the allocation is pending: wait until it counts"),
    ("InsufficientMagnitude()", "more than is free to be allocated: other sets have it"),
    ("SameMagnitude()", "so much is allocated already"),
    ("InvalidOperatorSet()", "there is no such operator set"),
    ("StrategyNotInOperatorSet()", "the set does not count this strategy"),
    ("StrategiesMustBeInAscendingOrder()", ""),
    ("StrategyAlreadyInOperatorSet()", ""),
    ("NonexistentAVSMetadata()", ""),
    ("InvalidAVSRegistrar()", ""),
    ("InvalidWadToSlash()", ""),
    ("InvalidSnapshotOrdering()", ""),
    ("InputArrayLengthMismatch()", ""),
    ("InputArrayLengthZero()", ""),
    ("InputAddressZero()", ""),
    ("CurrentlyPaused()", "EigenLayer has paused this: try again later"),
    ("ActivelyDelegated()", "the account has delegated its own stake already, so it cannot become an operator"),
    ("NotActivelyDelegated()", ""),
    ("OperatorsCannotUndelegate()", ""),
    ("FullySlashed()", "all of the operator's stake was slashed"),
    ("WithdrawalDelayNotElapsed()", "the withdrawal is not due yet"),
    ("WithdrawalNotQueued()", ""),
    ("WithdrawerNotCaller()", ""),
    ("SharesAmountTooHigh()", ""),
    ("SharesAmountZero()", ""),
    ("StrategyNotWhitelisted()", "EigenLayer takes no deposits into this strategy"),
    ("StrategyNotFound()", ""),
    ("MaxStrategiesExceeded()", ""),
    ("InvalidSignature()", ""),
    ("SignatureExpired()", ""),
    ("SaltSpent()", ""),
    ("OutOfBounds()", ""),
    ("Empty()", ""),
];

/// What to do about errors of this network's contracts, by name.
const ADVICE: &[(&str, &str)] = &[
    ("Tombstoned", "it was slashed, and does not come back"),
    ("Full", "`eject` of the slasher makes room, if some operator is below the minimum"),
    ("TooLittleStake", "in millionths of a token: restake or allocate more"),
    ("KeyTaken", "a key is its operator's for ever: make a new one"),
    ("RotationPending", "wait for that block"),
    ("UnknownKey", "nobody ever registered it"),
    ("AlreadySlashed", "nothing is left to do about it"),
    ("NoLongerSlashable", "the operator has left, and its stake is free"),
];

struct Known {
    name: String,
    /// Type and name of each argument.
    inputs: Vec<(String, String)>,
    advice: &'static str,
}

static ERRORS: LazyLock<BTreeMap<[u8; 4], Known>> = LazyLock::new(|| {
    let mut all = BTreeMap::new();
    let mut add = |known: Known| {
        let types: Vec<&str> = known.inputs.iter().map(|(kind, _)| kind.as_str()).collect();
        let hash = keccak256(format!("{}({})", known.name, types.join(",")));
        all.insert([hash[0], hash[1], hash[2], hash[3]], known);
    };
    for (signature, advice) in KNOWN {
        let (name, rest) = signature.split_once('(').unwrap_or((signature, ")"));
        let input = |input: &str| input.split_once(' ').map(|(kind, name)| (kind.to_owned(), name.to_owned()));
        let inputs = rest.trim_end_matches(')').split(',').filter_map(input).collect();
        add(Known { name: name.to_owned(), inputs, advice });
    }
    [stake_table(), squad_registrar(), slasher(), evidence_verifier()].iter().flat_map(errors).for_each(add);
    all
});

/// The errors of a contract of this repository.
fn errors(artifact: &Artifact) -> Vec<Known> {
    let items = artifact.abi.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().trim_end_matches('_').to_owned();
    let known = |item: &serde_json::Value| {
        let name = text(&item["name"]);
        let inputs = item["inputs"].as_array().map(Vec::as_slice).unwrap_or_default();
        let inputs = inputs.iter().map(|input| (text(&input["type"]), text(&input["name"]))).collect();
        let advice = ADVICE.iter().find(|(of, _)| *of == name).map_or("", |(_, advice)| advice);
        Known { name, inputs, advice }
    };
    items.iter().filter(|item| item["type"] == "error").map(known).collect()
}

/// What came back of a call that a contract refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revert(pub Bytes);

impl Revert {
    /// The error's name, if it is one that is known here.
    pub fn name(&self) -> Option<&'static str> {
        Some(ERRORS.get(self.0.get(..4)?)?.name.as_str())
    }
}

/// A value in a word of 32 bytes, or a text that the word points at; none for what has another form.
fn shown(kind: &str, arguments: &[u8], at: usize) -> Option<String> {
    let word = arguments.get(at * 32..at * 32 + 32)?;
    let number = U256::from_be_slice(word);
    Some(match kind {
        "address" => Address::from_slice(&word[12..]).to_string(),
        "bool" => (!number.is_zero()).to_string(),
        "bytes32" => B256::from_slice(word).to_string(),
        "string" => {
            let start = usize::try_from(number).ok()?;
            let length = U256::from_be_slice(arguments.get(start..start.checked_add(32)?)?);
            let length = usize::try_from(length).ok()?;
            let from = start + 32;
            let text = String::from_utf8_lossy(arguments.get(from..from.checked_add(length)?)?).into_owned();
            text.chars().take(MAX_SHOWN).filter(|char| !char.is_control()).collect()
        }
        kind if kind.starts_with("uint") => number.to_string(),
        _ => return None,
    })
}

impl fmt::Display for Revert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((selector, arguments)) = self.0.split_at_checked(4) else {
            return write!(f, "it gives no reason");
        };
        let Some(known) = ERRORS.get(selector) else {
            let bytes = &self.0[..self.0.len().min(MAX_SHOWN / 2)];
            return write!(f, "an error that is not known here, {}", hex::encode_prefixed(bytes));
        };
        let mut said = Vec::new();
        for (at, (kind, name)) in known.inputs.iter().enumerate() {
            match shown(kind, arguments, at) {
                Some(value) if known.name == "Error" => said.push(value),
                Some(value) => said.push(format!("{name} {value}")),
                None => said.push(format!("{name} ?")),
            }
        }
        if known.name == "Error" {
            let text = said.concat();
            return write!(f, "{}", if text.is_empty() { "it gives no reason" } else { &text });
        }
        write!(f, "{}({})", known.name, said.join(", "))?;
        if known.advice.is_empty() { Ok(()) } else { write!(f, ": {}", known.advice) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_sol_types::{SolValue as _, sol};

    sol! {
        error TooLittleStake(uint64 weight, uint64 minimum);
        error KeyTaken(address key, address operator);
        error Error(string message);
        error Unheard(uint256 of);
        error SameMagnitude();
    }

    fn said(error: &impl alloy_sol_types::SolError) -> String {
        Revert(error.abi_encode().into()).to_string()
    }

    #[test]
    fn a_contracts_own_words_are_told_with_their_values_and_what_to_do() {
        let text = said(&TooLittleStake { weight: 3, minimum: 32 });
        assert_eq!(text, "TooLittleStake(weight 3, minimum 32): in millionths of a token: restake or allocate more");
        let taken = said(&KeyTaken { key: Address::repeat_byte(1), operator: Address::repeat_byte(2) });
        assert!(taken.contains("key 0x0101") && taken.contains("operator 0x0202"), "{taken}");
        assert!(said(&SameMagnitude {}).starts_with("SameMagnitude(): so much"));
        assert_eq!(said(&Error { message: "no\tbalance".into() }), "nobalance");
        assert!(said(&Unheard { of: U256::from(7) }).contains("0x"), "its bytes, at least");
        assert_eq!(Revert(Bytes::new()).to_string(), "it gives no reason");
    }

    #[test]
    fn no_bytes_make_it_panic() {
        for selector in ERRORS.keys() {
            for length in [0, 1, 31, 32, 33, 64, 96] {
                for byte in [0, 1, 0x20, 0xff] {
                    let data = [selector.as_slice(), &vec![byte; length]].concat();
                    assert!(!Revert(data.into()).to_string().is_empty());
                }
            }
        }
        let far = [&keccak256("Error(string)")[..4], &U256::MAX.abi_encode()].concat();
        assert_eq!(Revert(far.into()).to_string(), "message ?");
    }

    #[test]
    fn every_error_of_our_contracts_that_has_advice_is_one() {
        for (name, _) in ADVICE {
            assert!(ERRORS.values().any(|known| known.name == *name), "{name}");
        }
    }
}
