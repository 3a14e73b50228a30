//! Byzantine nodes: an honest node whose messages a behaviour rewrites on their way out, with its key at hand.

mod baiter;
mod censor;
mod delayer;
mod equivocator;
mod fabulist;
mod forger;
mod forker;
mod hoarder;
mod lock_ignorer;
mod malformer;
mod naysayer;
mod replayer;
mod selective;
mod silent;
mod spammer;
mod two_faced;
mod two_tongued;

pub use baiter::Baiter;
pub use censor::Censor;
pub use delayer::Delayer;
pub use equivocator::EquivocatingProposer;
pub use fabulist::Fabulist;
pub use forger::Forger;
pub use forker::LaneForker;
pub use hoarder::CertificateHoarder;
pub use lock_ignorer::LockIgnoringVoter;
pub use malformer::MalformingProposer;
pub use naysayer::Naysayer;
pub use replayer::Replayer;
pub use selective::{Kept, SelectiveSender};
pub use silent::Silent;
pub use spammer::Spammer;
pub use two_faced::EquivocatingVoter;
pub use two_tongued::TwoTonguedAcker;

use crate::network::NodeIndex;
use crate::queue::Instant;
use crate::rng::Rng;
use squad_sequencer::{Sequencer, VerifiedResponse};
use squad_types::{Address, Domain, Message, Response, Signer, VerifiedMessage};
use std::sync::Arc;

/// What a behaviour may use.
pub struct Tools<'a> {
    /// The key.
    pub signer: &'a dyn Signer,
    /// What statements are signed for.
    pub domain: &'a Domain,
    /// Virtual time.
    pub now: Instant,
    /// Its luck.
    pub rng: &'a mut Rng,
    /// The operators of the nodes that have one, which are numbered from 0.
    pub operators: &'a [Address],
    /// The node's own, honest part, while it runs.
    pub sequencer: Option<&'a Sequencer>,
}

/// Something that a behaviour lets out.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What.
    pub message: Arc<Message>,
    /// How long it is held back, in milliseconds.
    pub later_ms: u64,
}

impl Sent {
    /// Only this, at once and unchanged.
    pub fn as_is(message: &Arc<Message>) -> Vec<Self> {
        vec![Self { message: Arc::clone(message), later_ms: 0 }]
    }

    /// This, at once.
    pub fn now(message: Message) -> Self {
        Self { message: Arc::new(message), later_ms: 0 }
    }

    /// The same message, later.
    pub fn later(message: &Arc<Message>, later_ms: u64) -> Self {
        Self { message: Arc::clone(message), later_ms }
    }
}

/// A way to misbehave: decides what each peer gets in place of a message.
pub trait Behaviour {
    /// What `to` gets instead of `message`.
    fn rewrite(&mut self, to: NodeIndex, message: &Arc<Message>, tools: &mut Tools<'_>) -> Vec<Sent> {
        let _ = (to, tools);
        Sent::as_is(message)
    }

    /// Whether the honest part gets to see a message.
    fn hears(&mut self, from: NodeIndex, message: &VerifiedMessage, tools: &mut Tools<'_>) -> bool {
        let _ = (from, message, tools);
        true
    }

    /// Whether the honest part gets to see an answer; if not, it asks somebody else.
    fn hears_answer(&mut self, answer: &VerifiedResponse, tools: &mut Tools<'_>) -> bool {
        let _ = (answer, tools);
        true
    }

    /// What `to` gets for an answer.
    fn answers(&mut self, to: NodeIndex, response: Response, tools: &mut Tools<'_>) -> Option<Response> {
        let _ = (to, tools);
        Some(response)
    }

    /// What it says unasked, every now and then, and to whom.
    fn volunteers(&mut self, tools: &mut Tools<'_>) -> Vec<(NodeIndex, Sent)> {
        let _ = tools;
        Vec::new()
    }
}
