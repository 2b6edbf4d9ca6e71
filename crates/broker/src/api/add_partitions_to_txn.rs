//! AddPartitionsToTxn (24): where a transaction will write, said beforehand. Versions 4 and up, meant
//! for brokers, take several transactions, or only ask (KIP-890).

use std::sync::Arc;

use highwater_coordinator::{PendingChange, ProducerIdentity, TransactionError};
use highwater_env::TopicPartition;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, PRODUCER_FENCED_SINCE, transaction_error};
use crate::guard::{Field, Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

static TOPIC: [Field; 2] = [text(), numbers(4)];
static TRANSACTION: [Field; 5] = [text(), fixed(8), fixed(2), fixed(1), structs(&TOPIC)];
pub(super) static SHAPE: Shape = Shape {
    flexible_since: 3,
    fields: &[
        structs(&TRANSACTION).since(4),
        text().until(3),
        fixed(8).until(3),
        fixed(2).until(3),
        structs(&TOPIC).until(3),
    ],
};

/// The first version that names several transactions.
const BATCHED_SINCE: i16 = 4;
/// The first version whose askers know TRANSACTION_ABORTABLE.
const ABORTABLE_SINCE: i16 = 5;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: AddPartitionsToTxnRequest = request.decode()?;
    let version = request.version;
    let asked = match version < BATCHED_SINCE {
        true => vec![
            AddPartitionsToTxnTransaction::default()
                .with_transactional_id(asked.v3_and_below_transactional_id)
                .with_producer_id(asked.v3_and_below_producer_id)
                .with_producer_epoch(asked.v3_and_below_producer_epoch)
                .with_topics(asked.v3_and_below_topics),
        ],
        false => asked.transactions,
    };
    let begun: Vec<_> = asked
        .into_iter()
        .map(|transaction| {
            let outcome = start(broker, &transaction, version);
            (transaction, outcome)
        })
        .collect();
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let mut results = Vec::with_capacity(begun.len());
        for (transaction, outcome) in begun {
            let codes = match outcome {
                Outcome::Known(codes) => codes,
                Outcome::Pending(change, partitions) => {
                    let code = match change.durable().await {
                        Ok(()) => ErrorCode::None,
                        Err(error) => transaction_error(&error, version >= PRODUCER_FENCED_SINCE),
                    };
                    vec![code; partitions]
                }
            };
            if codes.iter().any(|code| *code != ErrorCode::None) {
                broker.count_error();
            }
            results.push(
                AddPartitionsToTxnResult::default()
                    .with_transactional_id(transaction.transactional_id)
                    .with_topic_results(topic_results(&transaction.topics, &codes)),
            );
        }
        let answer = AddPartitionsToTxnResponse::default();
        let answer = match version < BATCHED_SINCE {
            true => {
                let only = results.pop().unwrap_or_default();
                answer.with_results_by_topic_v3_and_below(only.topic_results)
            }
            false => answer.with_results_by_transaction(results),
        };
        encode(&answer, version)
    }))
}

enum Outcome {
    /// A code for each partition, in the request's order.
    Known(Vec<ErrorCode>),
    /// For so many partitions.
    Pending(PendingChange<()>, usize),
}

fn start(broker: &Broker, asked: &AddPartitionsToTxnTransaction, version: i16) -> Outcome {
    let found: Vec<Option<TopicPartition>> = asked
        .topics
        .iter()
        .flat_map(|topic| {
            let known = broker.topics.get(&topic.name);
            topic.partitions.iter().map(move |index| {
                let topic = known.as_ref().filter(|topic| (0..topic.partitions).contains(index))?;
                Some(topic.partition(*index))
            })
        })
        .collect();
    let Some(partitions) = found.iter().copied().collect::<Option<Vec<_>>>() else {
        let code = |tp: &Option<_>| match tp {
            Some(_) => ErrorCode::OperationNotAttempted,
            None => ErrorCode::UnknownTopicOrPartition,
        };
        return Outcome::Known(found.iter().map(code).collect());
    };
    let producer = ProducerIdentity { id: asked.producer_id.0, epoch: asked.producer_epoch };
    let id = &asked.transactional_id;
    let failed = |error: TransactionError| {
        let code = transaction_error(&error, version >= PRODUCER_FENCED_SINCE);
        Outcome::Known(vec![code; partitions.len()])
    };
    if asked.verify_only {
        let missing = match version < ABORTABLE_SINCE {
            true => ErrorCode::InvalidTxnState,
            false => ErrorCode::TransactionAbortable,
        };
        let code = |added: bool| if added { ErrorCode::None } else { missing };
        return match broker.transactions.verify_partitions(id, producer, &partitions) {
            Ok(added) => Outcome::Known(added.into_iter().map(code).collect()),
            Err(error) => failed(error),
        };
    }
    match broker.transactions.add_partitions(id, producer, &partitions) {
        Ok(change) => Outcome::Pending(change, partitions.len()),
        Err(error) => failed(error),
    }
}

fn topic_results(
    topics: &[AddPartitionsToTxnTopic],
    codes: &[ErrorCode],
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.iter();
    let results = topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref()).map(|(index, code)| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code.code())
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(partitions.collect())
    });
    results.collect()
}
