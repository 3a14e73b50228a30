//! The squad binary: configuration, driver, interfaces and the local development network.
