//! The threads that send events: the fleet's, each event exactly once, and this machine's load.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;
use highwater_env::Clock;

use super::api::{NodeApi, PostError};
use super::fleet::{Event, Fleet};
use super::host::HostMetrics;
use super::ledger::{Balance, Ledger};
use super::stop::{Stop, locked};

/// Topic of vehicle events.
pub(crate) const FLEET_TOPIC: &str = "fleet";
/// Partitions of that topic; vehicles are spread by their id.
pub(crate) const FLEET_PARTITIONS: i32 = 4;
/// Topic of this machine's load.
pub(crate) const HOST_TOPIC: &str = "host";
/// The table whose counts are compared with the acknowledgements.
pub(crate) const HEALTH_TABLE: &str = "vehicle_health";

/// How often events are sent.
const SEND_EVERY: Duration = Duration::from_millis(100);
/// How often this machine is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Pause before a batch is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The fleet makes up for at most this much silence at once, in batches of a bounded size.
const BACKLOG_MAX: Duration = Duration::from_secs(5);
const BATCH_EVENTS_MAX: usize = 2_000;

/// The fleet and what was acknowledged of it. Locked for each batch, from first try to
/// acknowledgement: whoever holds the lock sees no batch half sent.
pub(crate) struct FleetSender {
    api: NodeApi,
    rate: u32,
    sent: Mutex<Sent>,
    /// Readable while a batch is under way.
    acknowledged: Mutex<Acknowledged>,
}

/// How far the acknowledgements are.
#[derive(Clone)]
pub(crate) struct Acknowledged {
    /// Events acknowledged.
    pub(crate) events: u64,
    /// `?after=` of this covers them.
    pub(crate) position: String,
}

struct Sent {
    fleet: Fleet,
    ledger: Ledger,
}

impl FleetSender {
    /// `rate`: events per second.
    pub(crate) fn new(api: NodeApi, fleet: Fleet, rate: u32) -> Self {
        let ledger = Ledger::new(fleet.len());
        let acknowledged = Acknowledged { events: 0, position: ledger.position(FLEET_TOPIC) };
        Self { api, rate, sent: Mutex::new(Sent { fleet, ledger }), acknowledged: Mutex::new(acknowledged) }
    }

    /// How far the acknowledgements are; does not wait for a batch under way.
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        locked(&self.acknowledged).clone()
    }

    /// Holds the fleet still until the table covers everything acknowledged, and compares.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(crate) fn compare(&self) -> anyhow::Result<Balance> {
        let sent = locked(&self.sent);
        sent.ledger.compare(&self.api, FLEET_TOPIC, HEALTH_TABLE, &sent.fleet)
    }

    /// Sends until `asked_to_end`; a batch under way is brought to its end unless the node has `ended`.
    ///
    /// # Errors
    /// When the node refuses an event for good.
    pub(crate) fn run(&self, clock: &dyn Clock, asked_to_end: &Stop, ended: &Stop) -> anyhow::Result<()> {
        let mut driven_until = clock.monotonic();
        while !asked_to_end.wait(SEND_EVERY) {
            let now = clock.monotonic();
            driven_until = driven_until.max(now.saturating_sub(BACKLOG_MAX));
            let due = (now - driven_until).as_secs_f64() * f64::from(self.rate);
            // Far below usize::MAX: bounded by the backlog.
            let count = (due as usize).min(BATCH_EVENTS_MAX);
            if count == 0 {
                continue;
            }
            driven_until += Duration::from_secs_f64(count as f64 / f64::from(self.rate));
            let mut sent = locked(&self.sent);
            let events = sent.fleet.drive(clock.unix_ms(), count);
            sent.send(&self.api, events, ended)?;
            *locked(&self.acknowledged) = Acknowledged {
                events: sent.ledger.acknowledged(),
                position: sent.ledger.position(FLEET_TOPIC),
            };
        }
        Ok(())
    }
}

impl Sent {
    /// Sends until every event is acknowledged or known to be in the log.
    ///
    /// After a request without an answer nobody knows what landed, so the log is asked before
    /// anything is sent again. A batch spreads over several partitions, so a part may have landed.
    fn send(&mut self, api: &NodeApi, mut events: Vec<Event>, ended: &Stop) -> anyhow::Result<()> {
        while !events.is_empty() {
            let lines: Vec<&str> = events.iter().map(|event| event.line.as_str()).collect();
            match api.post_events(FLEET_TOPIC, Some("vehicle_id"), &lines.join("\n")) {
                Ok(answer) if answer.rejected == 0 => {
                    self.ledger.acknowledge(&events, &answer);
                    return Ok(());
                }
                Ok(answer) => bail!("the node rejected {} of the fleet's events", answer.rejected),
                Err(PostError::Refused { status, message })
                    if (400..500).contains(&status) && status != 429 =>
                {
                    bail!("the node answered {status}: {message}")
                }
                Err(PostError::Refused { .. } | PostError::Unknown(_)) => {}
            }
            events = loop {
                if ended.wait(RETRY_AFTER) {
                    return Ok(());
                }
                // Fails for as long as the node is down.
                if let Ok(missing) =
                    self.ledger.settle(api, FLEET_TOPIC, FLEET_PARTITIONS, &self.fleet, events.clone())
                {
                    break missing;
                }
            };
        }
        Ok(())
    }
}

/// Sends this machine's load until stopped. A sample that does not arrive is not missed.
pub(crate) fn run_host(api: &NodeApi, clock: &dyn Clock, stop: &Stop) {
    let mut metrics = HostMetrics::new();
    while !stop.wait(SAMPLE_EVERY) {
        if let Some(line) = metrics.sample(clock.monotonic(), clock.unix_ms()) {
            let _ = api.post_events(HOST_TOPIC, None, &line);
        }
    }
}
