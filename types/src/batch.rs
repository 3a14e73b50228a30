//! Lanes and the batches in them: dissemination, apart from ordering.

use crate::codec::{Decode, DecodeError, Encode, ListItem, Reader, decode_bytes, encode_bytes};
use crate::codec_struct;
use crate::hash::{BatchId, MerkleRoot, PayloadDigest};
use crate::keys::{Address, Domain, Statement, StructHash, Verifier};
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCHES_PER_RESPONSE, MAX_CUT_ENTRIES, MAX_HEADER_CHAIN};
use crate::quantity::{Epoch, Sequence, ValidatorIndex};
use crate::signed::{BadSignature, Signed};
use crate::transaction::Payload;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// A lane: the hash chain of batches of one member of one epoch's committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId {
    /// The epoch whose committee its author stands in.
    pub epoch: Epoch,
    /// The author's place there.
    pub author: ValidatorIndex,
}

codec_struct!(LaneId { epoch, author });

impl std::fmt::Display for LaneId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.epoch, self.author)
    }
}

/// The last batch of a lane, as somebody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Tip {
    /// Its place.
    pub sequence: Sequence,
    /// Its id.
    pub batch: BatchId,
}

codec_struct!(Tip { sequence, batch });

/// A lane's new tip in a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CutEntry {
    /// The lane.
    pub lane: LaneId,
    /// Its tip.
    pub tip: Tip,
}

codec_struct!(CutEntry { lane, tip });

impl ListItem for CutEntry {
    const MAX_ITEMS: usize = MAX_CUT_ENTRIES;
}

/// What an author signs about a batch. Two of them at one (operator, epoch, sequence) are evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchHeader {
    /// The author.
    pub operator: Address,
    /// The lane's epoch.
    pub epoch: Epoch,
    /// The batch's place in its lane, from 0.
    pub sequence: Sequence,
    /// The batch before it; zero for the first.
    pub parent: BatchId,
    /// blake3 of the payload.
    pub payload: PayloadDigest,
    /// The merkle root over the transactions' ids.
    pub transactions_root: MerkleRoot,
    /// The number of transactions.
    pub count: u32,
    /// The payload's length in bytes.
    pub bytes: u32,
}

codec_struct!(BatchHeader { operator, epoch, sequence, parent, payload, transactions_root, count, bytes });

impl BatchHeader {
    fn in_slot(&self) -> StructHash {
        static TYPE: OnceLock<[u8; 32]> = OnceLock::new();
        let encoded = "BatchHeader(address operator,uint64 epoch,uint64 sequence,bytes32 parent,bytes32 payload,bytes32 transactionsRoot,uint32 count,uint32 bytes)";
        StructHash::new(&TYPE, encoded).address(&self.operator).number(self.epoch.0).number(self.sequence.0)
    }

    /// Names its place: its author may sign one header in it.
    pub(crate) fn slot(&self) -> [u8; 32] {
        self.in_slot().finish()
    }
}

impl Statement for BatchHeader {
    fn struct_hash(&self) -> [u8; 32] {
        self.in_slot()
            .word(&self.parent.0)
            .word(&self.payload.0)
            .word(&self.transactions_root.0)
            .number(self.count.into())
            .number(self.bytes.into())
            .finish()
    }
}

impl BatchHeader {
    /// The batch's id.
    pub fn id(&self) -> BatchId {
        BatchId(self.struct_hash())
    }
}

impl ListItem for Signed<BatchHeader> {
    const MAX_ITEMS: usize = MAX_HEADER_CHAIN;
}

/// A batch as it travels: the author's signed header and the payload's bytes. Nothing is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The author's header.
    pub header: Signed<BatchHeader>,
    /// The packed transactions.
    pub payload: bytes::Bytes,
}

impl Encode for Batch {
    fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(HEADER_ROOM + self.payload.len());
        self.header.encode(out);
        encode_bytes(&self.payload, out);
    }
}

/// More than a signed header and a length take.
const HEADER_ROOM: usize = 256;

impl Decode for Batch {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Self { header: Signed::decode(reader)?, payload: decode_bytes(reader, MAX_BATCH_BYTES, "batch payload")? })
    }
}

impl ListItem for Batch {
    const MAX_ITEMS: usize = MAX_BATCHES_PER_RESPONSE;
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The header's signature is not its operator's.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// Signed by somebody else than the operator it names.
    #[error("batch of {operator} is signed by {signer}")]
    Signer {
        /// The operator it names.
        operator: Address,
        /// Who signed.
        signer: Address,
    },
    /// The payload is malformed.
    #[error("batch payload: {0}")]
    Payload(#[from] DecodeError),
    /// A field of the header is not what the payload gives.
    #[error("batch header's {0} is not what its payload gives")]
    Mismatch(&'static str),
}

/// A batch whose signature, digest, root, count and length were recomputed. Whether it fits its lane is for the reader to judge. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBatch(Arc<VerifiedBatchInner>);

#[derive(Debug)]
struct VerifiedBatchInner {
    id: BatchId,
    header: Signed<BatchHeader>,
    payload: Payload,
    /// The message that it came in.
    message: Option<bytes::Bytes>,
}

impl PartialEq for VerifiedBatchInner {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.header == other.header && self.payload == other.payload
    }
}

impl Eq for VerifiedBatchInner {}

impl Batch {
    /// Recomputes everything that the header states.
    pub fn verify(self, domain: &Domain, verifier: &dyn Verifier) -> Result<VerifiedBatch, BatchError> {
        let header = &self.header.statement;
        if self.header.signer != header.operator {
            return Err(BatchError::Signer { operator: header.operator, signer: self.header.signer });
        }
        self.header.check(domain, verifier)?;
        self.recompute()
    }

    /// Reads a batch back from this node's own store, which only took in verified ones: all but the signature is checked.
    pub fn from_own_store(self) -> Result<VerifiedBatch, BatchError> {
        self.recompute()
    }

    fn recompute(self) -> Result<VerifiedBatch, BatchError> {
        let payload = Payload::parse(self.payload)?;
        let header = &self.header.statement;
        let mismatch = if header.payload != payload.digest() {
            "payload digest"
        } else if header.transactions_root != payload.root() {
            "transactions root"
        } else if header.count as usize != payload.transactions().len() {
            "count"
        } else if header.bytes as usize != payload.bytes().len() {
            "bytes"
        } else {
            return Ok(VerifiedBatch::assemble(self.header, payload));
        };
        Err(BatchError::Mismatch(mismatch))
    }
}

impl VerifiedBatch {
    /// A batch of one's own, whose header was just signed over this payload.
    pub fn assemble(header: Signed<BatchHeader>, payload: Payload) -> Self {
        let id = header.statement.id();
        Self(Arc::new(VerifiedBatchInner { id, header, payload, message: None }))
    }

    /// Keeps the message that a batch came in, [`Message::Batch`](crate::Message::Batch) in its canonical form, so that
    /// whoever stores it does not encode it again. It shares the payload's bytes.
    pub fn with_message(mut self, message: bytes::Bytes) -> Self {
        debug_assert_eq!(message, self.encode_message(), "there is one encoding a message");
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.message = Some(message);
        }
        self
    }

    /// The message that carries it, in its canonical form: the one it came in, or encoded now.
    pub fn message(&self) -> bytes::Bytes {
        self.0.message.clone().unwrap_or_else(|| self.encode_message())
    }

    fn encode_message(&self) -> bytes::Bytes {
        crate::Message::Batch(self.to_batch()).to_bytes()
    }

    /// Its id.
    pub fn id(&self) -> BatchId {
        self.0.id
    }

    /// Its header.
    pub fn header(&self) -> &BatchHeader {
        &self.0.header.statement
    }

    /// Its header with the author's signature.
    pub fn signed_header(&self) -> &Signed<BatchHeader> {
        &self.0.header
    }

    /// Its content.
    pub fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// Its place and id.
    pub fn tip(&self) -> Tip {
        Tip { sequence: self.header().sequence, batch: self.id() }
    }

    /// Its form on the wire.
    pub fn to_batch(&self) -> Batch {
        Batch { header: self.0.header.clone(), payload: self.0.payload.bytes().clone() }
    }
}
