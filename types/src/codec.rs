//! The canonical binary form: big-endian, length-prefixed, bounded, one encoding a value.
//!
//! Guarantee: `decode(encode(x)) == x`, and whatever decodes encodes to the same bytes again. Decoding never allocates
//! more than the input holds, refuses trailing bytes, and never panics.

use bytes::{Buf, Bytes};

/// Why bytes are not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("input ends early: {needed} bytes needed for {what}, {left} left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that were left.
        left: usize,
    },
    /// Bytes are left after the value.
    #[error("{0} bytes left over after the value")]
    Trailing(usize),
    /// A list or string is longer than its limit.
    #[error("{what} holds {len}, the limit is {max}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// Its stated length.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A tag or field has a value that nothing stands for.
    #[error("{what} cannot be {value}")]
    BadValue {
        /// What was being read.
        what: &'static str,
        /// The value found.
        value: u64,
    },
    /// A field breaks a rule of its type.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// Reads values off a shared buffer without copying byte strings.
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `len` bytes, shared with the input.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        self.need(len, what)?;
        Ok(self.bytes.split_to(len))
    }

    /// The next `N` bytes, copied.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        self.need(N, what)?;
        let mut out = [0; N];
        self.bytes.copy_to_slice(&mut out);
        Ok(out)
    }

    /// A list's or string's length, checked against its limit.
    pub fn length(&mut self, max: usize, what: &'static str) -> Result<usize, DecodeError> {
        let len = u32::decode(self)? as usize;
        if len > max {
            return Err(DecodeError::TooLong { what, len, max });
        }
        Ok(len)
    }

    fn need(&self, needed: usize, what: &'static str) -> Result<(), DecodeError> {
        let left = self.bytes.len();
        if left < needed {
            return Err(DecodeError::Short { what, needed, left });
        }
        Ok(())
    }
}

/// Writes the canonical form.
pub trait Encode {
    /// Appends the canonical form to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The canonical form as bytes of its own.
    fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.encode(&mut out);
        out.into()
    }
}

/// Reads the canonical form.
pub trait Decode: Sized {
    /// Reads one value off `reader`.
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError>;

    /// Reads one value that takes the whole of `bytes`.
    fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::decode(&mut reader)?;
        match reader.remaining() {
            0 => Ok(value),
            left => Err(DecodeError::Trailing(left)),
        }
    }
}

/// What may stand in a list, with the longest list of it that is read.
pub trait ListItem {
    /// The longest list.
    const MAX_ITEMS: usize;
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Encode for $int {
            fn encode(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
        impl Decode for $int {
            fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
                Ok(Self::from_be_bytes(reader.array(stringify!($int))?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, u128);

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::BadValue { what: "flag", value: value.into() }),
        }
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok(if bool::decode(reader)? { Some(T::decode(reader)?) } else { None })
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_list(self, out);
    }
}

impl<T: Decode + ListItem> Decode for Vec<T> {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        decode_list(reader, T::MAX_ITEMS)
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        Ok((A::decode(reader)?, B::decode(reader)?))
    }
}

impl<T: Encode> Encode for std::sync::Arc<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl<T: Decode> Decode for std::sync::Arc<T> {
    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        T::decode(reader).map(Self::new)
    }
}

/// Appends a list: its length as a u32, then its items.
pub fn encode_list<T: Encode>(items: &[T], out: &mut Vec<u8>) {
    debug_assert!(u32::try_from(items.len()).is_ok(), "lists are bounded far below 2^32");
    (items.len() as u32).encode(out);
    for item in items {
        item.encode(out);
    }
}

/// Reads a list of at most `max` items.
pub fn decode_list<T: Decode>(reader: &mut Reader, max: usize) -> Result<Vec<T>, DecodeError> {
    let len = reader.length(max, std::any::type_name::<T>())?;
    // Every item takes at least a byte, so a stated length cannot make us allocate more than was sent.
    let mut items = Vec::with_capacity(len.min(reader.remaining()));
    for _ in 0..len {
        items.push(T::decode(reader)?);
    }
    Ok(items)
}

/// Appends a byte string: its length as a u32, then its bytes.
pub fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    (bytes.len() as u32).encode(out);
    out.extend_from_slice(bytes);
}

/// Reads a byte string of at most `max` bytes, shared with the input.
pub fn decode_bytes(reader: &mut Reader, max: usize, what: &'static str) -> Result<Bytes, DecodeError> {
    let len = reader.length(max, what)?;
    reader.take(len, what)
}

/// Reads a UTF-8 string of at most `max` bytes.
pub fn decode_string(reader: &mut Reader, max: usize, what: &'static str) -> Result<String, DecodeError> {
    let bytes = decode_bytes(reader, max, what)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Malformed(what))
}

/// Derives [`Encode`] and [`Decode`] for a struct: its fields in order.
#[macro_export]
macro_rules! codec_struct {
    ($name:ident $(<$t:ident>)? { $($field:ident),* $(,)? }) => {
        impl $(<$t: $crate::codec::Encode>)? $crate::codec::Encode for $name $(<$t>)? {
            fn encode(&self, out: &mut Vec<u8>) {
                $( $crate::codec::Encode::encode(&self.$field, out); )*
            }
        }
        impl $(<$t: $crate::codec::Decode>)? $crate::codec::Decode for $name $(<$t>)? {
            fn decode(reader: &mut $crate::codec::Reader) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $( $field: $crate::codec::Decode::decode(reader)?, )* })
            }
        }
    };
}

/// Derives [`Encode`] and [`Decode`] for an enum of one-field variants: a tag byte, then the field.
#[macro_export]
macro_rules! codec_enum {
    ($name:ident { $($tag:literal => $variant:ident($inner:ty)),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                match self { $( Self::$variant(inner) => {
                    out.push($tag);
                    $crate::codec::Encode::encode(inner, out);
                } )* }
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader) -> Result<Self, $crate::codec::DecodeError> {
                match <u8 as $crate::codec::Decode>::decode(reader)? {
                    $( $tag => <$inner as $crate::codec::Decode>::decode(reader).map(Self::$variant), )*
                    value => Err($crate::codec::DecodeError::BadValue { what: stringify!($name), value: value.into() }),
                }
            }
        }
    };
}

/// Derives [`Encode`] and [`Decode`] for an enum without fields: one byte.
#[macro_export]
macro_rules! codec_unit_enum {
    ($name:ident { $($tag:literal => $variant:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                out.push(match self { $( Self::$variant => $tag, )* });
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader) -> Result<Self, $crate::codec::DecodeError> {
                match <u8 as $crate::codec::Decode>::decode(reader)? {
                    $( $tag => Ok(Self::$variant), )*
                    value => Err($crate::codec::DecodeError::BadValue { what: stringify!($name), value: value.into() }),
                }
            }
        }
    };
}
