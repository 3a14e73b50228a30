//! A proposer that proposes one block to some and another to the rest.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Bitmap, Message, Proposal, ProposalMessage, ProposedBlock, ValidatorIndex, Verified};
use std::sync::Arc;

/// Sends every other node a second block under a second proposal for the same round. Both are valid: they differ in the
/// advisory signers only.
#[derive(Debug, Default)]
pub struct EquivocatingProposer;

impl Behaviour for EquivocatingProposer {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Proposal(honest) = message.as_ref() else { return Sent::as_is(message) };
        let ours = honest.proposal.signer == tools.signer.address() && honest.proposal.statement.valid_round.is_none();
        if !ours || to.is_multiple_of(2) {
            return Sent::as_is(message);
        }
        let mut header = honest.block.header().clone();
        let one: Bitmap = [ValidatorIndex(0)].into_iter().collect();
        header.signers = if header.signers == one { Bitmap::default() } else { one };
        let (cut, readies) = (honest.block.cut().to_vec(), honest.block.readies().to_vec());
        let block = ProposedBlock::new(header, cut, readies, honest.block.next_committee().map(<[_]>::to_vec));
        let statement = Proposal { block: block.hash(), ..honest.proposal.statement };
        let proposal = Verified::sign(statement, tools.domain, tools.signer).into_signed();
        vec![Sent::now(Message::Proposal(ProposalMessage { proposal, block: Arc::new(block) }))]
    }
}
