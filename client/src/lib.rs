//! The rollup's side: offline verification, submission and a resumable stream of ordered blocks.
