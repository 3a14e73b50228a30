//! Acknowledges one thing to some and another to the rest.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::ack::vector_root;
use squad_types::{Ack, AckEntries, AckMessage, BatchId, Message, Tip, Verified};
use std::sync::Arc;

/// Sends every other node, under the same counter, an ack of batches that do not exist.
#[derive(Debug, Default)]
pub struct TwoTonguedAcker;

impl Behaviour for TwoTonguedAcker {
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let Message::Ack(AckMessage { ack, entries: AckEntries::Full(entries) }) = message.as_ref() else {
            return Sent::as_is(message);
        };
        if ack.signer != tools.signer.address() || to.is_multiple_of(2) {
            return Sent::as_is(message);
        }
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            entry.tip = entry.tip.map(|tip| Tip { batch: BatchId([tip.sequence.0 as u8; 32]), ..tip });
        }
        let tips: Vec<Option<Tip>> = entries.iter().map(|entry| entry.tip).collect();
        let statement = Ack { root: vector_root(&tips), ..ack.statement };
        let ack = Verified::sign(statement, tools.domain, tools.signer).into_signed();
        vec![Sent::now(Message::Ack(AckMessage { ack, entries: AckEntries::Full(entries.into()) }))]
    }
}
