//! Acknowledges more than there is.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::ack::vector_root;
use squad_types::{Ack, AckEntries, AckMessage, BatchId, Message, Sequence, Tip, Verified};
use std::sync::Arc;

/// Every ack of its speaks of batches a little above the real tips, which nobody can find.
#[derive(Debug, Default)]
pub struct Fabulist;

impl Behaviour for Fabulist {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Ack(AckMessage { ack, entries: AckEntries::Full(entries) }) = message.as_ref() else {
            return Sent::as_is(message);
        };
        if ack.signer != tools.signer.address() {
            return Sent::as_is(message);
        }
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            let above = entry.tip.map_or(0, |tip| tip.sequence.0 + 1 + ack.statement.counter.0 % 3);
            entry.tip = Some(Tip { sequence: Sequence(above), batch: BatchId([above as u8; 32]) });
        }
        let tips: Vec<Option<Tip>> = entries.iter().map(|entry| entry.tip).collect();
        let statement = Ack { root: vector_root(&tips), ..ack.statement };
        let ack = Verified::sign(statement, tools.domain, tools.signer).into_signed();
        vec![Sent::now(Message::Ack(AckMessage { ack, entries: AckEntries::Full(entries.into()) }))]
    }
}
