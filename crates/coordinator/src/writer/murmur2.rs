//! MurmurHash2 with Kafka's seed (Kafka's `Utils.murmur2`).

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

pub(super) fn hash(key: &[u8]) -> i32 {
    let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut h = SEED ^ len;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        h = (h ^ last).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)).cast_signed()
}
