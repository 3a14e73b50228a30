//! Puts others' names under what they did not say, and quorums where there are none. Passes votes for nil off as votes for a
//! block whose hash is zero, which have the same digest, and so the same signature.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_sequencer::Sequencer;
use squad_types::{
    Address, Bitmap, CommitCertificate, Committee, Evidence, HeaderHash, Height, Message, Round, Signature, Signed,
    ValidatorIndex, Verified, VerifiedMessage, Vote, VoteCertificate, VoteKind, VotePair,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rounds whose votes for nil are kept.
const MAX_ROUNDS: usize = 16;

/// Forges votes, certificates and evidence. Its signatures are its own: whatever is checked must find that.
#[derive(Debug, Default)]
pub struct Forger {
    victim: Option<Signed<Vote>>,
    /// Votes for nil, by height and round.
    nil: BTreeMap<(Height, Round, VoteKind), BTreeMap<Address, Signature>>,
}

impl Forger {
    fn forged(&self, tools: &mut Tools<'_>) -> Option<Message> {
        let ledger = tools.sequencer?.ledger();
        let height = Height(ledger.height().0 + 1 + tools.rng.below(3));
        let members = ledger.committee(ledger.epoch_of_next())?.len() as u16;
        let block = HeaderHash([tools.rng.next() as u8; 32]);
        let vote = Vote { kind: VoteKind::Precommit, height, round: Round::ZERO, block: Some(block) };
        let signature = Verified::sign(vote, tools.domain, tools.signer).into_signed().signature;
        let signers: Bitmap = (0..members).map(ValidatorIndex).collect();
        let signatures: Vec<Signature> = vec![signature; members.into()];
        Some(match tools.rng.below(6) {
            0 => Message::Commit(CommitCertificate { height, round: Round::ZERO, block, signers, signatures }),
            1 => {
                let kind = VoteKind::Prevote;
                Message::Votes(VoteCertificate { vote: Vote { kind, ..vote }, signers, signatures })
            }
            2 => Message::Vote(Signed { statement: vote, signer: self.victim.as_ref()?.signer, signature }),
            3 => self.misquoted()?,
            4 => Message::Commit(self.misquoted_certificate(ledger.committee(ledger.epoch_of_next())?)?),
            _ => {
                // Half true: the first statement is the victim's own.
                let first = self.victim.clone()?;
                let statement = Vote { block: Some(block), ..first.statement };
                let second = Signed { statement, signer: first.signer, signature };
                Message::Evidence(Box::new(Evidence::Votes(VotePair { first, second })))
            }
        })
    }
}

const ZERO: Option<HeaderHash> = Some(HeaderHash::ZERO);

impl Forger {
    fn note(&mut self, vote: &Signed<Vote>) {
        if vote.statement.block.is_none() {
            let Vote { kind, height, round, .. } = vote.statement;
            self.nil.entry((height, round, kind)).or_default().insert(vote.signer, vote.signature);
            while self.nil.len() > MAX_ROUNDS {
                self.nil.pop_first();
            }
        }
    }

    /// A vote for nil, said to be for the zero block: as a vote, or as evidence against whoever cast it.
    fn misquoted(&self) -> Option<Message> {
        let ((height, round, kind), votes) = self.nil.last_key_value()?;
        let (signer, signature) = votes.first_key_value()?;
        let vote = |block| {
            let statement = Vote { kind: *kind, height: *height, round: *round, block };
            Signed { statement, signer: *signer, signature: *signature }
        };
        let evidence = Evidence::Votes(VotePair { first: vote(None), second: vote(ZERO) });
        Some(if votes.len() % 2 == 0 { Message::Vote(vote(ZERO)) } else { Message::Evidence(Box::new(evidence)) })
    }

    /// A quorum of precommits for nil, said to have decided the zero block.
    fn misquoted_certificate(&self, committee: &Committee) -> Option<CommitCertificate> {
        let rounds = self.nil.iter().rev().filter(|((.., kind), _)| *kind == VoteKind::Precommit);
        let mut certificates = rounds.map(|((height, round, _), votes)| {
            let votes = votes.iter().filter_map(|(signer, signature)| Some((committee.index_of(signer)?, *signature)));
            CommitCertificate::assemble(*height, *round, HeaderHash::ZERO, votes.collect())
        });
        certificates.find(|certificate| committee.is_quorum(committee.stake_of_all(&certificate.signers)))
    }
}

impl Behaviour for Forger {
    fn hears(&mut self, _: NodeIndex, message: &VerifiedMessage, _: &mut Tools<'_>) -> bool {
        if let VerifiedMessage::Vote(vote) = message {
            self.victim = Some(vote.signed().clone());
            self.note(vote.signed());
        }
        true
    }

    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let mut sent = Sent::as_is(message);
        if let Message::Vote(vote) = &**message {
            self.note(vote);
            // While that height is still open.
            let ledger = tools.sequencer.map(Sequencer::ledger);
            let committee = ledger.and_then(|ledger| ledger.committee(ledger.epoch_of_next()));
            let certificate = committee.and_then(|committee| self.misquoted_certificate(committee));
            let open = certificate.filter(|certificate| certificate.height == vote.statement.height);
            sent.extend(open.map(|certificate| Sent::now(Message::Commit(certificate))));
        }
        sent
    }

    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        let mut said = Vec::new();
        for peer in 0..tools.operators.len() {
            said.extend(self.forged(tools).map(|message| (peer, Sent::now(message))));
        }
        said
    }
}
