//! What is no longer kept: segments beyond their age and size (topic setting `cleanup.policy=delete`)
//! on disk, indexes of sealed segments in memory.

use highwater_env::{Offset, TopicPartition};

use super::Core;
use crate::partition::Partition;

impl Core {
    /// Trims every partition to what its options keep; whether any had more.
    pub(crate) fn delete_expired(&self) -> bool {
        let now_ms = self.clock.unix_ms();
        let expired: Vec<(TopicPartition, Offset)> = {
            let state = self.state();
            if state.stopped.is_some() {
                return false;
            }
            let partitions = state.partitions.iter().filter(|(_, partition)| !partition.deleting);
            partitions.filter_map(|(tp, partition)| Some((*tp, kept_from(partition, now_ms)?))).collect()
        };
        for (tp, offset) in &expired {
            tracing::debug!(%tp, offset, "deleting records beyond retention");
            if let Err(e) = self.submit_trim(*tp, *offset) {
                tracing::warn!(%tp, "cannot delete records beyond retention: {e}");
            }
        }
        !expired.is_empty()
    }
}

impl Core {
    /// Frees the indexes of segments that are no longer written to; readers load them again.
    pub(crate) fn forget_cold_indexes(&self) {
        let sealed: Vec<_> = {
            let state = self.state();
            let sealed = |partition: &Partition| {
                let count = partition.segments.len().saturating_sub(1);
                partition.segments[..count].to_vec()
            };
            state.partitions.values().flat_map(sealed).collect()
        };
        sealed.iter().for_each(|segment| segment.forget_index());
    }
}

/// The offset before which nothing is kept, if that is above the log start offset. The segment that
/// is written to goes only by age, and only once nothing waits to be written to it.
fn kept_from(partition: &Partition, now_ms: i64) -> Option<Offset> {
    let options = &partition.options;
    if !options.delete {
        return None;
    }
    let facts: Vec<_> = partition.segments.iter().map(|segment| segment.checkpoint()).collect();
    let idle = partition.materialised == partition.log_end_offset;
    let mut rest: u64 = facts.iter().map(|fact| fact.bytes).sum();
    let mut kept_from = None;
    for (index, fact) in facts.iter().enumerate() {
        let last = index + 1 == facts.len();
        let too_old = options
            .retention_ms
            .is_some_and(|max| fact.max_timestamp >= 0 && now_ms.saturating_sub(fact.max_timestamp) > max);
        let too_much =
            options.retention_bytes.is_some_and(|max| !last && rest.saturating_sub(fact.bytes) >= max);
        if (last && !idle) || !(too_old || too_much) {
            break;
        }
        rest -= fact.bytes;
        kept_from = Some(facts.get(index + 1).map_or(partition.materialised, |next| next.base_offset));
    }
    kept_from.filter(|offset| *offset > partition.log_start_offset)
}
