//! AlterConfigs (33): replaces all configs of a topic. Old clients; new ones use IncrementalAlterConfigs.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::describe_configs::{BROKER, BROKER_LOGGER, TOPIC, this_broker};
use crate::api::{encode, text as string};
use crate::broker::Broker;
use crate::errors::{ErrorCode, Refused};
use crate::guard::{Shape, fixed, structs, text};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 2,
    fields: &[structs(&[fixed(1), text(), structs(&[text(), text()])]), fixed(1)],
};

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: AlterConfigsRequest = request.decode()?;
    let times =
        times(asked.resources.iter().map(|resource| (resource.resource_type, &resource.resource_name)));
    let results = asked.resources.iter().map(|resource| {
        let named = (resource.resource_type, &resource.resource_name);
        let altered = once(&times, named).and_then(|()| {
            let configs = replacement(resource)?;
            alter(broker, named, asked.validate_only, |given| {
                *given = configs;
                Ok(())
            })
        });
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
    encode(&AlterConfigsResponse::default().with_responses(results.collect()), request.version)
}

fn replacement(asked: &AlterConfigsResource) -> Result<BTreeMap<String, String>, Refused> {
    let mut configs = BTreeMap::new();
    for config in &asked.configs {
        let value = config.value.as_ref().ok_or_else(|| without_value(&config.name))?;
        if configs.insert(config.name.to_string(), value.to_string()).is_some() {
            return Err(twice(&config.name));
        }
    }
    Ok(configs)
}

pub(super) fn without_value(name: &str) -> Refused {
    Refused::new(ErrorCode::InvalidRequest, format!("{name} has no value"))
}

pub(super) fn twice(name: &str) -> Refused {
    Refused::new(ErrorCode::InvalidRequest, format!("{name} is given twice"))
}

/// A resource as a request names it.
pub(super) type Named<'a> = (i8, &'a StrBytes);

/// How often a request names each resource.
pub(super) fn times<'a>(named: impl Iterator<Item = Named<'a>>) -> HashMap<Named<'a>, usize> {
    let mut times = HashMap::new();
    for name in named {
        *times.entry(name).or_default() += 1;
    }
    times
}

pub(super) fn once(times: &HashMap<Named<'_>, usize>, named: Named<'_>) -> Result<(), Refused> {
    match times.get(&named) {
        Some(1) => Ok(()),
        _ => Err(Refused::new(ErrorCode::InvalidRequest, "a resource may be named once in a request")),
    }
}

/// Alters one resource's configs.
pub(super) fn alter(
    broker: &Broker,
    (kind, name): Named<'_>,
    validate_only: bool,
    edit: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), Refused>,
) -> Result<(), Refused> {
    match kind {
        TOPIC => {}
        BROKER | BROKER_LOGGER => {
            if !name.is_empty() {
                this_broker(broker, name)?;
            }
            let message = "configs of the broker are those of its start, see highwater.toml".to_owned();
            return Err(Refused::new(ErrorCode::InvalidRequest, message));
        }
        other => {
            return Err(Refused::new(
                ErrorCode::InvalidRequest,
                format!("resource type {other} has no configs here"),
            ));
        }
    }
    match validate_only {
        true => broker.topics.check_altered(name, edit)?,
        false => broker.topics.alter_configs(name, edit)?,
    };
    Ok(())
}
