//! The APIs served: one file each, one table for all.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
pub(crate) mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
pub(crate) mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
pub(crate) mod produce;
mod sync_group;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use highwater_env::TopicId;
use kafka_protocol::protocol::{Encodable, StrBytes};

use crate::broker::Broker;
use crate::guard::Shape;
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;
use crate::wire::{WireError, WireReader, WireWriter};

/// One API: how it is announced and who answers it.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) key: i16,
    pub(crate) name: &'static str,
    /// The lowest version announced. Below `min` only for Produce: librdkafka up to 2.11 switches
    /// compression off unless version 0 is announced (KAFKA-18659).
    pub(crate) announced_min: i16,
    /// The lowest version served.
    pub(crate) min: i16,
    /// The highest version announced and served.
    pub(crate) max: i16,
    /// The first flexible version (KIP-482).
    pub(crate) flexible_since: i16,
    pub(crate) serve: Serve,
}

/// Who answers.
#[derive(Debug)]
pub(crate) enum Serve {
    Produce,
    Fetch,
    ApiVersions,
    /// A request decoded by `kafka-protocol` once it has this shape. May wait for the disk.
    Control(&'static Shape, fn(&Broker, &Request) -> Result<Bytes, Refusal>),
    /// A request decoded like `Control`'s whose change happens at once, without ever waiting, and
    /// whose answer comes later: requests handed over in order take effect in order.
    Waiting(&'static Shape, Answerer),
}

/// Makes a request's change, and says how its answer is waited for.
pub(crate) type Answerer = fn(&Arc<Broker>, &Request) -> Result<Waiting, Refusal>;

impl Api {
    const fn hot(
        key: i16,
        name: &'static str,
        min: i16,
        max: i16,
        flexible_since: i16,
        serve: Serve,
    ) -> Self {
        Self { key, name, announced_min: min, min, max, flexible_since, serve }
    }

    const fn control(
        key: i16,
        name: &'static str,
        min: i16,
        max: i16,
        shape: &'static Shape,
        answer: fn(&Broker, &Request) -> Result<Bytes, Refusal>,
    ) -> Self {
        Self::hot(key, name, min, max, shape.flexible_since, Serve::Control(shape, answer))
    }

    const fn waiting(
        key: i16,
        name: &'static str,
        min: i16,
        max: i16,
        shape: &'static Shape,
        answer: Answerer,
    ) -> Self {
        Self::hot(key, name, min, max, shape.flexible_since, Serve::Waiting(shape, answer))
    }

    pub(crate) fn find(key: i16) -> Option<(usize, &'static Self)> {
        APIS.iter().enumerate().find(|(_, api)| api.key == key)
    }

    pub(crate) fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    pub(crate) fn flexible(&self, version: i16) -> bool {
        version >= self.flexible_since
    }

    /// Whether its answer's header ends in tagged fields. ApiVersions' never does: a client must
    /// read it before it knows what the broker speaks.
    pub(crate) fn flexible_response_header(&self, version: i16) -> bool {
        self.flexible(version) && !matches!(self.serve, Serve::ApiVersions)
    }
}

/// Every API, by key. Lowest versions as in Apache Kafka 4 (KIP-896).
#[rustfmt::skip]
pub(crate) static APIS: &[Api] = &[
    Api { announced_min: 0, ..Api::hot(0, "Produce", 3, 13, 9, Serve::Produce) },
    Api::hot(1, "Fetch", 4, 18, 12, Serve::Fetch),
    Api::control(2, "ListOffsets", 1, 10, &list_offsets::SHAPE, list_offsets::answer),
    Api::control(3, "Metadata", 0, 13, &metadata::SHAPE, metadata::answer),
    Api::waiting(8, "OffsetCommit", 2, 9, &offset_commit::SHAPE, offset_commit::answer),
    Api::waiting(9, "OffsetFetch", 1, 9, &offset_fetch::SHAPE, offset_fetch::answer),
    Api::control(10, "FindCoordinator", 0, 6, &find_coordinator::SHAPE, find_coordinator::answer),
    Api::waiting(11, "JoinGroup", 0, 9, &join_group::SHAPE, join_group::answer),
    Api::waiting(12, "Heartbeat", 0, 4, &heartbeat::SHAPE, heartbeat::answer),
    Api::waiting(13, "LeaveGroup", 0, 5, &leave_group::SHAPE, leave_group::answer),
    Api::waiting(14, "SyncGroup", 0, 5, &sync_group::SHAPE, sync_group::answer),
    Api::waiting(15, "DescribeGroups", 0, 6, &describe_groups::SHAPE, describe_groups::answer),
    Api::waiting(16, "ListGroups", 0, 5, &list_groups::SHAPE, list_groups::answer),
    Api::hot(18, "ApiVersions", 0, 4, 3, Serve::ApiVersions),
    Api::control(19, "CreateTopics", 2, 7, &create_topics::SHAPE, create_topics::answer),
    Api::control(20, "DeleteTopics", 1, 6, &delete_topics::SHAPE, delete_topics::answer),
    Api::control(21, "DeleteRecords", 0, 2, &delete_records::SHAPE, delete_records::answer),
    Api::waiting(22, "InitProducerId", 0, 5, &init_producer_id::SHAPE, init_producer_id::answer),
    Api::waiting(23, "OffsetForLeaderEpoch", 2, 4, &offset_for_leader_epoch::SHAPE, offset_for_leader_epoch::answer),
    Api::waiting(24, "AddPartitionsToTxn", 0, 5, &add_partitions_to_txn::SHAPE, add_partitions_to_txn::answer),
    Api::waiting(25, "AddOffsetsToTxn", 0, 4, &add_offsets_to_txn::SHAPE, add_offsets_to_txn::answer),
    Api::waiting(26, "EndTxn", 0, 5, &end_txn::SHAPE, end_txn::answer),
    Api::waiting(27, "WriteTxnMarkers", 1, 1, &write_txn_markers::SHAPE, write_txn_markers::answer),
    Api::waiting(28, "TxnOffsetCommit", 0, 5, &txn_offset_commit::SHAPE, txn_offset_commit::answer),
    Api::control(32, "DescribeConfigs", 1, 4, &describe_configs::SHAPE, describe_configs::answer),
    Api::control(33, "AlterConfigs", 0, 2, &alter_configs::SHAPE, alter_configs::answer),
    Api::control(35, "DescribeLogDirs", 1, 4, &describe_log_dirs::SHAPE, describe_log_dirs::answer),
    Api::control(37, "CreatePartitions", 0, 3, &create_partitions::SHAPE, create_partitions::answer),
    Api::waiting(42, "DeleteGroups", 0, 2, &delete_groups::SHAPE, delete_groups::answer),
    Api::control(43, "ElectLeaders", 0, 2, &elect_leaders::SHAPE, elect_leaders::answer),
    Api::control(44, "IncrementalAlterConfigs", 0, 1, &incremental_alter_configs::SHAPE, incremental_alter_configs::answer),
    Api::control(45, "AlterPartitionReassignments", 0, 1, &alter_partition_reassignments::SHAPE, alter_partition_reassignments::answer),
    Api::control(46, "ListPartitionReassignments", 0, 0, &list_partition_reassignments::SHAPE, list_partition_reassignments::answer),
    Api::waiting(47, "OffsetDelete", 0, 0, &offset_delete::SHAPE, offset_delete::answer),
    Api::control(57, "UpdateFeatures", 0, 2, &update_features::SHAPE, update_features::answer),
    Api::control(60, "DescribeCluster", 0, 2, &describe_cluster::SHAPE, describe_cluster::answer),
    Api::control(61, "DescribeProducers", 0, 0, &describe_producers::SHAPE, describe_producers::answer),
    Api::control(65, "DescribeTransactions", 0, 0, &describe_transactions::SHAPE, describe_transactions::answer),
    Api::control(66, "ListTransactions", 0, 2, &list_transactions::SHAPE, list_transactions::answer),
    Api::control(74, "ListConfigResources", 0, 1, &list_config_resources::SHAPE, list_config_resources::answer),
    Api::control(75, "DescribeTopicPartitions", 0, 0, &describe_topic_partitions::SHAPE, describe_topic_partitions::answer),
];

/// A control-plane answer's body.
pub(crate) fn encode<T: Encodable>(answer: &T, version: i16) -> Result<Bytes, Refusal> {
    let mut body = BytesMut::new();
    answer.encode(&mut body, version).map_err(|e| Refusal::Encode(format!("{e:#}")))?;
    Ok(body.freeze())
}

/// What everyone may do with a topic (bits of Kafka's `AclOperation`): read, write, create, delete,
/// alter, describe, describe configs, alter configs.
pub(crate) const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// What everyone may do with the cluster: create, alter, describe, cluster action, describe configs,
/// alter configs, idempotent write.
pub(crate) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Our text as the crate's string.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic as a request names it, and as its answer must name it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TopicRef {
    Name(StrBytes),
    Id(TopicId),
}

impl TopicRef {
    fn read(reader: &mut WireReader, by_id: bool) -> Result<Self, WireError> {
        if by_id { Ok(Self::Id(TopicId(reader.u128()?))) } else { Ok(Self::Name(reader.string_copied()?)) }
    }

    fn write(&self, writer: &mut WireWriter) {
        match self {
            Self::Name(name) => writer.string(name),
            Self::Id(id) => writer.u128(id.0),
        }
    }
}
