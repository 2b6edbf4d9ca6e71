//! Keeps the node alive, measures how long a kill was felt, and gathers the figures.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use highwater_env::Clock;

use crate::cli::DemoArgs;

use super::api::NodeApi;
use super::charts::Charts;
use super::control::Controlled;
use super::fleet::Fleet;
use super::ledger::{percent_encoded, table_rows};
use super::node::{NodeOptions, NodeProcess};
use super::screen::Frame;
use super::senders::{FLEET_PARTITIONS, FLEET_TOPIC, FleetSender, HEALTH_TABLE, HOST_TOPIC, run_host};
use super::status::{Phase, Recovery, Status};
use super::stop::{Stop, locked};

/// The pipelines the demo submits: name and file.
const PIPELINES: [(&str, &str); 3] = [
    ("vehicle_health", include_str!("../../../../examples/demo/vehicle_health.sql")),
    ("region_rates", include_str!("../../../../examples/demo/region_rates.sql")),
    ("host_load", include_str!("../../../../examples/demo/host_load.sql")),
];
/// The tables the charts follow.
const CHART_TABLES: [&str; 2] = ["region_rates", "host_load"];

/// How often requests to kill are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often the table is looked at for `processed`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A recovering table is waited for this long.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);
/// Pause before a broken connection is tried again.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// The demo's state, shared by its threads.
pub(crate) struct Supervisor {
    clock: Arc<dyn Clock>,
    api: NodeApi,
    options: NodeOptions,
    sender: FleetSender,
    node: Mutex<Option<NodeProcess>>,
    status: Mutex<Status>,
    charts: Mutex<Charts>,
    kill_asked: AtomicBool,
    /// Somebody wants the demo to end: nothing new is sent, what is under way is finished.
    asked_to_end: Stop,
    /// The node is gone for good: every thread ends at once.
    ended: Stop,
}

impl Supervisor {
    /// Starts the node, creates topics and pipelines, and starts all threads.
    ///
    /// # Errors
    /// When the node does not start or refuses a pipeline.
    pub(crate) fn start(
        options: NodeOptions,
        args: &DemoArgs,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Arc<Self>> {
        let node = NodeProcess::start(&options)?;
        let api = NodeApi::new(node.http.clone());
        prepare(&api)?;
        let vehicles = usize::try_from(args.vehicles).unwrap_or(1);
        let sender = FleetSender::new(api.clone(), Fleet::new(args.seed, vehicles), args.rate);
        let supervisor = Arc::new(Self {
            clock,
            api,
            options,
            sender,
            node: Mutex::new(Some(node)),
            status: Mutex::new(Status { phase: Phase::Running, ..Status::default() }),
            charts: Mutex::new(Charts::default()),
            kill_asked: AtomicBool::new(false),
            asked_to_end: Stop::default(),
            ended: Stop::default(),
        });
        supervisor.spawn("demo-fleet", |this| {
            if let Err(error) = this.sender.run(this.clock.as_ref(), &this.asked_to_end, &this.ended) {
                this.fail(&error);
            }
        })?;
        supervisor.spawn("demo-host", |this| run_host(&this.api, this.clock.as_ref(), &this.asked_to_end))?;
        supervisor.spawn("demo-node", |this| this.keep_alive())?;
        supervisor.spawn("demo-look", |this| this.look())?;
        for table in CHART_TABLES {
            supervisor.spawn("demo-charts", move |this| this.follow(table))?;
        }
        Ok(supervisor)
    }

    fn spawn(self: &Arc<Self>, name: &str, body: impl FnOnce(&Self) + Send + 'static) -> anyhow::Result<()> {
        let this = Arc::clone(self);
        std::thread::Builder::new().name(name.into()).spawn(move || body(&this))?;
        Ok(())
    }

    /// Asks for a kill -9; one that is under way is not doubled.
    pub(crate) fn kill_soon(&self) {
        self.kill_asked.store(true, Ordering::SeqCst);
    }

    /// Asks the demo to end.
    pub(crate) fn end_soon(&self) {
        self.asked_to_end.stop();
    }

    /// Waits; answers whether the demo was asked to end.
    pub(crate) fn wait(&self, at_most: Duration) -> bool {
        self.asked_to_end.wait(at_most)
    }

    pub(crate) fn status(&self) -> Status {
        locked(&self.status).clone()
    }

    /// The whole screen.
    pub(crate) fn lines(&self, frame: &Frame) -> Vec<String> {
        let status = self.status();
        frame.lines(&status, &locked(&self.charts))
    }

    /// Last exact comparison, then a clean stop of the node.
    pub(crate) fn finish(&self) -> Status {
        self.asked_to_end.stop();
        // Waits for a recovery under way; none begins while this is held.
        let mut node = locked(&self.node);
        if locked(&self.status).trouble.is_empty() {
            self.compare();
        }
        self.ended.stop();
        if let Some(node) = node.take() {
            node.stop();
        }
        self.status()
    }

    fn fail(&self, error: &anyhow::Error) {
        locked(&self.status).trouble = format!("{error:#}");
        self.asked_to_end.stop();
        self.ended.stop();
    }

    fn compare(&self) {
        match self.sender.compare() {
            Ok(balance) => locked(&self.status).take(balance),
            Err(error) => locked(&self.status).trouble = format!("{error:#}"),
        }
    }

    /// Kills when asked, and starts the node again whenever it is gone.
    fn keep_alive(&self) {
        while !self.ended.wait(TICK) {
            let asked = self.kill_asked.swap(false, Ordering::SeqCst);
            let mut slot = locked(&self.node);
            let Some(node) = slot.as_mut() else { return };
            if let Some(status) = node.exited() {
                let error =
                    anyhow::anyhow!("the node ended by itself ({status}); it said:\n{}", node.last_words());
                return self.fail(&error);
            }
            if asked && let Err(error) = self.kill_and_recover(node) {
                return self.fail(&error);
            }
        }
    }

    fn kill_and_recover(&self, node: &mut NodeProcess) -> anyhow::Result<()> {
        let covered = self.sender.acknowledged().position;
        let killed_at = self.clock.monotonic();
        {
            let mut status = locked(&self.status);
            status.phase = Phase::Down;
            status.kills += 1;
        }
        node.kill();
        *node = NodeProcess::start(&self.options).context("after kill -9")?;
        let healthy = self.clock.monotonic() - killed_at;
        locked(&self.status).phase = Phase::CatchingUp;
        self.wait_until_covered(&covered)?;
        let caught_up = self.clock.monotonic() - killed_at;
        {
            let mut status = locked(&self.status);
            status
                .recoveries
                .push(Recovery { healthy_ms: whole_ms(healthy), caught_up_ms: whole_ms(caught_up) });
            status.phase = Phase::Running;
        }
        self.compare();
        Ok(())
    }

    fn wait_until_covered(&self, position: &str) -> anyhow::Result<()> {
        let begun = self.clock.monotonic();
        let path = format!("/v1/tables/{HEALTH_TABLE}?limit=1&after={}", percent_encoded(position));
        loop {
            match self.api.get(&path) {
                Ok(_) => return Ok(()),
                Err(error) if self.clock.monotonic() - begun > CATCH_UP_MAX => {
                    return Err(error.context("the table did not catch up"));
                }
                Err(_) if self.ended.wait(RECONNECT_AFTER) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    /// Reads how far the table is, for the running display.
    fn look(&self) {
        let mut before = (self.clock.monotonic(), 0);
        while !self.ended.wait(LOOK_EVERY) {
            let rows = table_rows(&self.api, HEALTH_TABLE, "");
            let acknowledged = self.sender.acknowledged().events;
            let now = self.clock.monotonic();
            let rate =
                acknowledged.saturating_sub(before.1) as f64 / (now - before.0).as_secs_f64().max(0.001);
            before = (now, acknowledged);
            let mut status = locked(&self.status);
            status.acknowledged = acknowledged;
            status.events_per_second = rate.round() as u64;
            if let Ok(rows) = rows {
                status.processed = rows.iter().filter_map(|row| row["events"].as_u64()).sum();
            }
        }
    }

    fn follow(&self, table: &str) {
        while !self.ended.is_stopped() {
            // A broken stream is opened again: the node may have been killed.
            let _ = self.api.follow(&format!("{table}/stream"), |event| {
                locked(&self.charts).take(event);
                !self.ended.is_stopped()
            });
            self.ended.wait(RECONNECT_AFTER);
        }
    }
}

impl Controlled for Supervisor {
    fn figures(&self) -> String {
        serde_json::to_string(&self.status()).unwrap_or_default()
    }

    fn ask_kill(&self) {
        self.kill_soon();
    }
}

fn prepare(api: &NodeApi) -> anyhow::Result<()> {
    for (topic, partitions) in [(FLEET_TOPIC, FLEET_PARTITIONS), (HOST_TOPIC, 1)] {
        let body = serde_json::json!({"name": topic, "partitions": partitions}).to_string();
        api.post("/v1/topics", "application/json", &body)?;
    }
    for (name, sql) in PIPELINES {
        api.post(&format!("/v1/pipelines?name={name}"), "application/sql", sql)
            .with_context(|| format!("pipeline {name}"))?;
    }
    Ok(())
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
