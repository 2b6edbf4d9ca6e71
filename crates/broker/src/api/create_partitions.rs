//! CreatePartitions (37): lets topics grow.

use std::collections::HashMap;

use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 2,
    fields: &[structs(&[text(), fixed(4), structs(&[numbers(4)])]), fixed(4), fixed(1)],
};

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: CreatePartitionsRequest = request.decode()?;
    let mut times: HashMap<&TopicName, usize> = HashMap::new();
    for topic in &asked.topics {
        *times.entry(&topic.name).or_default() += 1;
    }
    let results = asked.topics.iter().map(|topic| {
        let grown = match times.get(&topic.name) {
            Some(1) => grow(broker, topic, asked.validate_only),
            _ => Err(Refused::new(ErrorCode::InvalidRequest, "topic is named twice in one request")),
        };
        let result =
            CreatePartitionsTopicResult::default().with_error_message(None).with_name(topic.name.clone());
        match grown {
            Ok(()) => result,
            Err(Refused { code, message }) => {
                broker.count_error();
                result.with_error_code(code.code()).with_error_message(Some(string(&message)))
            }
        }
    });
    encode(&CreatePartitionsResponse::default().with_results(results.collect()), request.version)
}

fn grow(broker: &Broker, asked: &CreatePartitionsTopic, validate_only: bool) -> Result<(), Refused> {
    let topic = broker.topics.check_added(&asked.name.0, asked.count)?;
    if topic.internal {
        return Err(Refused::new(ErrorCode::InvalidTopic, "the topic is internal"));
    }
    if let Some(assignments) = &asked.assignments {
        let added = asked.count - topic.partitions;
        if usize::try_from(added) != Ok(assignments.len()) {
            let message = format!("{} assignments for {added} new partitions", assignments.len());
            return Err(Refused::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    if !validate_only {
        broker.topics.add_partitions(&asked.name.0, asked.count)?;
    }
    Ok(())
}
