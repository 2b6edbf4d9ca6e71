//! DescribeProducers (61): who writes to a partition, and since when its transaction is open.

use std::collections::HashSet;

use bytes::Bytes;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{DescribeProducersRequest, DescribeProducersResponse, ProducerId};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, read_error};
use crate::guard::{Field, Shape, numbers, structs, text};
use crate::request::{Refusal, Request};

static TOPIC: [Field; 2] = [text(), numbers(4)];
pub(super) static SHAPE: Shape = Shape { flexible_since: 0, fields: &[structs(&TOPIC)] };

/// Offset of an open transaction if there is none.
const NO_TRANSACTION: i64 = -1;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeProducersRequest = request.decode()?;
    // Each partition once: it costs few bytes, its producers many.
    let mut seen = HashSet::new();
    let topics = asked.topics.into_iter().map(|topic| {
        let indexes = topic.partition_indexes.iter().copied();
        let once = indexes.filter(|index| seen.insert((topic.name.clone(), *index)));
        let partitions = once.map(|index| partition(broker, &topic.name, index)).collect();
        TopicResponse::default().with_name(topic.name).with_partitions(partitions)
    });
    encode(&DescribeProducersResponse::default().with_topics(topics.collect()), request.version)
}

fn partition(broker: &Broker, topic: &str, index: i32) -> PartitionResponse {
    let answer = PartitionResponse::default().with_partition_index(index);
    let found = broker.topics.get(topic).filter(|topic| (0..topic.partitions).contains(&index));
    let producers = match found {
        Some(topic) => broker.log.producers(topic.partition(index)).map_err(|error| read_error(&error)),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    };
    match producers {
        Ok(producers) => {
            let producers = producers.into_iter().map(|producer| {
                ProducerState::default()
                    .with_producer_id(ProducerId(producer.producer_id))
                    .with_producer_epoch(i32::from(producer.epoch))
                    .with_last_sequence(producer.last_sequence)
                    .with_last_timestamp(producer.last_timestamp_ms)
                    .with_coordinator_epoch(producer.coordinator_epoch)
                    .with_current_txn_start_offset(producer.open_since.unwrap_or(NO_TRANSACTION))
            });
            answer.with_active_producers(producers.collect())
        }
        Err(code) => {
            broker.count_error();
            answer.with_error_code(code.code())
        }
    }
}
