//! What the gateway counts for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the start.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    pub(crate) requests: AtomicU64,
    pub(crate) accepted_events: AtomicU64,
    pub(crate) body_bytes: AtomicU64,
    pub(crate) rejected_events: AtomicU64,
    pub(crate) refused_requests: AtomicU64,
}

/// [`GatewayCounters`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GatewayNumbers {
    /// Ingest requests that came.
    pub requests: u64,
    /// Events that are durable.
    pub accepted_events: u64,
    /// Bytes of bodies read, inflated.
    pub body_bytes: u64,
    /// Events refused for what they are.
    pub rejected_events: u64,
    /// Requests answered with an error.
    pub refused_requests: u64,
}

impl GatewayCounters {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// The counts now.
    pub fn now(&self) -> GatewayNumbers {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        GatewayNumbers {
            requests: read(&self.requests),
            accepted_events: read(&self.accepted_events),
            body_bytes: read(&self.body_bytes),
            rejected_events: read(&self.rejected_events),
            refused_requests: read(&self.refused_requests),
        }
    }
}
