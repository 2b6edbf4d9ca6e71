//! Produce (0): appends batches as they came; answers when they are durable.
//!
//! ```text
//! submit ──────────────► every batch appended or refused ──► every ticket resolved ──► finish
//!    ▲      │                                            (or the request's timeout)
//!    └──────┘ the log is full: the connection reads no further until `submit` went through
//! ```

mod check;
pub(crate) mod codec;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use highwater_coordinator::{Admitted, Topic, TransactionError, TransactionVersion};
use highwater_env::TopicPartition;
use highwater_log::{AppendError, LogBatch, Ticket};

use crate::api::TopicRef;
use crate::broker::{Answer, Broker};
use crate::errors::{ErrorCode, Refused, append_error, produce_error};
use crate::request::{Refusal, Request};
use crate::response::Response;
use check::BadBatch;
use codec::{PartitionAnswer, ProducePartition, ProduceRequest};

/// A client may not ask for an answer sooner or later than this.
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// The first version whose records add their partitions to the transaction (KIP-890).
const ADDS_PARTITIONS_SINCE: i16 = 12;

/// A Produce on its way.
pub struct ParkedProduce {
    broker: Arc<Broker>,
    request: Request,
    transactional_id: Option<String>,
    acks: i16,
    deadline: Duration,
    topics: Vec<(TopicRef, Vec<Append>)>,
}

struct Append {
    index: i32,
    /// Of a topic whose timestamps are the append's.
    append_time_ms: Option<i64>,
    state: AppendState,
}

enum AppendState {
    /// Not yet taken by the log.
    Ready(TopicPartition, LogBatch),
    /// Taken, not yet durable.
    Taken(TopicPartition, Ticket),
    Durable {
        base_offset: i64,
        log_start_offset: i64,
    },
    Failed(BadBatch),
}

/// Whether a request has records for a topic that decodes them.
pub(crate) fn decodes(broker: &Broker, request: &Request) -> bool {
    if !broker.topics.any_decodes() {
        return false;
    }
    let decodes = |topic: &TopicRef| broker.find_topic(topic).is_ok_and(|topic| topic.config.decodes());
    // One that cannot be read is refused when it is answered.
    ProduceRequest::read(request.reader(), request.version)
        .is_ok_and(|asked| asked.topics.iter().any(|asked| decodes(&asked.topic)))
}

impl ParkedProduce {
    /// Reads a request and appends what the log takes at once.
    pub(crate) fn start(broker: &Arc<Broker>, mut request: Request) -> Result<Self, Refusal> {
        let asked = ProduceRequest::read(request.reader(), request.version)
            .map_err(|error| request.malformed(error))?;
        // The records are held by their batches from here on, not by the frame.
        request.release();
        let refused = refuse_all(&asked);
        let transactional = asked.transactional_id.is_some();
        let topics = asked.topics.into_iter().map(|asked| {
            let topic = match &refused {
                Some(refused) => Err(refused.clone()),
                None => broker.find_topic(&asked.topic).map_err(|code| Refused::new(code, "no such topic")),
            };
            let appends = asked.partitions.into_iter().map(|partition| {
                Append::start(broker, topic.as_ref(), partition, (request.version, transactional))
            });
            let appends = appends.collect();
            (asked.topic, appends)
        });
        let topics = topics.collect();
        let timeout = Duration::from_millis(u64::try_from(asked.timeout_ms).unwrap_or(0));
        let deadline = broker.clock.monotonic() + timeout.clamp(TIMEOUT_MIN, TIMEOUT_MAX);
        let mut parked = Self {
            broker: Arc::clone(broker),
            request,
            transactional_id: asked.transactional_id,
            acks: asked.acks,
            deadline,
            topics,
        };
        parked.submit();
        Ok(parked)
    }

    /// Appends what is not appended yet. Stops at the first batch for which the log has no room,
    /// so that batches keep their order.
    pub(crate) fn submit(&mut self) {
        let (broker, version) = (&self.broker, self.request.version);
        let speaks = match version < ADDS_PARTITIONS_SINCE {
            true => TransactionVersion::One,
            false => TransactionVersion::Two,
        };
        for append in self.topics.iter_mut().flat_map(|(_, appends)| appends) {
            let AppendState::Ready(tp, batch) = &append.state else { continue };
            let appended = match self.transactional_id.as_deref().filter(|_| batch.is_transactional()) {
                Some(id) => broker.transactions.append(id, speaks, *tp, batch.clone()),
                None => broker.log.append(*tp, batch.clone()).map_err(TransactionError::from),
            };
            append.state = match appended {
                Ok(ticket) => AppendState::Taken(*tp, ticket),
                Err(TransactionError::Append(AppendError::Backpressure(_))) => return,
                Err(error) => {
                    let refused = Refused::new(produce_error(&error, version), error.to_string());
                    AppendState::Failed(refused.into())
                }
            };
        }
    }

    /// Whether the log had no room for all of it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.appends().any(|append| matches!(append.state, AppendState::Ready(..)))
    }

    /// Refuses what the log still has no room for.
    pub(crate) fn give_up(&mut self) {
        for append in self.topics.iter_mut().flat_map(|(_, appends)| appends) {
            if matches!(append.state, AppendState::Ready(..)) {
                let why = "the log has no room for more, try again later";
                append.state = AppendState::Failed(Refused::new(ErrorCode::NotEnoughReplicas, why).into());
            }
        }
    }

    /// Whether nothing is waited for any more.
    pub(crate) fn is_done(&self) -> bool {
        self.acks == 0 || !self.appends().any(|append| matches!(append.state, AppendState::Taken(..)))
    }

    pub(crate) fn deadline(&self) -> Duration {
        self.deadline
    }

    fn appends(&self) -> impl Iterator<Item = &Append> {
        self.topics.iter().flat_map(|(_, appends)| appends)
    }

    /// Ready once everything is durable or refused. Waits for one ticket at a time.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.acks == 0 {
            return Poll::Ready(());
        }
        for append in self.topics.iter_mut().flat_map(|(_, appends)| appends) {
            let AppendState::Taken(tp, ticket) = &mut append.state else { continue };
            let Poll::Ready(outcome) = Pin::new(&mut *ticket).poll(context) else { return Poll::Pending };
            append.state = match outcome {
                Ok(()) => {
                    let bounds = self.broker.log.bounds(*tp).unwrap_or_default();
                    AppendState::Durable {
                        base_offset: ticket.base_offset,
                        log_start_offset: bounds.log_start_offset,
                    }
                }
                Err(error) => AppendState::Failed(refused(&error)),
            };
        }
        Poll::Ready(())
    }

    /// The answer. What is not durable yet is answered as timed out.
    pub(crate) fn finish(mut self) -> Answer {
        self.give_up();
        let codes = self.appends().map(|append| match &append.state {
            AppendState::Failed(BadBatch { refused: Refused { code, message }, .. }) => {
                tracing::debug!(partition = append.index, code = code.code(), "produce refused: {message}");
                *code
            }
            _ => ErrorCode::None,
        });
        let failed: Vec<ErrorCode> = codes.filter(|code| *code != ErrorCode::None).collect();
        self.broker.count_errors(failed.len());
        if self.acks == 0 {
            return match failed.first() {
                None => Answer::Silent,
                Some(code) => Answer::Close(Refusal::UnacknowledgedFailed { code: code.code() }),
            };
        }
        let flexible = self.request.api.flexible(self.request.version);
        let topics = self.topics.iter().map(|(topic, appends)| {
            (topic, appends.iter().map(|append| append.answer()).collect::<Vec<_>>())
        });
        let body = codec::write(self.request.version, flexible, topics);
        Answer::Reply(Response::new(self.request.correlation_id, flexible, body, None))
    }
}

impl Append {
    /// What is to be appended to one partition, as a request of `version` asks.
    fn start(
        broker: &Broker,
        topic: Result<&Topic, &Refused>,
        asked: ProducePartition,
        (version, transactional): (i16, bool),
    ) -> Self {
        let index = asked.index;
        let ready = || -> Result<_, BadBatch> {
            let topic = topic.map_err(|refused| BadBatch::from(refused.clone()))?;
            let _turn = topic.config.decodes().then(|| broker.decoding.take());
            let admitted = check::check(broker, topic, (index, asked.records), version)?;
            check_transactional(transactional, &admitted.batch)?;
            Ok((topic.partition(index), admitted))
        };
        match ready() {
            Ok((tp, Admitted { batch, append_time_ms })) => {
                Self { index, append_time_ms, state: AppendState::Ready(tp, batch) }
            }
            Err(bad) => Self { index, append_time_ms: None, state: AppendState::Failed(bad) },
        }
    }

    fn answer(&self) -> PartitionAnswer<'_> {
        let failed = |code: ErrorCode, message, bad_records| PartitionAnswer {
            index: self.index,
            code: code.code(),
            base_offset: -1,
            append_time_ms: None,
            log_start_offset: -1,
            bad_records,
            message,
        };
        match &self.state {
            AppendState::Durable { base_offset, log_start_offset } => PartitionAnswer {
                index: self.index,
                code: ErrorCode::None.code(),
                base_offset: *base_offset,
                append_time_ms: self.append_time_ms,
                log_start_offset: *log_start_offset,
                bad_records: &[],
                message: None,
            },
            AppendState::Failed(bad) => failed(bad.refused.code, Some(&bad.refused.message), &bad.records),
            AppendState::Ready(..) | AppendState::Taken(..) => {
                failed(ErrorCode::RequestTimedOut, Some("not durable before the request's timeout"), &[])
            }
        }
    }
}

/// A reason that holds for every partition of the request.
fn refuse_all(asked: &ProduceRequest) -> Option<Refused> {
    if !(-1..=1).contains(&asked.acks) {
        return Some(Refused::new(ErrorCode::InvalidRequiredAcks, "acks must be -1, 0 or 1"));
    }
    None
}

/// A transactional batch comes with a transactional id. (Kafka sees in this a client that may not use
/// the id; the other way round is taken, for the batch is not part of any transaction.)
fn check_transactional(transactional: bool, batch: &LogBatch) -> Result<(), BadBatch> {
    if batch.is_transactional() && !transactional {
        let why = "a transactional batch without a transactional id";
        return Err(Refused::new(ErrorCode::TransactionalIdAuthorizationFailed, why).into());
    }
    Ok(())
}

fn refused(error: &AppendError) -> BadBatch {
    Refused::new(append_error(error), error.to_string()).into()
}
