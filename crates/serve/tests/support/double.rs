//! A node in memory: what tests and the example server put behind the HTTP server.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

#[path = "feed.rs"]
mod feed;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use highwater_env::{Epoch, Offset};
use highwater_gateway::LogPosition;
use highwater_serve::metrics::Sample;
use highwater_serve::*;
use highwater_stream::{ChangeBatch, RowKind};
use tokio::sync::watch;

use feed::Feed;

/// One row of the double's table `vehicle_health`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub vehicle: String,
    pub region: String,
    pub at_ms: i64,
    pub speed: Option<f64>,
    pub engine_c: f64,
    pub events: i64,
}

pub struct DoubleNode {
    pub topics: Mutex<Vec<TopicStatus>>,
    pub groups: Mutex<Vec<GroupStatus>>,
    /// How often all groups were looked at.
    pub groups_asked: AtomicU64,
    pub transactions: Mutex<Vec<TransactionStatus>>,
    pub hanging: Mutex<Vec<HangingTransaction>>,
    pub records: Mutex<Vec<TopicRecord>>,
    pub rows: Mutex<BTreeMap<String, Row>>,
    pub pipelines: Mutex<Vec<PipelineStatus>>,
    pub feed: Feed,
    pub epoch: AtomicU64,
    pub covered: AtomicI64,
    commits: watch::Sender<u64>,
}

impl Default for DoubleNode {
    fn default() -> Self {
        let (commits, _) = watch::channel(0);
        Self {
            topics: Mutex::default(),
            groups: Mutex::default(),
            groups_asked: AtomicU64::new(0),
            transactions: Mutex::default(),
            hanging: Mutex::default(),
            records: Mutex::default(),
            rows: Mutex::default(),
            pipelines: Mutex::default(),
            feed: Feed::default(),
            epoch: AtomicU64::new(0),
            covered: AtomicI64::new(0),
            commits,
        }
    }
}

pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("vehicle", DataType::Utf8, false),
        Field::new("region", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("speed", DataType::Float64, true),
        Field::new("engine_c", DataType::Float64, true),
        Field::new("events", DataType::Int64, true),
    ]))
}

pub fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.vehicle))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.region))),
        Arc::new(TimestampMillisecondArray::from_iter_values(rows.iter().map(|row| row.at_ms))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.speed))),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.engine_c))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.events))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

impl DoubleNode {
    /// Puts rows into the table, commits an epoch and tells the subscribers.
    pub fn commit(&self, new: Vec<Row>) {
        let mut rows = self.rows.lock().unwrap();
        let epoch = Epoch(self.epoch.fetch_add(1, Ordering::SeqCst) + 1);
        let (mut changed, mut kinds) = (Vec::new(), Vec::new());
        for row in new {
            match rows.insert(row.vehicle.clone(), row.clone()) {
                Some(old) => {
                    changed.extend([old, row]);
                    kinds.extend([RowKind::UpdateBefore, RowKind::UpdateAfter]);
                }
                None => {
                    changed.push(row);
                    kinds.push(RowKind::Insert);
                }
            }
        }
        let changes = ChangeBatch::with_kinds(batch(&changed), kinds);
        self.feed.publish(&TableChanges { epoch, committed: true, changes });
        self.commits.send_replace(epoch.0);
    }

    /// A commit that covers offsets of topic `fleet` below `next`.
    pub fn cover(&self, next: Offset) {
        self.covered.store(next, Ordering::SeqCst);
        self.commit(Vec::new());
    }

    fn not_found<T>(what: &'static str, name: &str) -> Result<T, NodeError> {
        Err(NodeError::NotFound { what, name: name.to_owned() })
    }
}

/// What it has read is what it has committed.
fn overview(group: &GroupStatus) -> GroupOverview {
    let mut topics: Vec<GroupTopicOverview> = Vec::new();
    for offset in &group.offsets {
        if topics.last().is_none_or(|topic| topic.topic != offset.topic) {
            topics.push(GroupTopicOverview { topic: offset.topic.clone(), read: 0, partitions: Vec::new() });
        }
        let topic = topics.last_mut().unwrap();
        topic.read += offset.committed.unsigned_abs();
        topic.partitions.push((offset.partition, offset.lag));
    }
    GroupOverview {
        name: group.name.clone(),
        state: group.state.clone(),
        protocol_type: group.protocol_type.clone(),
        members: group.members.len(),
        topics,
    }
}

pub fn topic(name: &str, high_watermarks: &[Offset]) -> TopicStatus {
    let partition = |(partition, &end): (i32, &Offset)| PartitionStatus {
        partition,
        log_start_offset: 0,
        last_stable_offset: end,
        high_watermark: end,
        log_end_offset: end,
    };
    TopicStatus {
        name: name.to_owned(),
        id: format!("{:0>32}", name.len()),
        internal: name.starts_with("__"),
        configs: BTreeMap::new(),
        partitions: (0..).zip(high_watermarks).map(partition).collect(),
    }
}

impl Node for DoubleNode {
    fn topics(&self) -> Vec<TopicStatus> {
        self.topics.lock().unwrap().clone()
    }

    fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        configs: BTreeMap<String, String>,
    ) -> Result<(), NodeError> {
        let mut topics = self.topics.lock().unwrap();
        if topics.iter().any(|topic| topic.name == name) {
            return Err(NodeError::AlreadyExists { what: "topic", name: name.to_owned() });
        }
        if !(1..=1000).contains(&partitions) {
            let message = format!("{partitions} partitions, expected 1..=1000");
            return Err(NodeError::Invalid { message, hint: "ask for fewer".to_owned() });
        }
        let mut new = topic(name, &vec![0; usize::try_from(partitions).unwrap()]);
        new.configs = configs;
        topics.push(new);
        Ok(())
    }

    fn topic_configs(&self, name: &str) -> Result<Vec<ConfigStatus>, NodeError> {
        let topics = self.topics.lock().unwrap();
        let Some(topic) = topics.iter().find(|topic| topic.name == name) else {
            return Self::not_found("topic", name);
        };
        let configs = topic.configs.iter().map(|(name, value)| ConfigStatus {
            name: name.clone(),
            value: value.clone(),
            given: true,
            documentation: String::new(),
        });
        Ok(configs.collect())
    }

    fn alter_topic(&self, name: &str, changes: BTreeMap<String, Option<String>>) -> Result<(), NodeError> {
        let mut topics = self.topics.lock().unwrap();
        let Some(topic) = topics.iter_mut().find(|topic| topic.name == name) else {
            return Self::not_found("topic", name);
        };
        for (name, value) in changes {
            match value {
                Some(value) => topic.configs.insert(name, value),
                None => topic.configs.remove(&name),
            };
        }
        Ok(())
    }

    fn add_partitions(&self, name: &str, partitions: i32) -> Result<(), NodeError> {
        let mut topics = self.topics.lock().unwrap();
        let Some(known) = topics.iter_mut().find(|topic| topic.name == name) else {
            return Self::not_found("topic", name);
        };
        let more = usize::try_from(partitions).unwrap_or(0);
        if more <= known.partitions.len() {
            let message = format!("{} partitions, {partitions} asked for", known.partitions.len());
            return Err(NodeError::Invalid { message, hint: "ask for more".to_owned() });
        }
        known.partitions.extend(topic(name, &vec![0; more]).partitions.split_off(known.partitions.len()));
        Ok(())
    }

    fn delete_records(
        &self,
        name: &str,
        partition: Option<i32>,
        before: Option<Offset>,
    ) -> Result<(), NodeError> {
        let mut topics = self.topics.lock().unwrap();
        let Some(topic) = topics.iter_mut().find(|topic| topic.name == name) else {
            return Self::not_found("topic", name);
        };
        for one in topic.partitions.iter_mut().filter(|one| partition.is_none_or(|p| p == one.partition)) {
            one.log_start_offset = before.unwrap_or(one.high_watermark);
        }
        Ok(())
    }

    fn delete_topic(&self, name: &str) -> Result<(), NodeError> {
        let mut topics = self.topics.lock().unwrap();
        let before = topics.len();
        topics.retain(|topic| topic.name != name);
        if topics.len() == before { Self::not_found("topic", name) } else { Ok(()) }
    }

    fn records(
        &self,
        topic: &str,
        partition: i32,
        from: RecordsFrom,
        limit: usize,
    ) -> Result<Vec<TopicRecord>, NodeError> {
        if !self.topics.lock().unwrap().iter().any(|known| known.name == topic) {
            return Self::not_found("topic", topic);
        }
        if partition != 0 {
            return Self::not_found("partition", &format!("{topic}-{partition}"));
        }
        let records = self.records.lock().unwrap();
        let start = match from {
            RecordsFrom::Start => 0,
            RecordsFrom::Tail => records.len().saturating_sub(limit),
            RecordsFrom::Offset(offset) => usize::try_from(offset).unwrap_or(0),
        };
        Ok(records.iter().skip(start).take(limit).cloned().collect())
    }

    fn groups(&self) -> Result<Vec<GroupOverview>, NodeError> {
        self.groups_asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.groups.lock().unwrap().iter().map(overview).collect())
    }

    fn group(&self, name: &str) -> Result<GroupStatus, NodeError> {
        let groups = self.groups.lock().unwrap();
        let found = groups.iter().find(|group| group.name == name);
        found.cloned().map_or_else(|| Self::not_found("group", name), Ok)
    }

    fn transactions(&self) -> (Vec<TransactionStatus>, Vec<HangingTransaction>) {
        (self.transactions.lock().unwrap().clone(), self.hanging.lock().unwrap().clone())
    }

    fn transaction(&self, id: &str) -> Result<TransactionStatus, NodeError> {
        let transactions = self.transactions.lock().unwrap();
        let found = transactions.iter().find(|one| one.id == id);
        found.cloned().map_or_else(|| Self::not_found("transaction", id), Ok)
    }

    fn abort_transaction(&self, id: &str) -> Result<(), NodeError> {
        let mut transactions = self.transactions.lock().unwrap();
        let Some(found) = transactions.iter_mut().find(|one| one.id == id) else {
            return Self::not_found("transaction", id);
        };
        if found.open_since_ms.take().is_none() {
            let message = format!("{id} has no open transaction");
            return Err(NodeError::Invalid { message, hint: "look again".to_owned() });
        }
        found.state = "CompleteAbort".to_owned();
        found.partitions.clear();
        Ok(())
    }

    fn abort_hanging(&self, topic: &str, partition: i32, producer_id: i64) -> Result<(), NodeError> {
        let mut hanging = self.hanging.lock().unwrap();
        let before = hanging.len();
        hanging
            .retain(|one| (&*one.topic, one.partition, one.producer_id) != (topic, partition, producer_id));
        if hanging.len() == before { Self::not_found("transaction", topic) } else { Ok(()) }
    }

    fn reset_offsets(
        &self,
        group: &str,
        topic: &str,
        partition: Option<i32>,
        to: OffsetTarget,
    ) -> Result<(), NodeError> {
        let mut groups = self.groups.lock().unwrap();
        let Some(known) = groups.iter_mut().find(|known| known.name == group) else {
            return Self::not_found("group", group);
        };
        if !known.members.is_empty() {
            let message = format!("group {group} has members");
            return Err(NodeError::Invalid { message, hint: "stop them".to_owned() });
        }
        let meant = |one: &&mut GroupOffsetStatus| {
            one.topic == topic && partition.is_none_or(|partition| partition == one.partition)
        };
        for one in known.offsets.iter_mut().filter(meant) {
            let end = one.committed + one.lag.unwrap_or(0);
            one.committed = match to {
                OffsetTarget::Start => 0,
                OffsetTarget::End => end,
                OffsetTarget::Offset(offset) | OffsetTarget::Time(offset) => offset,
            };
            one.lag = Some(end - one.committed);
        }
        Ok(())
    }

    fn delete_group(&self, name: &str) -> Result<(), NodeError> {
        let mut groups = self.groups.lock().unwrap();
        let before = groups.len();
        groups.retain(|group| group.name != name);
        if groups.len() == before { Self::not_found("group", name) } else { Ok(()) }
    }

    fn tables(&self) -> Vec<TableStatus> {
        let column = |(name, sql_type): (&str, &str)| ColumnStatus {
            name: name.to_owned(),
            sql_type: sql_type.to_owned(),
            nullable: name != "vehicle",
        };
        let columns = [
            ("vehicle", "STRING"),
            ("region", "STRING"),
            ("at", "TIMESTAMP(3)"),
            ("speed", "DOUBLE"),
            ("engine_c", "DOUBLE"),
            ("events", "BIGINT"),
        ];
        vec![TableStatus {
            name: "vehicle_health".to_owned(),
            pipeline: "fleet".to_owned(),
            columns: columns.into_iter().map(column).collect(),
            primary_key: vec!["vehicle".to_owned()],
            rows: self.rows.lock().unwrap().len() as u64,
            epoch: self.epoch.load(Ordering::SeqCst),
            committed_at_ms: None,
        }]
    }

    fn table_rows(&self, table: &str, query: &RowQuery) -> Result<TableRows, NodeError> {
        if table != "vehicle_health" {
            return Self::not_found("table", table);
        }
        let rows = self.rows.lock().unwrap();
        let found = rows.values().filter(|row| query.key.iter().all(|(_, value)| *value == row.vehicle));
        let found: Vec<Row> = found.cloned().collect();
        let shown = found.len().min(query.limit);
        let epoch = Epoch(self.epoch.load(Ordering::SeqCst));
        Ok(TableRows { epoch, rows: batch(&found[..shown]), more: shown < found.len() })
    }

    fn subscribe(&self, table: &str, _visibility: Visibility) -> Result<Subscription, NodeError> {
        if table != "vehicle_health" {
            return Self::not_found("table", table);
        }
        let rows = self.rows.lock().unwrap();
        let Some((changes, overflowed)) = self.feed.subscribe() else {
            return Err(NodeError::Unavailable { message: "too many subscribers".to_owned() });
        };
        Ok(Subscription {
            schema: schema(),
            primary_key: vec!["vehicle".to_owned()],
            epoch: Epoch(self.epoch.load(Ordering::SeqCst)),
            snapshot: batch(&rows.values().cloned().collect::<Vec<_>>()),
            changes,
            overflowed,
        })
    }

    fn covers(&self, table: &str, position: &LogPosition) -> Result<bool, NodeError> {
        if table != "vehicle_health" {
            return Self::not_found("table", table);
        }
        if position.topic != "fleet" {
            let message = format!("table {table} does not read topic {}", position.topic);
            return Err(NodeError::Invalid { message, hint: "use a position of topic fleet".to_owned() });
        }
        let covered = self.covered.load(Ordering::SeqCst);
        Ok(position.partitions.iter().all(|(_, next)| *next <= covered))
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    fn pipelines(&self) -> Vec<PipelineStatus> {
        self.pipelines.lock().unwrap().clone()
    }

    fn submit(&self, request: SubmitRequest) -> Result<Submitted, NodeError> {
        self.check(request).map(|checked| Submitted { pipeline: checked.pipeline, tables: Vec::new() })
    }

    fn check(&self, request: SubmitRequest) -> Result<Checked, NodeError> {
        if !request.sql.contains("SELECT") {
            return Err(NodeError::Sql(Box::new(SqlProblem {
                file: "script.sql".to_owned(),
                line: 1,
                column: 1,
                text: request.sql.chars().take(6).collect(),
                message: "expected a statement".to_owned(),
                hint: "write SELECT".to_owned(),
            })));
        }
        let vars: Vec<_> = request.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(Checked { pipeline: request.name.unwrap_or_default(), explain: vars.join(" ") })
    }

    fn stop_pipeline(&self, name: &str) -> Result<(), NodeError> {
        let mut pipelines = self.pipelines.lock().unwrap();
        match pipelines.iter_mut().find(|pipeline| pipeline.name == name) {
            Some(pipeline) => {
                pipeline.state = PipelineState::Stopped;
                Ok(())
            }
            None => Self::not_found("pipeline", name),
        }
    }

    fn drop_pipeline(&self, name: &str) -> Result<(), NodeError> {
        self.stop_pipeline(name)?;
        self.pipelines.lock().unwrap().retain(|pipeline| pipeline.name != name);
        Ok(())
    }

    fn samples(&self) -> Vec<Sample> {
        vec![Sample::count("highwater_log_syncs_total", 7)]
    }
}
