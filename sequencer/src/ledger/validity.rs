//! Whether a transaction may be ordered at a moment of chain time.

use squad_types::{NamespaceKind, NamespaceSpec, Timestamp, Transaction};

/// Why a batched transaction will never be ordered from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rejection {
    /// Its validity ended before it was ordered.
    #[error("expired: its validity ended before it was ordered; submit it again with a later one")]
    Expired,
    /// Its validity reaches further than the exactly-once window.
    #[error("its validity reaches beyond the window in which repeats are noticed; submit it with an earlier end")]
    ValidTooLong,
    /// An opaque transaction without an end of validity could come back after the window.
    #[error("an opaque transaction needs a time until which it may be ordered")]
    NoValidity,
    /// The network has no such namespace.
    #[error("the network has no such namespace")]
    UnknownNamespace,
}

/// Judges a transaction by what it carries and chain time alone; `namespace` is its namespace's registration.
pub(super) fn check(
    transaction: &Transaction,
    namespace: Option<&NamespaceSpec>,
    chain_time: Timestamp,
    window: u64,
) -> Result<(), Rejection> {
    let namespace = namespace.ok_or(Rejection::UnknownNamespace)?;
    match transaction.valid_until {
        None if namespace.kind == NamespaceKind::Opaque => Err(Rejection::NoValidity),
        Some(until) if until < chain_time => Err(Rejection::Expired),
        Some(until) if until > chain_time.plus(window) => Err(Rejection::ValidTooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::fixture;
    use squad_types::NamespaceId;

    #[test]
    fn an_opaque_transaction_lives_from_its_submission_to_the_end_of_its_validity() {
        let genesis = fixture::genesis(4);
        let opaque = &genesis.namespaces[0];
        let at = |valid_until: Option<u64>, now: u64| {
            let tx = Transaction {
                namespace: NamespaceId(1),
                valid_until: valid_until.map(Timestamp),
                hint: None,
                data: bytes::Bytes::new(),
            };
            check(&tx, Some(opaque), Timestamp(now), 100)
        };
        assert_eq!(at(Some(150), 50), Ok(()));
        assert_eq!(at(Some(150), 150), Ok(()));
        assert_eq!(at(Some(150), 151), Err(Rejection::Expired));
        assert_eq!(at(Some(151), 50), Err(Rejection::ValidTooLong));
        assert_eq!(at(None, 50), Err(Rejection::NoValidity));
    }
}
