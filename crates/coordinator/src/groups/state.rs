//! All groups, and the changes of their offsets that are on their way to the disk.
//!
//! A commit is a record first: its offsets take effect once it is durable, in the order of the log,
//! so that nothing is shown that a crash could take back, and a record that the disk refused leaves
//! no trace.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use highwater_env::Offset;
use highwater_log::Ticket;

use super::group::Group;
use super::offsets::{Entry, Offsets, PendingOffsets};

/// A change of offsets, made when its record is durable.
pub(super) enum Change {
    /// Offsets of a group.
    Commit { group: Arc<str>, entries: Vec<Entry> },
    /// Offsets that wait for a transaction to end.
    Pend { producer_id: i64, group: Arc<str>, entries: Vec<Entry> },
    /// Tombstones of offsets.
    Remove { group: Arc<str>, partitions: Vec<(Arc<str>, i32)> },
    /// The tombstone of a group, unless members joined meanwhile.
    Delete { group: Arc<str> },
}

impl Change {
    fn group(&self) -> &str {
        match self {
            Self::Commit { group, .. }
            | Self::Pend { group, .. }
            | Self::Remove { group, .. }
            | Self::Delete { group } => group,
        }
    }
}

struct InFlight {
    ticket: Ticket,
    changes: Vec<Change>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) pending: PendingOffsets,
    in_flight: VecDeque<InFlight>,
    /// The newest record.
    last: Option<Ticket>,
    /// When some group has something to do, on the clock's monotonic time.
    pub(super) next_due: Option<Duration>,
    /// When expired offsets are looked for next.
    pub(super) next_expiry: Duration,
    /// Of all groups' offsets, approximately.
    offsets_bytes: usize,
    /// Of all groups' members and of the ids given out to those that will be.
    pub(super) members_bytes: usize,
}

impl State {
    /// The group; made if there is none.
    pub(super) fn group(&mut self, id: &str) -> &mut Group {
        if !self.groups.contains_key(id) {
            let id: Arc<str> = id.into();
            self.groups.insert(Arc::clone(&id), Group::new(id));
        }
        self.groups.get_mut(id).expect("it was made if it was missing")
    }

    /// Counts the bytes of a group's members anew.
    pub(super) fn count_members(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let bytes = group.members_bytes();
        let before = std::mem::replace(&mut group.counted_bytes, bytes);
        self.members_bytes = self.members_bytes - before + bytes;
    }

    /// Bytes of all offsets, committed and pending.
    pub(super) fn offsets_bytes(&self) -> usize {
        self.offsets_bytes + self.pending.bytes()
    }

    /// Makes changes once their record is durable.
    pub(super) fn when_durable(&mut self, ticket: &Ticket, changes: Vec<Change>) {
        self.in_flight.push_back(InFlight { ticket: ticket.clone(), changes });
        self.appended(ticket);
    }

    /// Notes the newest record.
    pub(super) fn appended(&mut self, ticket: &Ticket) {
        self.last = Some(ticket.clone());
    }

    /// Whether a change of the group's offsets is on its way.
    pub(super) fn is_changing(&self, group: &str) -> bool {
        self.in_flight.iter().flat_map(|in_flight| &in_flight.changes).any(|change| change.group() == group)
    }

    /// What must be durable before anything of this state may be shown.
    pub(super) fn gate(&mut self) -> Option<Ticket> {
        self.last.take_if(|ticket| ticket.poll_now().is_some());
        self.last.clone()
    }

    /// Makes the changes whose records are durable by now.
    pub(super) fn settle(&mut self) {
        while let Some(outcome) = self.in_flight.front().and_then(|first| first.ticket.poll_now()) {
            let Some(done) = self.in_flight.pop_front() else { return };
            match outcome {
                Ok(()) => {
                    for change in done.changes {
                        self.apply(change, done.ticket.last_offset);
                    }
                }
                Err(error) => tracing::warn!("offsets were not kept: {error}"),
            }
        }
    }

    /// Makes a change. `log_offset`: of its record, or its last.
    pub(super) fn apply(&mut self, change: Change, log_offset: Offset) {
        match change {
            Change::Commit { group, entries } => self.change_offsets(&group, |offsets| {
                entries.into_iter().for_each(|entry| offsets.put(entry));
            }),
            Change::Pend { producer_id, group, entries } => {
                entries.into_iter().for_each(|entry| self.pending.put(producer_id, &group, entry));
            }
            Change::Remove { group, partitions } => {
                for (topic, partition) in &partitions {
                    self.pending.remove(&group, topic, *partition);
                }
                self.change_offsets(&group, |offsets| {
                    for (topic, partition) in &partitions {
                        offsets.remove(topic, *partition, log_offset);
                    }
                });
            }
            Change::Delete { group } => {
                if self.groups.get(&group).is_some_and(Group::is_gone) {
                    self.pending.remove_group(&group);
                    self.groups.remove(&group);
                }
            }
        }
    }

    /// Makes a producer's pending offsets count, or drops them.
    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let taken = self.pending.take(producer_id);
        for (group, entries) in taken.into_iter().filter(|_| committed) {
            self.change_offsets(&group, |offsets| entries.into_iter().for_each(|entry| offsets.put(entry)));
        }
    }

    fn change_offsets(&mut self, group: &Arc<str>, change: impl FnOnce(&mut Offsets)) {
        let offsets = &mut self.group(group).offsets;
        let before = offsets.bytes();
        change(offsets);
        let after = offsets.bytes();
        self.offsets_bytes = self.offsets_bytes - before + after;
    }
}
