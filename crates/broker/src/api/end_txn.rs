//! EndTxn (26): commits or aborts a transaction, in all its partitions at once.

use std::sync::Arc;

use highwater_coordinator::{ProducerIdentity, TransactionResult, TransactionVersion};
use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{PRODUCER_FENCED_SINCE, transaction_error};
use crate::guard::{Shape, fixed, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape = Shape { flexible_since: 3, fields: &[text(), fixed(8), fixed(2), fixed(1)] };

/// The first version whose transactions raise the epoch when they end (KIP-890).
const RAISES_EPOCH_SINCE: i16 = 5;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: EndTxnRequest = request.decode()?;
    let version = request.version;
    let speaks = match version < RAISES_EPOCH_SINCE {
        true => TransactionVersion::One,
        false => TransactionVersion::Two,
    };
    let result = if asked.committed { TransactionResult::Commit } else { TransactionResult::Abort };
    let producer = ProducerIdentity { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let change = broker.transactions.end(&asked.transactional_id, producer, result, speaks);
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let outcome = match change {
            Ok(change) => change.durable().await,
            Err(error) => Err(error),
        };
        let answer = match outcome {
            Ok(next) => EndTxnResponse::default()
                .with_producer_id(ProducerId(next.id))
                .with_producer_epoch(next.epoch),
            Err(error) => {
                broker.count_error();
                let code = transaction_error(&error, version >= PRODUCER_FENCED_SINCE);
                EndTxnResponse::default()
                    .with_error_code(code.code())
                    .with_producer_id(ProducerId(-1))
                    .with_producer_epoch(-1)
            }
        };
        // Both fields are there from version 5 on only; the encoder minds values it cannot write.
        let answer = match speaks {
            TransactionVersion::One => {
                let none = EndTxnResponse::default();
                answer.with_producer_id(none.producer_id).with_producer_epoch(none.producer_epoch)
            }
            TransactionVersion::Two => answer,
        };
        encode(&answer, version)
    }))
}
