//! ListConfigResources (74): what has configs.

use bytes::Bytes;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{ListConfigResourcesRequest, ListConfigResourcesResponse};

use crate::api::describe_configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::ErrorCode;
use crate::guard::{Shape, numbers};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape { flexible_since: 0, fields: &[numbers(1).since(1)] };

const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: ListConfigResourcesRequest = request.decode()?;
    let answer = ListConfigResourcesResponse::default();
    // Version 0 lists client metrics only, of which there are none.
    if request.version == 0 {
        return encode(&answer, request.version);
    }
    if asked.resource_types.iter().any(|kind| !ALL.contains(kind)) {
        broker.count_error();
        return encode(&answer.with_error_code(ErrorCode::UnsupportedVersion.code()), request.version);
    }
    // Each type once: it costs a byte, its resources many.
    let wanted =
        ALL.into_iter().filter(|kind| asked.resource_types.is_empty() || asked.resource_types.contains(kind));
    let resources = wanted.flat_map(|kind| {
        let names: Vec<String> = match kind {
            TOPIC => broker.topics.list().iter().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => vec![broker.options.node_id.to_string()],
            _ => Vec::new(),
        };
        names.into_iter().map(move |name| {
            ConfigResource::default().with_resource_name(text(&name)).with_resource_type(kind)
        })
    });
    encode(&answer.with_config_resources(resources.collect()), request.version)
}
