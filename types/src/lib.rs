//! The vocabulary of the protocol: quantities, keys, statements, certificates and their bounded codec.
