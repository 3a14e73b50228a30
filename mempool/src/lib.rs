//! Transactions before they are ordered: admission, lanes, batches, acknowledgement and availability.
