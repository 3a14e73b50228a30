//! Byzantine nodes: an honest node whose messages a behaviour rewrites on their way out, with its key at hand.

mod equivocator;
mod forker;
mod silent;
mod two_faced;

pub use equivocator::EquivocatingProposer;
pub use forker::LaneForker;
pub use silent::Silent;
pub use two_faced::EquivocatingVoter;

use crate::network::NodeIndex;
use squad_types::{Domain, Message, Signer};
use std::sync::Arc;

/// What a behaviour may use.
pub struct Tools<'a> {
    /// The key.
    pub signer: &'a dyn Signer,
    /// What statements are signed for.
    pub domain: &'a Domain,
}

/// A way to misbehave: decides what each peer gets in place of a message.
pub trait Behaviour {
    /// The messages that `to` gets instead of `message`.
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &Tools<'_>) -> Vec<Arc<Message>>;
}
