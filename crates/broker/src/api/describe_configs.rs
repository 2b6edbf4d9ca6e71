//! DescribeConfigs (32): every config of a topic and of this broker, with where its value is from.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use highwater_coordinator::{ConfigKind, TOPIC_CONFIGS};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, structs, text, texts};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[structs(&[fixed(1), text(), texts()]), fixed(1), fixed(1).since(3)],
};

/// Kinds of resources (Kafka's `ConfigResource.Type`).
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// Where a value is from (Kafka's `ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub(super) enum Source {
    /// Given when the topic was made or altered.
    DynamicTopic = 1,
    /// From the broker's own start options.
    StaticBroker = 4,
    /// Kafka's default.
    Default = 5,
}

/// One config with its value.
pub(super) struct Config {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: Source,
    kind: ConfigKind,
    documentation: &'static str,
    /// Whether clients cannot change it.
    read_only: bool,
    /// All that could give it its value, the one that does first.
    synonyms: Vec<(&'static str, String, Source)>,
}

impl Config {
    fn of_broker(name: &'static str, kind: ConfigKind, value: String) -> Self {
        let synonyms = vec![(name, value.clone(), Source::StaticBroker)];
        Self { name, value, source: Source::StaticBroker, kind, documentation: "", read_only: true, synonyms }
    }
}

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeConfigsRequest = request.decode()?;
    // Each resource once: a name costs few bytes, its configs many.
    let mut seen = HashSet::new();
    let resources = asked.resources.iter();
    let once = resources.filter(|resource| seen.insert((resource.resource_type, &*resource.resource_name)));
    let results = once.map(|resource| describe(broker, request, &asked, resource)).collect();
    encode(&DescribeConfigsResponse::default().with_results(results), request.version)
}

fn describe(
    broker: &Broker,
    request: &Request,
    all: &DescribeConfigsRequest,
    asked: &DescribeConfigsResource,
) -> DescribeConfigsResult {
    let name = &*asked.resource_name;
    let configs = match asked.resource_type {
        TOPIC => match broker.topics.get(name) {
            Some(topic) => Ok(topic_configs(&topic.configs)),
            None => Err(Refused::new(ErrorCode::UnknownTopicOrPartition, "no topic has this name")),
        },
        // What is set for all brokers at once: nothing can be.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => this_broker(broker, name).map(|()| broker_configs(broker, request)),
        BROKER_LOGGER => this_broker(broker, name).map(|()| Vec::new()),
        CLIENT_METRICS | GROUP => Ok(Vec::new()),
        other => {
            Err(Refused::new(ErrorCode::InvalidRequest, format!("resource type {other} has no configs")))
        }
    };
    let result = DescribeConfigsResult::default()
        .with_error_message(None)
        .with_resource_type(asked.resource_type)
        .with_resource_name(asked.resource_name.clone());
    match configs {
        Ok(configs) => {
            let wanted = |config: &Config| match &asked.configuration_keys {
                Some(keys) => keys.iter().any(|key| **key == *config.name),
                None => true,
            };
            let described = |config| described(config, request.version, all);
            result.with_configs(configs.into_iter().filter(wanted).map(described).collect())
        }
        Err(Refused { code, message }) => {
            broker.count_error();
            result.with_error_code(code.code()).with_error_message(Some(string(&message)))
        }
    }
}

/// Whether `name` is this broker's.
pub(super) fn this_broker(broker: &Broker, name: &str) -> Result<(), Refused> {
    let node = broker.options.node_id;
    if name == node.to_string() {
        return Ok(());
    }
    Err(Refused::new(ErrorCode::InvalidRequest, format!("broker {name:?} is not here, expected {node}")))
}

/// Every config of a topic for which `given` were given.
pub(super) fn topic_configs(given: &BTreeMap<String, String>) -> Vec<Config> {
    let configs = TOPIC_CONFIGS.iter().map(|key| {
        let mut synonyms =
            vec![(key.broker_name.unwrap_or(key.name), key.default.to_owned(), Source::Default)];
        if let Some(value) = given.get(key.name) {
            synonyms.insert(0, (key.name, value.clone(), Source::DynamicTopic));
        }
        let (_, value, source) = synonyms[0].clone();
        Config {
            name: key.name,
            value,
            source,
            kind: key.kind,
            documentation: key.documentation,
            read_only: false,
            synonyms,
        }
    });
    configs.collect()
}

/// This broker's own configs, by Kafka's names, and what its topics inherit.
fn broker_configs(broker: &Broker, request: &Request) -> Vec<Config> {
    let (options, topics) = (&broker.options, broker.topics.options());
    let int = ConfigKind::Int { min: 0, max: i32::MAX };
    let config = Config::of_broker;
    let address = format!("{}://{}:{}", request.listener.name, request.listener.host, request.listener.port);
    let mut configs = vec![
        config("advertised.listeners", ConfigKind::List, address),
        config("auto.create.topics.enable", ConfigKind::Boolean, topics.auto_create.to_string()),
        config("broker.id", int, options.node_id.to_string()),
        config("default.replication.factor", int, "1".to_owned()),
        config("delete.topic.enable", ConfigKind::Boolean, "true".to_owned()),
        config("fetch.max.bytes", int, options.fetch_bytes_max.to_string()),
        config("log.cleaner.enable", ConfigKind::Boolean, "true".to_owned()),
        config("log.dirs", ConfigKind::List, broker.log.directory().to_string_lossy().into_owned()),
        config("max.connections", int, options.connections_max.to_string()),
        config("node.id", int, options.node_id.to_string()),
        config("num.partitions", int, topics.default_partitions.to_string()),
        config("socket.request.max.bytes", int, options.frame_bytes_max.to_string()),
    ];
    for key in &TOPIC_CONFIGS {
        let Some(name) = key.broker_name.filter(|name| configs.iter().all(|config| config.name != *name))
        else {
            continue;
        };
        configs.push(Config {
            name,
            value: key.default.to_owned(),
            source: Source::Default,
            kind: key.kind,
            documentation: key.documentation,
            read_only: true,
            synonyms: vec![(name, key.default.to_owned(), Source::Default)],
        });
    }
    configs.sort_by_key(|config| config.name);
    configs
}

/// Kafka's `ConfigType` of a config.
fn type_code(kind: ConfigKind) -> i8 {
    match kind {
        ConfigKind::Boolean | ConfigKind::False => 1,
        ConfigKind::Word(_) => 2,
        ConfigKind::Int { .. } => 3,
        ConfigKind::Long { .. } => 5,
        ConfigKind::Ratio => 6,
        ConfigKind::Words(_) | ConfigKind::List => 7,
    }
}

/// The first version that tells types and documentation.
const TYPES_SINCE: i16 = 3;

fn described(config: Config, version: i16, asked: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms = config.synonyms.iter().filter(|_| asked.include_synonyms).map(|(name, value, source)| {
        DescribeConfigsSynonym::default()
            .with_name(string(name))
            .with_value(Some(string(value)))
            .with_source(*source as i8)
    });
    let result = DescribeConfigsResourceResult::default()
        .with_name(string(config.name))
        .with_value(Some(string(&config.value)))
        .with_read_only(config.read_only)
        .with_config_source(config.source as i8)
        .with_synonyms(synonyms.collect());
    if version < TYPES_SINCE {
        return result;
    }
    let documented = asked.include_documentation.then(|| string(config.documentation));
    result.with_config_type(type_code(config.kind)).with_documentation(documented)
}
