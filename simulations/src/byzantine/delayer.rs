//! Says everything, late.

use super::{Behaviour, Sent, Tools};
use crate::network::NodeIndex;
use squad_types::Message;
use std::sync::Arc;

/// Holds every message back, each by a time of its own.
#[derive(Debug)]
pub struct Delayer {
    /// The longest time, in milliseconds: just below the others' patience is worst.
    pub most_ms: u64,
}

impl Behaviour for Delayer {
    fn rewrite(&mut self, _: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        vec![Sent::later(message, self.most_ms / 2 + tools.rng.below(self.most_ms / 2 + 1))]
    }
}
