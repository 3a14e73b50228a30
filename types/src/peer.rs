//! What binds a libp2p identity to an operator.

use crate::codec::{Decode, DecodeError, Encode, Reader, decode_bytes, encode_bytes};
use crate::hash::keccak256;
use crate::keys::{Statement, StructHash};
use crate::limits::{MAX_MULTIADDR_BYTES, MAX_PEER_ADDRESSES, MAX_PEER_ID_BYTES};
use crate::quantity::Timestamp;
use bytes::Bytes;
use std::sync::OnceLock;

/// An operator's statement that a libp2p peer is its node, reachable at these addresses. The newest one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerBinding {
    /// The peer id, as libp2p encodes it.
    pub peer_id: Bytes,
    /// When it was stated, by the operator's clock.
    pub issued: Timestamp,
    /// Where the node listens: multiaddrs as libp2p encodes them.
    pub addresses: Vec<Bytes>,
}

impl Statement for PeerBinding {
    fn struct_hash(&self) -> [u8; 32] {
        static TYPE: OnceLock<[u8; 32]> = OnceLock::new();
        let mut listed = Vec::new();
        self.addresses.iter().for_each(|address| encode_bytes(address, &mut listed));
        StructHash::new(&TYPE, "PeerBinding(bytes peerId,uint64 issued,bytes addresses)")
            .word(&keccak256(&self.peer_id))
            .number(self.issued.0)
            .word(&keccak256(&listed))
            .finish()
    }
}

impl Encode for PeerBinding {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_bytes(&self.peer_id, out);
        self.issued.encode(out);
        (self.addresses.len() as u32).encode(out);
        self.addresses.iter().for_each(|address| encode_bytes(address, out));
    }
}

impl Decode for PeerBinding {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let peer_id = decode_bytes(reader, MAX_PEER_ID_BYTES, "peer id")?;
        let issued = Decode::decode(reader)?;
        let count = reader.length(MAX_PEER_ADDRESSES, "peer addresses")?;
        let addresses =
            (0..count).map(|_| decode_bytes(reader, MAX_MULTIADDR_BYTES, "multiaddr")).collect::<Result<_, _>>()?;
        Ok(Self { peer_id, issued, addresses })
    }
}
