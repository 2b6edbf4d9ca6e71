//! ListGroups (16).

use std::sync::Arc;

use highwater_coordinator::GroupOverview;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::group_refusal;
use crate::guard::{Shape, texts};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape { flexible_since: 3, fields: &[texts().since(4), texts().since(5)] };

/// The kind of all groups here (KIP-848 knows others).
pub(super) const CLASSIC: &str = "classic";
/// The first versions that say what kind a group is of, and in which state.
const TYPE_SINCE: i16 = 5;
const STATE_SINCE: i16 = 4;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: ListGroupsRequest = request.decode()?;
    let version = request.version;
    let listed = broker.groups.list();
    Ok(Waiting::for_disk(async move {
        let answer = match listed.await {
            Ok(groups) => {
                let groups = groups.iter().filter(|group| wanted(group, &asked));
                let groups = groups.map(|group| described(group, version));
                ListGroupsResponse::default().with_groups(groups.collect())
            }
            Err(refusal) => ListGroupsResponse::default().with_error_code(group_refusal(refusal).code()),
        };
        encode(&answer, version)
    }))
}

fn wanted(group: &GroupOverview, asked: &ListGroupsRequest) -> bool {
    let among = |names: &[StrBytes], name: &str| {
        names.is_empty() || names.iter().any(|asked| asked.eq_ignore_ascii_case(name))
    };
    among(&asked.states_filter, group.state) && among(&asked.types_filter, CLASSIC)
}

fn described(group: &GroupOverview, version: i16) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_protocol_type(text(&group.protocol_type))
        .with_group_state(text(if version >= STATE_SINCE { group.state } else { "" }))
        .with_group_type(text(if version >= TYPE_SINCE { CLASSIC } else { "" }))
}
