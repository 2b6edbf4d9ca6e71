//! DescribeGroups (15): groups with their members.

use std::collections::HashSet;
use std::sync::Arc;

use highwater_coordinator::GroupDescription;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_refusal};
use crate::guard::{Shape, fixed, texts};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape { flexible_since: 5, fields: &[texts(), fixed(1).since(3)] };

/// The first version that says that a group is not there, instead of calling it dead (KIP-1043).
const NOT_FOUND_SINCE: i16 = 6;
/// What anyone may do with a group as long as there are no access rules: read, delete, describe,
/// describe and alter its configs (bits by Kafka's `AclOperation`).
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
/// Not asked for.
const NO_OPERATIONS: i32 = i32::MIN;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: DescribeGroupsRequest = request.decode()?;
    let version = request.version;
    // Each group once: its name costs few bytes, its members many.
    let mut seen = HashSet::new();
    let groups: Vec<GroupId> = asked.groups.into_iter().filter(|group| seen.insert(group.clone())).collect();
    let operations = if asked.include_authorized_operations { ALL_OPERATIONS } else { NO_OPERATIONS };
    let found = broker.groups.describe(groups.iter().map(|group| group.0.to_string()).collect());
    Ok(Waiting::for_disk(async move {
        let found = found.await;
        let groups = groups.into_iter().enumerate().map(|(index, group)| {
            let described = DescribedGroup::default().with_group_id(group);
            match &found {
                Err(refusal) => described.with_error_code(group_refusal(*refusal).code()),
                Ok(found) => match found.get(index).and_then(Option::as_ref) {
                    Some(found) => with_members(described, found, operations),
                    None => absent(described, version),
                },
            }
        });
        encode(&DescribeGroupsResponse::default().with_groups(groups.collect()), version)
    }))
}

fn absent(described: DescribedGroup, version: i16) -> DescribedGroup {
    let described = described.with_group_state(text("Dead")).with_authorized_operations(NO_OPERATIONS);
    if version < NOT_FOUND_SINCE {
        return described;
    }
    let message = format!("Group {} not found.", described.group_id.0.as_str());
    described.with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(text(&message)))
}

fn with_members(described: DescribedGroup, found: &GroupDescription, operations: i32) -> DescribedGroup {
    let members = found.members.iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_client_id(text(&member.client_id))
            .with_client_host(text(&member.client_host))
            .with_member_metadata(member.metadata.clone())
            .with_member_assignment(member.assignment.clone())
    });
    described
        .with_group_state(text(found.overview.state))
        .with_protocol_type(text(&found.overview.protocol_type))
        .with_protocol_data(text(&found.protocol))
        .with_members(members.collect())
        .with_authorized_operations(operations)
}
