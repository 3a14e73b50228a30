// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// A validator with its weight, as headers commit to it.
struct Member {
    /// Its consensus key.
    address key;
    uint64 stake;
}

/// Who votes in an epoch: chosen from candidates and hashed as the operators do.
library Committee {
    error Empty();
    error TooLarge(uint256 members);
    /// Not in ascending order of key, or twice the same.
    error Order(address key);
    error NoStake(address key);
    error TooMuchStake();

    /// The most members that operators take.
    uint256 internal constant MAX_MEMBERS = 1_024;
    /// The most stake that they add up.
    uint64 internal constant MAX_TOTAL = type(uint64).max / 3;
    /// More weight no member gets, so that any committee can be added up.
    uint64 internal constant MAX_STAKE = MAX_TOTAL / uint64(MAX_MEMBERS);

    /// keccak256 of the canonical form. Reverts for what is no committee.
    function hash(uint64 epoch, Member[] memory members) internal pure returns (bytes32) {
        uint256 count = members.length;
        if (count == 0) revert Empty();
        if (count > MAX_MEMBERS) revert TooLarge(count);
        bytes memory form = new bytes(12 + 28 * count);
        uint256 total;
        address last;
        // Each write is of a whole word, whose end the next one covers; room for the last one's is left behind the array.
        uint256 place;
        assembly ("memory-safe") {
            place := add(form, 32)
            mstore(place, or(shl(192, epoch), shl(160, count)))
            place := add(place, 12)
            mstore(0x40, add(mload(0x40), 32))
        }
        for (uint256 i = 0; i < count; ++i) {
            (address key, uint64 stake) = (members[i].key, members[i].stake);
            if (i > 0 && key <= last) revert Order(key);
            if (stake == 0) revert NoStake(key);
            (last, total) = (key, total + stake);
            assembly ("memory-safe") {
                mstore(place, or(shl(96, key), shl(32, stake)))
                place := add(place, 28)
            }
        }
        if (total > MAX_TOTAL) revert TooMuchStake();
        return keccak256(form);
    }

    /// The `most` weightiest of the candidates that weigh `least` or more, in ascending order of key. Of two that weigh the same,
    /// the lower key goes before. No key may stand twice.
    function choose(Member[] memory candidates, uint256 most, uint64 least)
        internal
        pure
        returns (Member[] memory chosen)
    {
        uint256[] memory ranks = new uint256[](candidates.length);
        uint256 count;
        for (uint256 i = 0; i < candidates.length; ++i) {
            (address key, uint64 stake) = (candidates[i].key, candidates[i].stake);
            if (stake == 0 || stake < least) continue;
            // Ascending, so the weightiest come first.
            ranks[count++] = uint256(type(uint64).max - stake) << 160 | uint160(key);
        }
        sort(ranks, count);
        if (count > most) count = most;
        for (uint256 i = 0; i < count; ++i) {
            uint256 rank = ranks[i];
            ranks[i] = uint256(uint160(rank)) << 64 | (type(uint64).max - uint64(rank >> 160));
        }
        sort(ranks, count);
        chosen = new Member[](count);
        for (uint256 i = 0; i < count; ++i) {
            chosen[i] = Member(address(uint160(ranks[i] >> 64)), uint64(ranks[i]));
        }
    }

    /// Heapsort of the first `count`: nobody's choice of keys or stakes makes it slow.
    function sort(uint256[] memory list, uint256 count) private pure {
        if (count < 2) return;
        for (uint256 i = count / 2; i > 0; --i) {
            sink(list, i - 1, count);
        }
        for (uint256 end = count - 1; end > 0; --end) {
            (list[0], list[end]) = (list[end], list[0]);
            sink(list, 0, end);
        }
    }

    function sink(uint256[] memory list, uint256 place, uint256 end) private pure {
        uint256 value = list[place];
        while (true) {
            uint256 child = 2 * place + 1;
            if (child >= end) break;
            if (child + 1 < end && list[child + 1] > list[child]) ++child;
            if (list[child] <= value) break;
            list[place] = list[child];
            place = child;
        }
        list[place] = value;
    }
}
