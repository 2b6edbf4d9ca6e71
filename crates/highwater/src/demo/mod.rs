//! `highwater demo`: a node under load, and a key that kills it.
//!
//! The demo is a supervisor. The node is a child process that it starts, feeds over HTTP, kills
//! with kill -9 when asked, and starts again. The count of what was acknowledged is kept here,
//! outside the node, so that the comparison with the node's table proves something.

pub(crate) mod api;
mod charts;
mod control;
mod fleet;
mod host;
mod ledger;
pub(crate) mod node;
mod screen;
mod senders;
mod status;
pub(crate) mod stop;
mod supervisor;

use std::io::{IsTerminal, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use highwater_env::{Clock, SystemClock};

use crate::cli::DemoArgs;
pub(crate) use ledger::table_rows;
use node::NodeOptions;
use screen::{Frame, Key, Screen, tunnel};
use supervisor::Supervisor;

/// How often the terminal is redrawn.
const REDRAW_EVERY: Duration = Duration::from_millis(250);
/// Without a terminal: how often a line is printed.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Runs the demo until it is asked to end.
///
/// # Errors
/// When the node cannot be started or refuses what the demo sends.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let temporary = args.data_dir.is_none();
    let data_dir = args.data_dir.clone().unwrap_or_else(|| temporary_dir(clock.as_ref()));
    if !is_empty_dir(&data_dir) {
        bail!("{} is not empty; the demo counts from zero (hint: name a new directory)", data_dir.display());
    }
    let outcome = run_in(args, &clock, data_dir.clone());
    if temporary {
        // What is left of it does no harm.
        let _ = std::fs::remove_dir_all(&data_dir);
    }
    outcome
}

fn run_in(args: &DemoArgs, clock: &Arc<dyn Clock>, data_dir: PathBuf) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let control = TcpListener::bind("127.0.0.1:0").context("no loopback port is free")?;
    let control_port = control.local_addr()?.port();
    let http_port = chosen_port("http", args.http_port)?;
    let kafka_port = chosen_port("kafka", args.kafka_port)?;
    let options = NodeOptions {
        data_dir: data_dir.clone(),
        http_port,
        kafka_port,
        demo_url: Some(format!("http://127.0.0.1:{control_port}")),
    };
    let ssh = std::env::var("SSH_CONNECTION").ok();
    let user = std::env::var("USER").ok();
    let frame = Frame {
        console: format!("http://127.0.0.1:{http_port}"),
        kafka: format!("127.0.0.1:{kafka_port}"),
        data_dir: data_dir.display().to_string(),
        tunnel: tunnel(ssh.as_deref(), user.as_deref(), &[http_port, control_port]),
    };
    for line in frame.addresses() {
        writeln!(out, "{line}")?;
    }
    let supervisor = Supervisor::start(options, args, Arc::clone(clock))?;
    control::serve(control, http_port, Arc::clone(&supervisor))?;
    stop_on_signal(Arc::clone(&supervisor))?;
    if out.is_terminal() && std::io::stdin().is_terminal() {
        watch_on_screen(&supervisor, &frame, args, clock.as_ref())?;
    } else {
        watch_in_lines(&supervisor, &frame, args, clock.as_ref())?;
    }
    let status = supervisor.finish();
    for line in status.lines() {
        writeln!(out, "{line}")?;
    }
    let proven = status.is_exact() && status.comparisons > 0 && status.trouble.is_empty();
    Ok(if proven { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn watch_on_screen(
    supervisor: &Arc<Supervisor>,
    frame: &Frame,
    args: &DemoArgs,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let screen = Screen::open()?;
    let mut schedule = Schedule::new(args, clock);
    while !supervisor.wait(Duration::ZERO) && !schedule.is_over(clock) {
        if schedule.wants_kill(clock) {
            supervisor.kill_soon();
        }
        screen.draw(&supervisor.lines(frame))?;
        match screen.key(REDRAW_EVERY)? {
            Some(Key::Kill) => supervisor.kill_soon(),
            Some(Key::Quit) => break,
            None => {}
        }
    }
    Ok(())
}

fn watch_in_lines(
    supervisor: &Arc<Supervisor>,
    frame: &Frame,
    args: &DemoArgs,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for (number, thing) in frame.things_to_try().iter().enumerate() {
        writeln!(out, "{}. {thing}", number + 1)?;
    }
    let mut schedule = Schedule::new(args, clock);
    let mut next_line = clock.monotonic();
    while !supervisor.wait(REDRAW_EVERY) && !schedule.is_over(clock) {
        if schedule.wants_kill(clock) {
            supervisor.kill_soon();
        }
        if clock.monotonic() >= next_line {
            next_line += LINE_EVERY;
            writeln!(out, "{}", supervisor.status().lines().join(" | "))?;
            out.flush()?;
        }
    }
    Ok(())
}

/// `--seconds` and `--kill-every`.
struct Schedule {
    ends: Option<Duration>,
    kill_every: Option<Duration>,
    next_kill: Duration,
}

impl Schedule {
    fn new(args: &DemoArgs, clock: &dyn Clock) -> Self {
        let kill_every = args.kill_every.map(|seconds| Duration::from_secs(seconds.max(1)));
        Self {
            ends: args.seconds.map(|seconds| clock.monotonic() + Duration::from_secs(seconds)),
            kill_every,
            next_kill: clock.monotonic() + kill_every.unwrap_or_default(),
        }
    }

    fn is_over(&self, clock: &dyn Clock) -> bool {
        self.ends.is_some_and(|ends| clock.monotonic() >= ends)
    }

    fn wants_kill(&mut self, clock: &dyn Clock) -> bool {
        let Some(every) = self.kill_every else { return false };
        let now = clock.monotonic();
        let due = now >= self.next_kill;
        if due {
            self.next_kill = now + every;
        }
        due
    }
}

fn chosen_port(name: &str, wanted: u16) -> anyhow::Result<u16> {
    let port = node::free_port(wanted)?;
    if port != wanted && wanted != 0 {
        writeln!(std::io::stdout(), "port {wanted} is busy: {name} takes {port}")?;
    }
    Ok(port)
}

pub(crate) fn temporary_dir(clock: &dyn Clock) -> PathBuf {
    std::env::temp_dir().join(format!("highwater-{}-{}", std::process::id(), clock.unix_ms()))
}

fn is_empty_dir(path: &std::path::Path) -> bool {
    std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

/// Ctrl-C and SIGTERM end the demo (and with it the node) in order.
fn stop_on_signal(supervisor: Arc<Supervisor>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("demo-signals".into()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            match signal(SignalKind::terminate()) {
                Ok(mut terminate) => {
                    tokio::select! {
                        _ = terminate.recv() => {}
                        _ = tokio::signal::ctrl_c() => {}
                    }
                }
                Err(_) => drop(tokio::signal::ctrl_c().await),
            }
        });
        supervisor.end_soon();
    })?;
    Ok(())
}
