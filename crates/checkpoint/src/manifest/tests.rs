use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn sample() -> Manifest {
    Manifest {
        pipeline: "fleet \"health\"".to_owned(),
        epoch: Epoch(7),
        fingerprint: "3f2a".to_owned(),
        shards: 2,
        positions: vec![SplitPosition {
            uid: "source:1".to_owned(),
            split: SplitId("3".to_owned()),
            position: Position(42),
            watermark: EventTime::MIN,
        }],
        chain: vec![SnapshotRef { epoch: Epoch(6), name: "6.snap".to_owned(), bytes: 10, full: true }],
        committables: vec![SinkCommittable {
            uid: "sink:1".to_owned(),
            shard: 1,
            committable: Committable(Bytes::from_static(b"\x00\xff")),
        }],
        finished: false,
    }
}

/// Manifests of this version must open for ever.
#[test]
fn golden_bytes() {
    let file = sample().encode();
    expect![[r#"
        {"magic":"highwater-manifest","version":1,"crc32c":2712612247}
        {"pipeline":"fleet \"health\"","epoch":7,"fingerprint":"3f2a","shards":2,"finished":false,"positions":[{"uid":"source:1","split":"3","position":42,"watermark":-9223372036854775808}],"chain":[{"epoch":6,"name":"6.snap","bytes":10,"full":true}],"committables":[{"uid":"sink:1","shard":1,"payload":"00ff"}]}
    "#]].assert_eq(std::str::from_utf8(&file).unwrap());
    assert_eq!(Manifest::decode(&file).unwrap(), sample());
}

#[test]
fn a_newer_version_is_refused_as_such() {
    let file = String::from_utf8(sample().encode().to_vec()).unwrap();
    let newer = file.replace("\"version\":1", "\"version\":2");
    assert_eq!(Manifest::decode(newer.as_bytes()), Err(ManifestError::Version { found: 2 }));
}

proptest! {
    #[test]
    fn damage_is_found_and_never_panics(at in any::<usize>(), byte in any::<u8>(), len in any::<usize>()) {
        let mut file = sample().encode().to_vec();
        let at = at % file.len();
        let cut = 1 + len % file.len();
        prop_assert!(Manifest::decode(&file[..cut.min(file.len() - 1)]).is_err());
        let differs = file[at] != byte;
        file[at] = byte;
        let decoded = Manifest::decode(&file);
        // A changed byte in the head that still says the same is harmless.
        prop_assert!(!differs || decoded.is_err() || decoded == Ok(sample()));
    }
}
