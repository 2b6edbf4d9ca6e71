use std::collections::BTreeMap;

use expect_test::{Expect, expect, expect_file};
use highwater_log::{Compression, PartitionOptions};

use super::{ConfigError, ConfigKind, TOPIC_CONFIGS, TimestampType, TopicConfig};

fn parse(configs: &[(&str, &str)]) -> Result<TopicConfig, ConfigError> {
    let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TopicConfig::parse(&configs.collect())
}

fn check_error(configs: &[(&str, &str)], expected: Expect) {
    expected.assert_eq(&parse(configs).unwrap_err().to_string());
}

#[test]
fn without_configs_a_topic_is_as_kafkas() {
    let week_ms = 7 * 24 * 3_600_000;
    let expected = TopicConfig {
        partition: PartitionOptions {
            segment_bytes_max: 1 << 30,
            segment_ms: week_ms,
            delete: true,
            retention_ms: Some(week_ms),
            retention_bytes: None,
            compact: false,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3_600_000,
            min_dirty_per_mille: 500,
        },
        message_bytes_max: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: None,
    };
    assert_eq!(parse(&[]), Ok(expected.clone()));
    assert_eq!(TopicConfig::default(), expected);
}

#[test]
fn each_config_with_an_effect_has_it() {
    let check = |name, value, effect: fn(&mut TopicConfig)| {
        let mut expected = TopicConfig::default();
        effect(&mut expected);
        assert_ne!(expected, TopicConfig::default(), "{name}");
        assert_eq!(parse(&[(name, value)]), Ok(expected), "{name}");
    };
    let kept = |name, value, effect: fn(&mut PartitionOptions)| {
        let mut expected = TopicConfig::default();
        effect(&mut expected.partition);
        assert_ne!(expected, TopicConfig::default(), "{name}");
        assert_eq!(parse(&[(name, value)]), Ok(expected), "{name}");
    };
    kept("cleanup.policy", "compact", |c| (c.compact, c.delete) = (true, false));
    kept("cleanup.policy", "compact, delete", |c| c.compact = true);
    kept("cleanup.policy", "", |c| c.delete = false);
    kept("retention.ms", "-1", |c| c.retention_ms = None);
    kept("retention.ms", " 1000 ", |c| c.retention_ms = Some(1000));
    kept("retention.bytes", "7", |c| c.retention_bytes = Some(7));
    kept("segment.bytes", "1048576", |c| c.segment_bytes_max = 1 << 20);
    kept("internal.segment.bytes", "100", |c| c.segment_bytes_max = 100);
    kept("segment.ms", "1", |c| c.segment_ms = 1);
    kept("min.compaction.lag.ms", "5", |c| c.min_compaction_lag_ms = 5);
    kept("max.compaction.lag.ms", "5", |c| c.max_compaction_lag_ms = 5);
    kept("delete.retention.ms", "0", |c| c.delete_retention_ms = 0);
    kept("min.cleanable.dirty.ratio", "0.01", |c| c.min_dirty_per_mille = 10);
    kept("min.cleanable.dirty.ratio", "1", |c| c.min_dirty_per_mille = 1000);
    check("max.message.bytes", "0", |c| c.message_bytes_max = 0);
    check("message.timestamp.type", "LogAppendTime", |c| c.timestamp_type = TimestampType::LogAppendTime);
    check("message.timestamp.before.max.ms", "9", |c| c.timestamp_before_max_ms = 9);
    check("message.timestamp.after.max.ms", "9", |c| c.timestamp_after_max_ms = 9);
    check("compression.type", "uncompressed", |c| c.compression = Some(Compression::None));
    check("compression.type", "gzip", |c| c.compression = Some(Compression::Gzip));
    check("compression.type", "snappy", |c| c.compression = Some(Compression::Snappy));
    check("compression.type", "lz4", |c| c.compression = Some(Compression::Lz4));
    check("compression.type", "zstd", |c| c.compression = Some(Compression::Zstd));
}

/// Good and bad values by the type and range of each config.
fn samples(kind: ConfigKind) -> (Vec<String>, Vec<String>) {
    let strings = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
    match kind {
        ConfigKind::Boolean => (strings(&["true", "FALSE"]), strings(&["", "1", "yes"])),
        ConfigKind::False => (strings(&["false"]), strings(&["true", ""])),
        ConfigKind::Int { min, max } => {
            let bad = [i64::from(min) - 1, i64::from(max) + 1].map(|value| value.to_string());
            let bad = [&bad[..], &strings(&["", "x", "1.5", "1k"])].concat();
            (vec![min.to_string(), max.to_string()], bad)
        }
        ConfigKind::Long { min } => {
            let bad = [i128::from(min) - 1, i128::from(i64::MAX) + 1].map(|value| value.to_string());
            (vec![min.to_string(), i64::MAX.to_string()], [&bad[..], &strings(&["", "x", "1.5"])].concat())
        }
        ConfigKind::Ratio => (strings(&["0", "1.0", "0.5"]), strings(&["", "-0.1", "1.1", "NaN", "half"])),
        ConfigKind::Word(words) => (strings(words), strings(&["", "nonsense"])),
        ConfigKind::Words(words) => {
            let twice = format!("{0},{0}", words[0]);
            (strings(&[words[0], words[1], &words.join(" , "), ""]), strings(&["nonsense", &twice]))
        }
        ConfigKind::List => (strings(&["", "*", "0:1,1:1"]), Vec::new()),
    }
}

#[test]
fn each_config_takes_its_default_and_good_values_and_no_bad_ones() {
    let names: Vec<_> = TOPIC_CONFIGS.iter().map(|key| key.name).collect();
    assert!(names.is_sorted_by(|a, b| a < b), "{names:?}");
    for key in &TOPIC_CONFIGS {
        assert!(!key.documentation.is_empty(), "{}", key.name);
        assert_eq!(parse(&[(key.name, key.default)]).map(|_| ()), Ok(()), "{}", key.name);
        let (good, bad) = samples(key.kind);
        for value in good {
            assert_eq!(parse(&[(key.name, &value)]).map(|_| ()), Ok(()), "{} {value:?}", key.name);
        }
        for value in bad {
            let refused = parse(&[(key.name, &value)]);
            assert!(matches!(refused, Err(ConfigError::Value { .. })), "{} {value:?}", key.name);
        }
    }
}

#[test]
fn refusals_say_what_was_expected() {
    check_error(&[("retention.mss", "1")], expect!["Unknown topic config name: retention.mss"]);
    check_error(
        &[("retention.ms", "-2")],
        expect!["Invalid value -2 for configuration retention.ms: expected a 64-bit number of at least -1"],
    );
    check_error(
        &[("retention.ms", "1h")],
        expect!["Invalid value 1h for configuration retention.ms: expected a 64-bit number of at least -1"],
    );
    check_error(
        &[("segment.bytes", "14")],
        expect![
            "Invalid value 14 for configuration segment.bytes: expected a 32-bit number of at least 1048576"
        ],
    );
    check_error(
        &[("cleanup.policy", "compress")],
        expect![
            "Invalid value compress for configuration cleanup.policy: expected compact or delete, or both, each once"
        ],
    );
    check_error(
        &[("compression.type", "none")],
        expect![
            "Invalid value none for configuration compression.type: expected one of uncompressed, zstd, lz4, snappy, gzip, producer"
        ],
    );
    check_error(
        &[("min.cleanable.dirty.ratio", "2")],
        expect!["Invalid value 2 for configuration min.cleanable.dirty.ratio: expected a number in 0..=1"],
    );
    check_error(
        &[("compression.lz4.level", "0")],
        expect!["Invalid value 0 for configuration compression.lz4.level: expected a number in 1..=17"],
    );
    check_error(
        &[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "9")],
        expect!["min.compaction.lag.ms is 10, expected at most max.compaction.lag.ms, which is 9"],
    );
}

/// A catalog of an older program may hold anything.
#[test]
fn what_is_stored_and_not_understood_has_its_default() {
    let configs = [("retention.ms", "soon"), ("colour", "blue"), ("segment.ms", "5")];
    let configs: BTreeMap<_, _> = configs.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
    let expected = TopicConfig {
        partition: PartitionOptions { segment_ms: 5, ..TopicConfig::default().partition },
        ..TopicConfig::default()
    };
    assert_eq!(TopicConfig::parse_stored("t", &configs), expected);
}

/// `docs/reference/topic-configs.md` says what the table says.
#[test]
fn the_reference_lists_every_config() {
    let mut page =
        "# Topic configs\n\nNames, defaults, units and ranges are Apache Kafka 4's. Set them with \
        `highwater topic alter`, with Kafka's own\ntools, or when the topic is made. They hold for records of Kafka's clients, of HTTP and of\n\
        pipelines alike.\n\n\
        | Config | Default | Takes | Here |\n|---|---|---|---|\n"
            .to_owned();
    for key in &TOPIC_CONFIGS {
        let expected = key.kind.expected();
        page += &format!("| `{}` | `{}` | {expected} | {} |\n", key.name, key.default, key.documentation);
    }
    expect_file!["../../../../docs/reference/topic-configs.md"].assert_eq(&page.replace("``", ""));
}
