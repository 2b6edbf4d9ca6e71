//! Fetch (1): stored batches as they are, waiting for more if there are too few.
//!
//! ```text
//! read ──► enough bytes, or an error ──────────────────────────► finish
//!  ▲           │ no                                                 ▲
//!  └── woken ──┴── any partition's high watermark rises ── deadline ┘
//! ```
//! What is in memory is read on the spot. [`ParkedFetch::read`] may wait for the disk, off the socket threads:
//! what lies in segments is found, not read, and goes from its file into the socket.

pub(crate) mod codec;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use highwater_env::{MemoryExhausted, Offset, Reservation, TopicPartition};
use highwater_log::{Bounds, Log, ReadError, StoredRange, StoredRecords};

use crate::api::TopicRef;
use crate::broker::{Answer, Broker, check_leader_epoch};
use crate::errors::{ErrorCode, read_error};
use crate::request::{Refusal, Request};
use crate::response::{Part, Response};
use codec::{FetchRequest, Form, PartitionAnswer};

/// A Fetch on its way.
pub struct ParkedFetch {
    broker: Arc<Broker>,
    request: Request,
    form: Form,
    code: ErrorCode,
    deadline: Duration,
    bytes_min: usize,
    bytes_max: usize,
    bytes: usize,
    /// Memory for those of `bytes` that are in memory.
    held: Option<Reservation>,
    /// Whether there was no memory for what could be read: answered, late, with what there is.
    starved: bool,
    topics: Vec<(TopicRef, Vec<Slice>)>,
}

/// The part of one partition that goes into the answer.
struct Slice {
    index: i32,
    tp: Option<TopicPartition>,
    next_offset: Offset,
    bytes_left: usize,
    code: ErrorCode,
    bounds: Bounds,
    /// Producer id and first offset of aborted transactions among the batches.
    aborted: Vec<(i64, Offset)>,
    batches: Vec<Part>,
}

impl ParkedFetch {
    /// Reads a request; no records yet.
    pub(crate) fn start(broker: &Arc<Broker>, mut request: Request) -> Result<Self, Refusal> {
        let asked = FetchRequest::read(request.reader(), request.version)
            .map_err(|error| request.malformed(error))?;
        request.body = Bytes::new();
        let code = if asked.session_id == 0 { ErrorCode::None } else { ErrorCode::FetchSessionIdNotFound };
        let known = code == ErrorCode::None;
        let topics = asked.topics.into_iter().filter(|_| known).map(|topic| {
            let id = broker.find_topic(&topic.topic).map(|found| found.id);
            let slices = topic.partitions.iter().map(|asked| {
                let found = id.and_then(|topic| check_leader_epoch(asked.leader_epoch).map(|()| topic));
                Slice {
                    index: asked.index,
                    tp: found.ok().map(|topic| TopicPartition { topic, partition: asked.index }),
                    next_offset: asked.offset,
                    bytes_left: usize::try_from(asked.max_bytes).unwrap_or(0),
                    code: found.err().unwrap_or(ErrorCode::None),
                    bounds: PartitionAnswer::NO_BOUNDS,
                    aborted: Vec::new(),
                    batches: Vec::new(),
                }
            });
            let slices = slices.collect();
            (topic.topic, slices)
        });
        let topics = topics.collect();
        let wait = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0));
        let version = request.version;
        let flexible = request.api.flexible(version);
        Ok(Self {
            deadline: broker.clock.monotonic() + wait.min(broker.options.fetch_wait_max),
            broker: Arc::clone(broker),
            request,
            form: Form { version, flexible, committed_only: asked.committed_only },
            code,
            bytes_min: usize::try_from(asked.min_bytes).unwrap_or(0),
            bytes_max: usize::try_from(asked.max_bytes).unwrap_or(0).min(broker.options.fetch_bytes_max),
            bytes: 0,
            held: None,
            starved: false,
            topics,
        })
    }

    /// Reads what is there by now, up to the request's limits. May wait for the disk.
    pub(crate) fn read(&mut self) {
        self.read_by(|log, tp, from, room, committed_only| {
            log.read_stored(tp, from, room, committed_only).map(Some)
        });
    }

    /// Reads what is in memory; true if more is in files, to be [read](ParkedFetch::read).
    pub(crate) fn read_memory(&mut self) -> bool {
        !self.read_by(Log::read_in_memory)
    }

    /// Reads partition by partition; false if it came to one that `read` does not give.
    fn read_by(
        &mut self,
        read: impl Fn(&Log, TopicPartition, Offset, usize, bool) -> Result<Option<StoredRange>, ReadError>,
    ) -> bool {
        for slice in self.topics.iter_mut().flat_map(|(_, slices)| slices) {
            let Some(tp) = slice.tp.filter(|_| slice.takes_more(self.form)) else { continue };
            // The answer's first batch is sent whatever its size, or a consumer would stand still.
            let first = self.bytes == 0;
            let room = slice.bytes_left.min(self.bytes_max.saturating_sub(self.bytes));
            if room == 0 && !first {
                continue;
            }
            // Records of an open transaction neither go into the answer nor end the wait.
            match read(&self.broker.log, tp, slice.next_offset, room, self.form.committed_only) {
                Ok(None) => return false,
                Ok(Some(range)) => {
                    if let StoredRecords::Batches(_) = &range.records
                        && hold(&self.broker, &mut self.held, range.records.len()).is_err()
                    {
                        self.starved = true;
                        return true;
                    }
                    self.bytes += range.records.len();
                    slice.take(range, self.form);
                }
                Err(error) => slice.fail(read_error(&error)),
            }
        }
        true
    }

    /// Whether it can be answered without waiting longer.
    pub(crate) fn is_done(&self) -> bool {
        let failed = || self.slices().any(|slice| slice.code != ErrorCode::None);
        let nothing_to_wait_for = || self.slices().next().is_none();
        self.bytes >= self.bytes_min || self.bytes >= self.bytes_max || failed() || nothing_to_wait_for()
    }

    /// Ready when a partition has records beyond those read.
    pub(crate) fn poll_more(&self, context: &mut Context<'_>) -> Poll<()> {
        let waiting = || self.slices().filter(|slice| slice.bytes_left > 0 && slice.takes_more(self.form));
        let more = |slice: &Slice| {
            let Some(tp) = slice.tp else { return true };
            // A partition that is gone is an answer too.
            self.broker
                .log
                .bounds(tp)
                .map_or(true, |bounds| bounds.readable_end(self.form.committed_only) > slice.next_offset)
        };
        if self.starved {
            return Poll::Pending;
        }
        if waiting().any(more) {
            return Poll::Ready(());
        }
        // A stopped log wakes at once, for ever, and brings no more records.
        if self.broker.log.stats().poisoned.is_some() {
            return Poll::Pending;
        }
        for slice in waiting() {
            if let Some(tp) = slice.tp {
                // Records of an open transaction are there already: what is waited for is a marker.
                let high_watermark = self.broker.log.bounds(tp).map_or(0, |bounds| bounds.high_watermark);
                let next_offset = slice.next_offset.max(high_watermark);
                self.broker.log.wake_at(tp, next_offset, context.waker());
            }
        }
        Poll::Pending
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    fn slices(&self) -> impl Iterator<Item = &Slice> {
        self.topics.iter().flat_map(|(_, slices)| slices)
    }

    /// The answer, with what was read.
    pub(crate) fn finish(self) -> Answer {
        let failed = self.slices().filter(|slice| slice.code != ErrorCode::None).count();
        self.broker.count_errors(failed);
        let mut topics = self.topics;
        let topics = topics.iter_mut().map(|(topic, slices)| {
            let answers = slices.iter_mut().map(|slice| PartitionAnswer {
                index: slice.index,
                code: slice.code.code(),
                bounds: slice.bounds,
                aborted: std::mem::take(&mut slice.aborted),
                batches: std::mem::take(&mut slice.batches),
            });
            (&*topic, answers.collect())
        });
        let body = codec::write(self.form, self.code.code(), topics);
        Answer::Reply(Response::new(self.request.correlation_id, self.form.flexible, body, self.held))
    }
}

/// Holds memory for `more` bytes of records.
fn hold(broker: &Broker, held: &mut Option<Reservation>, more: usize) -> Result<(), MemoryExhausted> {
    match held {
        Some(reservation) => reservation.grow(more as u64),
        None => {
            *held = Some(broker.budget.reserve(more as u64)?);
            Ok(())
        }
    }
}

impl Slice {
    /// Whether a read may add to it. Batches of a transaction and the list of those that were aborted
    /// come from one moment, or compaction might take away one without the other: read_committed
    /// takes one read.
    fn takes_more(&self, form: Form) -> bool {
        self.code == ErrorCode::None && (!form.committed_only || self.batches.is_empty())
    }

    fn take(&mut self, range: StoredRange, form: Form) {
        self.bounds = range.bounds;
        let end = range.records.next_offset(self.next_offset);
        if form.committed_only {
            let begun = range.aborted.iter().filter(|one| one.first_offset < end);
            self.aborted = begun.map(|one| (one.producer_id, one.first_offset)).collect();
        }
        self.next_offset = end;
        self.bytes_left = self.bytes_left.saturating_sub(range.records.len());
        match range.records {
            StoredRecords::Batches(batches) => {
                self.batches.extend(batches.iter().map(|batch| Part::Bytes(batch.bytes().clone())));
            }
            StoredRecords::File(range) => self.batches.push(Part::File(range)),
        }
    }

    fn fail(&mut self, code: ErrorCode) {
        self.code = code;
        // Records read before the failure are sent by the next request, if they are still there.
        self.batches.clear();
        self.aborted.clear();
        self.bounds = PartitionAnswer::NO_BOUNDS;
    }
}
