//! IncrementalAlterConfigs (44): changes some configs of a topic and leaves the others (KIP-339).

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use highwater_coordinator::{ConfigKey, ConfigKind, TOPIC_CONFIGS};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use crate::api::alter_configs::{alter, once, times, twice, without_value};
use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 1,
    fields: &[structs(&[fixed(1), text(), structs(&[text(), fixed(1), text()])]), fixed(1)],
};

/// What is done to a config (Kafka's `AlterConfigOp.OpType`).
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: IncrementalAlterConfigsRequest = request.decode()?;
    let times =
        times(asked.resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)));
    let results = asked.resources.iter().map(|resource| {
        let named = (resource.resource_type, &resource.resource_name);
        let altered = once(&times, named)
            .and_then(|()| alter(broker, named, asked.validate_only, |given| apply(resource, given)));
        let result = AlterConfigsResourceResponse::default()
            .with_error_message(None)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match altered {
            Ok(()) => result,
            Err(Refused { code, message }) => {
                broker.count_error();
                result.with_error_code(code.code()).with_error_message(Some(string(&message)))
            }
        }
    });
    encode(&IncrementalAlterConfigsResponse::default().with_responses(results.collect()), request.version)
}

fn apply(asked: &AlterConfigsResource, given: &mut BTreeMap<String, String>) -> Result<(), Refused> {
    let mut seen = HashSet::new();
    for config in &asked.configs {
        if !seen.insert(&config.name) {
            return Err(twice(&config.name));
        }
        change(config, given)?;
    }
    Ok(())
}

fn change(asked: &AlterableConfig, given: &mut BTreeMap<String, String>) -> Result<(), Refused> {
    let name = &*asked.name;
    let value = || asked.value.as_deref().ok_or_else(|| without_value(name));
    match asked.config_operation {
        SET => {
            given.insert(name.to_owned(), value()?.to_owned());
        }
        DELETE => {
            given.remove(name);
        }
        APPEND => {
            let mut words = words_of(name, given)?;
            for word in words_in(value()?) {
                if !words.iter().any(|known| known == word) {
                    words.push(word.to_owned());
                }
            }
            given.insert(name.to_owned(), words.join(","));
        }
        SUBTRACT => {
            let mut words = words_of(name, given)?;
            let value = value()?;
            words.retain(|word| !words_in(value).any(|gone| gone == word));
            given.insert(name.to_owned(), words.join(","));
        }
        other => return Err(Refused::new(ErrorCode::InvalidRequest, format!("operation {other} on {name}"))),
    }
    Ok(())
}

/// The words that a list config has now, given or by default.
fn words_of(name: &str, given: &BTreeMap<String, String>) -> Result<Vec<String>, Refused> {
    let list =
        |key: &&ConfigKey| key.name == name && matches!(key.kind, ConfigKind::Words(_) | ConfigKind::List);
    let key = TOPIC_CONFIGS.iter().find(list).ok_or_else(|| {
        Refused::new(
            ErrorCode::InvalidConfig,
            format!("{name} is not a list that could be added to or taken from"),
        )
    })?;
    let now = given.get(name).map_or(key.default, String::as_str);
    Ok(words_in(now).map(str::to_owned).collect())
}

fn words_in(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}
