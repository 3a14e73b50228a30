//! Deterministic changes to seeds: what a careless or hostile sender does to a message.

/// A small generator of numbers (splitmix64), so that a run is a function of its seed.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.number() % bound as u64) as usize }
    }
}

/// The longest input: above every length field of two bytes, so that lengths are tried beyond their end.
pub const MAX_INPUT_BYTES: usize = 96 * 1024;

/// Bytes that stand at the edges of numbers and tags.
const EDGES: [u8; 8] = [0x00, 0x01, 0x02, 0x7f, 0x80, 0x81, 0xfe, 0xff];

/// Changes `bytes` in one to eight places; `other` is another seed of the same target, to take pieces from.
pub fn mutate(bytes: &mut Vec<u8>, other: &[u8], rng: &mut Rng) {
    for _ in 0..1 + rng.below(8) {
        let at = rng.below(bytes.len());
        match rng.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            1 if !bytes.is_empty() => bytes[at] = EDGES[rng.below(EDGES.len())],
            2 if !bytes.is_empty() => bytes[at] = rng.number() as u8,
            3 => bytes.truncate(at),
            4 => {
                let extra = (0..1 + rng.below(16)).map(|_| rng.number() as u8);
                bytes.extend(extra.collect::<Vec<_>>());
            }
            5 => {
                let end = (at + 1 + rng.below(32)).min(bytes.len());
                bytes.drain(at.min(end)..end);
            }
            // Lengths and counts: four bytes at once.
            6 if bytes.len() >= at + 4 => {
                let value = [0, 1, u32::MAX, u32::MAX >> 1, rng.number() as u32, 65_536][rng.below(6)];
                bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
            }
            7 => {
                let end = (at + 1 + rng.below(64)).min(bytes.len());
                let piece = bytes[at.min(end)..end].to_vec();
                let to = rng.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            8 if !other.is_empty() => {
                let from = rng.below(other.len());
                let end = (from + 1 + rng.below(64)).min(other.len());
                let stop = (at + end - from).min(bytes.len());
                bytes.splice(at..stop, other[from..end].iter().copied());
            }
            _ => {}
        }
    }
    bytes.truncate(MAX_INPUT_BYTES);
}
