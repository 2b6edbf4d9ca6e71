//! What a broker counts.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::api::APIS;

/// What a broker has done since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerStats {
    /// Connections open now.
    pub connections_open: u64,
    /// Connections accepted.
    pub connections_total: u64,
    /// Connections closed at once because too many were open.
    pub connections_refused: u64,
    /// Requests read, by API name.
    pub requests: Vec<(&'static str, u64)>,
    /// Bytes of requests read.
    pub bytes_in: u64,
    /// Bytes of answers sent.
    pub bytes_out: u64,
    /// Partitions and topics answered with an error.
    pub errors: u64,
    /// Connections closed because of what they sent.
    pub refusals: u64,
}

/// The running counts.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) connections_open: AtomicU64,
    pub(crate) connections_total: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    /// One for each row of [`APIS`].
    pub(crate) requests: Box<[AtomicU64]>,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) refusals: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            connections_open: AtomicU64::default(),
            connections_total: AtomicU64::default(),
            connections_refused: AtomicU64::default(),
            requests: APIS.iter().map(|_| AtomicU64::default()).collect(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
            errors: AtomicU64::default(),
            refusals: AtomicU64::default(),
        }
    }
}

/// Adds to a count.
pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(n as u64, Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self) -> BrokerStats {
        let requests = APIS.iter().zip(&self.requests).map(|(api, n)| (api.name, n.load(Relaxed))).collect();
        BrokerStats {
            connections_open: self.connections_open.load(Relaxed),
            connections_total: self.connections_total.load(Relaxed),
            connections_refused: self.connections_refused.load(Relaxed),
            requests,
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            errors: self.errors.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
        }
    }
}
