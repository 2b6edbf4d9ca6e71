//! Records of a topic, for people who look into it.

use highwater_coordinator::Topics;
use highwater_env::{Offset, TopicPartition};
use highwater_log::{Log, ReadError};
use highwater_serve::{NodeError, RecordsFrom, TopicRecord};

/// Bytes read from the log at a time.
const READ_BYTES: usize = 1 << 20;
/// A batch inflates to no more than this.
const INFLATED_BYTES_MAX: usize = 64 << 20;

pub(super) fn read(
    log: &Log,
    topics: &Topics,
    topic: &str,
    partition: i32,
    from: RecordsFrom,
    limit: usize,
) -> Result<Vec<TopicRecord>, NodeError> {
    let found = topics.get(topic).ok_or_else(|| NodeError::NotFound { what: "topic", name: topic.into() })?;
    if !(0..found.partitions).contains(&partition) {
        return Err(NodeError::NotFound { what: "partition", name: format!("{topic}-{partition}") });
    }
    let tp = found.partition(partition);
    let bounds = log.bounds(tp).map_err(failed)?;
    // Committed records only: what a transaction still holds back is not shown.
    let (start, end) = (bounds.log_start_offset, bounds.last_stable_offset);
    let wanted = Offset::try_from(limit).unwrap_or(Offset::MAX);
    let next = match from {
        RecordsFrom::Offset(offset) if (start..=bounds.high_watermark).contains(&offset) => offset,
        RecordsFrom::Offset(offset) => {
            let message = format!("offset {offset} is not in {topic}-{partition}, which has {start}..{end}");
            return Err(NodeError::Invalid { message, hint: "ask for from=start or from=tail".into() });
        }
        RecordsFrom::Start => start,
        RecordsFrom::Tail => end.saturating_sub(wanted).max(start),
    };
    read_from(log, tp, next, end, limit)
}

fn read_from(
    log: &Log,
    tp: TopicPartition,
    mut next: Offset,
    end: Offset,
    limit: usize,
) -> Result<Vec<TopicRecord>, NodeError> {
    let mut found = Vec::new();
    while next < end && found.len() < limit {
        let range = log.read(tp, next, READ_BYTES).map_err(failed)?;
        let after = range.next_offset(next);
        for batch in range.batches.iter().filter(|batch| range.is_committed(batch)) {
            let records = batch.records(INFLATED_BYTES_MAX).map_err(|e| NodeError::Failed(e.to_string()))?;
            let room = limit - found.len();
            for record in records.into_iter().filter(|record| record.offset >= next).take(room) {
                let headers = record.headers.into_iter();
                found.push(TopicRecord {
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key.map(|key| key.to_vec()),
                    value: record.value.map(|value| value.to_vec()),
                    headers: headers
                        .map(|(name, value)| (name.to_vec(), value.map(|v| v.to_vec())))
                        .collect(),
                });
            }
        }
        if after <= next {
            break;
        }
        next = after;
    }
    Ok(found)
}

fn failed(error: ReadError) -> NodeError {
    NodeError::Failed(error.to_string())
}
