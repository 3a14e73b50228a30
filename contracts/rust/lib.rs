//! The contracts, as they are put on a chain, and how to call them. Everything they need to judge is in the bytes that they
//! are given: no oracle, no vote, nobody's word.
//!
//! The code is compiled from `contracts/src` and kept in `contracts/artifacts`, so that this crate builds with Rust alone;
//! `npm run check` in `contracts/` compares the two.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod certificate;
pub mod restaking;

pub use certificate::{
    Anchor, BadVerdict, COMMITTEE_EVENT, Followed, Shown, advance, certificate_verifier, followed, shown, verify,
};

use serde::Deserialize;
use squad_types::{Address, NetworkId};

/// A compiled contract.
#[derive(Debug, Deserialize)]
pub struct Artifact {
    /// Its name.
    pub contract: String,
    /// The compiler's version.
    pub compiler: String,
    /// Its interface, as Ethereum's tools read it.
    pub abi: serde_json::Value,
    /// What creates it, in hex with 0x; the constructor's arguments follow it.
    pub bytecode: String,
}

/// Why bytes are not what a contract answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer of {0} bytes: expected an address and a word, 64 bytes")]
pub struct BadAnswer(usize);

/// What `EvidenceVerifier` says of evidence that proves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whom it accuses.
    pub operator: Address,
    /// Of what: all evidence of one operator and one slot has one id.
    pub incident: [u8; 32],
}

/// The contract that judges evidence.
pub fn evidence_verifier() -> Artifact {
    Artifact::parse(include_str!("../artifacts/EvidenceVerifier.json"))
}

impl Artifact {
    /// What a transaction that creates the contract for a network carries.
    pub fn create_for(&self, network: &NetworkId) -> Vec<u8> {
        self.create_with(&network.0)
    }

    /// The same with other arguments of the constructor, encoded.
    pub fn create_with(&self, arguments: &[u8]) -> Vec<u8> {
        let code = hex::decode(self.bytecode.trim_start_matches("0x"));
        let mut data = code.unwrap_or_else(|error| unreachable!("an artifact's code is no hex: {error}"));
        data.extend_from_slice(arguments);
        data
    }

    pub(crate) fn parse(json: &str) -> Self {
        serde_json::from_str(json)
            .unwrap_or_else(|error| unreachable!("an artifact of this repository does not parse: {error}"))
    }
}

/// `judge(bytes)`: the first four bytes of keccak256 of its signature.
const JUDGE: [u8; 4] = [0x8d, 0x3d, 0x46, 0x3f];

/// The data of a call that has evidence judged.
pub fn judge(evidence: &[u8]) -> Vec<u8> {
    let mut data = JUDGE.to_vec();
    data.extend_from_slice(&word(32));
    data.extend_from_slice(&word(evidence.len() as u64));
    data.extend_from_slice(evidence);
    data.resize(data.len().next_multiple_of(32) + 4, 0);
    data
}

/// Reads the answer to [`judge`].
pub fn judged(answer: &[u8]) -> Result<Judged, BadAnswer> {
    let (Some(operator), Some(incident), 64) = (answer.get(12..32), answer.get(32..64), answer.len()) else {
        return Err(BadAnswer(answer.len()));
    };
    let (mut address, mut id) = ([0; 20], [0; 32]);
    address.copy_from_slice(operator);
    id.copy_from_slice(incident);
    Ok(Judged { operator: Address(address), incident: id })
}

fn word(value: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&value.to_be_bytes());
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::hash::keccak256;

    #[test]
    fn calls_and_answers_are_laid_out_as_the_interface_says() {
        assert_eq!(JUDGE, keccak256(b"judge(bytes)")[..4]);
        let call = judge(&[7; 33]);
        assert_eq!((call.len(), &call[..4]), (4 + 64 + 64, &JUDGE[..]));
        assert_eq!((call[4 + 31], call[4 + 63], call[4 + 64], call[4 + 64 + 32], call[4 + 64 + 33]), (32, 33, 7, 7, 0));
        assert_eq!(judged(&[1; 63]), Err(BadAnswer(63)));
        let artifact = evidence_verifier();
        assert_eq!(artifact.contract, "EvidenceVerifier");
        let functions = artifact.abi.as_array().unwrap().iter().filter(|item| item["type"] == "function");
        assert!(functions.filter(|item| item["name"] == "judge").count() == 1);
    }
}
