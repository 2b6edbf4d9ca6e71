//! DescribeTransactions (65): transactional ids, one by one.

use std::collections::HashSet;

use bytes::Bytes;
use highwater_coordinator::TransactionDescription;
use highwater_env::TopicPartition;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, ProducerId, TopicName,
};

use crate::api::{encode, text};
use crate::broker::Broker;
use crate::errors::transaction_error;
use crate::guard::{Shape, texts};
use crate::request::{Refusal, Request};

pub(super) static SHAPE: Shape = Shape { flexible_since: 0, fields: &[texts()] };

pub(super) fn answer(broker: &Broker, request: &Request) -> Result<Bytes, Refusal> {
    let asked: DescribeTransactionsRequest = request.decode()?;
    // Each id once: it costs few bytes, its partitions many.
    let mut seen = HashSet::new();
    let ids = asked.transactional_ids.into_iter().filter(|id| seen.insert(id.clone()));
    let states = ids.map(|id| match broker.transactions.describe(&id) {
        Ok(found) => state(broker, &found).with_transactional_id(id),
        Err(error) => {
            broker.count_error();
            let code = transaction_error(&error, true);
            TransactionState::default().with_error_code(code.code()).with_transactional_id(id)
        }
    });
    let states = states.collect();
    encode(&DescribeTransactionsResponse::default().with_transaction_states(states), request.version)
}

fn state(broker: &Broker, found: &TransactionDescription) -> TransactionState {
    TransactionState::default()
        .with_transaction_state(text(found.state.name()))
        .with_transaction_timeout_ms(found.timeout_ms)
        .with_transaction_start_time_ms(found.started_ms)
        .with_producer_id(ProducerId(found.producer.id))
        .with_producer_epoch(found.producer.epoch)
        .with_topics(topics(broker, &found.partitions))
}

/// Partitions, which come ordered, by the names of their topics.
fn topics(broker: &Broker, partitions: &[TopicPartition]) -> Vec<TopicData> {
    let by_topic = partitions.chunk_by(|a, b| a.topic == b.topic);
    let topics = by_topic.filter_map(|partitions| {
        let topic = broker.topics.by_id(partitions.first()?.topic)?;
        let numbers = partitions.iter().map(|tp| tp.partition).collect();
        Some(TopicData::default().with_topic(TopicName(text(&topic.name))).with_partitions(numbers))
    });
    topics.collect()
}
