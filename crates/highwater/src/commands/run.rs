//! `highwater run`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use highwater_connectors::{Outside, Printer, Registry};
use highwater_coordinator::{TopicOptions, Topics};
use highwater_dataflow::JobStats;
use highwater_env::{Clock, Disk, MemoryBudget, OsEntropy, RealDisk, SystemClock};
use highwater_log::{Log, LogError, LogOptions};
use highwater_pipeline::tables::{FjallStore, MemoryStore, TableStore, Tables};
use highwater_pipeline::{Collect, CollectFormat, CollectTarget, Once, OnceError, Outcome, run_once};
use highwater_sql::Compiled;
use highwater_stream::{ChangelogMode, OperatorSpec, SinkTarget, StreamPlan};

use super::answers;
use super::client::WrongInput;
use super::script::compile_files;
use crate::cli::{OutputFormat, RunArgs};
use crate::node::with_failpoint;
use crate::signals;

const EPOCH_INTERVAL: Duration = Duration::from_secs(1);
/// Memory of the log that a script with `kafka` tables opens.
const LOG_MEMORY_BYTES_MAX: u64 = 512 << 20;

pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let compiled = compile_files(&args.files, &args.vars)?;
    print_answers(args, &compiled)?;
    if compiled.plan.nodes.is_empty() && !compiled.answers.is_empty() {
        return Ok(());
    }
    let stop = Arc::new(AtomicBool::new(false));
    signals::on_interrupt(Arc::clone(&stop))?;
    let (outcome, stats) = execute(args, compiled, &stop)?;
    summary(outcome, &stats)
}

/// Runs a compiled file as `args` say, until its sources end or `stop` is set.
pub(crate) fn execute(
    args: &RunArgs,
    compiled: Compiled,
    stop: &Arc<AtomicBool>,
) -> Result<(Outcome, JobStats)> {
    refuse_jsonl_of_changing_result(args, &compiled)?;
    let shards = parallelism(args.parallelism)?;
    let temporary = args.data_dir.is_none().then(tempfile::tempdir).transpose();
    let temporary = temporary.context("cannot make a temporary directory")?;
    let kept = args.data_dir.as_deref();
    let dir = kept.or(temporary.as_ref().map(tempfile::TempDir::path)).expect("one of the two is there");

    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let log =
        (kept.is_some() || needs_log(&compiled.plan)).then(|| open_log(&disk, &clock, dir)).transpose()?;
    let registry = Registry::new(Outside {
        disk: Arc::clone(&disk),
        clock: Arc::clone(&clock),
        entropy: Arc::new(OsEntropy::new()),
        log: log.clone(),
        printer: Printer::standard(),
    });
    let store: Arc<dyn TableStore> = match kept {
        Some(dir) => Arc::new(FjallStore::open(&dir.join("tables")).context("cannot open the tables")?),
        None => Arc::new(MemoryStore::default()),
    };
    let pipelines = dir.join("pipelines");
    let once = Once {
        collect: collect(args, &disk, &pipelines.join(&compiled.pipeline_name)),
        compiled,
        disk,
        clock,
        dir: pipelines,
        connectors: with_failpoint(Arc::new(registry))?,
        tables: Arc::new(Tables::new(store)),
        shards,
        epoch_interval: EPOCH_INTERVAL,
        dead_letters: log.is_some(),
        stop: Arc::clone(stop),
    };
    let done = match run_once(once) {
        Err(OnceError::Invalid(message)) => return Err(WrongInput(message).into()),
        done => done?,
    };
    if let Some((log, _)) = log {
        log.close()?;
    }
    Ok(done)
}

/// What `SHOW` and its like asked for: beside a result for programs it is a message.
fn print_answers(args: &RunArgs, compiled: &Compiled) -> Result<()> {
    match args.output {
        OutputFormat::Table => answers::print(&compiled.answers, &mut std::io::stdout())?,
        OutputFormat::Jsonl | OutputFormat::Changelog => {
            answers::print(&compiled.answers, &mut std::io::stderr())?;
        }
    }
    Ok(())
}

/// Threads and shards: as asked, else the machine's cores.
pub(crate) fn parallelism(wanted: Option<usize>) -> Result<usize> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(256);
    match wanted {
        None => Ok(cores),
        Some(wanted @ 1..=256) => Ok(wanted),
        Some(wanted) => bail!(WrongInput(format!("--parallelism {wanted}: expected 1 to 256"))),
    }
}

fn needs_log(plan: &StreamPlan) -> bool {
    plan.nodes.iter().any(|node| {
        let options = match &node.spec {
            OperatorSpec::Source(source) => &source.options,
            OperatorSpec::Sink(sink) => match &sink.target {
                SinkTarget::Table { options, .. } => options,
                SinkTarget::Materialized { .. } | SinkTarget::Collect => return false,
            },
            _ => return false,
        };
        options.get("connector").is_some_and(|connector| connector == "kafka")
    })
}

fn open_log(disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>, dir: &Path) -> Result<(Log, Topics)> {
    let budget = MemoryBudget::root("run", LOG_MEMORY_BYTES_MAX);
    let opened = Log::open(Arc::clone(disk), Arc::clone(clock), dir, LogOptions::default(), &budget);
    let (log, _) = opened.map_err(|error| match error {
        LogError::Locked(_) => anyhow::anyhow!(
            "{error}; if that is a node, hand it the file with: highwater pipeline submit FILE.sql"
        ),
        other => other.into(),
    })?;
    let topics = Topics::open(log.clone(), Arc::new(OsEntropy::new()), TopicOptions::default())?;
    Ok((log, topics))
}

/// Rows without their kind of change would be a wrong answer if the result takes rows back.
fn refuse_jsonl_of_changing_result(args: &RunArgs, compiled: &Compiled) -> Result<()> {
    let collects = |spec: &OperatorSpec| matches!(spec, OperatorSpec::Sink(sink) if matches!(sink.target, SinkTarget::Collect));
    let changing = compiled.plan.nodes.iter().filter(|node| collects(&node.spec)).any(|node| {
        node.inputs.iter().any(|edge| compiled.plan.nodes[edge.from].changelog != ChangelogMode::InsertOnly)
    });
    if args.output == OutputFormat::Jsonl && changing {
        let message = "the result of this SELECT changes, and --output jsonl shows only rows that stay\n  \
                       hint: use --output changelog";
        bail!(WrongInput(message.to_owned()));
    }
    Ok(())
}

fn collect(args: &RunArgs, disk: &Arc<dyn Disk>, state: &Path) -> Collect {
    let format = match args.output {
        OutputFormat::Table => CollectFormat::Table,
        OutputFormat::Jsonl => CollectFormat::Jsonl,
        OutputFormat::Changelog => CollectFormat::Changelog,
    };
    let target = match &args.output_file {
        None => CollectTarget::Stream(Arc::new(Mutex::new(std::io::stdout()))),
        Some(path) => CollectTarget::File {
            disk: Arc::clone(disk),
            path: PathBuf::from(path),
            length_path: state.join("output.length"),
        },
    };
    Collect { format, target }
}

/// One line per operator on standard error: rows, late rows, rejected records.
fn summary(outcome: Outcome, stats: &JobStats) -> Result<()> {
    let mut err = std::io::stderr().lock();
    if outcome == Outcome::Stopped {
        writeln!(err, "interrupted; with --data-dir, running it again goes on from here")?;
    }
    for operator in &stats.operators {
        write!(err, "{}: {} rows in, {} rows out", operator.title, operator.rows_in, operator.rows_out)?;
        let named =
            [("filtered", operator.filtered), ("late", operator.late_rows), ("rejected", operator.rejected)];
        for (name, rows) in named.into_iter().filter(|(_, rows)| *rows > 0) {
            write!(err, ", {rows} {name}")?;
        }
        writeln!(err)?;
    }
    Ok(())
}
