//! Forks: where too many misbehave, two blocks of one height may be decided. Even then there is proof.
//!
//! In one round, the two certificates alone name everybody who precommitted both blocks, and they hold over a third of stake.
//! Across rounds nobody is named by the certificates: they prove that over a third of stake lied, and each is kept, with its
//! block, by a node that decided it. A run that breaks this is violated even beyond what is promised otherwise.

use super::{Known, Violation, holds};
use crate::node::Node;
use serde::Serialize;
use squad_types::{
    Address, CommitCertificate, Committee, Evidence, Height, Signature, Signed, Stake, ValidatorIndex, VotePair,
};
use std::fmt;

/// Two decisions of one height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fork {
    /// One.
    pub first: CommitCertificate,
    /// The other.
    pub second: CommitCertificate,
    /// Who precommitted both in one round, each proved by the two certificates.
    pub named: Vec<Address>,
    /// Their stake.
    pub stake: Stake,
    /// The committee's.
    pub total: Stake,
}

impl Fork {
    /// What the protocol promises of a fork, checked.
    pub(super) fn examine(
        first: &CommitCertificate,
        second: &CommitCertificate,
        committee: &Committee,
        nodes: &[Node],
        known: &Known,
    ) -> Result<Self, Violation> {
        let height = first.height;
        for certificate in [first, second] {
            let checked = certificate.verify(&known.domain, committee, known.verifier);
            holds!(checked.is_ok(), "forks", "a certificate of the fork at height {height} does not hold: {checked:?}");
            let mut kept = nodes.iter().filter_map(|node| node.disk.stored_block(height));
            holds!(
                kept.any(|block| block.block.hash() == certificate.block),
                "forks",
                "nobody keeps block {} of the fork at height {height}",
                certificate.block
            );
        }
        let named = who_signed_both(first, second, committee, known);
        let stake = Stake(named.iter().map(|operator| committee.stake_of(operator).0).sum());
        let honest = named.iter().find(|operator| known.is_honest(operator));
        holds!(honest.is_none(), "forks", "the fork at height {height} names honest {honest:?}");
        let total = committee.total();
        holds!(
            first.round != second.round || committee.is_honest_threshold(stake),
            "forks",
            "the fork at height {height} in one round names {stake} of {total} stake only"
        );
        Ok(Self { first: first.clone(), second: second.clone(), named, stake, total })
    }

    /// The height.
    pub fn height(&self) -> Height {
        self.first.height
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (height, one, other) = (self.height(), self.first.round, self.second.round);
        if one == other {
            write!(f, "a fork at height {height} in round {one} names {} of {} stake", self.stake, self.total)
        } else {
            write!(f, "a fork at height {height} across rounds {one} and {other}; both certificates are kept")
        }
    }
}

/// Members whose precommits for both blocks the two certificates carry.
fn who_signed_both(
    first: &CommitCertificate,
    second: &CommitCertificate,
    committee: &Committee,
    known: &Known,
) -> Vec<Address> {
    let signature = |of: &CommitCertificate, index: ValidatorIndex| -> Option<Signature> {
        let at = of.signers.iter().position(|signer| signer == index)?;
        of.signatures.get(at).copied()
    };
    let proved = |index: ValidatorIndex| {
        let signer = committee.get(index)?.address;
        let signed =
            |of: &CommitCertificate| Some(Signed { statement: of.vote(), signer, signature: signature(of, index)? });
        let pair = VotePair { first: signed(first)?, second: signed(second)? };
        Evidence::Votes(pair).verify(&known.domain, known.verifier).ok()
    };
    first.signers.iter().filter_map(proved).collect()
}
