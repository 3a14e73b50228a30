//! The contracts' interface, as much of it as is called here.

use alloy_sol_types::sol;

sol! {
    /// A member of a committee.
    #[derive(Debug, PartialEq, Eq)]
    struct Member {
        address key;
        uint64 stake;
    }

    /// Who is at stake.
    interface StakeTable {
        /// The committee for an epoch and its hash, as of the block that it is asked at.
        function committee(uint64 epoch) external view returns (Member[] members, bytes32 hash);
    }
}
