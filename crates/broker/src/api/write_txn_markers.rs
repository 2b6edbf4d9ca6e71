//! WriteTxnMarkers (27): ends a transaction in single partitions. Between Kafka's brokers this is how
//! every transaction ends; here it is left to operators, whose `kafka-transactions.sh abort` ends with
//! it what no producer will end.

use std::sync::Arc;

use highwater_env::TopicPartition;
use highwater_log::{Marker, MarkerKind, Ticket};
use kafka_protocol::messages::write_txn_markers_request::WritableTxnMarker;
use kafka_protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use kafka_protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};

use crate::api::encode;
use crate::broker::Broker;
use crate::errors::{ErrorCode, append_error, transaction_error};
use crate::guard::{Field, Shape, fixed, numbers, structs, text};
use crate::request::{Refusal, Request};
use crate::waiting::Waiting;

static TOPIC: [Field; 2] = [text(), numbers(4)];
static MARKER: [Field; 5] = [fixed(8), fixed(2), fixed(1), structs(&TOPIC), fixed(4)];
pub(super) static SHAPE: Shape = Shape { flexible_since: 1, fields: &[structs(&MARKER)] };

type Written = Result<(TopicPartition, Ticket), ErrorCode>;

pub(super) fn answer(broker: &Arc<Broker>, request: &Request) -> Result<Waiting, Refusal> {
    let asked: WriteTxnMarkersRequest = request.decode()?;
    let version = request.version;
    let begun: Vec<(WritableTxnMarker, Vec<Written>)> = asked
        .markers
        .into_iter()
        .map(|marker| {
            let written = write(broker, &marker);
            (marker, written)
        })
        .collect();
    let broker = Arc::clone(broker);
    Ok(Waiting::for_disk(async move {
        let mut markers = Vec::with_capacity(begun.len());
        for (marker, written) in begun {
            let mut codes = Vec::with_capacity(written.len());
            for written in written {
                let code = match written {
                    Ok((tp, ticket)) => match ticket.await {
                        Ok(()) => {
                            broker.transactions.marker_written(tp, wanted(&marker));
                            ErrorCode::None
                        }
                        Err(error) => append_error(&error),
                    },
                    Err(code) => code,
                };
                broker.count_errors(usize::from(code != ErrorCode::None));
                codes.push(code);
            }
            markers.push(result(marker, &codes));
        }
        encode(&WriteTxnMarkersResponse::default().with_markers(markers), version)
    }))
}

fn wanted(asked: &WritableTxnMarker) -> Marker {
    Marker {
        kind: if asked.transaction_result { MarkerKind::Commit } else { MarkerKind::Abort },
        producer_id: asked.producer_id.0,
        producer_epoch: asked.producer_epoch,
        coordinator_epoch: asked.coordinator_epoch,
    }
}

/// Writes one marker to each partition, in the request's order.
fn write(broker: &Broker, asked: &WritableTxnMarker) -> Vec<Written> {
    let marker = wanted(asked);
    let mut written = Vec::new();
    for topic in &asked.topics {
        let known = broker.topics.get(&topic.name);
        for index in &topic.partition_indexes {
            let found = known.as_ref().filter(|topic| (0..topic.partitions).contains(index));
            written.push(match found {
                Some(topic) => {
                    let tp = topic.partition(*index);
                    let ticket = broker.transactions.write_marker(tp, marker);
                    ticket.map(|ticket| (tp, ticket)).map_err(|error| transaction_error(&error, false))
                }
                None => Err(ErrorCode::UnknownTopicOrPartition),
            });
        }
    }
    written
}

fn result(marker: WritableTxnMarker, codes: &[ErrorCode]) -> WritableTxnMarkerResult {
    let mut left = codes.iter();
    let topics = marker.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().zip(left.by_ref()).map(|(index, code)| {
            WritableTxnMarkerPartitionResult::default()
                .with_partition_index(*index)
                .with_error_code(code.code())
        });
        let partitions = partitions.collect();
        WritableTxnMarkerTopicResult::default().with_name(topic.name.clone()).with_partitions(partitions)
    });
    let topics = topics.collect();
    WritableTxnMarkerResult::default().with_producer_id(marker.producer_id).with_topics(topics)
}
