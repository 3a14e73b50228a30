// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IAVSRegistrar, IAllocationManager, OperatorSet} from "./EigenLayer.sol";
import {StakeTable} from "./StakeTable.sol";

/// Which consensus key an operator signs with, and where its node is.
///
/// A key belongs to one operator for ever: what it signed, its operator answers for, also after it was replaced and after its
/// operator left. Who leaves the set is in no later committee; EigenLayer keeps its stake slashable for its deallocation delay.
contract SquadRegistrar is IAVSRegistrar {
    error OnlyAllocationManager();
    error OnlySlasher();
    /// Another AVS, another set or several.
    error WrongSet();
    /// The operator was slashed, and does not come back.
    error Tombstoned(address operator);
    error Full(uint256 most);
    error TooLittleStake(uint64 weight, uint64 minimum);
    error NotRegistered(address operator);
    /// The key's holder did not sign that it belongs to this operator, here.
    error BadProof(address key);
    error KeyTaken(address key, address operator);
    error RotationPending(uint32 from);
    /// Not the bytes of a libp2p peer id; no address or too many, or one that is empty or too long.
    error BadContact();

    event Registered(address indexed operator, address indexed key);
    event Left(address indexed operator);
    event KeyRotated(address indexed operator, address indexed key, uint32 from);
    event ContactChanged(address indexed operator, bytes peerId, bytes[] addresses);
    event Banned(address indexed operator);

    uint256 public constant MOST_ADDRESSES = 8;
    uint256 public constant LONGEST_ADDRESS = 256;
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant CONSENSUS_KEY = keccak256("ConsensusKey(address operator,address key)");
    /// Half of secp256k1's group order.
    uint256 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;

    /// How peers find a node.
    struct Contact {
        /// The multihash of its libp2p key.
        bytes peerId;
        /// Multiaddrs in their binary form.
        bytes[] addresses;
    }

    /// What an operator registers with: `abi.encode` of it is the `data` of the core's `registerForOperatorSets`.
    struct Registration {
        address key;
        /// The key's signature over `keyDigest`: r, s, v.
        bytes proof;
        Contact contact;
    }

    struct Keys {
        address current;
        bool tombstoned;
        /// What replaces it from block `from` on; zero if nothing does.
        address next;
        uint32 from;
    }

    IAllocationManager public immutable allocationManager;
    StakeTable public immutable table;
    /// Who slashes: the AVS.
    address public immutable avs;
    uint32 public immutable setId;
    /// The most operators in the set, which bounds what reading the table takes.
    uint256 public immutable mostOperators;
    /// Blocks until a new key counts.
    uint32 public immutable rotationDelay;

    /// Whose a consensus key is, or ever was.
    mapping(address key => address operator) public operatorOf;
    mapping(address operator => Keys) private keys;
    mapping(address operator => Contact) private contacts;

    constructor(StakeTable table_, uint256 mostOperators_, uint32 rotationDelay_) {
        OperatorSet memory set = table_.operatorSet();
        (allocationManager, table, avs, setId) = (table_.allocationManager(), table_, set.avs, set.id);
        (mostOperators, rotationDelay) = (mostOperators_, rotationDelay_);
    }

    modifier onlyAllocationManager() {
        if (msg.sender != address(allocationManager)) revert OnlyAllocationManager();
        _;
    }

    function supportsAVS(address avs_) external view returns (bool) {
        return avs_ == avs;
    }

    /// Takes an operator into the set, with `data` an encoded `Registration`. Its allocation must count already.
    function registerOperator(address operator, address avs_, uint32[] calldata operatorSetIds, bytes calldata data)
        external
        onlyAllocationManager
    {
        if (avs_ != avs || operatorSetIds.length != 1 || operatorSetIds[0] != setId) revert WrongSet();
        if (keys[operator].tombstoned) revert Tombstoned(operator);
        // The core counts the newcomer already.
        if (allocationManager.getMemberCount(OperatorSet(avs, setId)) > mostOperators) revert Full(mostOperators);
        (uint64 weight, uint64 minimum) = (table.weightOf(operator), table.minimumStake());
        if (weight < minimum) revert TooLittleStake(weight, minimum);
        Registration memory registration = abi.decode(data, (Registration));
        bind(operator, registration.key, registration.proof);
        keys[operator] = Keys({current: registration.key, tombstoned: false, next: address(0), from: 0});
        setContactOf(operator, registration.contact);
        emit Registered(operator, registration.key);
    }

    /// Hears that an operator left. Its keys stay its own.
    function deregisterOperator(address operator, address, uint32[] calldata) external onlyAllocationManager {
        emit Left(operator);
    }

    /// Replaces the sender's consensus key, `rotationDelay` blocks from now.
    function rotateKey(address key, bytes calldata proof) external {
        mustBeRegistered();
        Keys storage mine = keys[msg.sender];
        if (mine.next != address(0)) {
            if (block.number < mine.from) revert RotationPending(mine.from);
            mine.current = mine.next;
        }
        bind(msg.sender, key, proof);
        (mine.next, mine.from) = (key, uint32(block.number) + rotationDelay);
        emit KeyRotated(msg.sender, key, mine.from);
    }

    /// Says where the sender's node is.
    function setContact(Contact calldata contact) external {
        mustBeRegistered();
        setContactOf(msg.sender, contact);
    }

    /// Bars an operator from every later committee and from coming back.
    function tombstone(address operator) external {
        if (msg.sender != avs) revert OnlySlasher();
        if (keys[operator].tombstoned) return;
        keys[operator].tombstoned = true;
        emit Banned(operator);
    }

    function isTombstoned(address operator) external view returns (bool) {
        return keys[operator].tombstoned;
    }

    /// The key that counts at this block; zero for who never registered and for the tombstoned.
    function keyOf(address operator) external view returns (address) {
        Keys storage held = keys[operator];
        if (held.tombstoned) return address(0);
        return held.next != address(0) && block.number >= held.from ? held.next : held.current;
    }

    /// The key that replaces it, and from which block on; zero if none does.
    function nextKeyOf(address operator) external view returns (address key, uint32 from) {
        return (keys[operator].next, keys[operator].from);
    }

    function contactOf(address operator) external view returns (Contact memory) {
        return contacts[operator];
    }

    /// What a key signs to belong to an operator: EIP-712, bound to this chain and this contract.
    function keyDigest(address operator, address key) public view returns (bytes32) {
        bytes32 domain =
            keccak256(abi.encode(DOMAIN, keccak256("SQUAD registrar"), keccak256("1"), block.chainid, address(this)));
        return keccak256(abi.encodePacked(hex"1901", domain, keccak256(abi.encode(CONSENSUS_KEY, operator, key))));
    }

    function mustBeRegistered() private view {
        bool member = allocationManager.isMemberOfOperatorSet(msg.sender, OperatorSet(avs, setId));
        if (!member) revert NotRegistered(msg.sender);
        if (keys[msg.sender].tombstoned) revert Tombstoned(msg.sender);
    }

    /// Makes a key an operator's for ever.
    function bind(address operator, address key, bytes memory proof) private {
        if (!signed(key, keyDigest(operator, key), proof)) revert BadProof(key);
        address owner = operatorOf[key];
        if (owner != address(0) && owner != operator) revert KeyTaken(key, owner);
        operatorOf[key] = operator;
    }

    function signed(address key, bytes32 digest, bytes memory proof) private pure returns (bool) {
        if (key == address(0) || proof.length != 65) return false;
        (bytes32 r, bytes32 s, uint8 v) = (bytes32(0), bytes32(0), uint8(proof[64]));
        assembly ("memory-safe") {
            r := mload(add(proof, 32))
            s := mload(add(proof, 64))
        }
        return uint256(s) <= HALF_ORDER && ecrecover(digest, v, r, s) == key;
    }

    function setContactOf(address operator, Contact memory contact) private {
        bool fits =
            isPeerId(contact.peerId) && contact.addresses.length > 0 && contact.addresses.length <= MOST_ADDRESSES;
        for (uint256 i = 0; fits && i < contact.addresses.length; ++i) {
            uint256 length = contact.addresses[i].length;
            fits = length > 0 && length <= LONGEST_ADDRESS;
        }
        if (!fits) revert BadContact();
        contacts[operator] = contact;
        emit ContactChanged(operator, contact.peerId, contact.addresses);
    }

    /// A multihash: a short key as it is (code 0), or the sha256 of a long one (code 18).
    function isPeerId(bytes memory id) private pure returns (bool) {
        if (id.length < 3 || uint8(id[1]) != id.length - 2) return false;
        uint8 code = uint8(id[0]);
        return code == 0 ? id.length <= 44 : code == 18 && id.length == 34;
    }
}
