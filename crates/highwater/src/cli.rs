//! The command line: a contract, see `docs/reference/command-line.md`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Streaming at scale in one program: Kafka, HTTP, streaming SQL, live tables.
#[derive(Debug, Parser)]
#[command(name = "highwater", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start everything on generated live data and print what to try
    Demo(DemoArgs),
    /// Run pipelines to the end of their bounded sources (or until interrupted)
    Run(RunArgs),
    /// Run a node: Kafka and HTTP endpoints, pipelines, live tables, console
    Serve(ServeArgs),
    /// Type SQL statements and see their answers at once
    Sql(SqlArgs),
    /// Validate SQL files; exit 2 if one is refused
    Check(CheckArgs),
    /// Print the operators a SQL file becomes
    Explain(CheckArgs),
    /// Create, list, fill and read topics of a running node
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups of a running node
    #[command(subcommand)]
    Group(GroupCommand),
    /// Transactions of a running node
    #[command(subcommand)]
    Transaction(TransactionCommand),
    /// Submit, list and stop pipelines of a running node
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// Measure this machine; prints events/s, CPU seconds and peak memory
    Bench(BenchArgs),
}

/// Values for `${K}` in SQL.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Vars {
    /// Replace ${K} in the SQL by V
    #[arg(long = "var", value_name = "K=V", value_parser = key_value)]
    pub(crate) vars: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("'{text}' is not of the form K=V"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// SQL files, compiled as one pipeline in this order
    #[arg(required = true, value_name = "FILE.sql")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) vars: Vars,
    /// Keep state here and resume from it; without it, a temporary directory
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How to print the result of the file's bare SELECT
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// Append the result here, epoch by epoch, instead of printing it
    #[arg(long, value_name = "F")]
    pub(crate) output_file: Option<PathBuf>,
    /// Shards and worker threads [default: cores]
    #[arg(long, value_name = "N")]
    pub(crate) parallelism: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct SqlArgs {
    /// Run these statements and end
    #[arg(short = 'e', long, value_name = "STMT", conflicts_with = "file")]
    pub(crate) execute: Option<String>,
    /// Run the statements of this file, one after another, and end
    #[arg(short = 'f', long, value_name = "FILE.sql")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) vars: Vars,
    /// How to print results
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,
    /// Shards and worker threads [default: cores]
    #[arg(long, value_name = "N")]
    pub(crate) parallelism: Option<usize>,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Aligned columns
    Table,
    /// One JSON object per row (results that only grow)
    Jsonl,
    /// One JSON object per change: {"op":"+I","row":{...}}
    Changelog,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// Configuration file
    #[arg(long, value_name = "highwater.toml")]
    pub(crate) config: Option<PathBuf>,
    /// Where the node keeps everything [default: ./highwater-data]
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
    /// HTTP and console port; 0 picks a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub(crate) http_port: Option<u16>,
    /// Kafka port; 0 picks a free one [default: 9092]
    #[arg(long, value_name = "PORT")]
    pub(crate) kafka_port: Option<u16>,
    /// Shards and worker threads [default: cores]
    #[arg(long, value_name = "N")]
    pub(crate) parallelism: Option<usize>,
    /// The demo that supervises this node (set by `highwater demo`)
    #[arg(long, value_name = "URL", hide = true)]
    pub(crate) demo_url: Option<String>,
    /// Stop when standard input ends (set by programs that start a node)
    #[arg(long, hide = true)]
    pub(crate) supervised: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// SQL files
    #[arg(required = true, value_name = "FILE.sql")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) vars: Vars,
}

/// Where the node is.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeUrl {
    /// The node's HTTP address
    #[arg(long, default_value = "http://127.0.0.1:8080", env = "HIGHWATER_URL")]
    pub(crate) url: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Make a topic
    Create {
        /// Its name
        topic: String,
        /// How many partitions
        #[arg(long, default_value_t = 1)]
        partitions: i32,
        /// Kafka's topic configs
        #[arg(long = "config", value_name = "K=V", value_parser = key_value)]
        configs: Vec<(String, String)>,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// List topics
    List {
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Show a topic's partitions, offsets and configs
    Describe {
        /// Its name
        topic: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Change a topic's configs
    Alter {
        /// Its name
        topic: String,
        /// Kafka's topic configs
        #[arg(long = "config", value_name = "K=V", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Configs that are to have their default again
        #[arg(long = "delete-config", value_name = "K")]
        deleted: Vec<String>,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Add partitions to a topic
    AddPartitions {
        /// Its name
        topic: String,
        /// How many it is to have in all
        #[arg(long)]
        partitions: i32,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Delete a topic's oldest records
    DeleteRecords {
        /// Its name
        topic: String,
        /// Which partition [default: each]
        #[arg(long)]
        partition: Option<i32>,
        /// The first offset to keep [default: keep none]
        #[arg(long, value_name = "OFFSET")]
        before: Option<i64>,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Send JSON lines from standard input
    Produce {
        /// Its name
        topic: String,
        /// The field whose value becomes the record's key
        #[arg(long)]
        key: Option<String>,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Print the newest records of a partition
    Tail {
        /// Its name
        topic: String,
        /// Which partition
        #[arg(long, default_value_t = 0)]
        partition: i32,
        /// How many records
        #[arg(long, default_value_t = 10)]
        limit: usize,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        topic: String,
        #[command(flatten)]
        node: NodeUrl,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// List groups with their lag
    List {
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Show a group's members, offsets and lag
    Describe {
        /// Its name
        group: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Set how far a group without members has read
    ResetOffsets {
        /// Its name
        group: String,
        /// Which topic
        #[arg(long)]
        topic: String,
        /// Which partition [default: each]
        #[arg(long)]
        partition: Option<i32>,
        /// start, end, an offset, or @MILLISECONDS since 1970
        #[arg(long, value_name = "WHERE")]
        to: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Forget a group without members, and its offsets
    Delete {
        /// Its name
        group: String,
        #[command(flatten)]
        node: NodeUrl,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TransactionCommand {
    /// List transactional ids, and open transactions that belong to none (hanging)
    List {
        /// Only those with an open transaction
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Show a transactional id's producer, and where its open transaction writes
    Describe {
        /// Its name
        id: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Abort an open transaction and fence its producer; or a hanging one
    Abort {
        /// The transactional id; for a hanging transaction --topic, --partition and --producer-id instead
        #[arg(required_unless_present = "topic")]
        id: Option<String>,
        /// Topic of a hanging transaction
        #[arg(long, requires = "partition", requires = "producer_id", conflicts_with = "id")]
        topic: Option<String>,
        /// Its partition
        #[arg(long, requires = "topic", conflicts_with = "id")]
        partition: Option<i32>,
        /// Its producer, as listed
        #[arg(long, requires = "topic", conflicts_with = "id")]
        producer_id: Option<i64>,
        #[command(flatten)]
        node: NodeUrl,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PipelineCommand {
    /// Compile a SQL file and start it on the node
    Submit {
        /// The file
        file: PathBuf,
        /// The pipeline's name [default: SET 'pipeline.name', else the file's stem]
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        vars: Vars,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// List pipelines
    List {
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Show a pipeline's operators, epochs and balances
    Status {
        /// Its name
        pipeline: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Stop a pipeline after a final epoch; its state stays
    Stop {
        /// Its name
        pipeline: String,
        #[command(flatten)]
        node: NodeUrl,
    },
    /// Stop a pipeline and forget its state and tables
    Drop {
        /// Its name
        pipeline: String,
        #[command(flatten)]
        node: NodeUrl,
    },
}

#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Which demo
    #[arg(default_value = "fleet", value_parser = ["fleet"])]
    pub(crate) case: String,
    /// Keep the node's data here [default: a temporary directory]
    #[arg(long, value_name = "D")]
    pub(crate) data_dir: Option<PathBuf>,
    /// End by itself after this many seconds; exit 1 if an event was lost or doubled
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<u64>,
    /// Kill the node (kill -9) every so many seconds
    #[arg(long, value_name = "S")]
    pub(crate) kill_every: Option<u64>,
    /// Vehicles in the fleet
    #[arg(long, default_value_t = 200)]
    pub(crate) vehicles: u32,
    /// Events per second
    #[arg(long, default_value_t = 2_000)]
    pub(crate) rate: u32,
    /// What the vehicles do is drawn from this number
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// HTTP and console port; another one is taken if it is busy
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    pub(crate) http_port: u16,
    /// Kafka port; another one is taken if it is busy
    #[arg(long, value_name = "PORT", default_value_t = 9092)]
    pub(crate) kafka_port: u16,
}

#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) what: BenchCase,
    /// Events to send or process
    #[arg(long, value_name = "N")]
    pub(crate) events: Option<u64>,
    /// With nexmark: only this query, q0 to q22
    #[arg(long, value_name = "Q")]
    pub(crate) query: Option<String>,
    /// Print one JSON object, with nexmark one per query
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchCase {
    /// Durable appends to the log
    Log,
    /// JSON events over HTTP
    Ingest,
    /// TUMBLE count by key over JSON from the log
    Window,
    /// From POST to the live chart
    Latency,
    /// The queries of the Nexmark benchmark over JSON from the log
    Nexmark,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_transaction_is_aborted_by_its_id_or_by_its_place() {
        let parses = |words: &str| {
            let words = format!("highwater transaction abort {words}");
            Cli::try_parse_from(words.split_whitespace()).is_ok()
        };
        assert!(parses("an-id"));
        assert!(parses("--topic t --partition 0 --producer-id 7"));
        for wrong in [
            "",
            "--topic t --partition 0",
            "an-id --topic t --partition 0 --producer-id 7",
            "an-id --partition 0",
        ] {
            assert!(!parses(wrong), "{wrong}");
        }
    }
}
