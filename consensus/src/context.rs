//! Our types in the form that malachite wants them. Nothing here leaves the crate.

use crate::proposer::ProposerSchedule;
use arc_malachitebft_core_types as mal;
use squad_types::{Address, Committee, HeaderHash, Height, Round, Signature, ValidatorIndex, Verified, Vote};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// The rules of one height: who proposes in which round.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    schedule: Arc<ProposerSchedule>,
}

impl Context {
    pub(crate) fn new(schedule: Arc<ProposerSchedule>) -> Self {
        Self { schedule }
    }
}

/// A height.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct At(pub(crate) Height);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl mal::Height for At {
    const ZERO: Self = Self(Height::ZERO);
    const INITIAL: Self = Self(Height(1));

    fn increment_by(&self, n: u64) -> Self {
        Self(self.0.plus(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.0.checked_sub(n).map(|height| Self(Height(height)))
    }

    fn as_u64(&self) -> u64 {
        self.0.0
    }
}

/// A validator, by its place in the height's committee, which is in the order of addresses; it stands for the key as well.
///
/// Malachite looks validators up and compares them several times a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Who(pub(crate) ValidatorIndex);

impl Who {
    /// Somebody who stands nowhere, so that malachite finds no validator.
    const STRANGER: Self = Self(ValidatorIndex(u16::MAX));
    /// This node's operator where it is no member.
    const OUTSIDER: Self = Self(ValidatorIndex(u16::MAX - 1));

    /// Who signed something.
    pub(crate) fn of(address: &Address, committee: &Committee) -> Self {
        committee.index_of(address).map_or(Self::STRANGER, Self)
    }

    /// This node's operator.
    pub(crate) fn own(address: &Address, committee: &Committee) -> Self {
        committee.index_of(address).map_or(Self::OUTSIDER, Self)
    }

    /// The address; zero, which is nobody's, for who is no member.
    pub(crate) fn address(self, committee: &Committee) -> Address {
        committee.get(self.0).map_or(Address::ZERO, |member| member.address)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl mal::Address for Who {}

/// A signature, ordered by its bytes because malachite asks for an order. Small, since malachite moves what it is part of about.
#[derive(Clone, Debug)]
pub(crate) enum Mark {
    /// With the checked vote that it is of.
    Vote(Verified<Vote>),
    /// Of a proposal, or from a certificate.
    Other(Arc<Signature>),
}

impl Mark {
    pub(crate) fn new(signature: Signature) -> Self {
        Self::Other(Arc::new(signature))
    }

    pub(crate) fn signature(&self) -> &Signature {
        match self {
            Self::Vote(vote) => &vote.signature,
            Self::Other(signature) => signature,
        }
    }
}

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        self.signature() == other.signature()
    }
}

impl Eq for Mark {}

impl PartialOrd for Mark {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Mark {
    fn cmp(&self, other: &Self) -> Ordering {
        self.signature().as_bytes().cmp(other.signature().as_bytes())
    }
}

/// The scheme in name only: this crate's handler signs and verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheme;

impl mal::SigningScheme for Scheme {
    type DecodingError = &'static str;
    type Signature = Mark;
    type PublicKey = Who;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<Mark, &'static str> {
        let bytes = bytes.try_into().map_err(|_| "a signature has 65 bytes")?;
        Signature::parse(bytes).map(Mark::new).map_err(|_| "malformed signature")
    }

    fn encode_signature(signature: &Mark) -> Vec<u8> {
        signature.signature().as_bytes().to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<Who, &'static str> {
        bytes.try_into().map(|bytes| Who(ValidatorIndex(u16::from_be_bytes(bytes)))).map_err(|_| "a place has 2 bytes")
    }

    fn encode_public_key(key: &Who) -> Vec<u8> {
        key.0.0.to_be_bytes().to_vec()
    }
}

/// A proposed block, by its header hash. The block itself stays with the gate: a header is what is voted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value(pub(crate) HeaderHash);

impl mal::Value for Value {
    type Id = HeaderHash;

    fn id(&self) -> HeaderHash {
        self.0
    }
}

/// A proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) height: At,
    pub(crate) round: mal::Round,
    pub(crate) value: Value,
    pub(crate) pol_round: mal::Round,
    pub(crate) who: Who,
}

impl mal::Proposal<Context> for Proposal {
    fn height(&self) -> At {
        self.height
    }

    fn round(&self) -> mal::Round {
        self.round
    }

    fn value(&self) -> &Value {
        &self.value
    }

    fn take_value(self) -> Value {
        self.value
    }

    fn pol_round(&self) -> mal::Round {
        self.pol_round
    }

    fn validator_address(&self) -> &Who {
        &self.who
    }
}

/// Proposals travel whole, so there are no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part;

impl mal::ProposalPart<Context> for Part {
    fn is_first(&self) -> bool {
        true
    }

    fn is_last(&self) -> bool {
        true
    }
}

/// A prevote or precommit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ballot {
    pub(crate) kind: mal::VoteType,
    pub(crate) height: At,
    pub(crate) round: mal::Round,
    pub(crate) value: mal::NilOrVal<HeaderHash>,
    pub(crate) who: Who,
}

impl mal::Vote<Context> for Ballot {
    fn height(&self) -> At {
        self.height
    }

    fn round(&self) -> mal::Round {
        self.round
    }

    fn value(&self) -> &mal::NilOrVal<HeaderHash> {
        &self.value
    }

    fn take_value(self) -> mal::NilOrVal<HeaderHash> {
        self.value
    }

    fn vote_type(&self) -> mal::VoteType {
        self.kind
    }

    fn validator_address(&self) -> &Who {
        &self.who
    }

    fn extension(&self) -> Option<&mal::SignedExtension<Context>> {
        None
    }

    fn take_extension(&mut self) -> Option<mal::SignedExtension<Context>> {
        None
    }

    fn extend(self, _: mal::SignedExtension<Context>) -> Self {
        self
    }
}

/// A committee's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validator {
    who: Who,
    power: u64,
}

impl mal::Validator<Context> for Validator {
    fn address(&self) -> &Who {
        &self.who
    }

    fn public_key(&self) -> &Who {
        &self.who
    }

    fn voting_power(&self) -> u64 {
        self.power
    }
}

/// A committee. Its stake goes in unscaled: `Committee::MAX_TOTAL` is what malachite can multiply by three in a u64, so
/// its quorums and ours are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators {
    committee: Arc<Committee>,
    members: Arc<Vec<Validator>>,
}

impl Validators {
    pub(crate) fn new(committee: Arc<Committee>) -> Self {
        let members = committee.members().iter();
        let place = |at: usize| Who(ValidatorIndex(at as u16));
        let members = members.enumerate().map(|(at, member)| Validator { who: place(at), power: member.stake.0 });
        Self { members: Arc::new(members.collect()), committee }
    }

    fn at(&self, index: ValidatorIndex) -> &Validator {
        // It is the committee's own, or from a schedule made for it (`Consensus` checks that), so the place exists.
        &self.members[index.position()]
    }
}

impl mal::ValidatorSet<Context> for Validators {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn total_voting_power(&self) -> u64 {
        self.committee.total().0
    }

    fn get_by_address(&self, address: &Who) -> Option<&Validator> {
        self.members.get(address.0.position())
    }

    fn get_by_index(&self, index: usize) -> Option<&Validator> {
        self.members.get(index)
    }
}

impl mal::Context for Context {
    type Address = Who;
    type Height = At;
    type ProposalPart = Part;
    type Proposal = Proposal;
    type Validator = Validator;
    type ValidatorSet = Validators;
    type Timeouts = mal::LinearTimeouts;
    type Value = Value;
    type Vote = Ballot;
    type Extension = ();
    type SigningScheme = Scheme;

    fn select_proposer<'a>(&self, validators: &'a Validators, _: At, round: mal::Round) -> &'a Validator {
        validators.at(self.schedule.proposer(round_of(round).unwrap_or_default()))
    }

    fn new_proposal(&self, height: At, round: mal::Round, value: Value, pol_round: mal::Round, who: Who) -> Proposal {
        Proposal { height, round, value, pol_round, who }
    }

    fn new_prevote(&self, height: At, round: mal::Round, value: mal::NilOrVal<HeaderHash>, who: Who) -> Ballot {
        Ballot { kind: mal::VoteType::Prevote, height, round, value, who }
    }

    fn new_precommit(&self, height: At, round: mal::Round, value: mal::NilOrVal<HeaderHash>, who: Who) -> Ballot {
        Ballot { kind: mal::VoteType::Precommit, height, round, value, who }
    }
}

/// Malachite's round for ours.
pub(crate) fn mal_round(round: Round) -> mal::Round {
    mal::Round::new(round.0)
}

/// Malachite's round for a round that may be missing.
pub(crate) fn mal_round_opt(round: Option<Round>) -> mal::Round {
    round.map_or(mal::Round::Nil, mal_round)
}

/// Our round for malachite's, none for its nil.
pub(crate) fn round_of(round: mal::Round) -> Option<Round> {
    round.as_u32().map(Round)
}

/// Malachite's vote content for ours.
pub(crate) fn nil_or(block: Option<HeaderHash>) -> mal::NilOrVal<HeaderHash> {
    block.map_or(mal::NilOrVal::Nil, mal::NilOrVal::Val)
}

/// Our vote content for malachite's.
pub(crate) fn block_of(value: &mal::NilOrVal<HeaderHash>) -> Option<HeaderHash> {
    match value {
        mal::NilOrVal::Nil => None,
        mal::NilOrVal::Val(id) => Some(*id),
    }
}
