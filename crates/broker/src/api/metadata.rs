//! Metadata (3): brokers, topics, partitions. Creates topics that are asked for by name.

use std::collections::HashSet;

use bytes::Bytes;
use highwater_coordinator::{Topic, check_topic_name};
use highwater_env::TopicId;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS, encode, text};
use crate::broker::{Broker, LEADER_EPOCH};
use crate::errors::{ErrorCode, topic_error};
use crate::guard::{self, Shape, fixed, structs};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 9,
    fields: &[
        structs(&[fixed(16).since(10), guard::text()]),
        fixed(1).since(4),
        fixed(1).since(8).until(10),
        fixed(1).since(8),
    ],
};

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: MetadataRequest = request.decode()?;
    let topics: Vec<_> = match &asked.topics {
        // Version 0 cannot say null and means all topics by an empty list.
        Some(topics) if request.version > 0 || !topics.is_empty() => {
            // Each topic once: a name costs few bytes, its partitions many.
            let mut seen = HashSet::new();
            let topics = topics.iter().filter(|topic| seen.insert((topic.name.as_deref(), topic.topic_id)));
            topics.map(|topic| one_topic(broker, topic, asked.allow_auto_topic_creation)).collect()
        }
        _ => broker.topics.list().iter().map(|topic| described(broker, topic)).collect(),
    };
    let topics = match asked.include_topic_authorized_operations {
        true => topics.into_iter().map(|t| t.with_topic_authorized_operations(TOPIC_OPERATIONS)).collect(),
        false => topics,
    };
    let node = BrokerId(broker.options.node_id);
    let this = MetadataResponseBroker::default()
        .with_node_id(node)
        .with_host(text(&request.listener.host))
        .with_port(i32::from(request.listener.port));
    let answer = MetadataResponse::default()
        .with_brokers(vec![this])
        .with_cluster_id(Some(text(broker.log.cluster_id())))
        .with_controller_id(node)
        .with_topics(topics);
    let answer = match asked.include_cluster_authorized_operations {
        true => answer.with_cluster_authorized_operations(CLUSTER_OPERATIONS),
        false => answer,
    };
    encode(&answer, request.version)
}

fn one_topic(broker: &Broker, asked: &MetadataRequestTopic, create: bool) -> MetadataResponseTopic {
    // Kafka's clients ask by id with an empty name, not with none.
    let Some(name) = asked.name.as_ref().filter(|_| asked.topic_id.is_nil()) else {
        return match broker.topics.by_id(TopicId(asked.topic_id.as_u128())) {
            Some(topic) => described(broker, &topic),
            None => refused(broker, None, asked.topic_id, ErrorCode::UnknownTopicId),
        };
    };
    match find_or_create(broker, &name.0, create) {
        Ok(topic) => described(broker, &topic),
        Err(code) => refused(broker, Some(&name.0), Uuid::nil(), code),
    }
}

fn find_or_create(broker: &Broker, name: &str, create: bool) -> Result<Topic, ErrorCode> {
    if let Some(topic) = broker.topics.get(name) {
        return Ok(topic);
    }
    if create {
        return broker.topics.ensure(name).map_err(|error| topic_error(&error));
    }
    // A name that no topic can have is not waited for.
    check_topic_name(name).map_err(|error| topic_error(&error))?;
    Err(ErrorCode::UnknownTopicOrPartition)
}

fn described(broker: &Broker, topic: &Topic) -> MetadataResponseTopic {
    let node = BrokerId(broker.options.node_id);
    let partitions = (0..topic.partitions).map(|partition| {
        MetadataResponsePartition::default()
            .with_partition_index(partition)
            .with_leader_id(node)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![node])
            .with_isr_nodes(vec![node])
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(text(&topic.name))))
        .with_topic_id(Uuid::from_u128(topic.id.0))
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
}

fn refused(broker: &Broker, name: Option<&StrBytes>, id: Uuid, code: ErrorCode) -> MetadataResponseTopic {
    broker.count_error();
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        // Null only where a version allows it, which is where topics are asked for by id.
        .with_name(name.map(|name| TopicName(name.clone())))
        .with_topic_id(id)
}
