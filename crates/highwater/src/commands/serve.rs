//! `highwater serve`

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use highwater_broker::{Broker, BrokerOptions, Listener, SocketThreads};
use highwater_coordinator::LogTopicWriter;
use highwater_gateway::{Gateway, GatewayOptions};
use highwater_log::RecoveryReport;
use highwater_serve::{HostRules, Server, ServerOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::run::parallelism;
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::listeners::{self, Bound};
use crate::logging;
use crate::node::LocalNode;
use crate::signals::{self, Ending};

const DEFAULT_DATA_DIR: &str = "highwater-data";
/// From the first signal to the end of the process, whatever is still under way.
const SHUTDOWN_MAX: Duration = Duration::from_secs(30);

pub(crate) fn run(args: &ServeArgs) -> Result<()> {
    let mut config = Config::load(args.config.as_deref())?;
    config.http.port = args.http_port.unwrap_or(config.http.port);
    config.kafka.port = args.kafka_port.unwrap_or(config.kafka.port);
    config.check_exposure()?;
    config.kafka.check_listeners()?;
    logging::set_level(config.log_level.as_deref())?;
    let data_dir = args.data_dir.clone().or(config.data_dir.clone());
    let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let shards = parallelism(args.parallelism.or(config.pipelines.parallelism))?;
    raise_file_limit();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        // Ports first: a busy one is found before anything is recovered or started.
        let http = listen(config.http_address()).await?;
        let kafka = listeners::bind(&config.kafka).await?;
        let ending = Ending::listen()?;
        if args.supervised {
            signals::end_with_stdin()?;
        }
        let config_file = args.config.clone();
        signals::on_hangup(move || reload(config_file.as_deref()))?;
        let open = {
            let (data_dir, config) = (data_dir.clone(), config.clone());
            tokio::task::spawn_blocking(move || LocalNode::open(&data_dir, &config, shards))
        };
        let (node, report) =
            open.await.map_err(|_| anyhow!("internal error: opening the node panicked"))??;
        say_recovered(&report)?;
        serve(Arc::new(node), http, kafka, &config, args.demo_url.clone(), ending).await
    });
    // Without waiting for what a second signal cut short.
    runtime.shutdown_background();
    served
}

/// Every partition has a segment file open, every client a socket: the usual soft limit is low.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    // If the system refuses, the node runs with what it has.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// SIGHUP: the log level is all that can change while a node runs.
fn reload(config_file: Option<&Path>) {
    let reloaded =
        Config::load(config_file).and_then(|config| logging::set_level(config.log_level.as_deref()));
    if let Err(error) = reloaded {
        tracing::error!("the configuration is not reloaded: {error:#}");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let hint = || {
        format!("cannot listen for http on {address}; choose another with --http-port (0 picks a free one)")
    };
    TcpListener::bind(address).await.with_context(hint)
}

fn say_recovered(report: &RecoveryReport) -> Result<()> {
    if report.unclean {
        let mut err = std::io::stderr().lock();
        writeln!(
            err,
            "recovered after an unclean stop: {} batches of {} bytes replayed, {} bytes of unacknowledged tail cut, {} ms",
            report.replayed_batches, report.replayed_bytes, report.torn_bytes, report.took_ms
        )?;
    }
    Ok(())
}

async fn serve(
    node: Arc<LocalNode>,
    http: TcpListener,
    kafka: Vec<Bound>,
    config: &Config,
    demo_url: Option<String>,
    mut ending: Ending,
) -> Result<()> {
    let http_address = http.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let broker = Arc::new(broker(&node));
    // Set once, here.
    let _ = node.broker.set(Arc::clone(&broker));
    let server = Server::new(
        Arc::clone(&node) as _,
        gateway(&node),
        Arc::clone(&node.clock),
        ServerOptions {
            hosts: HostRules {
                hosts: config.http.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            },
            demo_url,
            ..ServerOptions::default()
        },
    );
    say_listening(http_address, &kafka)?;
    let mut kafka_tasks = JoinSet::new();
    let threads =
        Arc::new(SocketThreads::start().context("cannot start the threads that serve Kafka clients")?);
    for Bound { socket, listener, .. } in kafka {
        kafka_tasks.spawn(highwater_broker::serve(
            socket,
            listener,
            Arc::clone(&broker),
            Arc::clone(&threads),
            until(stopped.clone()),
        ));
    }
    let http_task = tokio::spawn(async move { server.serve(http, until(stopped)).await });
    writeln!(std::io::stderr(), "ready")?;
    ending.next().await;
    let stopping = async {
        // Stop accepting, answer what was read; then a final epoch and a final sync.
        stop.send_replace(true);
        let _ = tokio::join!(kafka_tasks.join_all(), http_task);
        let closing = tokio::task::spawn_blocking(move || node.close());
        closing.await.map_err(|_| anyhow!("internal error: closing the node panicked"))?
    };
    tokio::select! {
        closed = stopping => closed,
        () = ending.next() => bail!("stopped at once by a second signal; nothing acknowledged is lost"),
        () = tokio::time::sleep(SHUTDOWN_MAX) => bail!("stopped after {SHUTDOWN_MAX:?}; nothing acknowledged is lost"),
    }
}

fn say_listening(http: SocketAddr, kafka: &[Bound]) -> Result<()> {
    let mut err = std::io::stderr().lock();
    writeln!(err, "http listening on http://{http}")?;
    for (index, bound) in kafka.iter().enumerate() {
        match index {
            0 => writeln!(err, "kafka listening on {}", bound.address)?,
            _ => {
                let Listener { name, host, port } = &*bound.listener;
                writeln!(err, "kafka {name} listening on {}, advertised as {host}:{port}", bound.address)?;
            }
        }
    }
    Ok(())
}

async fn until(mut stopped: watch::Receiver<bool>) {
    // An error means that the sender is gone, which is as good as a stop.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn broker(node: &LocalNode) -> Broker {
    let options = BrokerOptions::default();
    let (log, coordinators) = (node.log.clone(), node.coordinators.clone());
    Broker::new(log, coordinators, options, Arc::clone(&node.clock), Arc::clone(&node.entropy), &node.budget)
}

fn gateway(node: &LocalNode) -> Gateway {
    let writer = LogTopicWriter::new(node.log.clone(), node.topics.clone(), Arc::clone(&node.clock));
    Gateway::new(Arc::new(writer), Arc::clone(&node.clock), GatewayOptions::default(), node.budget.clone())
}
