//! The hash that places keys. It decides key groups on disk: never change it.

const SEED: u64 = 0x2D35_8DCC_AA6C_78A5;
const WORD: u64 = 0x8BB8_4B93_962E_ACC9;
const LAST: u64 = 0x4B33_A62E_D433_D4A3;

/// Hashes `bytes`; the same on every machine and in every version.
///
/// 8 bytes at a time, little-endian, each mixed in by a folded 64x64-bit multiplication
/// (the step of wyhash); the rest is padded with zeros, the length goes into the start value.
#[inline]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(LAST);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().expect("chunks of 8"));
        hash = fold(hash ^ word, WORD);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = fold(hash ^ u64::from_le_bytes(last), WORD);
    }
    fold(hash ^ SEED, LAST)
}

/// Mixes a number into a hash. For tables in memory; not part of any disk format.
#[inline]
pub fn mix(hash: u64, number: u64) -> u64 {
    fold(hash ^ number.wrapping_mul(WORD), LAST)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests;
