//! CreateTopics (19).

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use highwater_coordinator::Topic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::describe_configs::topic_configs;
use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 5,
    fields: &[
        structs(&[text(), fixed(4), fixed(2), structs(&[fixed(4), numbers(4)]), structs(&[text(), text()])]),
        fixed(4),
        fixed(1),
    ],
};

/// Partitions or replicas left to the broker's default (KIP-464).
const DEFAULT: i32 = -1;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: CreateTopicsRequest = request.decode()?;
    let mut times: HashMap<StrBytes, usize> = HashMap::new();
    for topic in &asked.topics {
        *times.entry(topic.name.0.clone()).or_default() += 1;
    }
    let results = asked.topics.iter().map(|topic| {
        let made = if times.get(&topic.name.0) == Some(&1) {
            create(broker, topic, asked.validate_only)
        } else {
            Err(Refused::new(ErrorCode::InvalidRequest, "topic is named twice in one request"))
        };
        let result = CreatableTopicResult::default().with_error_message(None).with_name(topic.name.clone());
        match made {
            Ok(made) => described(result, &made),
            Err(Refused { code, message }) => {
                broker.count_error();
                let message = Some(StrBytes::from_string(message));
                result.with_error_code(code.code()).with_error_message(message).with_configs(None)
            }
        }
    });
    encode(&CreateTopicsResponse::default().with_topics(results.collect()), request.version)
}

/// What a request made, or would make.
struct Made {
    id: u128,
    partitions: i32,
    configs: BTreeMap<String, String>,
}

impl Made {
    fn of(topic: &Topic) -> Self {
        Self { id: topic.id.0, partitions: topic.partitions, configs: (*topic.configs).clone() }
    }
}

fn create(broker: &Broker, asked: &CreatableTopic, validate_only: bool) -> Result<Made, Refused> {
    let name: &str = &asked.name.0;
    let partitions = partition_count(broker, asked)?;
    match asked.replication_factor {
        0 | ..=-2 => {
            let message = format!("replication factor {} is below 1", asked.replication_factor);
            return Err(Refused::new(ErrorCode::InvalidReplicationFactor, message));
        }
        -1 | 1 => {}
        more => tracing::warn!(topic = name, "replication factor {more} is kept as 1: there is one node"),
    }
    let configs = given_configs(asked)?;
    if validate_only {
        broker.topics.check(name, partitions, &configs)?;
        return Ok(Made { id: 0, partitions, configs });
    }
    Ok(Made::of(&broker.topics.create(name, partitions, configs)?))
}

fn given_configs(asked: &CreatableTopic) -> Result<BTreeMap<String, String>, Refused> {
    let configs = asked.configs.iter().map(|config| match &config.value {
        Some(value) => Ok((config.name.to_string(), value.to_string())),
        None => Err(Refused::new(ErrorCode::InvalidConfig, format!("{} has no value", config.name))),
    });
    configs.collect()
}

fn partition_count(broker: &Broker, asked: &CreatableTopic) -> Result<i32, Refused> {
    if asked.assignments.is_empty() {
        let default = broker.topics.options().default_partitions;
        return Ok(if asked.num_partitions == DEFAULT { default } else { asked.num_partitions });
    }
    if asked.num_partitions != DEFAULT || i32::from(asked.replication_factor) != DEFAULT {
        let message = "with an assignment, partition count and replication factor must be -1".to_owned();
        return Err(Refused::new(ErrorCode::InvalidRequest, message));
    }
    let count = i32::try_from(asked.assignments.len()).unwrap_or(i32::MAX);
    let mut indexes: Vec<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
    indexes.sort_unstable();
    if indexes.iter().copied().eq(0..count) {
        Ok(count)
    } else {
        Err(Refused::new(ErrorCode::InvalidRequest, "assigned partitions must be 0, 1, 2 ... once each"))
    }
}

fn described(result: CreatableTopicResult, made: &Made) -> CreatableTopicResult {
    let configs = topic_configs(&made.configs).into_iter().map(|config| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(config.name))
            .with_value(Some(StrBytes::from_string(config.value)))
            .with_config_source(config.source as i8)
    });
    result
        .with_topic_id(Uuid::from_u128(made.id))
        .with_num_partitions(made.partitions)
        .with_replication_factor(1)
        .with_configs(Some(configs.collect()))
}
