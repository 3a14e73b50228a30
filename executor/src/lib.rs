//! The reference EVM rollup that follows one namespace and serves wallets.
