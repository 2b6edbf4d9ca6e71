//! DescribeConfigs (32): a topic's options as they were given, and this broker's limits.

use std::collections::HashSet;

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, fixed, structs, text, texts};
use crate::request::{Refusal, Request};

/// The topic config that limits a batch's size.
const MESSAGE_BYTES_MAX_CONFIG: &str = "max.message.bytes";

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[structs(&[fixed(1), text(), texts()]), fixed(1), fixed(1).since(3)],
};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// A config given when the topic was made or altered.
pub(super) const DYNAMIC_TOPIC_CONFIG: i8 = 1;
/// A config of the broker's own start options.
const STATIC_BROKER_CONFIG: i8 = 4;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeConfigsRequest = request.decode()?;
    // Each resource once: a name costs few bytes, its configs many.
    let mut seen = HashSet::new();
    let resources = asked.resources.iter();
    let once = resources.filter(|resource| seen.insert((resource.resource_type, &*resource.resource_name)));
    let results = once.map(|resource| describe(broker, resource)).collect();
    encode(&DescribeConfigsResponse::default().with_results(results), request.version)
}

struct Config {
    name: String,
    value: String,
    source: i8,
}

fn describe(broker: &Broker, asked: &DescribeConfigsResource) -> DescribeConfigsResult {
    let configs = match asked.resource_type {
        TOPIC => topic_configs(broker, &asked.resource_name),
        BROKER => broker_configs(broker, &asked.resource_name),
        other => Err((ErrorCode::InvalidRequest, format!("resource type {other} has no configs here"))),
    };
    let result = DescribeConfigsResult::default()
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    match configs {
        Ok(configs) => {
            let wanted = |config: &Config| match &asked.configuration_keys {
                Some(keys) => keys.iter().any(|key| **key == *config.name),
                None => true,
            };
            result.with_configs(configs.into_iter().filter(wanted).map(described).collect())
        }
        Err((code, message)) => {
            broker.count_error();
            result.with_error_code(code.code()).with_error_message(Some(StrBytes::from_string(message)))
        }
    }
}

fn topic_configs(broker: &Broker, name: &str) -> Result<Vec<Config>, (ErrorCode, String)> {
    let topic = broker
        .topics
        .get(name)
        .ok_or((ErrorCode::UnknownTopicOrPartition, "no topic has this name".to_owned()))?;
    let given = topic.configs.iter().map(|(name, value)| Config {
        name: name.clone(),
        value: value.clone(),
        source: DYNAMIC_TOPIC_CONFIG,
    });
    let mut configs: Vec<Config> = given.collect();
    if !topic.configs.contains_key(MESSAGE_BYTES_MAX_CONFIG) {
        configs.push(Config {
            name: MESSAGE_BYTES_MAX_CONFIG.to_owned(),
            value: broker.options.message_bytes_max.to_string(),
            source: STATIC_BROKER_CONFIG,
        });
    }
    Ok(configs)
}

fn broker_configs(broker: &Broker, name: &str) -> Result<Vec<Config>, (ErrorCode, String)> {
    if !name.is_empty() && name != broker.options.node_id.to_string() {
        let message = format!("broker {name} is not here, expected {}", broker.options.node_id);
        return Err((ErrorCode::InvalidRequest, message));
    }
    let config =
        |name: &str, value: String| Config { name: name.to_owned(), value, source: STATIC_BROKER_CONFIG };
    Ok(vec![
        config("message.max.bytes", broker.options.message_bytes_max.to_string()),
        config("socket.request.max.bytes", broker.options.frame_bytes_max.to_string()),
        config("fetch.max.bytes", broker.options.fetch_bytes_max.to_string()),
        config("num.partitions", broker.topics.options().default_partitions.to_string()),
    ])
}

fn described(config: Config) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(config.name))
        .with_value(Some(StrBytes::from_string(config.value)))
        .with_read_only(config.source == STATIC_BROKER_CONFIG)
        .with_config_source(config.source)
}
