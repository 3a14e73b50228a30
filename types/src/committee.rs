//! Who votes in one epoch, with all quorum arithmetic.

use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader};
use crate::codec_struct;
use crate::hash::{Digest, keccak256};
use crate::keys::Address;
use crate::limits::MAX_COMMITTEE;
use crate::quantity::{Epoch, Stake, ValidatorIndex};
use serde::{Deserialize, Serialize};

/// A validator with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The operator.
    pub address: Address,
    /// Its weight; never zero.
    pub stake: Stake,
}

codec_struct!(Member { address, stake });

impl ListItem for Member {
    const MAX_ITEMS: usize = MAX_COMMITTEE;
}

/// Why a list is no committee.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitteeError {
    /// Nobody in it.
    #[error("a committee needs at least one member")]
    Empty,
    /// Too many in it.
    #[error("a committee of {0} is over the limit of {MAX_COMMITTEE}")]
    TooLarge(usize),
    /// Not in ascending order, or twice the same.
    #[error("member {0} is listed twice or out of ascending order")]
    Order(Address),
    /// A member without weight.
    #[error("member {0} has no stake")]
    NoStake(Address),
    /// More weight than can be added up.
    #[error("the stakes add up to more than {}", Committee::MAX_TOTAL)]
    TooMuchStake,
}

/// The validators of one epoch, in ascending order of address.
///
/// Two quorums share an honest validator while less than a third of stake is faulty; an honest threshold holds at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CommitteeForm", into = "CommitteeForm")]
pub struct Committee {
    epoch: Epoch,
    members: Vec<Member>,
    /// Bytes with which all addresses begin, no more than leave [`WORD`] after them.
    common: usize,
    /// What follows them in each address: what most look-ups compare, packed together.
    words: Vec<u64>,
    total: Stake,
    hash: Digest,
}

#[derive(Clone, Serialize, Deserialize)]
struct CommitteeForm {
    epoch: Epoch,
    members: Vec<Member>,
}

impl TryFrom<CommitteeForm> for Committee {
    type Error = CommitteeError;
    fn try_from(form: CommitteeForm) -> Result<Self, CommitteeError> {
        Self::new(form.epoch, form.members)
    }
}

impl From<Committee> for CommitteeForm {
    fn from(committee: Committee) -> Self {
        Self { epoch: committee.epoch, members: committee.members }
    }
}

impl Committee {
    /// The most stake a committee may have: malachite multiplies it by three in a u64.
    pub const MAX_TOTAL: u64 = u64::MAX / 3;

    /// Takes members in ascending order of address.
    pub fn new(epoch: Epoch, members: Vec<Member>) -> Result<Self, CommitteeError> {
        if members.is_empty() {
            return Err(CommitteeError::Empty);
        }
        if members.len() > MAX_COMMITTEE {
            return Err(CommitteeError::TooLarge(members.len()));
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0].address >= pair[1].address) {
            return Err(CommitteeError::Order(pair[1].address));
        }
        if let Some(member) = members.iter().find(|member| member.stake.0 == 0) {
            return Err(CommitteeError::NoStake(member.address));
        }
        let total = members.iter().try_fold(0_u64, |sum, member| sum.checked_add(member.stake.0));
        match total {
            Some(total) if total <= Self::MAX_TOTAL => {
                let common = common_start(&members);
                let words = members.iter().map(|member| word_at(&member.address, common)).collect();
                Ok(Self { epoch, members, common, words, total: Stake(total), hash: Digest::ZERO }.hashed())
            }
            _ => Err(CommitteeError::TooMuchStake),
        }
    }

    /// The epoch it votes in.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The same members for another epoch.
    #[must_use]
    pub fn for_epoch(&self, epoch: Epoch) -> Self {
        Self { epoch, ..self.clone() }.hashed()
    }

    // Once: every header that is judged names it.
    fn hashed(mut self) -> Self {
        self.hash = Digest(keccak256(&self.to_bytes()));
        self
    }

    /// The members, by ascending address.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The number of members.
    #[allow(clippy::len_without_is_empty)] // a committee is never empty
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// All stake.
    pub const fn total(&self) -> Stake {
        self.total
    }

    /// Where an operator stands in it.
    pub fn index_of(&self, address: &Address) -> Option<ValidatorIndex> {
        let word = word_at(address, self.common);
        let mut at = self.words.partition_point(|known| *known < word);
        while *self.words.get(at)? == word {
            if self.members[at].address == *address {
                return Some(ValidatorIndex(at as u16));
            }
            at += 1;
        }
        None
    }

    /// Whether an operator is in it.
    pub fn contains(&self, address: &Address) -> bool {
        self.index_of(address).is_some()
    }

    /// The member at a place.
    pub fn get(&self, index: ValidatorIndex) -> Option<&Member> {
        self.members.get(index.position())
    }

    /// The weight at a place, zero where nobody stands.
    pub fn stake(&self, index: ValidatorIndex) -> Stake {
        self.get(index).map_or(Stake::ZERO, |member| member.stake)
    }

    /// The weight of an operator, zero for a stranger.
    pub fn stake_of(&self, address: &Address) -> Stake {
        self.index_of(address).map_or(Stake::ZERO, |index| self.stake(index))
    }

    /// Whether `stake` is over two thirds.
    pub fn is_quorum(&self, stake: Stake) -> bool {
        u128::from(stake.0) * 3 > u128::from(self.total.0) * 2
    }

    /// Whether `stake` is over one third, so that somebody honest is among its holders.
    pub fn is_honest_threshold(&self, stake: Stake) -> bool {
        u128::from(stake.0) * 3 > u128::from(self.total.0)
    }

    /// The added weight of distinct places.
    pub fn stake_of_all(&self, bitmap: &Bitmap) -> Stake {
        Stake(bitmap.iter().map(|index| self.stake(index).0).sum())
    }

    /// The highest value that over a third of stake has reached, and the highest that a quorum has: sorts `reached` (value
    /// and weight) and walks down. The second is none where too little stake has reached anything, and never above the first.
    pub fn reached<T: Copy + Ord>(&self, mut reached: Vec<(T, Stake)>) -> (Option<T>, Option<T>) {
        reached.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.0));
        self.reached_in_order(reached)
    }

    /// The same of values that come in descending order.
    pub fn reached_in_order<T: Copy>(&self, reached: impl IntoIterator<Item = (T, Stake)>) -> (Option<T>, Option<T>) {
        let (mut sum, mut by_honest) = (0_u64, None);
        for (value, stake) in reached {
            sum = sum.saturating_add(stake.0);
            if by_honest.is_none() && self.is_honest_threshold(Stake(sum)) {
                by_honest = Some(value);
            }
            if self.is_quorum(Stake(sum)) {
                return (by_honest, Some(value));
            }
        }
        (by_honest, None)
    }

    /// keccak256 of the canonical form: what headers commit to.
    pub const fn hash(&self) -> Digest {
        self.hash
    }
}

/// Bytes of an address that a look-up compares first.
const WORD: usize = 8;

/// How many bytes all addresses begin with, as far as [`WORD`] bytes are left: they come in ascending order, so what the first
/// and the last share, all share.
fn common_start(members: &[Member]) -> usize {
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return 0 };
    let alike = first.address.0.iter().zip(&last.address.0).take_while(|(one, other)| one == other).count();
    alike.min(first.address.0.len() - WORD)
}

/// The bytes of an address from one on, in its order.
fn word_at(address: &Address, from: usize) -> u64 {
    let mut word = [0; WORD];
    word.copy_from_slice(&address.0[from..from + WORD]);
    u64::from_be_bytes(word)
}

impl Encode for Committee {
    fn encode(&self, out: &mut Vec<u8>) {
        self.epoch.encode(out);
        self.members.encode(out);
    }
}

impl Decode for Committee {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (epoch, members) = (Epoch::decode(reader)?, Vec::decode(reader)?);
        Self::new(epoch, members).map_err(|_| DecodeError::Malformed("committee"))
    }
}

/// A set of places in a committee. Its canonical form has no trailing zero bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bitmap(Places);

/// The bytes of a bitmap. The state after a block has one a member, so those of usual committees need no memory of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    /// Filled up with zeros.
    Few([u8; FEW]),
    /// More than [`FEW`], the last not zero.
    Many(Vec<u8>),
}

const FEW: usize = 16;

impl Default for Places {
    fn default() -> Self {
        Self::Few([0; FEW])
    }
}

impl Bitmap {
    /// The canonical form.
    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Places::Few(bytes) => &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)],
            Places::Many(bytes) => bytes,
        }
    }

    /// Adds a place.
    pub fn insert(&mut self, index: ValidatorIndex) {
        let at = index.position() / 8;
        if let Places::Few(few) = &self.0
            && at >= FEW
        {
            self.0 = Places::Many(few.to_vec());
        }
        let bytes = match &mut self.0 {
            Places::Few(bytes) => bytes.as_mut_slice(),
            Places::Many(bytes) => {
                if bytes.len() <= at {
                    bytes.resize(at + 1, 0);
                }
                bytes.as_mut_slice()
            }
        };
        bytes[at] |= 1 << (index.position() % 8);
    }

    /// Whether a place is in it.
    pub fn contains(&self, index: ValidatorIndex) -> bool {
        let bytes = match &self.0 {
            Places::Few(bytes) => bytes.as_slice(),
            Places::Many(bytes) => bytes,
        };
        bytes.get(index.position() / 8).is_some_and(|byte| byte & (1 << (index.position() % 8)) != 0)
    }

    /// The places in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ValidatorIndex> + '_ {
        (0..self.bytes().len() * 8).map(|at| ValidatorIndex(at as u16)).filter(|index| self.contains(*index))
    }

    /// How many places are in it.
    pub fn count(&self) -> usize {
        self.bytes().iter().map(|byte| byte.count_ones() as usize).sum()
    }

    fn parse(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let max = MAX_COMMITTEE / 8;
        if bytes.len() > max {
            return Err(DecodeError::TooLong { what: "bitmap", len: bytes.len(), max });
        }
        if bytes.last() == Some(&0) {
            return Err(DecodeError::Malformed("bitmap: trailing zero byte"));
        }
        let mut few = [0; FEW];
        Ok(Self(match few.get_mut(..bytes.len()) {
            Some(first) => {
                first.copy_from_slice(&bytes);
                Places::Few(few)
            }
            None => Places::Many(bytes),
        }))
    }
}

impl FromIterator<ValidatorIndex> for Bitmap {
    fn from_iter<I: IntoIterator<Item = ValidatorIndex>>(indices: I) -> Self {
        let mut bitmap = Self::default();
        indices.into_iter().for_each(|index| bitmap.insert(index));
        bitmap
    }
}

impl Encode for Bitmap {
    fn encode(&self, out: &mut Vec<u8>) {
        crate::codec::encode_bytes(self.bytes(), out);
    }
}

impl Decode for Bitmap {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Self::parse(crate::codec::decode_bytes(reader, MAX_COMMITTEE / 8, "bitmap")?.to_vec())
    }
}

impl From<Bitmap> for String {
    fn from(bitmap: Bitmap) -> Self {
        format!("0x{}", hex::encode(bitmap.bytes()))
    }
}

impl TryFrom<String> for Bitmap {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0x").ok_or_else(|| format!("'{text}' is no bitmap: it has no 0x in front"))?;
        let bytes = hex::decode(digits).map_err(|error| format!("'{text}' is no bitmap: {error}"))?;
        Self::parse(bytes).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committee(stakes: &[u64]) -> Committee {
        let members = stakes
            .iter()
            .enumerate()
            .map(|(i, stake)| Member { address: Address([i as u8; 20]), stake: Stake(*stake) });
        Committee::new(Epoch(0), members.collect()).unwrap()
    }

    #[test]
    fn thresholds_are_strict() {
        let three = committee(&[1, 1, 1]);
        assert!(!three.is_quorum(Stake(2)) && three.is_quorum(Stake(3)));
        assert!(!three.is_honest_threshold(Stake(1)) && three.is_honest_threshold(Stake(2)));
        let four = committee(&[1, 1, 1, 1]);
        assert!(!four.is_quorum(Stake(2)) && four.is_quorum(Stake(3)));
    }

    #[test]
    fn the_value_a_quorum_has_reached_is_the_lowest_of_its_highest() {
        let four = committee(&[1, 1, 1, 1]);
        let reached = vec![(9, Stake(1)), (5, Stake(1)), (7, Stake(1)), (1, Stake(1))];
        assert_eq!(four.reached(reached[..1].to_vec()), (None, None));
        assert_eq!(four.reached(reached[..2].to_vec()), (Some(5), None));
        assert_eq!(four.reached(reached), (Some(7), Some(5)));
    }

    #[test]
    fn disordered_or_weightless_lists_are_no_committee() {
        let member = |i, stake| Member { address: Address([i; 20]), stake: Stake(stake) };
        assert!(Committee::new(Epoch(0), vec![]).is_err());
        assert!(Committee::new(Epoch(0), vec![member(2, 1), member(1, 1)]).is_err());
        assert!(Committee::new(Epoch(0), vec![member(1, 1), member(1, 1)]).is_err());
        assert!(Committee::new(Epoch(0), vec![member(1, 0)]).is_err());
        assert!(Committee::new(Epoch(0), vec![member(1, u64::MAX)]).is_err());
    }

    #[test]
    fn bitmaps_have_one_form() {
        let bitmap: Bitmap = [ValidatorIndex(0), ValidatorIndex(9)].into_iter().collect();
        assert_eq!(bitmap.iter().collect::<Vec<_>>(), [ValidatorIndex(0), ValidatorIndex(9)]);
        assert_eq!(Bitmap::from_bytes(bitmap.to_bytes()), Ok(bitmap));
        assert!(Bitmap::parse(vec![1, 0]).is_err());
        // At and across where one needs memory of its own, however it came about.
        let places = [0, 126, 127, 128, 129, 500].map(ValidatorIndex);
        for count in 0..=places.len() {
            let bitmap: Bitmap = places[..count].iter().copied().collect();
            let backwards: Bitmap = places[..count].iter().rev().copied().collect();
            assert_eq!(bitmap, backwards);
            assert_eq!(Bitmap::from_bytes(bitmap.to_bytes()).as_ref(), Ok(&bitmap));
            assert_eq!(Bitmap::try_from(String::from(bitmap.clone())).as_ref(), Ok(&bitmap));
            assert_eq!((bitmap.iter().collect::<Vec<_>>(), bitmap.count()), (places[..count].to_vec(), count));
            assert!(places.iter().enumerate().all(|(at, place)| bitmap.contains(*place) == (at < count)));
        }
    }

    #[test]
    fn members_are_found_though_their_addresses_begin_alike() {
        let ends = [3, 5, 8, 13];
        let address = |start: u8, end: u8| {
            let mut bytes = [start; 20];
            bytes[19] = end;
            Address(bytes)
        };
        let members = [1, 2].into_iter().flat_map(|start| ends.map(|end| address(start, end)));
        let members: Vec<Address> = members.collect();
        let listed = members.iter().map(|address| Member { address: *address, stake: Stake(1) });
        let committee = Committee::new(Epoch(0), listed.collect()).unwrap();
        for (at, member) in members.iter().enumerate() {
            assert_eq!(committee.index_of(member), Some(ValidatorIndex(at as u16)));
        }
        for (start, end) in [(0, 3), (1, 0), (1, 4), (1, 14), (2, 2), (2, 14), (3, 3)] {
            assert_eq!(committee.index_of(&address(start, end)), None, "{start} {end}");
        }
    }

    #[test]
    fn an_address_that_only_ends_like_a_members_is_a_strangers() {
        let address = |first: u8, at: usize, byte: u8| {
            let mut bytes = [0; 20];
            (bytes[0], bytes[at]) = (first, byte);
            Address(bytes)
        };
        // All begin alike up to there: by how much, and what a stranger has instead.
        for at in [1, 5, 11, 12, 13, 19] {
            let listed = (1..=9).map(|byte| Member { address: address(7, at, byte), stake: Stake(1) });
            let committee = Committee::new(Epoch(0), listed.collect()).unwrap();
            for byte in 1..=9 {
                assert_eq!(committee.index_of(&address(7, at, byte)), Some(ValidatorIndex(byte as u16 - 1)), "{at}");
                assert_eq!(committee.index_of(&address(6, at, byte)), None, "{at}");
                assert_eq!(committee.index_of(&address(8, at, byte)), None, "{at}");
            }
            assert_eq!([0, 10].map(|byte| committee.index_of(&address(7, at, byte))), [None; 2], "{at}");
        }
        let alone = Member { address: address(7, 19, 1), stake: Stake(1) };
        let alone = Committee::new(Epoch(0), vec![alone]).unwrap();
        assert_eq!(alone.index_of(&address(7, 19, 1)), Some(ValidatorIndex(0)));
        assert_eq!([(7, 0), (8, 1)].map(|(first, last)| alone.index_of(&address(first, 19, last))), [None; 2]);
    }
}
