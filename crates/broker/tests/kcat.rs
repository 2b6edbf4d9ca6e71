//! A stock kcat (librdkafka) against the broker. Skipped where it is not installed.
//!
//! `HIGHWATER_KCAT_RECORDS=1000000 cargo test -p highwater-broker --test kcat round -- --nocapture`
//! measures: it prints the time of both directions and this process' CPU, which is the broker's.
#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]
#![expect(clippy::print_stderr, reason = "says what is skipped, and figures")]
#![expect(clippy::disallowed_methods, reason = "files here are kcat's, times are for the eye")]

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::Node;
use highwater_broker::BrokerOptions;
use highwater_log::Compression;
use tempfile::TempDir;

fn kcat_is_missing() -> bool {
    let missing = Command::new("kcat").arg("-V").output().is_err();
    if missing {
        eprintln!("SKIPPED: kcat not installed");
    }
    missing
}

fn kcat(node: &Node, args: &[&str]) -> Command {
    let mut command = Command::new("kcat");
    command.arg("-b").arg(node.addr.to_string()).args(args);
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn records() -> usize {
    std::env::var("HIGHWATER_KCAT_RECORDS").map_or(20_000, |n| n.parse().unwrap())
}

/// Lines of exactly 100 bytes, the newline not counted, each different.
fn write_lines(path: &Path, lines: usize) {
    let line =
        |i: usize| format!("{i:010} {}\n", "0123456789abcdefghijklmnopqrstuvwxyz".repeat(3)[..89].to_owned());
    fs::write(path, (0..lines).map(line).collect::<String>()).unwrap();
}

/// CPU seconds of this process, user and system.
fn cpu_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// How the first stored batch is compressed.
fn stored_compression(node: &Node, topic: &str) -> Compression {
    let tp = node.topics.get(topic).unwrap().partition(0);
    node.log.read(tp, 0, 1).unwrap().batches[0].compression()
}

fn round_trip(node: &Node, dir: &Path, input: &Path, name: &str, settings: &[&str]) {
    let (lines, before, cpu) = (records(), Instant::now(), cpu_seconds());
    run(kcat(node, &["-P", "-t", name]).args(settings).arg("-l").arg(input));
    let (produced, cpu_produced) = (before.elapsed(), cpu_seconds());
    let out = dir.join(name);
    let mut consume = kcat(node, &["-C", "-q", "-e", "-o", "beginning", "-t", name]);
    let before = Instant::now();
    let status = consume.stdout(File::create(&out).unwrap()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{consume:?}");
    eprintln!(
        "{name}: {lines} records produced in {:.2} s (broker CPU {:.2} s), consumed in {:.2} s (broker CPU {:.2} s)",
        produced.as_secs_f64(),
        cpu_produced - cpu,
        before.elapsed().as_secs_f64(),
        cpu_seconds() - cpu_produced,
    );
    assert!(fs::read(input).unwrap() == fs::read(&out).unwrap(), "{name}: consumed is not what was produced");
    fs::remove_file(out).unwrap();
    let topic = node.topics.get(name).unwrap();
    let bounds = node.log.bounds(topic.partition(0)).unwrap();
    assert_eq!(usize::try_from(bounds.high_watermark).unwrap(), lines);
}

#[test]
fn records_come_back_as_they_went() {
    if kcat_is_missing() {
        return;
    }
    let node = Node::start(BrokerOptions::default());
    let dir = TempDir::new().unwrap();
    let input = dir.path().join("input");
    write_lines(&input, records());
    // Topics are made by the first produce.
    round_trip(&node, dir.path(), &input, "none", &[]);
    let codecs = [
        ("gzip", Compression::Gzip),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd),
    ];
    for (codec, compression) in codecs {
        round_trip(&node, dir.path(), &input, codec, &["-z", codec]);
        assert_eq!(stored_compression(&node, codec), compression);
    }
    for acks in ["0", "1", "all"] {
        round_trip(&node, dir.path(), &input, &format!("acks-{acks}"), &["-X", &format!("acks={acks}")]);
    }
    round_trip(&node, dir.path(), &input, "idempotent", &["-X", "enable.idempotence=true"]);
    let stats = node.broker.stats();
    assert_eq!((stats.errors, stats.refusals), (0, 0), "{stats:?}");
}

fn produce(node: &Node, topic: &str, partition: &str, lines: &str) {
    let dir = TempDir::new().unwrap();
    let input = dir.path().join("input");
    fs::write(&input, lines).unwrap();
    run(kcat(node, &["-P", "-t", topic, "-p", partition, "-l"]).arg(input));
}

fn consume(node: &Node, topic: &str, args: &[&str]) -> String {
    text(&run(kcat(node, &["-C", "-q", "-e", "-t", topic]).args(args)))
}

#[test]
fn topics_are_listed() {
    if kcat_is_missing() {
        return;
    }
    let node = Node::start(BrokerOptions { node_id: 7, ..BrokerOptions::default() });
    node.topics.create("orders", 3, Default::default()).unwrap();
    let listed = text(&run(&mut kcat(&node, &["-L"])));
    let expected = [
        format!("broker 7 at {} (controller)", node.addr),
        "topic \"orders\" with 3 partitions:".to_owned(),
        "partition 2, leader 7, replicas: 7, isrs: 7".to_owned(),
    ];
    for line in expected {
        assert!(listed.contains(&line), "{line} is missing in:\n{listed}");
    }
}

#[test]
fn offsets_are_found() {
    if kcat_is_missing() {
        return;
    }
    let node = Node::start(BrokerOptions::default());
    for line in ["a\n", "b\n", "c\nd\n", "e\n"] {
        produce(&node, "t", "0", line);
    }
    assert_eq!(consume(&node, "t", &["-o", "beginning"]), "a\nb\nc\nd\ne\n");
    assert_eq!(consume(&node, "t", &["-o", "end"]), "");
    assert_eq!(consume(&node, "t", &["-o", "-2"]), "d\ne\n");
    // In the middle of a batch.
    assert_eq!(consume(&node, "t", &["-o", "3"]), "d\ne\n");
    let stamps = consume(&node, "t", &["-o", "beginning", "-f", "%o %T\n"]);
    let stamp = |offset: &str| {
        let line = stamps.lines().find(|line| line.starts_with(&format!("{offset} "))).unwrap();
        line.split(' ').nth(1).unwrap().parse::<i64>().unwrap()
    };
    assert!(stamp("1") < stamp("2"), "{stamps}");
    assert_eq!(consume(&node, "t", &["-o", &format!("s@{}", stamp("2"))]), "c\nd\ne\n");
    assert_eq!(consume(&node, "t", &["-o", &format!("s@{}", stamp("1") + 1)]), "c\nd\ne\n");
    assert_eq!(consume(&node, "t", &["-o", &format!("s@{}", stamp("4") + 100_000)]), "");
    let query = text(&run(&mut kcat(&node, &["-Q", "-t", &format!("t:0:{}", stamp("4"))])));
    assert_eq!(query.trim(), "t [0] offset 4");
}

#[test]
fn keys_headers_and_partitions_survive() {
    if kcat_is_missing() {
        return;
    }
    let node = Node::start(BrokerOptions::default());
    node.topics.create("t", 2, Default::default()).unwrap();
    let dir = TempDir::new().unwrap();
    let input = dir.path().join("input");
    fs::write(&input, "key:value\n:empty key\n").unwrap();
    run(kcat(&node, &["-P", "-t", "t", "-p", "1", "-K:", "-H", "h=1", "-H", "h=2", "-l"]).arg(&input));
    let got = consume(&node, "t", &["-o", "beginning", "-f", "%p/%o %k=%s [%h]\n"]);
    assert_eq!(got, "1/0 key=value [h=1,h=2]\n1/1 =empty key [h=1,h=2]\n");
}

/// What one kcat reads as the only member of a group until it is at the end of every partition.
fn consume_as_group(node: &Node, group: &str, topic: &str) -> Vec<String> {
    let earliest = "auto.offset.reset=earliest";
    let output = run(kcat(node, &["-q", "-e", "-X", earliest, "-G", group]).arg(topic));
    let mut lines: Vec<String> = text(&output).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_group_goes_on_where_it_was() {
    if kcat_is_missing() {
        return;
    }
    let node = Node::start(BrokerOptions::default());
    node.topics.create("t", 2, Default::default()).unwrap();
    produce(&node, "t", "0", "a\nb\n");
    produce(&node, "t", "1", "c\n");
    assert_eq!(consume_as_group(&node, "g", "t"), ["a", "b", "c"]);
    produce(&node, "t", "1", "d\n");
    assert_eq!(consume_as_group(&node, "g", "t"), ["d"]);
    // Another group has its own offsets.
    assert_eq!(consume_as_group(&node, "other", "t"), ["a", "b", "c", "d"]);
    let listed = node.runtime.block_on(node.groups.list()).unwrap();
    let listed: Vec<(&str, &str)> = listed.iter().map(|group| (&*group.group, group.state)).collect();
    assert_eq!(listed, [("g", "Empty"), ("other", "Empty")]);
    let offsets = node.runtime.block_on(node.groups.fetch_offsets("g".to_owned(), None, true)).unwrap();
    let offsets: Vec<(i32, i64)> =
        offsets.into_iter().map(|o| (o.partition, o.offset.unwrap().unwrap().offset)).collect();
    assert_eq!(offsets, [(0, 2), (1, 2)]);
}
