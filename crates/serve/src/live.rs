//! `GET /v1/tables/{table}/stream`: server-sent events.
//!
//! ```text
//!            subscribe            queue closed, overflowed
//!   Begin ───────────▶ Following ───────────────────────▶ Begin (after `overflow`)
//!                          │ queue closed, or the server stops
//!                          ▼
//!                        Ended (after `end`)
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::node::{ColumnStatus, NodeError, Subscription, TableChanges, Visibility};
use crate::problem::Problem;
use crate::rows::{changes_json, rows_json};
use crate::server::Server;
use crate::tables::with_raw;

/// Rows one event holds at most; a larger snapshot comes in several, all but the last with `"more":true`.
const EVENT_ROWS_MAX: usize = 1000;

/// How long a subscriber that was too slow waits before it begins anew.
const RESYNC_PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn stream(
    server: Server,
    table: String,
    visibility: Visibility,
) -> Result<Response, Problem> {
    let Ok(place) = server.waits().clone().try_acquire_owned() else {
        return Err(Problem::retry("too many subscriptions", "try again later"));
    };
    let name = table.clone();
    let columns = server.ask(move |node| {
        let found = node.tables().into_iter().find(|status| status.name == name);
        found.map(|status| status.columns).ok_or(NodeError::NotFound { what: "table", name })
    });
    let columns = columns.await?;
    let keep_alive = KeepAlive::new().interval(server.options().keep_alive);
    let closing = server.closing();
    server.counters().subscribers.fetch_add(1, Ordering::Relaxed);
    let mut live = Live {
        server,
        table,
        visibility,
        columns,
        ready: VecDeque::new(),
        state: State::Begin,
        closing,
        _place: place,
    };
    // Subscribing before the answer: an unknown table is a 404, not an empty stream.
    live.begin().await?;
    let events =
        stream::unfold(live, |mut live| async move { Some((Ok::<_, Infallible>(live.next().await?), live)) });
    Ok(Sse::new(events).keep_alive(keep_alive).into_response())
}

/// One subscriber.
struct Live {
    server: Server,
    table: String,
    visibility: Visibility,
    columns: Vec<ColumnStatus>,
    /// Events that wait to be sent: parts of one snapshot or of one change.
    ready: VecDeque<Event>,
    state: State,
    closing: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

enum State {
    Begin,
    Following(Box<Subscription>),
    Ended,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.server.counters().subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Live {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match &mut self.state {
                State::Ended => return None,
                State::Begin => {
                    tokio::time::sleep(RESYNC_PAUSE).await;
                    if let Err(problem) = self.begin().await {
                        self.end(problem.message());
                    }
                }
                State::Following(subscription) => {
                    let change = tokio::select! {
                        biased;
                        _ = self.closing.wait_for(|closing| *closing) => None,
                        change = subscription.changes.recv() => Some(change),
                    };
                    let overflowed = subscription.overflowed.load(Ordering::Acquire);
                    match change {
                        None => self.end("the node is stopping"),
                        Some(Some(change)) => self.push_changes(&change),
                        Some(None) if overflowed => self.overflow(),
                        Some(None) => self.end("the table is gone"),
                    }
                }
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Problem> {
        let (table, visibility) = (self.table.clone(), self.visibility);
        let subscription = self.server.ask(move |node| node.subscribe(&table, visibility)).await?;
        let rows = subscription.snapshot.num_rows();
        let mut start = 0;
        loop {
            let part = subscription.snapshot.slice(start, (rows - start).min(EVENT_ROWS_MAX));
            let more = start + part.num_rows() < rows;
            let head = json!({
                "table": self.table,
                "epoch": subscription.epoch.0,
                "columns": self.columns,
                "primary_key": subscription.primary_key,
                "first": start == 0,
                "more": more,
            });
            let data = with_raw(&head, "rows", &rows_json(&part)?);
            self.ready.push_back(Event::default().event("snapshot").data(data));
            start += part.num_rows();
            if !more {
                break;
            }
        }
        self.state = State::Following(Box::new(subscription));
        Ok(())
    }

    fn push_changes(&mut self, change: &TableChanges) {
        let rows = change.changes.len();
        let mut start = 0;
        while start < rows {
            let part = change.changes.slice(start, (rows - start).min(EVENT_ROWS_MAX));
            start += part.len();
            let head = json!({ "epoch": change.epoch.0, "committed": change.committed });
            match changes_json(&part) {
                Ok(changes) => {
                    let data = with_raw(&head, "changes", &changes);
                    self.ready.push_back(Event::default().event("changes").data(data));
                }
                Err(_) => return self.end("rows of this table cannot be shown"),
            }
        }
    }

    fn overflow(&mut self) {
        self.server.counters().overflows.fetch_add(1, Ordering::Relaxed);
        let data = json!({ "message": "changes were left out: a new snapshot follows" });
        self.ready.push_back(Event::default().event("overflow").data(data.to_string()));
        self.state = State::Begin;
    }

    fn end(&mut self, why: &str) {
        let data = json!({ "message": why });
        self.ready.push_back(Event::default().event("end").data(data.to_string()));
        self.state = State::Ended;
    }
}
