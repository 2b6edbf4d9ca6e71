//! How fast topics grow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::node::TopicStatus;

/// A rate is taken over so many measurements.
const WINDOW: usize = 6;

/// The last records counts of every topic, by id.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    measured: Mutex<BTreeMap<String, VecDeque<(i64, i64)>>>,
}

impl Rates {
    /// Notes how many records each topic has at `now_ms`; forgets topics that are gone.
    pub(crate) fn measure(&self, now_ms: i64, topics: &[TopicStatus]) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for topic in topics {
            let mut points = measured.remove(&topic.id).unwrap_or_default();
            if points.len() == WINDOW {
                points.pop_front();
            }
            points
                .push_back((now_ms, topic.partitions.iter().map(|partition| partition.high_watermark).sum()));
            next.insert(topic.id.clone(), points);
        }
        *measured = next;
    }

    /// Records per second over the last seconds; none before the second measurement.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn records_per_s(&self, topic_id: &str) -> Option<f64> {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let points = measured.get(topic_id)?;
        let ((from_ms, from), (to_ms, to)) = (points.front()?, points.back()?);
        (to_ms > from_ms).then(|| (to - from).max(0) as f64 * 1000.0 / (to_ms - from_ms) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::PartitionStatus;

    #[test]
    fn a_rate_needs_two_measurements() {
        let topic = |high_watermark| TopicStatus {
            name: "t".to_owned(),
            id: "1".to_owned(),
            internal: false,
            configs: BTreeMap::new(),
            partitions: vec![PartitionStatus {
                partition: 0,
                log_start_offset: 0,
                last_stable_offset: high_watermark,
                high_watermark,
                log_end_offset: high_watermark,
            }],
        };
        let rates = Rates::default();
        rates.measure(1000, &[topic(10)]);
        assert_eq!(rates.records_per_s("1"), None);
        rates.measure(3000, &[topic(70)]);
        assert_eq!(rates.records_per_s("1"), Some(30.0));
        rates.measure(4000, &[]);
        assert_eq!(rates.records_per_s("1"), None);
    }
}
