//! Between our statements and malachite's.

use crate::context::{
    At, Ballot, Context, Mark, Proposal, Value, Who, block_of, mal_round, mal_round_opt, nil_or, round_of,
};
use arc_malachitebft_core_types as mal;
use squad_types::{
    Address, Bitmap, CommitCertificate, Committee, Signed, ValidatorIndex, Verified, Vote, VoteCertificate, VoteKind,
};

pub(crate) fn kind_of(kind: mal::VoteType) -> VoteKind {
    match kind {
        mal::VoteType::Prevote => VoteKind::Prevote,
        mal::VoteType::Precommit => VoteKind::Precommit,
    }
}

fn mal_kind(kind: VoteKind) -> mal::VoteType {
    match kind {
        VoteKind::Prevote => mal::VoteType::Prevote,
        VoteKind::Precommit => mal::VoteType::Precommit,
    }
}

/// The statement in a ballot.
pub(crate) fn vote_of(ballot: &Ballot) -> Vote {
    Vote {
        kind: kind_of(ballot.kind),
        height: ballot.height.0,
        round: round_of(ballot.round).unwrap_or_default(),
        block: block_of(&ballot.value),
    }
}

/// What malachite took in as checked: votes that came, and those of certificates.
pub(crate) fn checked_vote_of(ballot: &mal::SignedVote<Context>, committee: &Committee) -> Verified<Vote> {
    if let Mark::Vote(vote) = &ballot.signature {
        return vote.clone();
    }
    let signer = ballot.message.who.address(committee);
    Verified::from_own_log(Signed {
        statement: vote_of(&ballot.message),
        signer,
        signature: *ballot.signature.signature(),
    })
}

pub(crate) fn mal_vote(vote: &Verified<Vote>, committee: &Committee) -> mal::SignedVote<Context> {
    mal_vote_of(vote, Who::of(&vote.signer, committee))
}

/// The same where its signer's place is known.
pub(crate) fn mal_vote_of(vote: &Verified<Vote>, who: Who) -> mal::SignedVote<Context> {
    let statement = &vote.statement;
    let ballot = Ballot {
        kind: mal_kind(statement.kind),
        height: At(statement.height),
        round: mal_round(statement.round),
        value: nil_or(statement.block),
        who,
    };
    mal::SignedMessage::new(ballot, Mark::Vote(vote.clone()))
}

/// The statement in a proposal.
pub(crate) fn proposal_of(proposal: &Proposal) -> squad_types::Proposal {
    squad_types::Proposal {
        height: proposal.height.0,
        round: round_of(proposal.round).unwrap_or_default(),
        valid_round: round_of(proposal.pol_round),
        block: proposal.value.0,
    }
}

pub(crate) fn signed_proposal_of(
    proposal: &mal::SignedProposal<Context>,
    committee: &Committee,
) -> Signed<squad_types::Proposal> {
    Signed {
        statement: proposal_of(&proposal.message),
        signer: proposal.message.who.address(committee),
        signature: *proposal.signature.signature(),
    }
}

pub(crate) fn mal_proposal(
    signed: &Signed<squad_types::Proposal>,
    committee: &Committee,
) -> mal::SignedProposal<Context> {
    let proposal = Proposal {
        height: At(signed.statement.height),
        round: mal_round(signed.statement.round),
        value: Value(signed.statement.block),
        pol_round: mal_round_opt(signed.statement.valid_round),
        who: Who::of(&signed.signer, committee),
    };
    mal::SignedMessage::new(proposal, Mark::new(signed.signature))
}

/// A certificate over prevotes in canonical order.
pub(crate) fn certificate_of(polka: &mal::PolkaCertificate<Context>, committee: &Committee) -> VoteCertificate {
    let vote = Vote {
        kind: VoteKind::Prevote,
        height: polka.height.0,
        round: round_of(polka.round).unwrap_or_default(),
        block: Some(polka.value_id),
    };
    let signatures = polka.polka_signatures.iter().map(|one| (one.address.0, *one.signature.signature()));
    let (signers, signatures) = in_order(signatures.filter(|(index, _)| committee.get(*index).is_some()));
    VoteCertificate { vote, signers, signatures }
}

/// None unless it is over prevotes for a block, by members.
pub(crate) fn mal_polka(
    certificate: &VoteCertificate,
    committee: &Committee,
) -> Option<mal::PolkaCertificate<Context>> {
    let vote = &certificate.vote;
    members_of(certificate, committee)?;
    let signatures = certificate.signers.iter().zip(&certificate.signatures);
    let signatures = signatures.map(|(index, one)| mal::PolkaSignature::new(Who(index), Mark::new(*one)));
    Some(mal::PolkaCertificate {
        height: At(vote.height),
        round: mal_round(vote.round),
        value_id: vote.block.filter(|_| vote.kind == VoteKind::Prevote)?,
        polka_signatures: signatures.collect(),
    })
}

/// Who signed a certificate, with their signatures; none if its shape is wrong.
pub(crate) fn members_of(
    certificate: &VoteCertificate,
    committee: &Committee,
) -> Option<Vec<(Address, squad_types::Signature)>> {
    if certificate.signers.count() != certificate.signatures.len() {
        return None;
    }
    let members = certificate.signers.iter().map(|index| committee.get(index).map(|member| member.address));
    members.zip(&certificate.signatures).map(|(address, signature)| Some((address?, *signature))).collect()
}

/// The votes of a round certificate.
pub(crate) fn votes_of(certificate: &mal::RoundCertificate<Context>, committee: &Committee) -> Vec<Signed<Vote>> {
    let vote = |signature: &mal::RoundSignature<Context>| Signed {
        statement: Vote {
            kind: kind_of(signature.vote_type),
            height: certificate.height.0,
            round: round_of(certificate.round).unwrap_or_default(),
            block: block_of(&signature.value_id),
        },
        signer: signature.address.address(committee),
        signature: *signature.signature.signature(),
    };
    certificate.round_signatures.iter().map(vote).collect()
}

/// A decision's certificate in canonical order.
pub(crate) fn commit_of(commit: &mal::CommitCertificate<Context>, committee: &Committee) -> CommitCertificate {
    let signatures = commit.commit_signatures.iter().filter(|one| committee.get(one.address.0).is_some());
    let signatures = signatures.map(|one| (one.address.0, *one.signature.signature()));
    CommitCertificate::assemble(
        commit.height.0,
        round_of(commit.round).unwrap_or_default(),
        commit.value_id,
        signatures.collect(),
    )
}

fn in_order(
    signatures: impl Iterator<Item = (ValidatorIndex, squad_types::Signature)>,
) -> (Bitmap, Vec<squad_types::Signature>) {
    let mut sorted: Vec<_> = signatures.collect();
    sorted.sort_by_key(|(index, _)| *index);
    sorted.dedup_by_key(|(index, _)| *index);
    (sorted.iter().map(|(index, _)| *index).collect(), sorted.into_iter().map(|(_, signature)| signature).collect())
}
