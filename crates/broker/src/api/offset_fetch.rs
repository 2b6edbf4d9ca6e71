//! OffsetFetch (9): how far groups have read.

use std::collections::HashSet;
use std::sync::Arc;

use highwater_coordinator::{FetchedOffset, OffsetSelection};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome, group_refusal};
use crate::guard::{self, Shape, fixed, numbers, structs};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        guard::text().until(7),
        structs(&[guard::text(), numbers(4)]).until(7),
        structs(&[
            guard::text(),
            guard::text().since(9),
            fixed(4).since(9),
            structs(&[guard::text(), numbers(4)]),
        ])
        .since(8),
        fixed(1).since(7),
    ],
};

/// The first version that asks for several groups (KIP-709).
const BATCHED_SINCE: i16 = 8;

/// What is asked about one group.
struct Asked {
    group: GroupId,
    selection: OffsetSelection,
}

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let version = request.version;
    let (asked, require_stable) = read(request)?;
    let fetches: Vec<_> = asked
        .into_iter()
        .map(|asked| {
            let group = asked.group.0.to_string();
            (asked.group, broker.groups.fetch_offsets(group, asked.selection, require_stable))
        })
        .collect();
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let mut groups = Vec::new();
        for (group, fetch) in fetches {
            groups.push(match fetch.await {
                Ok(offsets) => (group, ErrorCode::None, by_topic(offsets)),
                Err(refusal) => (group, group_refusal(refusal), Vec::new()),
            });
        }
        let refused = groups.iter().filter(|(_, code, _)| *code != ErrorCode::None);
        broker.count_errors(refused.count());
        encode(&described(groups, version), version)
    }))
}

fn read(request: &Request) -> Result<(Vec<Asked>, bool), Refusal> {
    let asked: OffsetFetchRequest = request.decode()?;
    if request.version < BATCHED_SINCE {
        let topics = asked
            .topics
            .map(|topics| once(topics.into_iter().map(|topic| (topic.name, topic.partition_indexes))));
        return Ok((vec![Asked { group: asked.group_id, selection: topics }], asked.require_stable));
    }
    // Each group once: its name costs few bytes, its offsets many.
    let mut seen = HashSet::new();
    let groups = asked.groups.into_iter().filter(|group| seen.insert(group.group_id.clone()));
    let groups = groups.map(|group| {
        let topics = group
            .topics
            .map(|topics| once(topics.into_iter().map(|topic| (topic.name, topic.partition_indexes))));
        Asked { group: group.group_id, selection: topics }
    });
    Ok((groups.collect(), asked.require_stable))
}

/// Each partition once: it costs few bytes, what was committed with its offset many.
fn once(topics: impl Iterator<Item = (TopicName, Vec<i32>)>) -> Vec<(Arc<str>, Vec<i32>)> {
    let mut seen = HashSet::new();
    let topics = topics.map(|(name, mut partitions)| {
        let name: Arc<str> = Arc::from(&*name.0);
        partitions.retain(|partition| seen.insert((Arc::clone(&name), *partition)));
        (name, partitions)
    });
    topics.collect()
}

type ByTopic = Vec<(Arc<str>, Vec<FetchedOffset>)>;

fn by_topic(offsets: Vec<FetchedOffset>) -> ByTopic {
    let mut topics = ByTopic::new();
    for offset in offsets {
        match topics.last_mut() {
            Some((topic, partitions)) if *topic == offset.topic => partitions.push(offset),
            _ => topics.push((Arc::clone(&offset.topic), vec![offset])),
        }
    }
    topics
}

fn described(groups: Vec<(GroupId, ErrorCode, ByTopic)>, version: i16) -> OffsetFetchResponse {
    if version >= BATCHED_SINCE {
        let groups = groups.into_iter().map(|(group, code, topics)| {
            let topics = topics.iter().map(|(topic, partitions)| {
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(text(topic)))
                    .with_partitions(partitions.iter().map(batched).collect())
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(group)
                .with_error_code(code.code())
                .with_topics(topics.collect())
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    let Some((_, code, topics)) = groups.into_iter().next() else { return OffsetFetchResponse::default() };
    let topics = topics.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter().map(|offset| {
            let batched = batched(offset);
            OffsetFetchResponsePartition::default()
                .with_partition_index(batched.partition_index)
                .with_committed_offset(batched.committed_offset)
                .with_committed_leader_epoch(batched.committed_leader_epoch)
                .with_metadata(batched.metadata)
                .with_error_code(batched.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_name(TopicName(text(topic)))
            .with_partitions(partitions.collect())
    });
    OffsetFetchResponse::default().with_error_code(code.code()).with_topics(topics.collect())
}

fn batched(offset: &FetchedOffset) -> OffsetFetchResponsePartitions {
    let committed = offset.offset.as_ref().ok().and_then(Option::as_ref);
    OffsetFetchResponsePartitions::default()
        .with_partition_index(offset.partition)
        .with_committed_offset(committed.map_or(-1, |committed| committed.offset))
        .with_committed_leader_epoch(committed.map_or(-1, |committed| committed.leader_epoch))
        .with_metadata(Some(committed.map_or_else(|| text(""), |committed| text(&committed.metadata))))
        .with_error_code(group_outcome(&offset.offset).code())
}
