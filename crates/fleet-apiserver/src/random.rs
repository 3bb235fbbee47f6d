//! Names that nobody else has: uids and generated suffixes, from a seed.

use std::sync::atomic::{AtomicU64, Ordering};

/// A shared generator without a lock (SplitMix64: a counter, scrambled).
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

/// Consonants and digits only, so that no suffix spells a word; the alphabet of Kubernetes' own suffixes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A version 4 UUID.
    pub(crate) fn uid(&self) -> String {
        let high = (self.next() & 0xffff_ffff_ffff_0fff) | 0x4000;
        let low = (self.next() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }

    /// Five characters to put behind a `generateName`.
    pub(crate) fn suffix(&self) -> String {
        let mut bits = self.next();
        (0..5)
            .map(|_| {
                let at = (bits % 27) as usize;
                bits /= 27;
                char::from(ALPHABET.get(at).copied().unwrap_or(b'x'))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_well_formed_different_and_repeatable() {
        let (one, two) = (Random::new(7), Random::new(7));
        let first = one.uid();
        assert_eq!(first, two.uid());
        assert_ne!(first, one.uid());
        assert_eq!(first.len(), 36);
        assert_eq!(first.as_bytes()[14], b'4');
        assert_eq!(one.suffix().len(), 5);
    }
}
