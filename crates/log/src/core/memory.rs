//! Which batches stay in memory: those that are not in segments yet, and the youngest of the others.

use highwater_env::Reservation;

use super::{Core, State};
use crate::AppendError;

impl Core {
    /// Room for a batch, if need be in the place of those that are in segments.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reservation, AppendError> {
        if let Ok(reservation) = self.budget.reserve(bytes) {
            return Ok(reservation);
        }
        let mut state = self.state();
        state.evict(0);
        let again = self.budget.reserve(bytes);
        if again.is_err() {
            state.checkpoint_wanted |= state.unmaterialised_bytes > 0;
            self.segments_wanted.notify_all();
        }
        again.map_err(|full| AppendError::Backpressure(full.to_string()))
    }
}

impl State {
    /// Forgets batches that are in segments, oldest appends first, until `bytes_max` are left.
    pub(super) fn evict(&mut self, bytes_max: u64) {
        while self.memory_bytes > bytes_max {
            let Some((tp, base_offset)) = self.cached.front().copied() else { return };
            if let Some(partition) = self.partitions.get_mut(&tp) {
                let front = partition.tail.front().map(|entry| entry.batch.base_offset());
                if front == Some(base_offset) {
                    if base_offset >= partition.materialised {
                        return;
                    }
                    let evicted = partition.tail.pop_front();
                    self.memory_bytes -= evicted.map_or(0, |entry| entry.batch.bytes().len() as u64);
                }
            }
            self.cached.pop_front();
        }
    }

    /// Notes that `count` batches have left memory otherwise than by [`State::evict`]. Their entries
    /// go once they may be half of all.
    pub(super) fn have_left_memory(&mut self, count: usize) {
        self.stale += count;
        if self.stale > self.cached.len() / 2 {
            let partitions = &self.partitions;
            self.cached.retain(|(tp, base_offset)| {
                let front = partitions.get(tp).and_then(|partition| partition.tail.front());
                front.is_some_and(|front| front.batch.base_offset() <= *base_offset)
            });
            self.stale = 0;
        }
    }
}
