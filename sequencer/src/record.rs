//! What a node writes down, and reads back after any crash.

use crate::ledger::WindowBase;
use squad_consensus::LogEntry;
use squad_types::codec_struct;
use squad_types::{
    AckMessage, Address, ChainState, Committee, Decode, DecodeError, Encode, Epoch, Evidence, Height, LaneId,
    OrderedBlock, Reader, Slots, VerifiedBatch,
};

/// A write, to one of two streams.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // each is moved once or twice and written at once
pub enum Write {
    /// To the write-ahead log.
    Log(LogRecord),
    /// To the write-ahead log, which may then forget everything before it.
    Checkpoint(Box<Checkpoint>),
    /// To the bulk store.
    Batch {
        /// Its lane.
        lane: LaneId,
        /// The batch.
        batch: VerifiedBatch,
    },
    /// To the bulk store.
    Block(OrderedBlock),
}

impl Write {
    /// Whether it goes to the write-ahead log.
    pub fn is_log(&self) -> bool {
        matches!(self, Self::Log(_) | Self::Checkpoint(_))
    }
}

/// A record of the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // each is moved once or twice and written at once
pub enum LogRecord {
    /// Everything before may be forgotten.
    Checkpoint(Box<Checkpoint>),
    /// What agreement asked to have written: its inputs and own statements, in order.
    Consensus(LogEntry),
    /// An own ack, with its full vector.
    Ack(Box<AckMessage>),
    /// A decision: it precedes every statement about the next height.
    Decided(Box<OrderedBlock>),
    /// Somebody was caught.
    Evidence(Box<Evidence>),
    /// State was found lost: signing is restricted.
    Restricted(Restriction),
}

squad_types::codec_enum!(LogRecord {
    0 => Checkpoint(Box<Checkpoint>),
    1 => Consensus(LogEntry),
    2 => Ack(Box<AckMessage>),
    3 => Decided(Box<OrderedBlock>),
    4 => Evidence(Box<Evidence>),
    5 => Restricted(Restriction),
});

/// What a node that lost its memory may not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// It votes and proposes from this height on.
    pub votes_from: Height,
    /// It writes its lane and acknowledges from this epoch on.
    pub lane_from: Epoch,
}

codec_struct!(Restriction { votes_from, lane_from });

/// Everything that recovery needs from before it. Batches and blocks are in the bulk store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last decision; none at genesis.
    pub tip: Option<OrderedBlock>,
    /// The state after it.
    pub state: ChainState,
    /// Committees from the previous epoch's to the next one's, ascending.
    pub committees: Vec<Committee>,
    /// Where the exactly-once window begins.
    pub window_base: WindowBase,
    /// This node's own newest acks, with their full vectors.
    pub acks: Vec<AckMessage>,
    /// The highest statements seen of each operator, to tell those who lost their memory.
    pub seen: Vec<(Address, Slots)>,
    /// Evidence found so far.
    pub evidence: Vec<Evidence>,
    /// What this node may not sign.
    pub restriction: Option<Restriction>,
}

impl Encode for Checkpoint {
    fn encode(&self, out: &mut Vec<u8>) {
        self.tip.encode(out);
        self.state.encode(out);
        self.committees.encode(out);
        self.window_base.encode(out);
        self.acks.encode(out);
        self.seen.encode(out);
        self.evidence.encode(out);
        self.restriction.encode(out);
    }
}

impl Decode for Checkpoint {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        use squad_types::codec::decode_list;
        // Own records: the bounds only keep damage from allocating without end.
        const MAX: usize = 65_536;
        Ok(Self {
            tip: Decode::decode(reader)?,
            state: Decode::decode(reader)?,
            committees: decode_list(reader, MAX)?,
            window_base: Decode::decode(reader)?,
            acks: decode_list(reader, MAX)?,
            seen: decode_list(reader, MAX)?,
            evidence: decode_list(reader, MAX)?,
            restriction: Decode::decode(reader)?,
        })
    }
}
