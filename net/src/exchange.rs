//! Peer exchange: the committee members that a peer knows, each with its signed binding and its signed addresses.
//! Nothing in an answer is believed for the sake of who sent it.

use bytes::Bytes;

use crate::{
    error::WireError,
    hello::{MAX_BINDING_BYTES, MAX_RECORD_BYTES, Reader},
};

/// Members told in one answer: a committee of 100 and its successor fit; a larger one is told in random parts.
pub const MAX_EXCHANGE_ENTRIES: usize = 256;

/// One member: what binds its peer, and where that peer listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeEntry {
    /// Its encoded signed binding.
    pub binding: Bytes,
    /// Its encoded signed record of addresses.
    pub record: Bytes,
    /// Whether the answering peer says it is connected to it now. Not authenticated: it only decides whether
    /// statements are gossiped for that member's sake.
    pub connected: bool,
}

/// Encodes an answer of at most [`MAX_EXCHANGE_ENTRIES`] entries; further ones are left out.
pub fn encode_exchange(entries: &[ExchangeEntry]) -> Vec<u8> {
    let entries = &entries[..entries.len().min(MAX_EXCHANGE_ENTRIES)];
    let mut out = Vec::with_capacity(2 + entries.len() * 512);
    out.extend_from_slice(&u16::try_from(entries.len()).unwrap_or(0).to_be_bytes());
    for entry in entries {
        out.push(u8::from(entry.connected));
        for part in [&entry.binding, &entry.record] {
            out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

/// Decodes an answer; nothing may follow it.
pub fn decode_exchange(bytes: &[u8]) -> Result<Vec<ExchangeEntry>, WireError> {
    let mut reader = Reader { what: "peer exchange", bytes };
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count > MAX_EXCHANGE_ENTRIES {
        return Err(WireError::Length { what: "peer exchange", size: count, limit: MAX_EXCHANGE_ENTRIES });
    }
    let mut entries = Vec::new();
    for _ in 0..count {
        let connected = match reader.take(1)?[0] {
            tag @ 0..=1 => tag == 1,
            tag => return Err(WireError::Tag { what: "peer exchange", tag }),
        };
        let binding = Bytes::copy_from_slice(reader.short(MAX_BINDING_BYTES)?);
        let record = Bytes::copy_from_slice(reader.short(MAX_RECORD_BYTES)?);
        entries.push(ExchangeEntry { binding, record, connected });
    }
    reader.end()?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn answers_round_trip(parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 0..9)) {
            let entries: Vec<_> = parts.into_iter().map(|(binding, record)| ExchangeEntry { connected: binding.len() > 100, binding: binding.into(), record: record.into() }).collect();
            let mut bytes = encode_exchange(&entries);
            prop_assert_eq!(&decode_exchange(&bytes).unwrap(), &entries);
            bytes.push(1);
            prop_assert!(decode_exchange(&bytes).is_err());
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode_exchange(&bytes);
        }
    }
}
