use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn sample() -> Vec<OperatorSnapshot> {
    let mut section = crate::SectionWriter::default();
    section.remove_prefix(b"w");
    section.put(b"key", |out| out.extend_from_slice(b"value"));
    vec![OperatorSnapshot {
        uid: "count:1".to_owned(),
        shard: 1,
        shards: 4,
        full: false,
        watermark: -2,
        sections: vec![(KeyGroup(70), section.finish())],
    }]
}

/// Files of this version must open for ever.
#[test]
fn golden_bytes() {
    let file = encode_snapshots(&sample());
    let hex: Vec<String> = file
        .chunks(16)
        .map(|line| line.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "))
        .collect();
    expect![[r#"
        48 57 53 4e 41 50 01 00 01 00 00 00 07 00 00 00
        63 6f 75 6e 74 3a 31 01 00 00 00 04 00 00 00 00
        fe ff ff ff ff ff ff ff 01 00 00 00 46 17 00 00
        00 03 01 00 00 00 77 01 03 00 00 00 6b 65 79 05
        00 00 00 76 61 6c 75 65 55 f0 c2 0c"#]]
    .assert_eq(&hex.join("\n"));
    assert_eq!(decode_snapshots(&file).unwrap(), sample());
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let mut file = encode_snapshots(&sample()).to_vec();
    file[6] = 2;
    assert_eq!(decode_snapshots(&file.into()), Err(StateError::Version { found: 2, supported: 1 }));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0_usize..20) {
        let mut file = encode_snapshots(&sample()).to_vec();
        file.truncate(keep);
        file.extend_from_slice(&bytes);
        prop_assert!(decode_snapshots(&file.clone().into()).is_err());
        // Behind a right CRC everything is still checked.
        let crc = crc32c::crc32c(&file);
        file.extend_from_slice(&crc.to_le_bytes());
        if let Ok(snapshots) = decode_snapshots(&file.into()) {
            let _ = crate::RestoredState::new().apply(&snapshots);
        }
    }

    #[test]
    fn a_flipped_bit_is_found(at in 0_usize..1_000, bit in 0_u32..8) {
        let mut file = encode_snapshots(&sample()).to_vec();
        let at = at % file.len();
        file[at] ^= 1_u8 << bit;
        prop_assert!(decode_snapshots(&file.into()).is_err());
    }
}
