//! What a broker is told: who it is, and its limits.

use std::time::Duration;

/// Identity and limits of a broker. Every limit has a default.
#[derive(Clone, Debug)]
pub struct BrokerOptions {
    /// This node's id in Metadata, at least 0.
    pub node_id: i32,
    /// The largest request, in bytes, its length field excluded.
    pub frame_bytes_max: usize,
    /// The largest request that carries no records, in bytes, its length field excluded.
    pub control_frame_bytes_max: usize,
    /// Bytes of requests and responses held at one time by all connections together. Sockets are
    /// not read while it is used up.
    pub in_flight_bytes_max: u64,
    /// Batches that are decoded at one time, at least 1: each may take twice 64 MiB meanwhile, and a
    /// processor.
    pub decoding_max: usize,
    /// The most record bytes of one Fetch answer; exceeded only by its first batch.
    pub fetch_bytes_max: usize,
    /// The longest a Fetch may wait for records, whatever the client asks.
    pub fetch_wait_max: Duration,
    /// Open connections; more are closed at once.
    pub connections_max: usize,
    /// Requests of one connection that are read ahead of its answers.
    pub requests_in_flight_max: usize,
    /// A connection without any request for so long is closed.
    pub idle_max: Duration,
    /// A connection is closed that takes longer to send the rest of a begun request, or to take
    /// the next bytes of an answer.
    pub stall_max: Duration,
    /// How long begun requests may take after shutdown was asked for.
    pub shutdown_grace: Duration,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            node_id: 0,
            frame_bytes_max: 100 << 20,
            control_frame_bytes_max: 8 << 20,
            in_flight_bytes_max: 256 << 20,
            decoding_max: 2,
            // Small answers keep memory low; what is not sent yet is asked for at once.
            fetch_bytes_max: 8 << 20,
            fetch_wait_max: Duration::from_secs(60),
            connections_max: 16_384,
            requests_in_flight_max: 128,
            idle_max: Duration::from_secs(600),
            stall_max: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}
