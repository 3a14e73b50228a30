//! Frames of a direct stream: tag of the channel, length (big endian), payload.

use crate::{
    channel::{Channel, Class},
    error::WireError,
};

/// Tag and length before each payload.
pub const FRAME_HEADER_BYTES: usize = 5;

/// Encodes the header of a payload of `len` bytes, which the caller has checked against the channel's limit.
pub fn encode_frame_header(channel: Channel, len: usize) -> [u8; FRAME_HEADER_BYTES] {
    debug_assert!(len <= channel.max_bytes());
    let mut header = [0; FRAME_HEADER_BYTES];
    header[0] = channel.tag();
    header[1..].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    header
}

/// Decodes a header on a stream of `class`: the channel and the length of the payload that follows, within its limit.
pub fn decode_frame_header(header: &[u8; FRAME_HEADER_BYTES], class: Class) -> Result<(Channel, usize), WireError> {
    let channel = Channel::from_tag(header[0])
        .filter(|channel| channel.class() == class)
        .ok_or(WireError::Tag { what: "frame", tag: header[0] })?;
    let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
    if length == 0 || length > channel.max_bytes() {
        return Err(WireError::Length { what: channel.name(), size: length, limit: channel.max_bytes() });
    }
    Ok((channel, length))
}

/// Decodes the first frame of `bytes`: channel, payload and the rest, or `None` when more bytes are needed.
#[allow(clippy::type_complexity)]
pub fn decode_frame(bytes: &[u8], class: Class) -> Result<Option<(Channel, &[u8], &[u8])>, WireError> {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let (channel, length) = decode_frame_header(header, class)?;
    Ok(rest.split_at_checked(length).map(|(payload, rest)| (channel, payload, rest)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_and_tags_outside_their_limits_are_refused() {
        let over = encode_raw(Channel::Vote.tag(), Channel::Vote.max_bytes() as u32 + 1);
        assert!(matches!(decode_frame_header(&over, Class::Control), Err(WireError::Length { .. })));
        let empty = encode_raw(Channel::Vote.tag(), 0);
        assert!(matches!(decode_frame_header(&empty, Class::Control), Err(WireError::Length { .. })));
        let wrong_class = encode_frame_header(Channel::Batch, 10);
        assert!(matches!(decode_frame_header(&wrong_class, Class::Control), Err(WireError::Tag { .. })));
    }

    fn encode_raw(tag: u8, length: u32) -> [u8; FRAME_HEADER_BYTES] {
        let mut header = [tag; FRAME_HEADER_BYTES];
        header[1..].copy_from_slice(&length.to_be_bytes());
        header
    }

    proptest! {
        #[test]
        fn frames_round_trip(channel in prop::sample::select(&Channel::ALL[..]), payload in prop::collection::vec(any::<u8>(), 1..600), rest in prop::collection::vec(any::<u8>(), 0..9)) {
            let mut bytes = encode_frame_header(channel, payload.len()).to_vec();
            bytes.extend_from_slice(&payload);
            prop_assert_eq!(decode_frame(&bytes[..bytes.len() - 1], channel.class()).unwrap(), None);
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(decode_frame(&bytes, channel.class()).unwrap(), Some((channel, &payload[..], &rest[..])));
        }

        #[test]
        fn any_bytes_decode_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for class in Class::ALL {
                let _ = decode_frame(&bytes, class);
            }
        }
    }
}
