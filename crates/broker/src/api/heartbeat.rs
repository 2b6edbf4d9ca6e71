//! Heartbeat (12): a member is alive, and hears whether it must join again.

use std::sync::Arc;

use highwater_coordinator::MemberClaim;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::group_outcome;
use crate::guard::{Shape, fixed, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 4, fields: &[text(), fixed(4), text(), text().since(3)] };

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: HeartbeatRequest = request.decode()?;
    let claim = MemberClaim {
        generation: asked.generation_id,
        member_id: asked.member_id.to_string(),
        instance_id: asked.group_instance_id.map(|name| name.to_string()),
    };
    let code = group_outcome(&broker.groups.heartbeat(&asked.group_id.0, &claim)).code();
    Ok(Waiting::ready(encode(&HeartbeatResponse::default().with_error_code(code), request.version)))
}
