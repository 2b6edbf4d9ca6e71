//! SyncGroup (14): the leader brings everyone's assignment; answered when it is there and durable.

use std::sync::Arc;

use bytes::Bytes;
use highwater_coordinator::{GroupRefusal, MemberClaim, SyncRequest, Synced};
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::group_refusal;
use crate::guard::{self, Shape, bytes, fixed, structs};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[
        guard::text(),
        fixed(4),
        guard::text(),
        guard::text().since(3),
        guard::text().since(5),
        guard::text().since(5),
        structs(&[guard::text(), bytes()]),
    ],
};

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: SyncGroupRequest = request.decode()?;
    let version = request.version;
    let sync = SyncRequest {
        group: asked.group_id.0.to_string(),
        claim: MemberClaim {
            generation: asked.generation_id,
            member_id: asked.member_id.to_string(),
            instance_id: asked.group_instance_id.map(|name| name.to_string()),
        },
        protocol_type: asked.protocol_type.map(|name| name.to_string()),
        protocol: asked.protocol_name.map(|name| name.to_string()),
        assignments: asked.assignments.into_iter().map(|a| (a.member_id.to_string(), a.assignment)).collect(),
    };
    let synced = broker.groups.sync(&sync);
    Ok(Waiting::for_clients(async move { encoded(synced.await, version) }))
}

fn encoded(outcome: Result<Synced, GroupRefusal>, version: i16) -> Result<Bytes, Refusal> {
    let answer = match outcome {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(&synced.protocol_type)))
            .with_protocol_name(Some(text(&synced.protocol)))
            .with_assignment(synced.assignment),
        Err(refusal) => SyncGroupResponse::default().with_error_code(group_refusal(refusal).code()),
    };
    encode(&answer, version)
}
