//! What is kept of others' faults.

use squad_types::{Address, Evidence};

/// Proofs of misbehaviour kept of everybody together. Forty liars fill it if each does all that there is evidence of.
pub(crate) const MAX_EVIDENCE: usize = 1_024;

/// Pairs of votes, and of proposals, kept of one operator: one proves it guilty, and the first bars it for ever.
const MAX_STATEMENT_PAIRS: usize = 4;

/// Forks kept of one operator's lanes. Each closes a lane again after a restart, and an operator has one lane an epoch.
const MAX_FORKS: usize = 16;

/// Pairs of acks kept of one operator: the headers between them may take a megabyte.
const MAX_ACK_PAIRS: usize = 2;

fn accused(evidence: &Evidence) -> Address {
    match evidence {
        Evidence::Votes(pair) => pair.first.signer,
        Evidence::Proposals(pair) => pair.first.signer,
        Evidence::Batches(pair) => pair.first.signer,
        Evidence::Acks(pair) => pair.lower.ack.signer,
    }
}

/// Whether another piece is kept, beside those that are. Whoever contradicts itself at each height must not leave others no room.
pub(crate) fn has_room(kept: &[Evidence], new: &Evidence) -> bool {
    let most = match new {
        Evidence::Votes(_) | Evidence::Proposals(_) => MAX_STATEMENT_PAIRS,
        Evidence::Batches(_) => MAX_FORKS,
        Evidence::Acks(_) => MAX_ACK_PAIRS,
    };
    let alike = |other: &&Evidence| {
        accused(other) == accused(new) && std::mem::discriminant(*other) == std::mem::discriminant(new)
    };
    kept.len() < MAX_EVIDENCE && !kept.contains(new) && kept.iter().filter(alike).count() < most
}

#[cfg(test)]
mod tests {
    use super::*;
    use squad_types::{
        Domain, HeaderHash, Height, KeyedHashSigner, NetworkId, Proposal, ProposalPair, Round, Verified, Vote,
        VoteKind, VotePair,
    };

    fn votes(operator: u8, height: u64) -> Evidence {
        let (domain, signer) = (Domain::new(NetworkId([1; 32])), KeyedHashSigner(Address([operator; 20])));
        let vote = |block| {
            let vote = Vote { kind: VoteKind::Prevote, height: Height(height), round: Round(0), block };
            Verified::sign(vote, &domain, &signer).into_signed()
        };
        Evidence::Votes(VotePair { first: vote(None), second: vote(Some(HeaderHash([1; 32]))) })
    }

    fn proposals(operator: u8) -> Evidence {
        let (domain, signer) = (Domain::new(NetworkId([1; 32])), KeyedHashSigner(Address([operator; 20])));
        let proposal = |block| {
            let proposal =
                Proposal { height: Height(1), round: Round(0), block: HeaderHash([block; 32]), valid_round: None };
            Verified::sign(proposal, &domain, &signer).into_signed()
        };
        Evidence::Proposals(ProposalPair { first: proposal(1), second: proposal(2) })
    }

    #[test]
    fn who_is_guilty_at_every_height_leaves_room_for_other_faults_and_other_operators() {
        let mut kept = Vec::new();
        for height in 0..2_000 {
            let new = votes(1, height);
            if has_room(&kept, &new) {
                kept.push(new);
            }
        }
        assert_eq!(kept, (0..4).map(|height| votes(1, height)).collect::<Vec<_>>());
        assert!(!has_room(&kept, &votes(1, 0)));
        assert!(has_room(&kept, &votes(2, 0)), "another operator's");
        assert!(has_room(&kept, &proposals(1)), "another fault");
    }
}
