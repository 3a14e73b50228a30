//! The hello that opens every direct stream, and its answer. It is answered so that an opener knows that somebody reads.

use bytes::Bytes;
use squad_types::NetworkId;

use crate::{channel::Class, error::WireError};

const MAGIC: &[u8; 4] = b"SQUA";
/// Opens an answer that turns the opener away.
const AWAY: &[u8; 4] = b"SQUR";
/// Magic, class, network, and the two lengths.
const FIXED_BYTES: usize = 4 + 1 + 32 + 2 + 2;
/// An encoded binding is a few hundred bytes.
pub(crate) const MAX_BINDING_BYTES: usize = 4096;
/// A signed record of eight addresses is under 1 KiB.
pub(crate) const MAX_RECORD_BYTES: usize = 4096;
/// Longest hello.
pub const MAX_HELLO_BYTES: usize = FIXED_BYTES + MAX_BINDING_BYTES + MAX_RECORD_BYTES;
/// Longest answer.
pub const MAX_ANSWER_BYTES: usize = AWAY.len() + 1 + MAX_HELLO_BYTES;

/// Who opens (or answers) a direct stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The class of the stream.
    pub class: Class,
    /// The network that the sender belongs to.
    pub network: NetworkId,
    /// The sender's signed binding; none for followers.
    pub binding: Option<Bytes>,
    /// The sender's signed list of addresses.
    pub record: Option<Bytes>,
}

/// What whoever opens a stream is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answers.
    pub hello: Hello,
    /// Why the opener may not stay; none if it may.
    pub away: Option<Away>,
}

/// Why an operator's process is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// Another process with the operator's key is connected, and may live: it is being asked. Worth trying again.
    Contested,
    /// It lives: it answered after the one that is turned away had come.
    HeldElsewhere,
}

/// Encodes an answer.
pub fn encode_answer(answer: &Answer) -> Vec<u8> {
    let hello = encode_hello(&answer.hello);
    match answer.away {
        None => hello,
        Some(away) => [&AWAY[..], &[u8::from(away == Away::HeldElsewhere)], &hello].concat(),
    }
}

/// Decodes an answer; nothing may follow it.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer, WireError> {
    let Some(rest) = bytes.strip_prefix(AWAY) else {
        return Ok(Answer { hello: decode_hello(bytes)?, away: None });
    };
    let mut reader = Reader { what: "answer", bytes: rest };
    let away = match reader.take(1)?[0] {
        0 => Away::Contested,
        1 => Away::HeldElsewhere,
        tag => return Err(WireError::Tag { what: "answer", tag }),
    };
    Ok(Answer { hello: decode_hello(reader.bytes)?, away: Some(away) })
}

/// Encodes a hello.
pub fn encode_hello(hello: &Hello) -> Vec<u8> {
    let mut out = Vec::with_capacity(FIXED_BYTES + 1024);
    out.extend_from_slice(MAGIC);
    out.push(hello.class.index() as u8);
    out.extend_from_slice(&hello.network.0);
    for part in [&hello.binding, &hello.record] {
        let part = part.as_deref().unwrap_or_default();
        out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Decodes a hello; nothing may follow it.
pub fn decode_hello(bytes: &[u8]) -> Result<Hello, WireError> {
    let mut reader = Reader { what: "hello", bytes };
    if reader.take(4)? != MAGIC {
        return Err(WireError::Magic { what: "hello" });
    }
    let class = match reader.take(1)?[0] {
        0 => Class::Control,
        1 => Class::Bulk,
        tag => return Err(WireError::Tag { what: "hello", tag }),
    };
    let network = NetworkId(reader.array()?);
    let binding = reader.short(MAX_BINDING_BYTES)?;
    let record = reader.short(MAX_RECORD_BYTES)?;
    reader.end()?;
    let part = |bytes: &[u8]| (!bytes.is_empty()).then(|| Bytes::copy_from_slice(bytes));
    Ok(Hello { class, network, binding: part(binding), record: part(record) })
}

/// Reads bounded parts from bytes of a peer.
pub(crate) struct Reader<'a> {
    pub(crate) what: &'static str,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, need: usize) -> Result<&'a [u8], WireError> {
        let Some((head, rest)) = self.bytes.split_at_checked(need) else {
            return Err(WireError::Short { what: self.what, have: self.bytes.len(), need });
        };
        self.bytes = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// A part with a length of two bytes before it.
    pub(crate) fn short(&mut self, limit: usize) -> Result<&'a [u8], WireError> {
        let size = usize::from(u16::from_be_bytes(self.array()?));
        if size > limit {
            return Err(WireError::Length { what: self.what, size, limit });
        }
        self.take(size)
    }

    pub(crate) fn end(self) -> Result<(), WireError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(WireError::Trailing { what: self.what, count: self.bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hellos_round_trip_and_refuse_every_cut(binding in prop::collection::vec(any::<u8>(), 0..300), record in prop::collection::vec(any::<u8>(), 0..300), bulk: bool, network: [u8; 32], cut in 0usize..600) {
            let part = |bytes: Vec<u8>| (!bytes.is_empty()).then(|| Bytes::from(bytes));
            let class = if bulk { Class::Bulk } else { Class::Control };
            let hello = Hello { class, network: NetworkId(network), binding: part(binding), record: part(record) };
            let mut bytes = encode_hello(&hello);
            prop_assert_eq!(decode_hello(&bytes).unwrap(), hello);
            prop_assert!(decode_hello(&bytes[..cut % bytes.len()]).is_err());
            bytes.push(0);
            prop_assert!(decode_hello(&bytes).is_err());
        }

        #[test]
        fn answers_round_trip_and_refuse_every_cut(binding in prop::collection::vec(any::<u8>(), 0..300), network: [u8; 32], away in 0usize..3, cut in 0usize..400) {
            let binding = (!binding.is_empty()).then(|| Bytes::from(binding));
            let hello = Hello { class: Class::Control, network: NetworkId(network), binding, record: None };
            let away = [None, Some(Away::Contested), Some(Away::HeldElsewhere)][away];
            let answer = Answer { hello, away };
            let mut bytes = encode_answer(&answer);
            prop_assert_eq!(decode_answer(&bytes).unwrap(), answer);
            prop_assert!(decode_answer(&bytes[..cut % bytes.len()]).is_err());
            bytes.push(0);
            prop_assert!(decode_answer(&bytes).is_err());
        }

        #[test]
        fn any_bytes_decode_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_hello(&bytes);
            if bytes.len() > 4 { bytes[..4].copy_from_slice(MAGIC); bytes[4] &= 1; }
            let _ = decode_hello(&bytes);
            let _ = decode_answer(&[&AWAY[..], &[1], &bytes].concat());
        }
    }
}
