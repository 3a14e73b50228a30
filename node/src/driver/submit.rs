//! Clients' transactions on their way into the sequencer, and refusals on their way back.

use crate::api::{RejectCode, Rejected, Source, Ticket};
use crate::config::Limits;
use squad_mempool::Rejection;
use squad_types::{NamespaceKind, NamespaceSpec, Tier, Transaction, TxId};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

/// When to come back to a node that starts.
const STARTING_RETRY: Duration = Duration::from_secs(1);

/// A ticket, made ready off the sequencer's thread.
pub(crate) struct Prepared {
    pub(crate) number: u64,
    pub(crate) tier: Tier,
    pub(crate) arrived: Instant,
    pub(crate) deadline: Instant,
    pub(crate) with_confirmation: bool,
    pub(crate) after: Option<TxId>,
    pub(crate) submission: squad_sequencer::Submission,
}

/// Makes a ticket ready: the transaction's id is computed here.
pub(crate) fn prepare(ticket: Ticket, namespaces: &[NamespaceSpec], arrived: Instant) -> Prepared {
    let Ticket { number, submission } = ticket;
    let kind = namespaces.iter().find(|spec| spec.id == submission.namespace).map(|spec| spec.kind);
    let chain_id = match kind {
        Some(NamespaceKind::Evm { chain_id }) => Some(chain_id),
        _ => None,
    };
    // The chain id was checked with the signature.
    let facts =
        |facts: crate::evm::EvmFacts| squad_mempool::EvmFacts { sender: facts.sender, chain_id, fee: facts.fee };
    let transaction = Transaction {
        namespace: submission.namespace,
        valid_until: submission.valid_until,
        hint: None,
        data: submission.data,
    };
    Prepared {
        number,
        tier: submission.wait,
        arrived,
        deadline: arrived + submission.within,
        with_confirmation: submission.with_confirmation,
        after: submission.after,
        submission: squad_sequencer::Submission {
            transaction: transaction.into(),
            source: source(submission.source),
            evm: submission.evm.map(facts),
        },
    }
}

fn source(source: Source) -> squad_mempool::Source {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    squad_mempool::Source(hasher.finish())
}

/// How long a look-up waits for a tier, as the configuration says.
pub(crate) fn longest_wait(limits: &Limits) -> Duration {
    Duration::from_millis(limits.wait_ms.into())
}

/// The refusal of a transaction whose predecessor is not here.
pub(crate) fn out_of_turn(after: &TxId) -> Rejected {
    let reason = format!("transaction {after}, which it is to come after, is not here: send that one first");
    Rejected::new(RejectCode::OutOfTurn, reason)
}

/// A refusal of the sequencer as clients see it.
pub(crate) fn rejected(rejection: &Rejection) -> Rejected {
    let code = match rejection {
        Rejection::Empty => RejectCode::Empty,
        Rejection::TooLarge { .. } => RejectCode::TooLarge,
        Rejection::UnknownNamespace(_) => RejectCode::UnknownNamespace,
        Rejection::ClosedNamespace(_) => RejectCode::ClosedNamespace,
        Rejection::NotAllowed { .. } => RejectCode::NotAllowed,
        Rejection::WrongChainId { .. } => RejectCode::WrongChainId,
        Rejection::NotEvm(_) => RejectCode::MalformedRlp,
        Rejection::ValidityNotAllowed => RejectCode::ValidityUnexpected,
        Rejection::ValidityMissing { .. } => RejectCode::ValidityMissing,
        Rejection::ValidityTooLong { .. } => RejectCode::ValidityTooLong,
        Rejection::Expired { .. } => RejectCode::Expired,
        Rejection::Duplicate => RejectCode::Duplicate,
        Rejection::Quota { .. } => RejectCode::Quota,
        Rejection::Busy { .. } => RejectCode::Busy,
        Rejection::ShuttingDown => RejectCode::ShuttingDown,
        Rejection::NotMember { .. } | Rejection::Leaving { .. } => RejectCode::NotMember,
        Rejection::CatchingUp { .. } => RejectCode::CatchingUp,
        Rejection::DiskFull | Rejection::Halted { .. } | Rejection::StateLost { .. } | Rejection::Starting => {
            RejectCode::NotReady
        }
    };
    let refusal = Rejected::new(code, rejection.to_string());
    match (rejection.retry_after_ms(), rejection) {
        (Some(ms), _) => refusal.retry_after(Duration::from_millis(ms)),
        (None, Rejection::Starting) => refusal.retry_after(STARTING_RETRY),
        _ => refusal,
    }
}
