//! What comes out of a [`Sequencer`](crate::Sequencer): effects for its driver to perform, in order.

use crate::input::{AskId, Peer, RequestId};
use crate::ledger::Execution;
use crate::record::Write;
use squad_mempool::Rejection;
use squad_types::{
    Address, BatchCertificate, Committee, Evidence, LaneId, Message, OrderedBlock, Request, Response, Sequence,
    Timestamp, Tip, TxId, VerifiedBatch,
};
use std::sync::Arc;

/// A write's place in its stream; each stream counts its own, ascending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PersistId(pub u64);

/// Which writes must be durable before an effect leaves: each stream up to and with the id named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// In the write-ahead log.
    pub log: Option<PersistId>,
    /// In the bulk store.
    pub bulk: Option<PersistId>,
}

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// One peer.
    One(Peer),
    /// All other members of the committees that are in force (this epoch's, its neighbours').
    Committee,
    /// Everybody on the mesh, followers too.
    Everyone,
}

/// What the driver reads back from its store to answer a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreQuery {
    /// Ordered blocks from a height on, as a [`Response::Blocks`].
    Blocks(squad_types::Height),
    /// Batches of a lane from a sequence up to a tip, as a [`Response::Batches`].
    Batches(squad_types::BatchRange),
    /// Proofs of the committees after an epoch, from the first blocks of epochs, as a [`Response::Committees`].
    Committees(squad_types::Epoch),
}

/// An answer, or where the driver finds it.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This.
    Now(Box<Response>),
    /// In the store.
    FromStore(StoreQuery),
}

/// A block that is ordered for good, with what it holds.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The block with its certificate.
    pub block: OrderedBlock,
    /// Its transactions by namespace, in order.
    pub execution: Arc<Execution>,
    /// Whether it was followed after the fact rather than agreed on here.
    pub caught_up: bool,
}

/// An effect.
///
/// **The driver's one rule**: what carries an [`After`] leaves only when those writes are durable; apart from that, outputs are
/// performed in order. After any error of the write-ahead log nothing more may leave.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // each is moved once or twice and performed at once
pub enum Output {
    /// Write this. The driver may group writes; it reports nothing back, since whatever waits for it says so.
    Persist {
        /// The write's place in its stream.
        id: PersistId,
        /// The write.
        write: Write,
    },
    /// Send this.
    Send {
        /// To whom.
        to: Recipients,
        /// The message.
        message: Arc<Message>,
        /// After what.
        after: After,
    },
    /// Ask a peer; the answer or its failure comes back as [`Input::Response`](crate::Input::Response), in bounded time.
    Ask {
        /// The question's number.
        id: AskId,
        /// Whom.
        to: Peer,
        /// The question.
        request: Request,
    },
    /// Answer a peer.
    Answer {
        /// The request's number.
        request: RequestId,
        /// The answer.
        reply: Reply,
        /// After what.
        after: After,
    },
    /// Call again with [`Input::Wake`](crate::Input::Wake) at this time; replaces the time named before.
    WakeAt(Timestamp),
    /// A submission is refused, for good or for now.
    Refused {
        /// The transaction.
        transaction: TxId,
        /// Why, and what to do.
        rejection: Rejection,
    },
    /// A transaction that was taken in can be in no block any more: its time is over before a batch carried it, or the one that
    /// did expired with its lane.
    Dropped {
        /// The transaction.
        transaction: TxId,
        /// Why.
        rejection: Rejection,
    },
    /// A batch of this operator's: its transactions are batched (T0) once this effect may leave.
    Batched {
        /// The batch.
        batch: VerifiedBatch,
        /// When it is durable.
        after: After,
    },
    /// A batch of this operator's is secured (T1).
    Secured {
        /// The batch.
        batch: VerifiedBatch,
        /// The quorum that holds it.
        certificate: Arc<BatchCertificate>,
    },
    /// A block is ordered (T2).
    Ordered(Box<Decision>),
    /// The committees in force changed: the one before, the current one, the next one.
    Committees(Vec<Arc<Committee>>),
    /// An operator was caught. It is kept in the log by then.
    Accused {
        /// The operator.
        operator: Address,
        /// The proof.
        evidence: Box<Evidence>,
    },
    /// A lane takes no further batches this epoch, because its author forked it.
    LaneClosed(LaneId),
    /// Bulk records of lanes of epochs below may be pruned, and blocks below the height, as retention allows.
    Prunable {
        /// Blocks below are not needed for recovery.
        height: squad_types::Height,
        /// Batches of lanes of epochs below are not needed for recovery.
        epoch: squad_types::Epoch,
    },
    /// A peer broke a rule that no honest peer breaks: score it.
    Misbehaved {
        /// Who.
        peer: Peer,
        /// How.
        what: &'static str,
    },
    /// The operator should know.
    Notice(Notice),
}

/// Something the operator should know, for logs and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Signing begins: peers holding over two thirds of stake showed nothing that this node does not remember.
    SigningAllowed,
    /// This node's own memory is lost or stale: it will not vote up to a height nor write a lane before an epoch.
    StateLost {
        /// The first height it votes in.
        votes_from: squad_types::Height,
        /// The first epoch it has a lane and acknowledges in.
        lane_from: squad_types::Epoch,
    },
    /// Another node signs with this node's key: this one signs nothing more. In words that say how that is known and what to do.
    KeyInUse(String),
    /// This node is behind and catches up.
    CatchingUp {
        /// Its own height.
        height: squad_types::Height,
        /// The highest decided height it knows of.
        target: squad_types::Height,
    },
    /// This node is at the tip again.
    CaughtUp(squad_types::Height),
    /// A round of agreement began; above 0 something was slow or faulty.
    Round {
        /// The height.
        height: squad_types::Height,
        /// The round.
        round: squad_types::Round,
    },
    /// An own batch was left behind in an expired lane and is batched again.
    Rebatched {
        /// The number of transactions.
        count: usize,
    },
    /// A lane's tip that a peer acknowledges is not known here.
    Fetching {
        /// The lane.
        lane: LaneId,
        /// From where.
        from: Sequence,
        /// Up to what.
        to: Tip,
    },
    /// A fresh proposal is not voted for.
    Refusing {
        /// The height.
        height: squad_types::Height,
        /// The round.
        round: squad_types::Round,
        /// Why.
        why: &'static str,
    },
}
