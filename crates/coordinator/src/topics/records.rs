//! The catalog's records. Each holds one JSON object in its value:
//! ```text
//! {"v":1,"change":"created","name":"orders","id":"<32 hex digits>","partitions":4,"configs":{}}
//! {"v":1,"change":"deleted","name":"orders","id":"<32 hex digits>"}
//! {"v":2,"change":"grown","name":"orders","id":"<32 hex digits>","partitions":8}
//! {"v":2,"change":"configured","name":"orders","id":"<32 hex digits>","configs":{}}
//! ```
//! `configs` of the last are all that hold from then on. A program that knows only version 1 says so
//! when it meets version 2.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_env::TopicId;
use highwater_log::{Log, ReadError};
use serde::{Deserialize, Serialize};

use super::{ByName, CATALOG_PARTITION, Topic, TopicError, is_internal};
use crate::topic_config::TopicConfig;

/// The newest version of the catalog's records.
const RECORD_VERSION_MAX: u32 = 2;
/// Bytes read from the catalog at a time.
const READ_BYTES: usize = 1 << 20;
/// A catalog record inflates to no more than this.
const INFLATED_BYTES_MAX: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
pub(super) struct CatalogRecord<C = Change> {
    v: u32,
    #[serde(flatten)]
    change: C,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub(super) enum Change {
    Created { name: String, id: String, partitions: i32, configs: BTreeMap<String, String> },
    Deleted { name: String, id: String },
    Grown { name: String, id: String, partitions: i32 },
    Configured { name: String, id: String, configs: BTreeMap<String, String> },
}

impl Change {
    pub(super) fn created(topic: &Topic) -> Self {
        let (name, id) = names(topic);
        Self::Created { name, id, partitions: topic.partitions, configs: BTreeMap::clone(&topic.configs) }
    }

    pub(super) fn deleted(topic: &Topic) -> Self {
        let (name, id) = names(topic);
        Self::Deleted { name, id }
    }

    pub(super) fn grown(topic: &Topic) -> Self {
        let (name, id) = names(topic);
        Self::Grown { name, id, partitions: topic.partitions }
    }

    pub(super) fn configured(topic: &Topic) -> Self {
        let (name, id) = names(topic);
        Self::Configured { name, id, configs: BTreeMap::clone(&topic.configs) }
    }

    fn version(&self) -> u32 {
        match self {
            Self::Created { .. } | Self::Deleted { .. } => 1,
            Self::Grown { .. } | Self::Configured { .. } => 2,
        }
    }
}

fn names(topic: &Topic) -> (String, String) {
    (topic.name.to_string(), topic.id.to_string())
}

impl CatalogRecord {
    pub(super) fn encode(change: &Change) -> Vec<u8> {
        let record = CatalogRecord { v: change.version(), change };
        serde_json::to_vec(&record).expect("strings and numbers always encode as JSON")
    }
}

/// The topics that the catalog's records leave.
///
/// # Errors
/// If the log fails or a record makes no sense.
pub(super) fn replay(log: &Log) -> Result<ByName, TopicError> {
    let mut topics = ByName::new();
    let mut next = log.bounds(CATALOG_PARTITION)?.log_start_offset;
    loop {
        let range = log.read(CATALOG_PARTITION, next, READ_BYTES)?;
        if range.batches.is_empty() {
            return Ok(topics);
        }
        for batch in &range.batches {
            let records = batch.records(INFLATED_BYTES_MAX);
            let records =
                records.map_err(|source| ReadError::Batch { offset: batch.base_offset(), source })?;
            for record in records {
                apply(&mut topics, record.value.as_deref().unwrap_or_default())
                    .map_err(|what| TopicError::BadRecord { offset: record.offset, what })?;
            }
        }
        next = range.next_offset(next);
    }
}

/// The version alone, so that a newer record is named as such and not as one of an unknown kind.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn apply(topics: &mut ByName, value: &[u8]) -> Result<(), String> {
    let Version { v } = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    if !(1..=RECORD_VERSION_MAX).contains(&v) {
        return Err(format!("version {v}, expected 1..={RECORD_VERSION_MAX}"));
    }
    let record: CatalogRecord = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    match record.change {
        Change::Created { name, id, partitions, configs } => {
            let topic = Topic {
                name: name.as_str().into(),
                id: parse_id(&id)?,
                partitions: checked(&name, partitions)?,
                config: Arc::new(TopicConfig::parse_stored(&name, &configs)),
                configs: Arc::new(configs),
                internal: is_internal(&name),
            };
            topics.insert(Arc::clone(&topic.name), topic);
        }
        Change::Deleted { name, id } => {
            known(topics, &name, &id, "deleted")?;
            topics.remove(name.as_str());
        }
        Change::Grown { name, id, partitions } => {
            known(topics, &name, &id, "grown")?.partitions = checked(&name, partitions)?;
        }
        Change::Configured { name, id, configs } => {
            let topic = known(topics, &name, &id, "configured")?;
            topic.config = Arc::new(TopicConfig::parse_stored(&name, &configs));
            topic.configs = Arc::new(configs);
        }
    }
    Ok(())
}

fn known<'a>(topics: &'a mut ByName, name: &str, id: &str, change: &str) -> Result<&'a mut Topic, String> {
    let parsed = parse_id(id)?;
    let topic = topics.get_mut(name).filter(|topic| topic.id == parsed);
    topic.ok_or_else(|| format!("topic {name} with id {id} {change} but unknown"))
}

fn checked(name: &str, partitions: i32) -> Result<i32, String> {
    if partitions >= 1 { Ok(partitions) } else { Err(format!("topic {name} has {partitions} partitions")) }
}

fn parse_id(id: &str) -> Result<TopicId, String> {
    u128::from_str_radix(id, 16).map(TopicId).map_err(|e| format!("topic id {id:?}: {e}"))
}
