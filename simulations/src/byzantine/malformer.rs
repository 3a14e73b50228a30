//! A proposer of blocks that break the hard rules.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Header, Message, Proposal, ProposalMessage, ProposedBlock, Round, Timestamp, Verified};
use std::sync::Arc;

/// Changes one thing in the header of each of its own blocks, by turns: wrong, or only suspicious.
#[derive(Debug, Default)]
pub struct MalformingProposer {
    last: Option<(squad_types::HeaderHash, Arc<Message>)>,
    turn: u64,
}

fn malform(header: &mut Header, turn: u64) {
    match turn % 8 {
        0 => header.timestamp = Timestamp(header.timestamp.0.saturating_sub(1_000_000)),
        1 => header.timestamp = header.timestamp.plus(60_000),
        2 => header.tx_count = header.tx_count.wrapping_add(1),
        3 => header.origin_round = Round(header.origin_round.0 + 1),
        4 => header.namespaces_root.0[0] ^= 1,
        5 => header.cut_digest.0[0] ^= 1,
        6 => header.next_committee_hash.0[0] ^= 1,
        _ => header.height = header.height.next(),
    }
}

impl Behaviour for MalformingProposer {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Proposal(honest) = message.as_ref() else { return Sent::as_is(message) };
        if honest.proposal.signer != tools.signer.address() || honest.proposal.statement.valid_round.is_some() {
            return Sent::as_is(message);
        }
        // One block for all: this is no equivocation.
        if let Some((of, malformed)) = &self.last
            && *of == honest.block.hash()
        {
            return Sent::as_is(malformed);
        }
        self.turn += 1;
        let mut header = honest.block.header().clone();
        malform(&mut header, self.turn);
        let (cut, readies) = (honest.block.cut().to_vec(), honest.block.readies().to_vec());
        let block = ProposedBlock::new(header, cut, readies, honest.block.next_committee().map(<[_]>::to_vec));
        let statement = Proposal { block: block.hash(), ..honest.proposal.statement };
        let proposal = Verified::sign(statement, tools.domain, tools.signer).into_signed();
        let malformed = Arc::new(Message::Proposal(ProposalMessage { proposal, block: Arc::new(block) }));
        self.last = Some((honest.block.hash(), Arc::clone(&malformed)));
        Sent::as_is(&malformed)
    }
}
