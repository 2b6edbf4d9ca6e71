//! DeleteGroups (42): groups without members, with their offsets.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, group_outcome};
use crate::guard::{Shape, texts};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape { flexible_since: 2, fields: &[texts()] };

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: DeleteGroupsRequest = request.decode()?;
    let version = request.version;
    let mut seen = HashSet::new();
    let groups = asked.groups_names.into_iter().filter(|group| seen.insert(group.clone()));
    let deletions: Vec<_> = groups
        .map(|group| {
            let deleted = broker.groups.delete(&group.0);
            (group, deleted)
        })
        .collect();
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let mut results = Vec::new();
        for (group, deleted) in deletions {
            let code = group_outcome(&deleted.await);
            if code != ErrorCode::None {
                broker.count_error();
            }
            let result = DeletableGroupResult::default().with_group_id(group);
            results.push(result.with_error_code(code.code()));
        }
        encode(&DeleteGroupsResponse::default().with_results(results), version)
    }))
}
