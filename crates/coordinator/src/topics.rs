//! The topic catalog.

mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use highwater_env::{Entropy, TopicId, TopicPartition};
use highwater_log::{AppendError, BatchBuilder, Log, LogError, ReadError};

use crate::topic_config::{ConfigError, TopicConfig};
use records::{CatalogRecord, Change};

/// The partition that holds the catalog.
pub const CATALOG_PARTITION: TopicPartition =
    TopicPartition { topic: TopicId(0x4849_4748_5741_5445_5243_4154_4c4f_4700), partition: 0 };

/// Topics by these names are the node's own, as in Kafka.
const INTERNAL_NAMES: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];
/// Topics whose names begin so are the node's own, too.
const INTERNAL_PREFIX: &str = "__stage.";
/// Of the topics of coordinators' records, as in Kafka: segments that roll early can be compacted early,
/// and what is not compacted is read whenever the node starts.
const COORDINATOR_CONFIGS: [(&str, &str); 2] =
    [("cleanup.policy", "compact"), ("segment.bytes", "104857600")];
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
    /// Kafka's topic configs as given.
    pub configs: Arc<BTreeMap<String, String>>,
    /// What they mean.
    pub config: Arc<TopicConfig>,
    /// Whether it is the node's own: clients may read it, not make, write or delete it.
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
        Self { auto_create: true, default_partitions: 1, partitions_max: 4096 }
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
        reason: String,
    },
    /// Too few or too many partitions.
    #[error("{partitions} partitions, expected 1..={partitions_max}")]
    InvalidPartitions {
        /// The number asked for.
        partitions: i32,
        /// The most allowed.
        partitions_max: i32,
    },
    /// Partitions can only be added.
    #[error("topic {name} has {partitions} partitions, expected more than that, not {asked}")]
    NotMorePartitions {
        /// The topic.
        name: String,
        /// How many it has.
        partitions: i32,
        /// How many were asked for.
        asked: i32,
    },
    /// A config is unknown or wrong.
    #[error(transparent)]
    InvalidConfig(#[from] ConfigError),
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

/// The catalog; a cheap handle, shared by clones.
#[derive(Clone)]
pub struct Topics(Arc<Catalog>);

struct Catalog {
    log: Log,
    entropy: Arc<dyn Entropy>,
    options: TopicOptions,
    /// Held during a change: the order of records is the order of changes.
    changing: Mutex<()>,
    topics: RwLock<Known>,
}

type ByName = BTreeMap<Arc<str>, Topic>;

/// The topics there are. Produce and Fetch name them by id, so that is a look-up, too.
struct Known {
    by_name: ByName,
    by_id: HashMap<TopicId, Arc<str>>,
    /// Whether [`Topic::admit`] decodes records of one of them.
    any_decodes: bool,
}

impl Known {
    fn of(by_name: ByName) -> Self {
        let by_id = by_name.values().map(|topic| (topic.id, Arc::clone(&topic.name))).collect();
        let any_decodes = any_decodes(&by_name);
        Self { by_name, by_id, any_decodes }
    }

    fn put(&mut self, topic: Topic) {
        self.by_id.insert(topic.id, Arc::clone(&topic.name));
        self.by_name.insert(Arc::clone(&topic.name), topic);
        self.any_decodes = any_decodes(&self.by_name);
    }

    fn remove(&mut self, topic: &Topic) {
        self.by_id.remove(&topic.id);
        self.by_name.remove(&topic.name);
        self.any_decodes = any_decodes(&self.by_name);
    }
}

fn any_decodes(topics: &ByName) -> bool {
    topics.values().any(|topic| !topic.internal && topic.config.decodes())
}

impl Topics {
    /// Reads the catalog from its partition, which is made if missing, and removes partitions of
    /// topics whose creation or deletion a crash cut short.
    ///
    /// # Errors
    /// If the log fails or a record is damaged.
    pub fn open(log: Log, entropy: Arc<dyn Entropy>, options: TopicOptions) -> Result<Self, TopicError> {
        log.create_partition(CATALOG_PARTITION)?;
        let topics = records::replay(&log)?;
        remove_orphans(&log, &topics)?;
        let owned = |topic: &Topic| (0..topic.partitions).map(|p| topic.partition(p)).collect::<Vec<_>>();
        log.create_partitions(&topics.values().flat_map(owned).collect::<Vec<_>>())?;
        for topic in topics.values() {
            configure(&log, topic, 0..topic.partitions)?;
        }
        let topics = RwLock::new(Known::of(topics));
        Ok(Self(Arc::new(Catalog { log, entropy, options, changing: Mutex::new(()), topics })))
    }

    /// Makes a topic; `partitions` -1 means the default. Durable when it returns.
    ///
    /// # Errors
    /// If the name is taken, internal or invalid, or the number of partitions or a config is.
    pub fn create(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        let _changing = self.change();
        self.check(name, partitions, &configs)?;
        self.create_unlocked(name, partitions, configs)
    }

    /// What [`Topics::create`] would refuse, without creating.
    ///
    /// # Errors
    /// As `create`.
    pub fn check(
        &self,
        name: &str,
        partitions: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<(), TopicError> {
        check_topic_name(name)?;
        if is_internal(name) {
            let reason = "it is an internal topic's".to_owned();
            return Err(TopicError::InvalidName { name: name.to_owned(), reason });
        }
        if self.get(name).is_some() {
            return Err(TopicError::AlreadyExists(name.to_owned()));
        }
        self.check_collision(name)?;
        if partitions != -1 {
            self.check_partitions(partitions)?;
        }
        TopicConfig::parse(configs)?;
        Ok(())
    }

    /// Kafka's rule: names that differ only in `.` and `_` would be one name in its metrics. Topics of an
    /// older data directory may break it; the node's own must not be kept from being made.
    fn check_collision(&self, name: &str) -> Result<(), TopicError> {
        if is_internal(name) || !name.contains(['.', '_']) {
            return Ok(());
        }
        let topics = self.topics();
        let mut others = topics.by_name.keys().map(|other| &**other).chain(INTERNAL_NAMES);
        match others.find(|other| collide(name, other)) {
            None => Ok(()),
            Some(other) => {
                let reason =
                    format!("it collides with existing topic {other}: '.' and '_' count as the same");
                Err(TopicError::InvalidName { name: name.to_owned(), reason })
            }
        }
    }

    fn check_partitions(&self, partitions: i32) -> Result<(), TopicError> {
        let partitions_max = self.0.options.partitions_max;
        match (1..=partitions_max).contains(&partitions) {
            true => Ok(()),
            false => Err(TopicError::InvalidPartitions { partitions, partitions_max }),
        }
    }

    /// The topic of that name; made with the defaults if there is none and that is switched on. An
    /// internal one is never made so: it needs configs of its own.
    ///
    /// # Errors
    /// If it is unknown and may not be made.
    pub fn ensure(&self, name: &str) -> Result<Topic, TopicError> {
        if let Some(topic) = self.get(name) {
            return Ok(topic);
        }
        check_topic_name(name)?;
        if !self.0.options.auto_create || is_internal(name) {
            return Err(TopicError::Unknown(name.to_owned()));
        }
        self.get_or_create(name, -1, BTreeMap::new())
    }

    /// The node's own topic of that name; made so if there is none.
    ///
    /// # Errors
    /// As [`Topics::create`], but the name may be taken: then the topic is as it is.
    pub fn ensure_internal(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        match self.get(name) {
            Some(topic) => Ok(topic),
            None => self.get_or_create(name, partitions, configs),
        }
    }

    /// The partition of a coordinator's records, whose topic is made if there is none.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn coordinator_partition(&self, name: &str) -> Result<TopicPartition, TopicError> {
        let topic = match self.get(name) {
            Some(topic) => topic,
            None => {
                let configs = COORDINATOR_CONFIGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
                self.ensure_internal(name, 1, configs.into())?
            }
        };
        Ok(topic.partition(0))
    }

    fn get_or_create(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        check_topic_name(name)?;
        let _changing = self.change();
        match self.get(name) {
            Some(topic) => Ok(topic),
            None => self.create_unlocked(name, partitions, configs),
        }
    }

    fn create_unlocked(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<Topic, TopicError> {
        self.check_collision(name)?;
        let partitions = if partitions == -1 { self.0.options.default_partitions } else { partitions };
        let config = TopicConfig::parse(&configs)?;
        let topic = Topic {
            name: name.into(),
            id: TopicId(self.0.entropy.next_u128()),
            partitions,
            configs: Arc::new(configs),
            config: Arc::new(config),
            internal: is_internal(name),
        };
        self.make_partitions(&topic, 0..partitions)?;
        self.record(&Change::created(&topic))?;
        self.topics_mut().put(topic.clone());
        Ok(topic)
    }

    fn make_partitions(&self, topic: &Topic, partitions: Range<i32>) -> Result<(), TopicError> {
        let made: Vec<_> = partitions.clone().map(|partition| topic.partition(partition)).collect();
        self.0.log.create_partitions(&made)?;
        configure(&self.0.log, topic, partitions)
    }

    /// Lets a topic have `partitions` in all. Durable when it returns. Keys written from now on
    /// may find another partition than before.
    ///
    /// # Errors
    /// If there is no such topic, it has as many or more, or that many are not allowed.
    pub fn add_partitions(&self, name: &str, partitions: i32) -> Result<Topic, TopicError> {
        let _changing = self.change();
        let topic = self.check_added(name, partitions)?;
        let grown = Topic { partitions, ..topic };
        self.make_partitions(&grown, topic.partitions..partitions)?;
        self.record(&Change::grown(&grown))?;
        self.topics_mut().put(grown.clone());
        Ok(grown)
    }

    /// What [`Topics::add_partitions`] would refuse, without adding. The topic as it is.
    ///
    /// # Errors
    /// As `add_partitions`.
    pub fn check_added(&self, name: &str, asked: i32) -> Result<Topic, TopicError> {
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        let partitions = topic.partitions;
        if asked <= partitions {
            return Err(TopicError::NotMorePartitions { name: name.to_owned(), partitions, asked });
        }
        self.check_partitions(asked)?;
        Ok(topic)
    }

    /// Changes a topic's configs: `edit` gets those that were given and leaves those that are to
    /// hold. Durable when it returns, and in effect.
    ///
    /// # Errors
    /// If there is no such topic, `edit` refuses, or a config is unknown or wrong.
    pub fn alter_configs<E: From<TopicError>>(
        &self,
        name: &str,
        edit: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Result<Topic, E> {
        let _changing = self.change();
        let topic = self.check_altered(name, edit)?;
        self.record(&Change::configured(&topic))?;
        self.topics_mut().put(topic.clone());
        configure(&self.0.log, &topic, 0..topic.partitions)?;
        Ok(topic)
    }

    /// What [`Topics::alter_configs`] would refuse, without altering. The topic as it would be.
    ///
    /// # Errors
    /// As `alter_configs`.
    pub fn check_altered<E: From<TopicError>>(
        &self,
        name: &str,
        edit: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), E>,
    ) -> Result<Topic, E> {
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        let mut configs = BTreeMap::clone(&topic.configs);
        edit(&mut configs)?;
        let config = TopicConfig::parse(&configs).map_err(TopicError::from)?;
        Ok(Topic { configs: Arc::new(configs), config: Arc::new(config), ..topic })
    }

    /// The topic of that name.
    pub fn get(&self, name: &str) -> Option<Topic> {
        self.topics().by_name.get(name).cloned()
    }

    /// The topic with that id.
    pub fn by_id(&self, id: TopicId) -> Option<Topic> {
        let topics = self.topics();
        topics.by_name.get(topics.by_id.get(&id)?).cloned()
    }

    /// Whether there is a topic whose config [decodes](TopicConfig::decodes): a quick look, before one
    /// at the topic itself.
    pub fn any_decodes(&self) -> bool {
        self.topics().any_decodes
    }

    /// All topics, by name.
    pub fn list(&self) -> Vec<Topic> {
        self.topics().by_name.values().cloned().collect()
    }

    /// Removes a topic and its records. Durable when it returns.
    ///
    /// # Errors
    /// If there is no such topic or the log fails.
    pub fn delete(&self, name: &str) -> Result<(), TopicError> {
        let _changing = self.change();
        let topic = self.get(name).ok_or_else(|| TopicError::Unknown(name.to_owned()))?;
        self.record(&Change::deleted(&topic))?;
        self.topics_mut().remove(&topic);
        let gone: Vec<_> = (0..topic.partitions).map(|partition| topic.partition(partition)).collect();
        Ok(self.0.log.delete_partitions(&gone)?)
    }

    /// The limits and defaults it was opened with.
    pub fn options(&self) -> &TopicOptions {
        &self.0.options
    }

    fn record(&self, change: &Change) -> Result<(), TopicError> {
        let mut batch = BatchBuilder::new(0);
        batch.push(0, None, Some(&CatalogRecord::encode(change)), &[]);
        self.0.log.append(CATALOG_PARTITION, batch.finish())?.wait()?;
        Ok(())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics_mut(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes partitions that no topic owns.
fn remove_orphans(log: &Log, topics: &ByName) -> Result<(), TopicError> {
    let by_id: HashMap<TopicId, i32> = topics.values().map(|topic| (topic.id, topic.partitions)).collect();
    let owned = |tp: &TopicPartition| {
        *tp == CATALOG_PARTITION || by_id.get(&tp.topic).is_some_and(|n| (0..*n).contains(&tp.partition))
    };
    let orphans: Vec<_> = log.partitions().into_iter().filter(|tp| !owned(tp)).collect();
    for tp in &orphans {
        tracing::info!(partition = %tp, "removing a partition that no topic owns");
    }
    Ok(log.delete_partitions(&orphans)?)
}

/// Tells the log how to keep a topic's partitions.
fn configure(log: &Log, topic: &Topic, partitions: Range<i32>) -> Result<(), TopicError> {
    for partition in partitions {
        log.configure(topic.partition(partition), topic.config.partition.clone())?;
    }
    Ok(())
}

/// Whether a topic of this name is the node's own.
fn is_internal(name: &str) -> bool {
    INTERNAL_NAMES.contains(&name) || name.starts_with(INTERNAL_PREFIX)
}

/// Whether names are the same but for `.` and `_`.
fn collide(one: &str, other: &str) -> bool {
    let unified = |byte: u8| if byte == b'.' { b'_' } else { byte };
    one.len() == other.len() && one.bytes().map(unified).eq(other.bytes().map(unified))
}

/// Kafka's rules: 1..=249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`.
///
/// # Errors
/// [`TopicError::InvalidName`].
pub fn check_topic_name(name: &str) -> Result<(), TopicError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let reason = match name {
        "" => "it is empty",
        "." | ".." => "it is . or ..",
        _ if name.len() > NAME_LEN_MAX => "it is longer than 249 characters",
        _ if !name.chars().all(allowed) => "only a-z, A-Z, 0-9, '.', '_' and '-' are allowed",
        _ => return Ok(()),
    };
    let name = name.chars().take(NAME_LEN_MAX).collect();
    Err(TopicError::InvalidName { name, reason: reason.to_owned() })
}
