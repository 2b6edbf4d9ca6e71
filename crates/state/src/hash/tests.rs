use expect_test::expect;

use super::*;

/// These numbers decide where keys live on disk: if one changes, every stored state is lost.
#[test]
fn the_hash_never_changes() {
    let hashes =
        [&b""[..], b"a", b"12345678", b"123456789"].map(|bytes| format!("{:016x}", hash_bytes(bytes)));
    expect!["0000000000000000 d21760f3fa17baa9 2d696a718bddf195 8ce44a51ac9ee4fe"]
        .assert_eq(&hashes.join(" "));
}

#[test]
fn keys_spread_over_all_key_groups() {
    let mut groups = [0_u32; 256];
    for number in 0..256_000_i64 {
        let mut key = vec![1];
        key.extend_from_slice(&number.to_le_bytes());
        groups[(hash_bytes(&key) >> 56) as usize] += 1;
    }
    // 1,000 keys per group on average; six standard deviations are 190.
    assert!(groups.iter().all(|count| (810..1_190).contains(count)), "{groups:?}");
}
