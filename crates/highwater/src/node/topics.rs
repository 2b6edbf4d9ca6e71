//! Changes of topics, for people.

use std::collections::BTreeMap;

use highwater_coordinator::{TOPIC_CONFIGS, Topic, TopicError, Topics};
use highwater_env::Offset;
use highwater_log::{AppendError, Log, Ticket};
use highwater_serve::{ConfigStatus, NodeError};

use super::topic_error;

fn find(topics: &Topics, name: &str) -> Result<Topic, NodeError> {
    topics.get(name).ok_or_else(|| NodeError::NotFound { what: "topic", name: name.to_owned() })
}

fn not_internal(topic: &Topic) -> Result<(), NodeError> {
    if !topic.internal {
        return Ok(());
    }
    let message = format!("topic {} is the node's own", topic.name);
    Err(NodeError::Invalid { message, hint: "only topics of yours can be changed so".into() })
}

pub(super) fn configs(topics: &Topics, name: &str) -> Result<Vec<ConfigStatus>, NodeError> {
    let topic = find(topics, name)?;
    let configs = TOPIC_CONFIGS.iter().map(|key| {
        let given = topic.configs.get(key.name);
        ConfigStatus {
            name: key.name.to_owned(),
            value: given.map_or(key.default, String::as_str).to_owned(),
            given: given.is_some(),
            documentation: key.documentation.to_owned(),
        }
    });
    Ok(configs.collect())
}

pub(super) fn alter(
    topics: &Topics,
    name: &str,
    changes: BTreeMap<String, Option<String>>,
) -> Result<(), NodeError> {
    let edit = |configs: &mut BTreeMap<String, String>| {
        for (name, value) in changes {
            match value {
                Some(value) => configs.insert(name, value),
                None => configs.remove(&name),
            };
        }
        Ok::<_, TopicError>(())
    };
    topics.alter_configs(name, edit).map(|_| ()).map_err(topic_error)
}

pub(super) fn add_partitions(topics: &Topics, name: &str, partitions: i32) -> Result<(), NodeError> {
    not_internal(&find(topics, name)?)?;
    topics.add_partitions(name, partitions).map(|_| ()).map_err(topic_error)
}

pub(super) fn delete_records(
    log: &Log,
    topics: &Topics,
    name: &str,
    partition: Option<i32>,
    before: Option<Offset>,
) -> Result<(), NodeError> {
    let topic = find(topics, name)?;
    not_internal(&topic)?;
    if !topic.config.partition.delete {
        let message = format!("topic {name} is compacted and keeps the last record of every key");
        return Err(NodeError::Invalid { message, hint: "add delete to its cleanup.policy".into() });
    }
    let wanted = partition.map_or(0..topic.partitions, |one| one..one + 1);
    if wanted.start < 0 || wanted.end > topic.partitions {
        return Err(NodeError::NotFound { what: "partition", name: format!("{name}-{}", wanted.start) });
    }
    // All are submitted before the first is waited for: one sync covers them.
    let mut tickets: Vec<Ticket> = Vec::new();
    for partition in wanted {
        let tp = topic.partition(partition);
        let high_watermark =
            log.bounds(tp).map_err(|error| NodeError::Failed(error.to_string()))?.high_watermark;
        tickets.push(log.trim(tp, before.unwrap_or(high_watermark)).map_err(trim_error)?);
    }
    tickets.into_iter().try_for_each(|ticket| ticket.wait().map_err(trim_error))
}

fn trim_error(error: AppendError) -> NodeError {
    let message = error.to_string();
    match error {
        AppendError::OffsetOutOfRange { .. } => {
            NodeError::Invalid { message, hint: "see highwater topic describe".into() }
        }
        _ => NodeError::Failed(message),
    }
}
