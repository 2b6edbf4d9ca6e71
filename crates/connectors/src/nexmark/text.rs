//! Random numbers and text of one event.

/// Random numbers that depend on seed and row only (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64, row: u64) -> Self {
        let mut random = Self(seed ^ row.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        random.0 = random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `count`, which is above 0.
    pub(super) fn below(&mut self, count: u64) -> u64 {
        u64::try_from((u128::from(self.next()) * u128::from(count)) >> 64).unwrap_or(0)
    }

    pub(super) fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap_or(0)]
    }

    /// From 100 to 100,000,000, small ones as often as large ones.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "at most 10^8")]
    pub(super) fn price(&mut self) -> i64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (10f64.powf(unit * 6.0) * 100.0).round() as i64
    }

    /// 3 letters to `most`.
    pub(super) fn word(&mut self, most: u64) -> String {
        let length = 3 + self.below(most - 2);
        self.letters(length)
    }

    pub(super) fn letters(&mut self, length: u64) -> String {
        let mut text = String::with_capacity(usize::try_from(length).unwrap_or(0));
        let mut bits = 0;
        for place in 0..length {
            if place % 12 == 0 {
                bits = self.next();
            }
            text.push(char::from(b'a' + u8::try_from(bits % 26).unwrap_or(0)));
            bits /= 26;
        }
        text
    }

    /// What brings an event of `used` bytes to about `wanted`, give or take a fifth of the rest.
    pub(super) fn padding(&mut self, used: usize, wanted: u64) -> String {
        let missing = wanted.saturating_sub(used as u64);
        let spread = missing / 5;
        let length = missing - spread + self.below(2 * spread + 1);
        self.letters(length)
    }

    pub(super) fn url(&mut self) -> String {
        let folders = [(); 3].map(|()| self.word(5)).join("/");
        format!("https://www.nexmark.com/{folders}/item.htm?query=1")
    }
}
