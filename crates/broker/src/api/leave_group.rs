//! LeaveGroup (13): members leave, or an operator removes static ones by name.

use std::sync::Arc;

use highwater_coordinator::Leaving;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome, group_refusal};
use crate::guard::{Shape, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape {
    flexible_since: 4,
    fields: &[text(), text().until(2), structs(&[text(), text(), text().since(5)]).since(3)],
};

/// The first version that names several members (KIP-345).
const BATCHED_SINCE: i16 = 3;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: LeaveGroupRequest = request.decode()?;
    let leaving: Vec<Leaving> = match request.version {
        BATCHED_SINCE.. => {
            let members = asked.members.iter().map(|member| Leaving {
                member_id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_ref().map(|name| name.to_string()),
            });
            members.collect()
        }
        _ => vec![Leaving { member_id: asked.member_id.to_string(), instance_id: None }],
    };
    let answer = match broker.groups.leave(&asked.group_id.0, &leaving) {
        Err(refusal) => LeaveGroupResponse::default().with_error_code(group_refusal(refusal).code()),
        Ok(left) if request.version < BATCHED_SINCE => {
            let code = left.first().map_or(ErrorCode::None, group_outcome);
            LeaveGroupResponse::default().with_error_code(code.code())
        }
        Ok(left) => {
            let members = asked.members.into_iter().zip(&left).map(|(member, outcome)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(group_outcome(outcome).code())
            });
            LeaveGroupResponse::default().with_members(members.collect())
        }
    };
    Ok(Waiting::ready(encode(&answer, request.version)))
}
