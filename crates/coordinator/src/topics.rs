//! The topic catalog.
//!
//! Each record of the catalog's partition holds one JSON object in its value:
//! ```text
//! {"v":1,"change":"created","name":"orders","id":"<32 hex digits>","partitions":4,"configs":{}}
//! {"v":1,"change":"deleted","name":"orders","id":"<32 hex digits>"}
//! ```

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use highwater_env::{Entropy, TopicId, TopicPartition};
use highwater_log::{AppendError, BatchBuilder, Log, LogError, ReadError};
use serde::{Deserialize, Serialize};

/// The partition that holds the catalog.
pub const CATALOG_PARTITION: TopicPartition =
    TopicPartition { topic: TopicId(0x4849_4748_5741_5445_5243_4154_4c4f_4700), partition: 0 };

/// Version of the catalog's records.
const RECORD_VERSION: u32 = 1;
/// Bytes read from the catalog at a time.
const READ_BYTES: usize = 1 << 20;
/// A catalog record inflates to no more than this.
const INFLATED_BYTES_MAX: usize = 16 << 20;
/// Longest topic name, as in Kafka.
const NAME_LEN_MAX: usize = 249;

/// One topic. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its identity; a topic made again gets a new one.
    pub id: TopicId,
    /// How many partitions, at least 1.
    pub partitions: i32,
    /// Kafka's topic settings as given.
    pub configs: Arc<BTreeMap<String, String>>,
    /// Whether it is Highwater's own (its name starts with `__`).
    pub internal: bool,
}

impl Topic {
    /// One of its partitions.
    pub fn partition(&self, partition: i32) -> TopicPartition {
        TopicPartition { topic: self.id, partition }
    }
}

/// Limits and defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// Whether the first write to an unknown topic makes it.
    pub auto_create: bool,
    /// Partitions of a topic for which none were asked for.
    pub default_partitions: i32,
    /// Most partitions one topic may have.
    pub partitions_max: i32,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self { auto_create: true, default_partitions: 1, partitions_max: 1024 }
    }
}

/// A change of the catalog was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// A topic of that name exists.
    #[error("topic {0} already exists")]
    AlreadyExists(String),
    /// No topic of that name.
    #[error("unknown topic {0}")]
    Unknown(String),
    /// Kafka's rules for names.
    #[error("invalid topic name {name:?}: {reason}")]
    InvalidName {
        /// The name, shortened to 249 characters.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// Too few or too many partitions.
    #[error("{partitions} partitions, expected 1..={partitions_max}")]
    InvalidPartitions {
        /// The number asked for.
        partitions: i32,
        /// The most allowed.
        partitions_max: i32,
    },
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The catalog could not be read.
    #[error("topic catalog cannot be read: {0}")]
    Read(#[from] ReadError),
    /// A record of the catalog makes no sense.
    #[error("topic catalog record at offset {offset}: {what}")]
    BadRecord {
        /// Its offset in the catalog's partition.
        offset: i64,
        /// What is wrong.
        what: String,
    },
}

impl From<AppendError> for TopicError {
    fn from(error: AppendError) -> Self {
        Self::Log(error.into())
    }
}

#[derive(Serialize, Deserialize)]
struct CatalogRecord {
    v: u32,
    #[serde(flatten)]
    change: Change,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "lowercase")]
enum Change {
    Created { name: String, id: String, partitions: i32, configs: BTreeMap<String, String> },
    Deleted { name: String, id: String },
}

/// The catalog; a cheap handle, shared by clones.
#[derive(Clone)]
pub struct Topics(Arc<Catalog>);

struct Catalog {
    log: Log,
    entropy: Arc<dyn Entropy>,
    options: TopicOptions,
    /// Held during a change: the order of records is the order of changes.
    changing: Mutex<()>,
    topics: RwLock<ByName>,
}

type ByName = BTreeMap<Arc<str>, Topic>;

impl Topics {
    /// Reads the catalog from its partition, which is made if missing, and removes partitions of
    /// topics whose creation or deletion a crash cut short.
    ///
    /// # Errors
    /// If the log fails or a record is damaged.
    pub fn open(log: Log, entropy: Arc<dyn Entropy>, options: TopicOptions) -> Result<Self, TopicError> {
        log.create_partition(CATALOG_PARTITION)?;
        let topics = replay(&log)?;
        for tp in log.partitions() {
            let known = |topic: &Topic| topic.id == tp.topic && (0..topic.partitions).contains(&tp.partition);
            if tp != CATALOG_PARTITION && !topics.values().any(known) {
                tracing::info!(partition = %tp, "removing a partition that no topic owns");
                log.delete_partition(tp)?;
            }
        }
        for topic in topics.values() {
            for partition in 0..topic.partitions {
                log.create_partition(topic.partition(partition))?;
            }
        }
        let topics = RwLock::new(topics);
        Ok(Self(Arc::new(Catalog { log, entropy, options, changing: Mutex::new(()), topics })))
    }

    /// Makes a topic; `partitions` -1 means the default. Durable when it returns.
    ///
    /// # Errors
    /// If the name is taken or invalid, or the number of partitions is.
    pub fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        self.check(name, partitions)?;
        let _changing = self.change();
        if self.get(name).is_some() {
            return Err(TopicError::AlreadyExists(name.to_owned()));
        }
        self.create_unlocked(name, partitions, configs)
    }

    /// What [`Topics::create`] would refuse, without creating.
    ///
    /// # Errors
    /// As `create`.
    pub fn check(&self, name: &str, partitions: i32) -> Result<(), TopicError> {
        check_name(name)?;
        let partitions_max = self.0.options.partitions_max;
        if partitions != -1 && !(1..=partitions_max).contains(&partitions) {
            return Err(TopicError::InvalidPartitions { partitions, partitions_max });
        }
        if self.get(name).is_some() {
            return Err(TopicError::AlreadyExists(name.to_owned()));
        }
        Ok(())
    }

    /// The topic of that name; made with the defaults if there is none and that is switched on.
    ///
    /// # Errors
    /// If it is unknown and may not be made.
    pub fn ensure(&self, name: &str) -> Result<Topic, TopicError> {
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }
        check_name(name)?;
        if !self.0.options.auto_create {
            return Err(TopicError::Unknown(name.to_owned()));
        }
        let _changing = self.change();
        match self.get(name) {
            Some(topic) => Ok(topic),
            None => self.create_unlocked(name, -1, BTreeMap::new()),
        }
    }

    fn create_unlocked(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        let partitions = if partitions == -1 { self.0.options.default_partitions } else { partitions };
        let id = TopicId(self.0.entropy.next_u128());
        let topic = new_topic(name, id, partitions, configs);
        for partition in 0..partitions {
            self.0.log.create_partition(topic.partition(partition))?;
        }
        self.record(Change::Created {
            name: name.to_owned(),
            id: id.to_string(),
            partitions,
            configs: BTreeMap::clone(&topic.configs),
        })?;
        self.topics_mut().insert(Arc::clone(&topic.name), topic.clone());
        Ok(topic)
    }

    /// The topic of that name.
    pub fn get(&self, name: &str) -> Option<Topic> {
        self.topics().get(name).cloned()
    }

    /// The topic with that id.
    pub fn by_id(&self, id: TopicId) -> Option<Topic> {
        self.topics().values().find(|topic| topic.id == id).cloned()
    }

    /// All topics, by name.
    pub fn list(&self) -> Vec<Topic> {
        self.topics().values().cloned().collect()
    }

    /// Removes a topic and its records. Durable when it returns.
    ///
    /// # Errors
    /// If there is no such topic or the log fails.
    pub fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _changing = self.change();
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        self.record(Change::Deleted { name: name.to_owned(), id: topic.id.to_string() })?;
        self.topics_mut().remove(name);
        for partition in 0..topic.partitions {
            self.0.log.delete_partition(topic.partition(partition))?;
        }
        Ok(())
    }

    /// The limits and defaults it was opened with.
    pub fn options(&self) -> &TopicOptions {
        &self.0.options
    }

    fn record(&self, change: Change) -> Result<(), TopicError> {
        let value = serde_json::to_vec(&CatalogRecord { v: RECORD_VERSION, change })
            .expect("strings and numbers always encode as JSON");
        let mut batch = BatchBuilder::new(0);
        batch.push(0, None, Some(&value), &[]);
        self.0.log.append(CATALOG_PARTITION, batch.finish())?.wait()?;
        Ok(())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> std::sync::RwLockReadGuard<'_, ByName> {
        self.0.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_mut(&self) -> std::sync::RwLockWriteGuard<'_, ByName> {
        self.0.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_topic(name: &str, id: TopicId, partitions: i32, configs: BTreeMap<String, String>) -> Topic {
    let internal = name.starts_with("__");
    Topic { name: name.into(), id, partitions, configs: Arc::new(configs), internal }
}

/// Kafka's rules: 1..=249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`.
fn check_name(name: &str) -> Result<(), TopicError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "it is empty",
        "." | ".." => "it is . or ..",
        _ if name.len() > NAME_LEN_MAX => "it is longer than 249 characters",
        _ if !name.chars().all(allowed) => "only a-z, A-Z, 0-9, '.', '_' and '-' are allowed",
        _ => return Ok(()),
    };
    Err(TopicError::InvalidName { name: name.chars().take(NAME_LEN_MAX).collect(), reason })
}

fn replay(log: &Log) -> Result<ByName, TopicError> {
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

fn apply(topics: &mut ByName, value: &[u8]) -> Result<(), String> {
    let record: CatalogRecord = serde_json::from_slice(value).map_err(|e| e.to_string())?;
    if record.v != RECORD_VERSION {
        return Err(format!("version {}, expected {RECORD_VERSION}", record.v));
    }
    match record.change {
        Change::Created { name, id, partitions, configs } => {
            let topic = new_topic(&name, parse_id(&id)?, partitions, configs);
            topics.insert(Arc::clone(&topic.name), topic);
        }
        Change::Deleted { name, id } => {
            let id = parse_id(&id)?;
            if topics.remove(name.as_str()).is_none_or(|topic| topic.id != id) {
                return Err(format!("topic {name} with id {id} deleted but unknown"));
            }
        }
    }
    Ok(())
}

fn parse_id(id: &str) -> Result<TopicId, String> {
    u128::from_str_radix(id, 16).map(TopicId).map_err(|e| format!("topic id {id:?}: {e}"))
}
