//! JoinGroup (11): a member joins a generation; answered when the generation begins.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_coordinator::{JoinRefused, JoinRequest, Joined};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::group_refusal;
use crate::guard::{self, Shape, bytes, fixed, structs};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 6,
    fields: &[
        guard::text(),
        fixed(4),
        fixed(4).since(1),
        guard::text(),
        guard::text().since(5),
        guard::text(),
        structs(&[guard::text(), bytes()]),
        guard::text().since(8),
    ],
};

/// The first version whose clients understand that they must join again with an id (KIP-394).
const MEMBER_ID_REQUIRED_SINCE: i16 = 4;
/// The first version in which the names of protocols may be null.
const NULLABLE_SINCE: i16 = 7;
/// The first version in which a leader can be told not to assign (KIP-814).
const SKIP_ASSIGNMENT_SINCE: i16 = 9;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: JoinGroupRequest = request.decode()?;
    let version = request.version;
    tracing::debug!(group = %asked.group_id.0, member = %asked.member_id, reason = asked.reason.as_deref(), "join");
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = millis(asked.session_timeout_ms);
    let rebalance_timeout = if version >= 1 { millis(asked.rebalance_timeout_ms) } else { session_timeout };
    let join = JoinRequest {
        group: asked.group_id.0.to_string(),
        member_id: asked.member_id.to_string(),
        instance_id: asked.group_instance_id.map(|name| name.to_string()),
        client_id: request.client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: request.peer.map(|peer| format!("/{peer}")).unwrap_or_default(),
        session_timeout,
        rebalance_timeout,
        protocol_type: asked.protocol_type.to_string(),
        protocols: asked.protocols.into_iter().map(|p| (p.name.to_string(), p.metadata)).collect(),
        member_id_required: version >= MEMBER_ID_REQUIRED_SINCE,
        can_skip_assignment: version >= SKIP_ASSIGNMENT_SINCE,
    };
    let joined = broker.groups.join(&join);
    Ok(Waiting::for_clients(async move { encoded(joined.await, version) }))
}

fn encoded(outcome: Result<Joined, JoinRefused>, version: i16) -> Result<Bytes, Refusal> {
    let answer = match outcome {
        Ok(joined) => described(joined),
        Err(refused) => JoinGroupResponse::default()
            .with_error_code(group_refusal(refused.reason).code())
            .with_generation_id(-1)
            .with_protocol_name((version < NULLABLE_SINCE).then(|| text("")))
            .with_member_id(text(&refused.member_id)),
    };
    encode(&answer, version)
}

fn described(joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&member.member_id))
            .with_group_instance_id(member.instance_id.as_deref().map(text))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(&joined.protocol_type)))
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect())
}
