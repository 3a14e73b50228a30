//! A disk that can lose power, for tests.
