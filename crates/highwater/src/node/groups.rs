//! Consumer groups in the server's words.

use std::collections::HashMap;
use std::sync::Arc;

use highwater_coordinator::{
    CommitRequest, GroupRefusal, Groups, MemberClaim, OffsetCommit, Topic, Topics, assigned_partitions,
};
use highwater_env::Offset;
use highwater_log::Log;
use highwater_serve::{
    GroupMemberStatus, GroupOffsetStatus, GroupOverview, GroupStatus, GroupTopicOverview, NodeError,
    OffsetTarget,
};
use tokio::runtime::Handle;

/// Waits for what the disk answers, on a thread that may wait.
fn wait<T>(answer: impl Future<Output = Result<T, GroupRefusal>>) -> Result<T, GroupRefusal> {
    Handle::current().block_on(answer)
}

fn unavailable(refusal: GroupRefusal) -> NodeError {
    NodeError::Unavailable { message: refusal.to_string() }
}

pub(super) fn list(log: &Log, topics: &Topics, groups: &Groups) -> Result<Vec<GroupOverview>, NodeError> {
    let progress = wait(groups.progress()).map_err(unavailable)?;
    // Many groups read few topics.
    let mut known: HashMap<Arc<str>, Option<Topic>> = HashMap::new();
    let listed = progress.into_iter().map(|group| GroupOverview {
        name: group.overview.group.to_string(),
        state: group.overview.state.to_owned(),
        protocol_type: group.overview.protocol_type.to_string(),
        members: group.overview.members,
        topics: group
            .topics
            .into_iter()
            .map(|read| {
                let found = known.entry(Arc::clone(&read.topic)).or_insert_with(|| topics.get(&read.topic));
                let lag =
                    |(partition, committed)| (partition, lag(log, found.as_ref(), partition, committed));
                GroupTopicOverview {
                    topic: read.topic.to_string(),
                    read: read.read,
                    partitions: read.committed.into_iter().map(lag).collect(),
                }
            })
            .collect(),
    });
    Ok(listed.collect())
}

/// Records from a committed offset to the high watermark, if the partition exists.
fn lag(log: &Log, topic: Option<&Topic>, partition: i32, committed: Offset) -> Option<i64> {
    let bounds = log.bounds(topic?.partition(partition)).ok()?;
    Some((bounds.high_watermark - committed.max(bounds.log_start_offset)).max(0))
}

pub(super) fn describe(
    log: &Log,
    topics: &Topics,
    groups: &Groups,
    name: &str,
) -> Result<GroupStatus, NodeError> {
    let described = wait(groups.describe(vec![name.to_owned()])).map_err(unavailable)?;
    let group = described.into_iter().flatten().next();
    let group = group.ok_or_else(|| NodeError::NotFound { what: "group", name: name.to_owned() })?;
    let fetched = wait(groups.fetch_offsets(name.to_owned(), None, false)).map_err(unavailable)?;
    let offsets = fetched.into_iter().filter_map(|fetched| {
        let committed = fetched.offset.ok()??.offset;
        Some(GroupOffsetStatus {
            topic: fetched.topic.to_string(),
            partition: fetched.partition,
            committed,
            lag: lag(log, topics.get(&fetched.topic).as_ref(), fetched.partition, committed),
        })
    });
    let members = group.members.iter().map(|member| GroupMemberStatus {
        id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        assigned: assigned_partitions(&member.assignment)
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |one| format!("{topic}-{one}")))
            .collect(),
    });
    Ok(GroupStatus {
        state: group.overview.state.to_owned(),
        protocol_type: group.overview.protocol_type.to_string(),
        members: members.collect(),
        offsets: offsets.collect(),
        name: name.to_owned(),
    })
}

pub(super) fn reset(
    log: &Log,
    topics: &Topics,
    groups: &Groups,
    (group, topic): (&str, &str),
    partition: Option<i32>,
    to: OffsetTarget,
) -> Result<(), NodeError> {
    let unknown = || NodeError::NotFound { what: "topic", name: topic.to_owned() };
    let topic = topics.get(topic).ok_or_else(unknown)?;
    let partitions = match partition {
        None => (0..topic.partitions).collect(),
        Some(partition) if (0..topic.partitions).contains(&partition) => vec![partition],
        Some(partition) => {
            return Err(NodeError::NotFound {
                what: "partition",
                name: format!("{}-{partition}", topic.name),
            });
        }
    };
    let offsets: Result<Vec<OffsetCommit>, NodeError> = partitions
        .into_iter()
        .map(|partition| {
            let offset = target(log, &topic, partition, to)?;
            let topic = Arc::clone(&topic.name);
            Ok(OffsetCommit { topic, partition, offset, leader_epoch: -1, metadata: String::new() })
        })
        .collect();
    let claim = MemberClaim { generation: -1, ..MemberClaim::default() };
    let request = CommitRequest { group: group.to_owned(), claim, retention: None, offsets: offsets? };
    let committed = wait(groups.commit_offsets(request)).and_then(|each| each.into_iter().collect());
    committed.map_err(|refusal| refused(group, refusal))
}

fn target(log: &Log, topic: &Topic, partition: i32, to: OffsetTarget) -> Result<i64, NodeError> {
    let failed = |error: highwater_log::ReadError| NodeError::Failed(error.to_string());
    let tp = topic.partition(partition);
    let bounds = log.bounds(tp).map_err(failed)?;
    match to {
        OffsetTarget::Start => Ok(bounds.log_start_offset),
        OffsetTarget::End => Ok(bounds.high_watermark),
        OffsetTarget::Time(ms) => {
            let found = log.offset_for_time(tp, ms).map_err(failed)?;
            Ok(found.map_or(bounds.high_watermark, |(offset, _)| offset))
        }
        OffsetTarget::Offset(offset) => {
            let there = bounds.log_start_offset..=bounds.high_watermark;
            if there.contains(&offset) {
                return Ok(offset);
            }
            let (from, to) = (bounds.log_start_offset, bounds.high_watermark);
            let message = format!("offset {offset} of {}-{partition}, expected {from}..={to}", topic.name);
            Err(NodeError::Invalid { message, hint: "start and end are always right".to_owned() })
        }
    }
}

pub(super) fn delete(groups: &Groups, group: &str) -> Result<(), NodeError> {
    wait(groups.delete(group)).map_err(|refusal| refused(group, refusal))
}

fn refused(group: &str, refusal: GroupRefusal) -> NodeError {
    match refusal {
        GroupRefusal::UnknownGroup => NodeError::NotFound { what: "group", name: group.to_owned() },
        GroupRefusal::NonEmpty | GroupRefusal::UnknownMember => NodeError::Invalid {
            message: format!("group {group} has members"),
            hint: "stop its consumers first; GET /v1/groups/{group} lists them".to_owned(),
        },
        GroupRefusal::Unavailable => NodeError::Unavailable { message: refusal.to_string() },
        other => NodeError::Invalid { message: other.to_string(), hint: String::new() },
    }
}
