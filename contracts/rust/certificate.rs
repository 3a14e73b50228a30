//! How `CertificateVerifier` is created and called, and what it answers.

use crate::{Artifact, word};
use squad_types::{Digest, Epoch, HeaderHash, Height, NamespaceId, NetworkId, Timestamp, TransactionRef, TxId};

/// The contract that checks confirmations of tier T2 and follows committees.
pub fn certificate_verifier() -> Artifact {
    serde_json::from_str(include_str!("../artifacts/CertificateVerifier.json"))
        .unwrap_or_else(|error| unreachable!("an artifact of this repository does not parse: {error}"))
}

/// The committee that a contract starts from: what `squad verify --save-pin` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The network.
    pub network: NetworkId,
    /// The epoch that the committee votes in.
    pub epoch: Epoch,
    /// The committee's hash.
    pub committee_hash: Digest,
    /// When its stake was last known to be bonded.
    pub as_of: Timestamp,
}

/// A committee that a contract has followed to, as its event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The epoch that the committee votes in.
    pub epoch: Epoch,
    /// The committee's hash.
    pub committee_hash: Digest,
    /// When its stake was last known to be bonded.
    pub as_of: Timestamp,
}

/// What `CertificateVerifier` says of a confirmation that proves something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The transaction.
    pub transaction: TransactionRef,
    /// Its id.
    pub id: TxId,
    /// The epoch whose committee answers for it.
    pub epoch: Epoch,
    /// The height that ordered it.
    pub height: Height,
    /// The header's hash.
    pub block: HeaderHash,
    /// The header's timestamp.
    pub timestamp: Timestamp,
    /// The transaction's place among its namespace's in that block, from 0.
    pub index: u64,
}

/// Why bytes are not what `CertificateVerifier` says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVerdict {
    /// Too many or too few.
    #[error("{found} bytes: expected {expected}")]
    Length {
        /// What there should be.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// A number does not fit its type.
    #[error("word {0} holds more than its type can")]
    TooLarge(usize),
}

impl Artifact {
    /// What a transaction that creates a `CertificateVerifier` carries.
    pub fn create_from(&self, anchor: &Anchor) -> Vec<u8> {
        let mut data = self.create_for(&anchor.network);
        data.extend_from_slice(&word(anchor.epoch.0));
        data.extend_from_slice(&anchor.committee_hash.0);
        data.extend_from_slice(&word(anchor.as_of.0));
        data
    }
}

/// `verify(bytes,bytes)`: the first four bytes of keccak256 of its signature.
const VERIFY: [u8; 4] = [0xf7, 0xe8, 0x3a, 0xee];
/// `advance(bytes,bytes[])`.
const ADVANCE: [u8; 4] = [0x1e, 0x93, 0xb1, 0x9b];
/// `Committee(uint64,bytes32,uint64)`: keccak256 of the event's signature.
pub const COMMITTEE_EVENT: [u8; 32] = [
    0x2f, 0x8e, 0x01, 0xfb, 0x5b, 0x46, 0x9a, 0x75, 0x59, 0xc9, 0x1a, 0x2e, 0xaa, 0xf9, 0xb2, 0x51, 0xb8, 0xf8, 0xd8,
    0xb0, 0xda, 0xe5, 0x30, 0x2b, 0x10, 0x4c, 0x96, 0x5d, 0x56, 0x51, 0x47, 0x61,
];

/// The data of a call that has a confirmation checked, in canonical bytes, with those of the committee of its epoch.
pub fn verify(confirmation: &[u8], committee: &[u8]) -> Vec<u8> {
    let mut data = VERIFY.to_vec();
    list(&mut data, &[confirmation, committee]);
    data
}

/// The data of a transaction that follows from the newest committee along proofs of later ones, all in canonical bytes.
pub fn advance(committee: &[u8], proofs: &[&[u8]]) -> Vec<u8> {
    let mut tail = Vec::new();
    bytes(&mut tail, committee);
    let second = 64 + tail.len() as u64;
    tail.extend_from_slice(&word(proofs.len() as u64));
    list(&mut tail, proofs);
    let mut data = ADVANCE.to_vec();
    data.extend_from_slice(&word(64));
    data.extend_from_slice(&word(second));
    data.extend_from_slice(&tail);
    data
}

/// Reads the answer to [`verify`].
///
/// # Errors
/// [`BadVerdict`] for anything that this contract does not answer.
pub fn shown(answer: &[u8]) -> Result<Shown, BadVerdict> {
    let words = words::<9>(answer)?;
    let namespace = number(&words, 0)?;
    let until = Timestamp(number(&words, 1)?);
    Ok(Shown {
        transaction: TransactionRef {
            namespace: NamespaceId(u32::try_from(namespace).map_err(|_| BadVerdict::TooLarge(0))?),
            valid_until: (until != Timestamp::ZERO).then_some(until),
            data_hash: Digest(words[2]),
        },
        id: TxId(words[3]),
        epoch: Epoch(number(&words, 4)?),
        height: Height(number(&words, 5)?),
        block: HeaderHash(words[6]),
        timestamp: Timestamp(number(&words, 7)?),
        index: number(&words, 8)?,
    })
}

/// Reads an event of a committee: its second topic and its data.
///
/// # Errors
/// [`BadVerdict`] for anything that this contract does not say.
pub fn followed(epoch: &[u8], data: &[u8]) -> Result<Followed, BadVerdict> {
    let (topic, words) = (words::<1>(epoch)?, words::<2>(data)?);
    Ok(Followed {
        epoch: Epoch(number(&topic, 0)?),
        committee_hash: Digest(words[0]),
        as_of: Timestamp(number(&words, 1)?),
    })
}

/// Offsets of byte strings, then the strings.
fn list(data: &mut Vec<u8>, items: &[&[u8]]) {
    let mut offset = 32 * items.len();
    for item in items {
        data.extend_from_slice(&word(offset as u64));
        offset += 32 + item.len().next_multiple_of(32);
    }
    items.iter().for_each(|item| bytes(data, item));
}

fn bytes(data: &mut Vec<u8>, item: &[u8]) {
    data.extend_from_slice(&word(item.len() as u64));
    data.extend_from_slice(item);
    data.resize(data.len() + item.len().next_multiple_of(32) - item.len(), 0);
}

fn words<const N: usize>(answer: &[u8]) -> Result<[[u8; 32]; N], BadVerdict> {
    let mut words = [[0; 32]; N];
    if answer.len() != 32 * N {
        return Err(BadVerdict::Length { expected: 32 * N, found: answer.len() });
    }
    words.iter_mut().zip(answer.chunks_exact(32)).for_each(|(word, chunk)| word.copy_from_slice(chunk));
    Ok(words)
}

fn number(words: &[[u8; 32]], at: usize) -> Result<u64, BadVerdict> {
    let (high, mut low) = (&words[at][..24], [0; 8]);
    low.copy_from_slice(&words[at][24..]);
    if high.iter().all(|byte| *byte == 0) { Ok(u64::from_be_bytes(low)) } else { Err(BadVerdict::TooLarge(at)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::hash::keccak256;

    #[test]
    fn calls_are_laid_out_as_the_interface_says() {
        assert_eq!(VERIFY, keccak256(b"verify(bytes,bytes)")[..4]);
        assert_eq!(ADVANCE, keccak256(b"advance(bytes,bytes[])")[..4]);
        assert_eq!(COMMITTEE_EVENT, keccak256(b"Committee(uint64,bytes32,uint64)"));
        let place = |data: &[u8], at: usize| usize::from(data[4 + at + 30]) * 256 + usize::from(data[4 + at + 31]);
        let call = verify(&[7; 33], &[9; 32]);
        assert_eq!((place(&call, 0), place(&call, 32), call.len()), (64, 160, 4 + 160 + 64));
        assert_eq!((place(&call, 64), call[4 + 96], place(&call, 160), call[4 + 192]), (33, 7, 32, 9));
        let call = advance(&[7; 1], &[&[8; 40], &[9; 1]]);
        assert_eq!((place(&call, 0), place(&call, 32), place(&call, 64), place(&call, 128)), (64, 128, 1, 2));
        // Offsets within the list count from behind its length.
        assert_eq!((place(&call, 160), place(&call, 192)), (64, 160));
        assert_eq!((place(&call, 224), call[4 + 256], place(&call, 320), call[4 + 352]), (40, 8, 1, 9));
        assert_eq!(call.len(), 4 + 384);
    }

    #[test]
    fn answers_of_another_form_are_refused() {
        assert_eq!(shown(&[0; 31]), Err(BadVerdict::Length { expected: 288, found: 31 }));
        let mut answer = [0; 288];
        assert_eq!(shown(&answer).unwrap().transaction.valid_until, None);
        answer[27] = 1;
        assert_eq!(shown(&answer), Err(BadVerdict::TooLarge(0)));
        answer[27] = 0;
        answer[5 * 32] = 1;
        assert_eq!(shown(&answer), Err(BadVerdict::TooLarge(5)));
        let told = followed(&word(3), &[[1; 32], word(9)].concat()).unwrap();
        assert_eq!((told.epoch, told.committee_hash, told.as_of), (Epoch(3), Digest([1; 32]), Timestamp(9)));
    }
}
