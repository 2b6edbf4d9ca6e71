//! AddOffsetsToTxn (25): a transaction will commit offsets of a consumer group, said beforehand.

use std::sync::Arc;

use highwater_coordinator::{ProducerIdentity, TransactionError};
use kafka_protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, PRODUCER_FENCED_SINCE, transaction_error};
use crate::guard::{Shape, fixed, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape { flexible_since: 3, fields: &[text(), fixed(8), fixed(2), text()] };

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: AddOffsetsToTxnRequest = request.decode()?;
    let version = request.version;
    let producer = ProducerIdentity { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let change = match asked.group_id.is_empty() {
        true => Err(TransactionError::InvalidRequest("the group id is empty")),
        false => broker.transactions.add_offsets(&asked.transactional_id, producer),
    };
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let outcome = match change {
            Ok(change) => change.durable().await,
            Err(error) => Err(error),
        };
        let code = match outcome {
            Ok(()) => ErrorCode::None,
            Err(error) => {
                broker.count_error();
                transaction_error(&error, version >= PRODUCER_FENCED_SINCE)
            }
        };
        encode(&AddOffsetsToTxnResponse::default().with_error_code(code.code()), version)
    }))
}
