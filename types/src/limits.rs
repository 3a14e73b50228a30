//! Every limit on what may arrive, each with its reason.

/// Members of a committee. Votes are quadratic in it; about a hundred is the design point, so this leaves room.
pub const MAX_COMMITTEE: usize = 1_024;

/// Bytes of one transaction of any namespace: a contract deployment at Ethereum's code size limit fits five times over.
pub const MAX_TRANSACTION_BYTES: usize = 128 * 1024;

/// Bytes of a batch's payload: the knee of the transport's throughput curve; see `Params::max_batch_bytes` for the tighter one.
pub const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Transactions of one batch: what fits if each is about as short as a transaction can be.
pub const MAX_BATCH_TRANSACTIONS: usize = 16 * 1024;

/// Namespaces of a network. The registry travels in every snapshot.
pub const MAX_NAMESPACES: usize = 4_096;

/// Addresses in a namespace's allow-list.
pub const MAX_ALLOWED: usize = 1_024;

/// Bytes of a name.
pub const MAX_NAME_BYTES: usize = 64;

/// Lanes that one cut may move: those of two epochs.
pub const MAX_CUT_ENTRIES: usize = 2 * MAX_COMMITTEE;

/// Author-signed headers between a batch and an acknowledged tip above it; flow control keeps lanes far shorter.
pub const MAX_HEADER_CHAIN: usize = 4_096;

/// Ready statements in one block.
pub const MAX_READIES: usize = 64;

/// Transactions of one block. The exactly-once window holds a key for each.
pub const MAX_BLOCK_TRANSACTIONS: usize = 256 * 1024;

/// Batches in one answer to a request.
pub const MAX_BATCHES_PER_RESPONSE: usize = 64;

/// Blocks in one answer to a request.
pub const MAX_BLOCKS_PER_RESPONSE: usize = 256;

/// Bytes of batches in one answer, one batch at least: a narrow link carries a few of them in the time that is waited for.
pub const MAX_BATCH_BYTES_PER_RESPONSE: usize = 1024 * 1024;

/// Proofs of misbehaviour that a node keeps: more than a committee's members could earn in an epoch and be left unslashed.
pub const MAX_EVIDENCE: usize = 1_024;

/// Proofs of misbehaviour in one answer, and incidents in the question: a bound on the signatures that a liar has checked for nothing.
pub const MAX_EVIDENCE_PER_RESPONSE: usize = 64;

/// Bytes of them in one answer, one proof at least. Two acks with as many headers between them as there may be fit.
pub const MAX_EVIDENCE_BYTES_PER_RESPONSE: usize = 1024 * 1024;

/// Bytes of one answer to a request.
pub const MAX_RESPONSE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of one message over a control stream: a full ack vector and a proposal of two epochs' lanes fit.
pub const MAX_CONTROL_BYTES: usize = 1024 * 1024;

/// Milliseconds that one header may add to chain time, so that a halt or one bold clock does not move it by much.
pub const MAX_CHAIN_TIME_STEP_MS: u64 = 1_000;

/// Heights between a header and the signers it lists, so that late precommits are in.
pub const SIGNERS_LAG: u64 = 8;

/// Bytes of a libp2p peer id.
pub const MAX_PEER_ID_BYTES: usize = 64;

/// Addresses in a peer binding.
pub const MAX_PEER_ADDRESSES: usize = 8;

/// Bytes of a multiaddr.
pub const MAX_MULTIADDR_BYTES: usize = 256;
