//! The seed's stream of numbers: SplitMix64 (Steele, Lea and Flood, 2014). Small, fast, the same everywhere; not for secrets.

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own, so that drawing from one does not move the other.
    #[must_use]
    pub fn fork(&mut self, label: u64) -> Self {
        Self(self.next() ^ label.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)] // an endless stream needs no Option
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; zero for a bound of zero. The bias is below bound / 2^64.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something of this many in a thousand happens.
    pub fn per_mille(&mut self, chance: u32) -> bool {
        self.below(1_000) < u64::from(chance)
    }
}

/// How long something takes, in microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durations {
    /// At least, and up to how much more, evenly spread.
    Even(u64, u64),
    /// So long on average; however long it has lasted, what is left is as long on average.
    Memoryless(u64),
    /// The least, the longest, and what divides all others into equal parts; linear in between.
    Quantiles(Vec<u64>),
}

impl Durations {
    /// Draws one.
    pub(crate) fn draw(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Even(least, 0) => *least,
            Self::Even(least, spread) => least + rng.below(spread + 1),
            Self::Memoryless(mean) => {
                // Above zero, at most one.
                let share = ((rng.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
                (-share.ln() * *mean as f64) as u64
            }
            Self::Quantiles(quantiles) => {
                /// Steps within a part.
                const STEPS: u64 = 1 << 20;
                let parts = quantiles.len().saturating_sub(1) as u64;
                let drawn = rng.below(parts * STEPS + 1);
                let (part, step) = ((drawn / STEPS) as usize, drawn % STEPS);
                let at = |place: usize| quantiles.get(place).copied().unwrap_or_default();
                let more = at(part + 1).saturating_sub(at(part));
                at(part) + (u128::from(more) * u128::from(step) / u128::from(STEPS)) as u64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_spread_as_its_quantiles_say() {
        let durations = Durations::Quantiles(vec![100, 200, 1_000, 9_000]);
        let mut rng = Rng::new(1);
        let mut drawn: Vec<u64> = (0..30_000).map(|_| durations.draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!(drawn[0] >= 100 && drawn[29_999] <= 9_000 && drawn[29_999] > 8_900, "{:?}", (drawn[0], drawn[29_999]));
        // A third each, and linear within it.
        for (place, expected) in [(5_000, 150), (10_000, 200), (15_000, 600), (20_000, 1_000), (25_000, 5_000)] {
            let found = drawn[place];
            assert!(found.abs_diff(expected) <= expected / 20, "{found} in place of {expected} at {place}");
        }
        assert_eq!(Durations::Quantiles(vec![70]).draw(&mut rng), 70);
        let mut drawn: Vec<u64> = (0..30_000).map(|_| Durations::Memoryless(1_000).draw(&mut rng)).collect();
        drawn.sort_unstable();
        // ln 2 and ln 100 times the mean.
        assert!(
            drawn[15_000].abs_diff(693) < 30 && drawn[29_700].abs_diff(4_605) < 250,
            "{:?}",
            (drawn[15_000], drawn[29_700])
        );
        assert_eq!(Durations::Even(70, 0).draw(&mut rng), 70);
        assert!((0..100).all(|_| (70..=72).contains(&Durations::Even(70, 2).draw(&mut rng))));
    }
}
