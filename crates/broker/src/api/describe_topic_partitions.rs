//! DescribeTopicPartitions (75): Metadata's topics, page by page (KIP-966).

use std::collections::BTreeSet;

use bytes::Bytes;
use highwater_coordinator::Topic;
use kafka_protocol::messages::describe_topic_partitions_request::Cursor;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor as NextCursor, DescribeTopicPartitionsResponsePartition as PartitionPart,
    DescribeTopicPartitionsResponseTopic as TopicPart,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
};
use uuid::Uuid;

use crate::api::{TOPIC_OPERATIONS, encode, text as string};
use crate::broker::{Broker, LEADER_EPOCH};
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, optional, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 0, fields: &[structs(&[text()]), fixed(4), optional(&[text(), fixed(4)])] };

/// The most partitions of one answer, as Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeTopicPartitionsRequest = request.decode()?;
    let limit = usize::try_from(asked.response_partition_limit).unwrap_or(1).clamp(1, PARTITIONS_MAX);
    let named: BTreeSet<&str> = asked.topics.iter().map(|topic| &*topic.name.0).collect();
    let everything = broker.topics.list();
    let names: Vec<&str> = match named.is_empty() {
        true => everything.iter().map(|topic| &*topic.name).collect(),
        false => named.into_iter().collect(),
    };
    let mut page = Page { broker, left: limit, topics: Vec::new(), next: None };
    for (name, from) in from_cursor(&names, asked.cursor.as_ref()) {
        if !page.push(name, from) {
            break;
        }
    }
    let answer =
        DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next);
    encode(&answer, request.version)
}

/// Names, in order, from the cursor's on, each with its first partition that is wanted.
fn from_cursor<'a>(names: &'a [&'a str], cursor: Option<&'a Cursor>) -> impl Iterator<Item = (&'a str, i32)> {
    let (from, partition) = cursor.map_or(("", 0), |at| (&*at.topic_name.0, at.partition_index.max(0)));
    let wanted = names.iter().copied().filter(move |name| *name >= from);
    wanted.map(move |name| (name, if name == from { partition } else { 0 }))
}

/// One answer, filled until its limit.
struct Page<'a> {
    broker: &'a Broker,
    left: usize,
    topics: Vec<TopicPart>,
    next: Option<NextCursor>,
}

impl Page<'_> {
    /// Adds a topic's partitions; false once the page is full.
    fn push(&mut self, name: &str, from: i32) -> bool {
        let named = |index| {
            NextCursor::default().with_topic_name(TopicName(string(name))).with_partition_index(index)
        };
        if self.left == 0 {
            self.next = Some(named(from));
            return false;
        }
        let Some(topic) = self.broker.topics.get(name) else {
            self.broker.count_error();
            self.topics.push(unknown(name));
            return true;
        };
        let left = i32::try_from(self.left).unwrap_or(i32::MAX);
        let to = topic.partitions.min(from.saturating_add(left));
        let partitions: Vec<_> = (from..to).map(|index| partition(self.broker, index)).collect();
        self.left -= partitions.len();
        self.topics.push(known(&topic, partitions));
        if to >= topic.partitions {
            return true;
        }
        self.next = Some(named(to));
        false
    }
}

fn known(topic: &Topic, partitions: Vec<PartitionPart>) -> TopicPart {
    TopicPart::default()
        .with_name(Some(TopicName(string(&topic.name))))
        .with_topic_id(Uuid::from_u128(topic.id.0))
        .with_is_internal(topic.internal)
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
        .with_partitions(partitions)
}

fn unknown(name: &str) -> TopicPart {
    TopicPart::default()
        .with_error_code(ErrorCode::UnknownTopicOrPartition.code())
        .with_name(Some(TopicName(string(name))))
}

fn partition(broker: &Broker, index: i32) -> PartitionPart {
    let node = BrokerId(broker.options.node_id);
    PartitionPart::default()
        .with_partition_index(index)
        .with_leader_id(node)
        .with_leader_epoch(LEADER_EPOCH)
        .with_replica_nodes(vec![node])
        .with_isr_nodes(vec![node])
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}
