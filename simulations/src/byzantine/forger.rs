//! Puts others' names under what they did not say, and quorums where there are none.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{
    Bitmap, CommitCertificate, Evidence, HeaderHash, Height, Message, Round, Signature, Signed, ValidatorIndex,
    Verified, VerifiedMessage, Vote, VoteCertificate, VoteKind, VotePair,
};

/// Forges votes, certificates and evidence. Its signatures are its own: whatever is checked must find that.
#[derive(Debug, Default)]
pub struct Forger {
    victim: Option<Signed<Vote>>,
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
        Some(match tools.rng.below(4) {
            0 => Message::Commit(CommitCertificate { height, round: Round::ZERO, block, signers, signatures }),
            1 => {
                let kind = VoteKind::Prevote;
                Message::Votes(VoteCertificate { vote: Vote { kind, ..vote }, signers, signatures })
            }
            2 => Message::Vote(Signed { statement: vote, signer: self.victim.as_ref()?.signer, signature }),
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

impl Behaviour for Forger {
    fn hears(&mut self, _: NodeIndex, message: &VerifiedMessage, _: &mut Tools<'_>) -> bool {
        if let VerifiedMessage::Vote(vote) = message {
            self.victim = Some(vote.signed().clone());
        }
        true
    }

    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        let mut said = Vec::new();
        for peer in 0..tools.peers {
            said.extend(self.forged(tools).map(|message| (peer, Sent::now(message))));
        }
        said
    }
}
