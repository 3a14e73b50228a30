//! What the node counts.
