//! Logs: lines on standard error, for the people who run a node.

use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, fmt};

/// The one log level of the process; logging is global by its nature.
static LEVEL: OnceLock<Handle<LevelFilter, Registry>> = OnceLock::new();

/// Starts logging at the level of `HIGHWATER_LOG`, else at `warn`.
pub(crate) fn start() {
    let (filter, handle) = Layer::new(from_environment().unwrap_or(LevelFilter::WARN));
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    // Called once, by main.
    let _ = LEVEL.set(handle);
}

/// Takes the level of a configuration, unless the environment names one.
///
/// # Errors
/// If it is no level; the old one stays.
pub(crate) fn set_level(configured: Option<&str>) -> anyhow::Result<()> {
    let Some(text) = configured else { return Ok(()) };
    let Ok(level) = text.parse::<LevelFilter>() else {
        anyhow::bail!("log_level is `{text}`, expected error, warn, info, debug or trace");
    };
    if let (None, Some(handle)) = (from_environment(), LEVEL.get()) {
        handle.reload(level)?;
    }
    Ok(())
}

fn from_environment() -> Option<LevelFilter> {
    std::env::var("HIGHWATER_LOG").ok()?.parse().ok()
}
