//! One node as one plain state machine: validity, ordering, ledger, confirmations, catch-up, epochs.
pub mod ledger;
