//! Chance that a seed repeats.

/// Numbers that look like chance: splitmix64, after Steele, Lea and Flood.
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The numbers of a seed and some words: others for other words.
    pub fn of(seed: u64, words: &[&str]) -> Self {
        // FNV-1a; a byte that no text has stands behind each word.
        let bytes = words.iter().flat_map(|word| word.bytes().chain([0xff]));
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, hash))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of `0..end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.draw() % end as u64) as usize
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these words.
    pub fn word(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// Sixteen bytes, such as seeds and ids are made of.
    pub fn bytes(&mut self) -> [u8; 16] {
        let number = (u128::from(self.draw()) << 64) | u128::from(self.draw());
        number.to_be_bytes()
    }
}
