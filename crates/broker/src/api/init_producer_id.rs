//! InitProducerId (22): a producer id, so that retries are not written twice; with a transactional
//! id, its next producer, whose predecessors are fenced.

use std::sync::Arc;

use bytes::Bytes;
use highwater_coordinator::{ProducerIdentity, TransactionError};
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, transaction_error};
use crate::guard::{Shape, fixed, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

pub(super) static SHAPE: Shape =
    Shape { flexible_since: 2, fields: &[text(), fixed(4), fixed(8).since(3), fixed(2).since(3)] };

/// The first version whose clients know PRODUCER_FENCED (KIP-588).
const FENCED_SINCE: i16 = 4;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: InitProducerIdRequest = request.decode()?;
    let version = request.version;
    let Some(id) = &asked.transactional_id else {
        // 62 random bits: ids need to be unique, not dense, and so need no record in the log. With
        // a billion producers the chance of any collision is about one in ten.
        let id = i64::try_from(broker.entropy.next_u64() >> 2).unwrap_or(0);
        return Ok(Waiting::ready(body(Ok(ProducerIdentity { id, epoch: 0 }), version)));
    };
    let expected = match (asked.producer_id.0, asked.producer_epoch) {
        (-1, -1) => Ok(None),
        (-1, _) | (_, -1) => {
            Err(TransactionError::InvalidRequest("a producer id comes with its epoch, or neither does"))
        }
        (id, epoch) => Ok(Some(ProducerIdentity { id, epoch })),
    };
    let timeout_ms = asked.transaction_timeout_ms;
    let change = expected.and_then(|expected| broker.transactions.init_producer(id, timeout_ms, expected));
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let outcome = match change {
            Ok(change) => change.durable().await,
            Err(error) => Err(error),
        };
        let code = |error| {
            broker.count_error();
            transaction_error(&error, version >= FENCED_SINCE)
        };
        body(outcome.map_err(code), version)
    }))
}

fn body(outcome: Result<ProducerIdentity, ErrorCode>, version: i16) -> Result<Bytes, Refusal> {
    let answer = InitProducerIdResponse::default();
    let answer = match outcome {
        Ok(producer) => answer.with_producer_id(ProducerId(producer.id)).with_producer_epoch(producer.epoch),
        Err(code) => {
            answer.with_error_code(code.code()).with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
        }
    };
    encode(&answer, version)
}
