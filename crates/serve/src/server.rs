//! The server: what its handlers share, and its life from listener to shutdown.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use highwater_env::Clock;
use highwater_gateway::Gateway;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::connections::Connections;
use crate::guard::HostRules;
use crate::node::{GroupOverview, Node, NodeError, TopicStatus};
use crate::problem::Problem;
use crate::progress::Progress;
use crate::rates::Rates;
use crate::routes;

/// How often rates are measured.
const RATE_STEP: Duration = Duration::from_secs(1);

/// Limits of the server, and where it may be reached.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Names under which the node may be asked for.
    pub hosts: HostRules,
    /// The demo's supervisor, `http://127.0.0.1:PORT`: the page shows its panel and talks to it.
    pub demo_url: Option<String>,
    /// Open connections; more wait in the listener's queue.
    pub connections_max: usize,
    /// A connection on which nothing moves for so long is closed.
    pub idle_timeout: Duration,
    /// Open table subscriptions and waits for a position, together.
    pub waits_max: usize,
    /// How long `?after=` may wait.
    pub wait_max: Duration,
    /// How often a silent subscription sends a comment, so that both sides see it is alive.
    pub keep_alive: Duration,
    /// How long a shutdown waits for requests under way.
    pub shutdown_grace: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            hosts: HostRules::default(),
            demo_url: None,
            connections_max: 1024,
            idle_timeout: Duration::from_secs(75),
            waits_max: 256,
            wait_max: Duration::from_secs(60),
            keep_alive: Duration::from_secs(5),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

/// An HTTP server over a node. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    node: Arc<dyn Node>,
    gateway: Gateway,
    clock: Arc<dyn Clock>,
    options: ServerOptions,
    counters: Counters,
    /// Of topics, by id.
    rates: Rates,
    progress: Progress,
    waits: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// What the server counts for `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) refused_requests: AtomicU64,
    pub(crate) subscribers: AtomicU64,
    pub(crate) overflows: AtomicU64,
}

impl Server {
    /// A server over `node` that takes events through `gateway`.
    pub fn new(node: Arc<dyn Node>, gateway: Gateway, clock: Arc<dyn Clock>, options: ServerOptions) -> Self {
        let waits = Arc::new(Semaphore::new(options.waits_max));
        let (closing, _) = watch::channel(false);
        let counters = Counters::default();
        Self(Arc::new(Inner {
            node,
            gateway,
            clock,
            options,
            counters,
            rates: Rates::default(),
            progress: Progress::default(),
            waits,
            closing,
        }))
    }

    /// Its routes behind the guard.
    pub fn router(&self) -> Router {
        routes::router(self)
    }

    /// Serves until `shutdown` resolves; then ends subscriptions, lets requests under way finish
    /// for a while, and returns. Must run within a tokio runtime with time and I/O.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let measuring = tokio::spawn(self.clone().measure_rates());
        let connections =
            Connections::new(listener, self.0.options.connections_max, self.0.options.idle_timeout);
        let server = self.clone();
        let closing = async move {
            shutdown.await;
            server.0.closing.send_replace(true);
        };
        let serving = axum::serve(connections, self.router()).with_graceful_shutdown(closing);
        let mut closed = self.0.closing.subscribe();
        let grace = self.0.options.shutdown_grace;
        let too_long = async move {
            // The sender lives as long as the server.
            let _ = closed.wait_for(|closing| *closing).await;
            tokio::time::sleep(grace).await;
        };
        let outcome = tokio::select! {
            outcome = serving => outcome,
            () = too_long => Ok(()),
        };
        measuring.abort();
        outcome
    }

    async fn measure_rates(self) {
        let mut tick = tokio::time::interval(RATE_STEP);
        loop {
            tick.tick().await;
            let server = self.clone();
            // A panic in the node's code must not end the measuring.
            let _ = tokio::task::spawn_blocking(move || {
                let topics = server.0.node.topics();
                server.0.rates.measure(server.now_ms(), topics.iter().map(|topic| (&*topic.id, ends(topic))))
            })
            .await;
        }
    }

    pub(crate) fn node(&self) -> &Arc<dyn Node> {
        &self.0.node
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.0.gateway
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.0.options
    }

    pub(crate) fn host_rules(&self) -> &HostRules {
        &self.0.options.hosts
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// All groups; see [`Progress::groups`].
    pub(crate) fn groups(&self) -> Result<Arc<[GroupOverview]>, NodeError> {
        self.0.progress.groups(self.0.node.as_ref(), self.0.clock.as_ref())
    }

    pub(crate) fn waits(&self) -> &Arc<Semaphore> {
        &self.0.waits
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.closing.subscribe()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.0.clock.unix_ms()
    }

    /// Asks the node from a thread that may wait for the disk.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Node) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, Problem> {
        let node = Arc::clone(&self.0.node);
        match tokio::task::spawn_blocking(move || question(node.as_ref())).await {
            Ok(answer) => answer.map_err(Problem::from),
            Err(panicked) => Err(Problem::internal(&panicked.to_string())),
        }
    }
}

/// The sum of a topic's high watermarks.
fn ends(topic: &TopicStatus) -> u64 {
    topic.partitions.iter().map(|partition| u64::try_from(partition.high_watermark).unwrap_or(0)).sum()
}
