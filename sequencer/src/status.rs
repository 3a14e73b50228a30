//! What a node says of itself, for its operator and its interfaces.

use crate::ledger::Ledger;
use crate::sequencer::Sequencer;
use squad_mempool::{MempoolStats, Rejection};
use squad_types::{Address, Epoch, Height, Round};

/// A node's condition.
#[derive(Clone, Debug)]
pub struct Status {
    /// The last decided height.
    pub height: Height,
    /// The round of the height under way.
    pub round: Round,
    /// The epoch of the height under way.
    pub epoch: Epoch,
    /// Who proposes in that round; none before the node knows.
    pub proposer: Option<Address>,
    /// Whether this operator stands in that epoch's committee.
    pub member: bool,
    /// Whether it may sign.
    pub signing: bool,
    /// The highest decided height it knows of, if that is above its own.
    pub catching_up_to: Option<Height>,
    /// Why it takes no transactions, if so.
    pub closed: Option<Rejection>,
    /// Why it stopped agreeing for good, if so.
    pub halted: Option<String>,
    /// Operators it is connected to.
    pub operators_connected: usize,
    /// All peers.
    pub peers: usize,
    /// The mempool's numbers.
    pub mempool: MempoolStats,
    /// Operators caught so far.
    pub accused: usize,
}

impl Sequencer {
    /// The node's condition.
    pub fn status(&self) -> Status {
        let epoch = self.ledger.epoch_of_next();
        Status {
            height: self.ledger.height(),
            round: self.round,
            epoch,
            proposer: self.proposer_of(self.round),
            member: self.is_member(epoch),
            signing: self.guard.may_sign(),
            catching_up_to: self.catchup.is_behind().then(|| self.catchup.target()),
            closed: self.closed_to_clients(),
            halted: self.halted.clone(),
            operators_connected: self.peers.iter().filter(|peer| matches!(peer, crate::Peer::Operator(_))).count(),
            peers: self.peers.len(),
            mempool: self.mempool.stats(),
            accused: self.evidence.list().len(),
        }
    }

    /// Who proposes in a round of the height under way.
    pub fn proposer_of(&self, round: Round) -> Option<Address> {
        let index = self.schedule.as_ref()?.proposer(round);
        let committee = self.ledger.committee(self.ledger.epoch_of_next())?;
        committee.members().get(index.position()).map(|member| member.address)
    }

    /// The decided chain.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The operator this node signs for.
    pub fn operator(&self) -> Option<Address> {
        self.me
    }

    /// Proofs of misbehaviour found so far.
    pub fn evidence(&self) -> &[squad_types::Evidence] {
        self.evidence.list()
    }
}
