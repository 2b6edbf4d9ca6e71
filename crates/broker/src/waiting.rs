//! Answers that come later: a request's change is made when it is handled, its answer is a future.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::broker::Answer;
use crate::request::{Refusal, Request};

/// An answer's body, later.
pub(crate) type AnswerFuture = Pin<Box<dyn Future<Output = Result<Bytes, Refusal>> + Send>>;

/// How an answer is waited for.
pub(crate) struct Waiting {
    answer: AnswerFuture,
    patience: Patience,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// The disk answers, or the log fails: the end is near in any case.
    Durable,
    /// Other clients must act, which they need not ever do.
    Clients,
}

impl Waiting {
    /// Waits for the disk only.
    pub(crate) fn for_disk(answer: impl Future<Output = Result<Bytes, Refusal>> + Send + 'static) -> Self {
        Self { answer: Box::pin(answer), patience: Patience::Durable }
    }

    /// Waits for other clients: given up once its own client is gone.
    pub(crate) fn for_clients(answer: impl Future<Output = Result<Bytes, Refusal>> + Send + 'static) -> Self {
        Self { answer: Box::pin(answer), patience: Patience::Clients }
    }

    /// Waits for nothing.
    pub(crate) fn ready(answer: Result<Bytes, Refusal>) -> Self {
        Self::for_disk(std::future::ready(answer))
    }
}

/// A request whose change is made and whose answer is on its way.
pub struct ParkedWaiting {
    request: Request,
    waiting: Waiting,
    outcome: Option<Result<Bytes, Refusal>>,
}

impl ParkedWaiting {
    pub(crate) fn new(mut request: Request, waiting: Waiting) -> Self {
        // What the future still needs it holds itself.
        request.release();
        Self { request, waiting, outcome: None }
    }

    pub(crate) fn ends_with_connection(&self) -> bool {
        self.waiting.patience == Patience::Clients
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.outcome.is_none() {
            match self.waiting.answer.as_mut().poll(context) {
                Poll::Ready(outcome) => self.outcome = Some(outcome),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    pub(crate) fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    /// The answer; a closed connection, if there is none yet.
    pub(crate) fn finish(self) -> Answer {
        match self.outcome {
            Some(Ok(body)) => Answer::Reply(self.request.response(body)),
            Some(Err(refusal)) => Answer::Close(refusal),
            None => Answer::Close(Refusal::Abandoned { api: self.request.api.name }),
        }
    }
}
