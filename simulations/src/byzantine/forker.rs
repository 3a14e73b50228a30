//! An author that forks its lane: at one sequence, one batch for some and another for the rest.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::{Batch, Message, Payload, Verified};
use std::sync::Arc;

/// Sends every other node another batch at the sequence it forks at, and all other batches as they are.
#[derive(Debug)]
pub struct LaneForker {
    /// The sequence to fork at.
    pub at: u64,
}

impl Behaviour for LaneForker {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Batch(batch) = message.as_ref() else { return Sent::as_is(message) };
        let header = &batch.header.statement;
        if header.operator != tools.signer.address() || header.sequence.0 != self.at || to.is_multiple_of(2) {
            return Sent::as_is(message);
        }
        let Ok(payload) = Payload::parse(batch.payload.clone()) else { return Sent::as_is(message) };
        let mut transactions = payload.transactions().to_vec();
        if let Some(first) = transactions.first_mut() {
            let mut changed = first.transaction.clone();
            let mut data = changed.data.to_vec();
            data.push(0xff);
            changed.data = data.into();
            *first = changed.into();
        }
        let other = Payload::pack(transactions);
        let mut forged = header.clone();
        forged.payload = other.digest();
        forged.transactions_root = other.root();
        forged.bytes = other.bytes().len() as u32;
        let signed = Verified::sign(forged, tools.domain, tools.signer).into_signed();
        vec![Sent::now(Message::Batch(Batch { header: signed, payload: other.bytes().clone() }))]
    }
}
