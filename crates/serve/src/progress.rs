//! How far consumer groups are: measured when somebody asks, but only so often, however many ask.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use highwater_env::Clock;

use crate::node::{GroupOverview, Node, NodeError};
use crate::rates::Rates;

/// A measurement is good for so long.
const FRESH: Duration = Duration::from_millis(500);
/// One that took long is good for so many times as long: measuring takes a twentieth of a core at most.
const REST: u32 = 20;

/// The last measurement, and rates over the last few.
#[derive(Default)]
pub(crate) struct Progress {
    last: Mutex<Option<Measured>>,
    groups: Rates,
    topics: Rates,
}

struct Measured {
    groups: Arc<[GroupOverview]>,
    /// On the clock's monotonic time.
    fresh_until: Duration,
}

impl Progress {
    /// All groups, as they were half a second ago or later, or longer ago where there are very many.
    /// Waits for the disk, or for another asker who measures.
    ///
    /// # Errors
    /// As [`Node::groups`].
    pub(crate) fn groups(
        &self,
        node: &dyn Node,
        clock: &dyn Clock,
    ) -> Result<Arc<[GroupOverview]>, NodeError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = clock.monotonic();
        if let Some(measured) = last.as_ref().filter(|measured| begun < measured.fresh_until) {
            return Ok(Arc::clone(&measured.groups));
        }
        let groups: Arc<[GroupOverview]> = node.groups()?.into();
        let now_ms = clock.unix_ms();
        let read = groups.iter().flat_map(|group| group.topics.iter().map(move |topic| (group, topic)));
        self.groups.measure(now_ms, read.clone().map(|(group, topic)| (&*group.name, topic.read)));
        self.topics.measure(now_ms, read.map(|(_, topic)| (&*topic.topic, topic.read)));
        let ended = clock.monotonic();
        let fresh_until = ended + FRESH.max(ended.saturating_sub(begun) * REST);
        *last = Some(Measured { groups: Arc::clone(&groups), fresh_until });
        Ok(groups)
    }

    /// The next asker measures: something was changed by request.
    pub(crate) fn forget(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Records per second that a group reads; none if that is not known.
    pub(crate) fn read_by_group(&self, group: &str) -> Option<f64> {
        self.groups.per_s(group)
    }

    /// Records per second that groups read from a topic; none if that is not known, or no group does.
    pub(crate) fn read_of_topic(&self, topic: &str) -> Option<f64> {
        self.topics.per_s(topic)
    }
}
