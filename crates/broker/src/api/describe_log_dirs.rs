//! DescribeLogDirs (35): one directory, and the bytes of each partition in it.

use std::collections::HashSet;

use bytes::Bytes;
use highwater_coordinator::Topic;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::guard::{Shape, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape { flexible_since: 2, fields: &[structs(&[text(), numbers(4)])] };

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeLogDirsRequest = request.decode()?;
    let topics: Vec<DescribeLogDirsTopic> = match &asked.topics {
        None => {
            broker.topics.list().iter().map(|topic| described(broker, topic, 0..topic.partitions)).collect()
        }
        Some(topics) => named(broker, topics),
    };
    // -1 is unknown (KIP-827).
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let space = broker.log.disk_space();
    let directory = DescribeLogDirsResult::default()
        .with_log_dir(string(&broker.log.directory().to_string_lossy()))
        .with_topics(topics)
        .with_total_bytes(bytes(space.map(|space| space.total)))
        .with_usable_bytes(bytes(space.map(|space| space.usable)));
    encode(&DescribeLogDirsResponse::default().with_results(vec![directory]), request.version)
}

/// Those asked for that are there, each partition once; others are left out, as in Kafka.
fn named(broker: &Broker, asked: &[DescribableLogDirTopic]) -> Vec<DescribeLogDirsTopic> {
    let mut seen = HashSet::new();
    let found = asked.iter().filter_map(|asked| {
        let topic = broker.topics.get(&asked.topic.0)?;
        let new: Vec<i32> =
            asked.partitions.iter().copied().filter(|p| seen.insert((topic.id, *p))).collect();
        Some(described(broker, &topic, new.into_iter()))
    });
    found.collect()
}

fn described(broker: &Broker, topic: &Topic, partitions: impl Iterator<Item = i32>) -> DescribeLogDirsTopic {
    let partitions = partitions.filter_map(|partition| {
        let bytes = broker.log.partition_bytes(topic.partition(partition)).ok()?;
        let described = DescribeLogDirsPartition::default()
            .with_partition_index(partition)
            .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX));
        Some(described)
    });
    DescribeLogDirsTopic::default()
        .with_name(TopicName(string(&topic.name)))
        .with_partitions(partitions.collect())
}
