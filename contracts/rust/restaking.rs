//! Calls of the contracts that hold stake: who is at stake, whom a key belongs to, and what takes stake away.

use crate::{Artifact, word};
use squad_types::hash::keccak256;
use squad_types::{Address, Digest, Epoch, Member, Stake};

/// The contract that says who is at stake.
pub fn stake_table() -> Artifact {
    Artifact::parse(include_str!("../artifacts/StakeTable.json"))
}

/// The contract that operators register with.
pub fn squad_registrar() -> Artifact {
    Artifact::parse(include_str!("../artifacts/SquadRegistrar.json"))
}

/// The contract that takes stake, which is the AVS.
pub fn slasher() -> Artifact {
    Artifact::parse(include_str!("../artifacts/Slasher.json"))
}

/// A token that anybody may make any amount of, for development networks; created with its name and its symbol.
pub fn test_token() -> Artifact {
    Artifact::parse(include_str!("../artifacts/TestToken.json"))
}

/// Why bytes are no list of members.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an answer of {0} bytes is not laid out as a list of members: is that a stake table of this version?")]
pub struct BadMembers(usize);

/// `committee(uint64)`
const COMMITTEE: [u8; 4] = [0x55, 0xec, 0x74, 0x2f];
/// `hashOf(uint64,(address,uint64)[])`
const HASH_OF: [u8; 4] = [0x54, 0xf1, 0x7c, 0xf9];
/// `choose((address,uint64)[],uint256,uint64)`
const CHOOSE: [u8; 4] = [0x2a, 0x2d, 0xa1, 0x00];
/// `operatorOf(address)`
const OPERATOR_OF: [u8; 4] = [0x63, 0x6f, 0x35, 0xd3];
/// `slash(bytes)`
const SLASH: [u8; 4] = [0x5e, 0x47, 0x65, 0x5f];
/// `commit(bytes32)`
const COMMIT: [u8; 4] = [0xf1, 0x4f, 0xcb, 0xc8];
/// `claim(bytes,bytes32)`
const CLAIM: [u8; 4] = [0x02, 0x80, 0xff, 0xb6];

/// Asks a stake table for the committee of an epoch: read the answer with [`committee_answer`].
pub fn committee(epoch: Epoch) -> Vec<u8> {
    call(COMMITTEE, &[word(epoch.0)])
}

/// Reads the answer to [`committee`]: the members, and the hash that a header with that committee carries.
pub fn committee_answer(answer: &[u8]) -> Result<(Vec<Member>, Digest), BadMembers> {
    let hash = answer.get(32..64).and_then(|hash| hash.try_into().ok()).ok_or(BadMembers(answer.len()))?;
    Ok((members_at(answer, 64)?, Digest(hash)))
}

/// Asks a stake table for the hash of a committee. It refuses what is no committee; the answer is the hash.
pub fn hash_of(epoch: Epoch, members: &[Member]) -> Vec<u8> {
    let mut data = call(HASH_OF, &[word(epoch.0), word(64)]);
    data.extend(list(members));
    data
}

/// Asks a stake table whom it would choose of these, the `most` weightiest with `least` or more: read the answer with [`chosen`].
pub fn choose(candidates: &[Member], most: u64, least: Stake) -> Vec<u8> {
    let mut data = call(CHOOSE, &[word(96), word(most), word(least.0)]);
    data.extend(list(candidates));
    data
}

/// Reads the answer to [`choose`].
pub fn chosen(answer: &[u8]) -> Result<Vec<Member>, BadMembers> {
    members_at(answer, 32)
}

/// Asks a registrar whose a consensus key is, or ever was; zero if nobody's.
pub fn operator_of(key: &Address) -> Vec<u8> {
    call(OPERATOR_OF, &[address(key)])
}

/// Slashes whom the evidence accuses. Anybody may send it.
pub fn slash(evidence: &[u8]) -> Vec<u8> {
    let mut data = call(SLASH, &[word(32)]);
    data.extend(bytes(evidence));
    data
}

/// Commits the sender to evidence that it will show later, in a block before the slash: see [`commitment`].
pub fn commit(commitment: &[u8; 32]) -> Vec<u8> {
    call(COMMIT, &[*commitment])
}

/// What a reporter commits itself with. The salt keeps others from guessing it, and is the reporter's secret until it claims.
pub fn commitment(evidence: &[u8], reporter: &Address, salt: &[u8; 32]) -> [u8; 32] {
    keccak256(&[keccak256(evidence), address(reporter), *salt].concat())
}

/// Claims the bounty for evidence that the sender committed itself to.
pub fn claim(evidence: &[u8], salt: &[u8; 32]) -> Vec<u8> {
    let mut data = call(CLAIM, &[word(64), *salt]);
    data.extend(bytes(evidence));
    data
}

/// What a consensus key signs to belong to an operator: the EIP-712 digest for one chain and one registrar.
pub fn key_digest(chain: u64, registrar: &Address, operator: &Address, key: &Address) -> [u8; 32] {
    let domain = [
        keccak256(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
        keccak256(b"SQUAD registrar"),
        keccak256(b"1"),
        word(chain),
        address(registrar),
    ];
    let statement = [keccak256(b"ConsensusKey(address operator,address key)"), address(operator), address(key)];
    keccak256(&[b"\x19\x01".as_slice(), &keccak256(&domain.concat()), &keccak256(&statement.concat())].concat())
}

fn call(selector: [u8; 4], words: &[[u8; 32]]) -> Vec<u8> {
    [selector.as_slice(), &words.concat()].concat()
}

fn address(address: &Address) -> [u8; 32] {
    let mut word = [0; 32];
    word[12..].copy_from_slice(&address.0);
    word
}

/// Bytes with their length before them, filled up to whole words.
fn bytes(bytes: &[u8]) -> Vec<u8> {
    let mut data = [&word(bytes.len() as u64), bytes].concat();
    data.resize(data.len().next_multiple_of(32), 0);
    data
}

fn list(members: &[Member]) -> Vec<u8> {
    let mut data = word(members.len() as u64).to_vec();
    for member in members {
        data.extend_from_slice(&address(&member.address));
        data.extend_from_slice(&word(member.stake.0));
    }
    data
}

/// The list that ends an answer and begins there.
fn members_at(answer: &[u8], at: usize) -> Result<Vec<Member>, BadMembers> {
    let bad = || BadMembers(answer.len());
    let (head, items) = answer.get(at..).and_then(|rest| rest.split_at_checked(32)).ok_or_else(bad)?;
    if items.len() % 64 != 0 || head != word(items.len() as u64 / 64) || answer.get(..32) != Some(&word(at as u64)[..])
    {
        return Err(bad());
    }
    let member = |item: &[u8]| {
        let (mut address, mut stake) = ([0; 20], [0; 8]);
        address.copy_from_slice(&item[12..32]);
        stake.copy_from_slice(&item[56..]);
        let clean = item[..12].iter().chain(&item[32..56]).all(|byte| *byte == 0);
        clean.then_some(Member { address: Address(address), stake: Stake(u64::from_be_bytes(stake)) }).ok_or_else(bad)
    };
    items.chunks_exact(64).map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_those_of_the_interface() {
        let functions = [
            (stake_table(), "committee(uint64)", COMMITTEE),
            (stake_table(), "hashOf(uint64,(address,uint64)[])", HASH_OF),
            (stake_table(), "choose((address,uint64)[],uint256,uint64)", CHOOSE),
            (squad_registrar(), "operatorOf(address)", OPERATOR_OF),
            (slasher(), "slash(bytes)", SLASH),
            (slasher(), "commit(bytes32)", COMMIT),
            (slasher(), "claim(bytes,bytes32)", CLAIM),
        ];
        for (artifact, signature, selector) in functions {
            assert_eq!(selector, keccak256(signature.as_bytes())[..4], "{signature}");
            let name = signature.split('(').next();
            let functions = artifact.abi.as_array().unwrap().iter().filter(|item| item["type"] == "function");
            assert_eq!(functions.filter(|item| item["name"].as_str() == name).count(), 1, "{signature}");
        }
    }

    #[test]
    fn answers_that_are_no_list_are_refused() {
        let member = Member { address: Address([7; 20]), stake: Stake(9) };
        let mut answer = [word(64), [3; 32]].concat();
        answer.extend(list(&[member, member]));
        assert_eq!(committee_answer(&answer), Ok((vec![member, member], Digest([3; 32]))));
        for cut in 0..answer.len() {
            assert_eq!(committee_answer(&answer[..cut]), Err(BadMembers(cut)));
        }
        for place in [0, 64, 96, 128] {
            let mut other = answer.clone();
            other[place] = 1;
            assert_eq!(committee_answer(&other), Err(BadMembers(other.len())), "at {place}");
        }
    }

    #[test]
    fn a_commitment_is_the_one_that_solidity_makes() {
        // As in test/Bounty.t.sol.
        let expected = "e66a0c393d9254b336c963e5ade6170941a1837ed90427e31477870f45de3aa7";
        assert_eq!(hex::encode(commitment(&[1, 2, 3], &Address([7; 20]), &word(9))), expected);
    }
}
