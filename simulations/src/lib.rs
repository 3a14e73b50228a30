//! The cluster harness: the shipped Sequencer in virtual time.
