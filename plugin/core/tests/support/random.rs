//! Mutated samples, the same in every run.

#![allow(dead_code, reason = "not every test binary cuts")]

/// SplitMix64: the same inputs in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Returns a sample with one to four mutations.
    pub fn mutated<W: AsRef<[u8]>>(&mut self, samples: &[Vec<u8>], words: &[W]) -> Vec<u8> {
        let mut bytes = self.pick(samples).clone();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(24)).min(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let copy = bytes[at..end].to_vec();
                    let to = self.below(bytes.len() + 1);
                    bytes.splice(to..to, copy);
                }
                4 => bytes.truncate(at),
                _ => {
                    let word = self.pick(words).as_ref().to_vec();
                    bytes.splice(at..at, word);
                }
            }
        }
        bytes
    }

    pub fn cut<'a>(&mut self, bytes: &'a [u8]) -> [&'a [u8]; 3] {
        let (a, b) = (self.below(bytes.len() + 1), self.below(bytes.len() + 1));
        [&bytes[..a.min(b)], &bytes[a.min(b)..a.max(b)], &bytes[a.max(b)..]]
    }
}
