//! One broker: takes a frame's bytes, gives an answer's bytes, now or later. No sockets here.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use highwater_coordinator::{Coordinators, Groups, Topic, Topics, Transactions};
use highwater_env::{Clock, Entropy, MemoryBudget};
use highwater_log::Log;

use crate::api::fetch::ParkedFetch;
use crate::api::produce::{self, ParkedProduce};
use crate::api::{Serve, TopicRef, api_versions};
use crate::errors::ErrorCode;
use crate::listener::Listener;
use crate::options::BrokerOptions;
use crate::request::{Refusal, Request};
use crate::response::Response;
use crate::stats::{BrokerStats, Counters, add};
use crate::turns::Turns;
use crate::waiting::ParkedWaiting;

/// There is one leader for ever: this node.
pub(crate) const LEADER_EPOCH: i32 = 0;

/// How often [`Broker::tick`] is to be called.
pub const TICK: Duration = Duration::from_millis(100);

/// A Kafka broker over one log and its topics.
pub struct Broker {
    pub(crate) log: Log,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) options: BrokerOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) budget: MemoryBudget,
    /// What requests beyond the usual size may hold of `budget`.
    pub(crate) large_frames: MemoryBudget,
    pub(crate) counters: Counters,
    pub(crate) decoding: Turns,
}

/// What became of a request.
pub enum Handled {
    /// It is answered.
    Answered(Answer),
    /// Its answer waits for the disk, or for records.
    Parked(Parked),
}

/// The end of a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Reply(Response),
    /// Send nothing: the client did not ask for an acknowledgement.
    Silent,
    /// Close the connection.
    Close(Refusal),
}

/// A request whose answer waits. Answers of one connection are sent in the order of its requests.
///
/// ```text
/// while is_blocked: wait a little, retry        (nothing else is read from the connection)
/// loop:
///     if read_memory: read                      (may wait for the disk)
///     if is_done, or the deadline has passed: finish
///     wait until poll is ready, or for the deadline
/// ```
pub enum Parked {
    /// Waits for its records to be durable.
    Produce(ParkedProduce),
    /// Waits for records to be there.
    Fetch(ParkedFetch),
    /// Waits for a change to be durable, or for other clients.
    Waiting(ParkedWaiting),
}

impl Broker {
    /// A broker over `log` and what is coordinated in it. Requests and answers in flight share a part of `budget`,
    /// at most [`BrokerOptions::in_flight_bytes_max`].
    pub fn new(
        log: Log,
        coordinators: Coordinators,
        options: BrokerOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        budget: &MemoryBudget,
    ) -> Self {
        let budget = budget.child("broker", options.in_flight_bytes_max);
        let large_frames = budget.child("large requests", options.in_flight_bytes_max / 2);
        let decoding = Turns::new(options.decoding_max);
        let Coordinators { topics, groups, transactions } = coordinators;
        Self {
            log,
            topics,
            groups,
            transactions,
            options,
            clock,
            entropy,
            budget,
            large_frames,
            counters: Counters::default(),
            decoding,
        }
    }

    /// What it has done so far.
    pub fn stats(&self) -> BrokerStats {
        self.counters.snapshot()
    }

    /// Its identity and limits.
    pub fn options(&self) -> &BrokerOptions {
        &self.options
    }

    /// Does what is due by now: members and transactions that stayed silent for too long, offsets
    /// that nobody needs any more. To be called about every [`TICK`]; never waits.
    pub fn tick(&self) {
        self.groups.tick();
        self.transactions.tick();
    }

    /// Takes one frame, its length field gone. Appends happen before this returns, so that frames
    /// handed over in order are appended in order, unless the result is
    /// [blocked](Parked::is_blocked).
    pub fn handle(self: &Arc<Self>, frame: Bytes) -> Handled {
        self.handle_from(&Arc::default(), frame)
    }

    /// As [`Broker::handle`], of a frame that came in by `listener`.
    pub fn handle_from(self: &Arc<Self>, listener: &Arc<Listener>, frame: Bytes) -> Handled {
        match self.open(frame, listener) {
            Ok(request) => self.answer(request),
            Err(refusal) => Handled::Answered(Answer::Close(refusal)),
        }
    }

    /// Reads a frame's header.
    pub(crate) fn open(&self, frame: Bytes, listener: &Arc<Listener>) -> Result<Request, Refusal> {
        add(&self.counters.bytes_in, frame.len() + 4);
        let len = frame.len();
        let mut request = Request::read(frame, listener)?;
        add(&self.counters.requests[request.api_index], 1);
        let max = self.options.control_frame_bytes_max;
        if !matches!(request.api.serve, Serve::Produce) && len > max {
            return Err(Refusal::TooLarge { api: request.api.name, len, max });
        }
        request.decodes = matches!(request.api.serve, Serve::Produce) && produce::decodes(self, &request);
        Ok(request)
    }

    /// Answers an opened request; waits, or takes long, if [`Request::may_block`].
    pub(crate) fn answer(self: &Arc<Self>, request: Request) -> Handled {
        let handled = match &request.api.serve {
            Serve::Produce => {
                ParkedProduce::start(self, request).map(|p| Handled::Parked(Parked::Produce(p)))
            }
            Serve::Fetch => ParkedFetch::start(self, request).map(|p| Handled::Parked(Parked::Fetch(p))),
            Serve::ApiVersions => api_versions::answer(&request).map(|body| reply(&request, body)),
            Serve::Control(_, answer) => answer(self, &request).map(|body| reply(&request, body)),
            Serve::Waiting(_, answer) => answer(self, &request)
                .map(|waiting| Handled::Parked(Parked::Waiting(ParkedWaiting::new(request, waiting)))),
        };
        handled.unwrap_or_else(|refusal| Handled::Answered(Answer::Close(refusal)))
    }

    pub(crate) fn find_topic(&self, topic: &TopicRef) -> Result<Topic, ErrorCode> {
        match topic {
            TopicRef::Name(name) => self.topics.get(name).ok_or(ErrorCode::UnknownTopicOrPartition),
            TopicRef::Id(id) => self.topics.by_id(*id).ok_or(ErrorCode::UnknownTopicId),
        }
    }

    pub(crate) fn count_error(&self) {
        self.count_errors(1);
    }

    pub(crate) fn count_errors(&self, n: usize) {
        add(&self.counters.errors, n);
    }
}

/// Whether a client that believes in this leader epoch is right (KIP-320); -1 believes in none.
pub(crate) fn check_leader_epoch(epoch: i32) -> Result<(), ErrorCode> {
    const UNKNOWN: i32 = -1;
    match epoch {
        UNKNOWN | LEADER_EPOCH => Ok(()),
        LEADER_EPOCH.. => Err(ErrorCode::UnknownLeaderEpoch),
        _ => Err(ErrorCode::FencedLeaderEpoch),
    }
}

fn reply(request: &Request, body: Bytes) -> Handled {
    Handled::Answered(Answer::Reply(request.response(body)))
}

impl Parked {
    /// Whether the log had no room for it; then no later request of the connection may be handled
    /// before [`Parked::retry`] helped, or [`Parked::give_up`] was called.
    pub fn is_blocked(&self) -> bool {
        match self {
            Self::Produce(produce) => produce.is_blocked(),
            Self::Fetch(_) | Self::Waiting(_) => false,
        }
    }

    /// Appends what the log had no room for before.
    pub fn retry(&mut self) {
        match self {
            Self::Produce(produce) => produce.submit(),
            Self::Fetch(_) | Self::Waiting(_) => {}
        }
    }

    /// Refuses what the log still has no room for, with a retriable error.
    pub fn give_up(&mut self) {
        match self {
            Self::Produce(produce) => produce.give_up(),
            Self::Fetch(_) | Self::Waiting(_) => {}
        }
    }

    /// Reads records that are in memory; whether there are others to [read](Parked::read).
    pub fn read_memory(&mut self) -> bool {
        match self {
            Self::Produce(_) | Self::Waiting(_) => false,
            Self::Fetch(fetch) => fetch.read_memory(),
        }
    }

    /// Whether it waits for something that need not ever come: then it must be
    /// [finished](Parked::finish) as it is once its client is gone.
    pub fn ends_with_connection(&self) -> bool {
        match self {
            Self::Produce(_) => false,
            Self::Fetch(_) => true,
            Self::Waiting(waiting) => waiting.ends_with_connection(),
        }
    }

    /// Reads records. May wait for the disk.
    pub fn read(&mut self) {
        match self {
            Self::Produce(_) | Self::Waiting(_) => {}
            Self::Fetch(fetch) => fetch.read(),
        }
    }

    /// Ready when looking again is worthwhile; else the context's waker is woken then.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Produce(produce) => produce.poll(context),
            Self::Fetch(fetch) => fetch.poll_more(context),
            Self::Waiting(waiting) => waiting.poll(context),
        }
    }

    /// Whether it can be answered without waiting longer.
    pub fn is_done(&self) -> bool {
        match self {
            Self::Produce(produce) => produce.is_done(),
            Self::Fetch(fetch) => fetch.is_done(),
            Self::Waiting(waiting) => waiting.is_done(),
        }
    }

    /// When it must be answered, on the clock's monotonic time.
    pub fn deadline(&self) -> Duration {
        match self {
            Self::Produce(produce) => produce.deadline(),
            Self::Fetch(fetch) => fetch.deadline(),
            Self::Waiting(_) => Duration::MAX,
        }
    }

    /// The answer as things stand.
    pub fn finish(self) -> Answer {
        match self {
            Self::Produce(produce) => produce.finish(),
            Self::Fetch(fetch) => fetch.finish(),
            Self::Waiting(waiting) => waiting.finish(),
        }
    }
}
