//! Kills a real node under load, by kill -9 at random moments, and judges what its clients saw.
//!
//! Producers and consumers live on over the kills, as real ones do: a producer sends again what was
//! not acknowledged, to the node that has recovered. The history is kept by this process in its own
//! file, outside of the node.
//!
//! What it cannot show: that the data reached the disk, for the page cache outlives a killed process.

mod arguments;
mod client;
mod consumer;
mod copier;
mod directory;
mod group_client;
mod member;
mod node;
mod producer;
mod reader;
mod records;
mod stage;
mod transactional;
mod trimmer;
mod wire;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use highwater_env::{Clock, Entropy, SeededEntropy, SystemClock};

use crate::history::{Action, Isolation, Report, Stage as Outcome, check, read_file};
use consumer::DIRECTOR;
use copier::COPIERS;
use directory::Directory;
use node::{Node, Program};
use reader::READERS;
use stage::{Stage, Turn};
use transactional::Identity;

pub use arguments::{Command, HELP, parse};

/// Where producers write and everyone reads.
const TOPIC: &str = "soak";
/// Where copiers write.
const COPIES_TOPIC: &str = "soak-copies";
/// Of a hundred rounds, how many kill the node a second time, while it recovers.
const KILLED_IN_RECOVERY_OF_100: u64 = 10;

/// How hard to try.
#[derive(Clone, Debug)]
pub struct SoakOptions {
    /// Kills in all, those of earlier runs on the same directory included.
    pub rounds: u64,
    /// After this long it stops, judges, and can be run again to go on.
    pub time_max: Duration,
    /// Judges every so many rounds, and at the end.
    pub check_every: u64,
    /// Where data and history are kept.
    pub dir: PathBuf,
    /// What decides all that is random here; the moments of the operating system are not.
    pub seed: u64,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Idempotent producers.
    pub producers: usize,
    /// Transactional producers, every other one in the second version of the protocol.
    pub transactional: usize,
    /// Members of a group that copy what they read in transactions with their offsets, every other one in
    /// the second version of the protocol.
    pub copiers: usize,
    /// Members of a group that commit their offsets plainly.
    pub readers: usize,
    /// A node is killed at most this many ms after it became ready.
    pub kill_after_ms_max: u64,
}

/// What a soak came to.
#[derive(Debug)]
pub struct Outcomes {
    /// Kills so far, in all runs.
    pub rounds: u64,
    /// What the checker says.
    pub report: Report,
}

/// Runs a soak, reporting to `out`.
///
/// # Errors
/// If the directory is not one to go on with, the node does not start, a client fails or is stuck, or the
/// history cannot be kept.
pub fn run(options: &SoakOptions, out: &mut impl Write) -> Result<Outcomes> {
    let path = node::find_program()?;
    let directory = Directory::open(options)?;
    let (history, data_dir) = (directory.history(), directory.data());
    let (stage, rounds) = Stage::open(&history, options.partitions, options.seed)?;
    let program = Program { path, data_dir, kafka_port: 0 };
    let entropy = SeededEntropy::new(options.seed ^ rounds);
    let mut director = Director { options, stage: &stage, program, entropy, rounds, history };
    std::thread::scope(|scope| {
        for _ in 0..options.producers {
            scope.spawn(|| client(&stage, "producer", || producer::run(&stage)));
        }
        for number in 0..options.transactional {
            let (stage, identity) = (&stage, identity("soak", TOPIC, number));
            scope.spawn(move || client(stage, &identity.id, || transactional::run(stage, &identity)));
        }
        for number in 0..options.copiers {
            let (stage, identity) = (&stage, identity("soak-copier", COPIES_TOPIC, number));
            scope.spawn(move || client(stage, &identity.id, || copier::run(stage, &identity)));
        }
        for _ in 0..options.readers {
            scope.spawn(|| client(&stage, "member of the readers", || reader::run(&stage)));
        }
        scope.spawn(|| client(&stage, "trimmer", || trimmer::run(&stage)));
        for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
            let stage = &stage;
            scope.spawn(move || client(stage, "consumer", || consumer::run(stage, isolation)));
        }
        let done = director.run(out);
        stage.set_turn(Turn::Stop);
        done
    })
}

fn identity(name: &str, topic: &'static str, number: usize) -> Identity {
    Identity { id: format!("{name}-{number}"), topic, second: number % 2 == 1 }
}

fn client(stage: &Stage, name: &str, work: impl FnOnce() -> Result<()>) {
    if let Err(error) = work() {
        stage.failed(name, &error);
    }
}

struct Director<'a> {
    options: &'a SoakOptions,
    stage: &'a Stage,
    program: Program,
    entropy: SeededEntropy,
    rounds: u64,
    history: PathBuf,
}

impl Director<'_> {
    fn run(&mut self, out: &mut impl Write) -> Result<Outcomes> {
        let clock = SystemClock::new();
        let begun = clock.monotonic();
        let mut node = self.start()?;
        let mut connection = self.stage.connect().context("the node is gone")?;
        connection.create_topic(TOPIC, self.options.partitions)?;
        connection.create_topic(COPIES_TOPIC, self.options.partitions)?;
        drop(connection);
        let mut slowest_start = Duration::ZERO;
        loop {
            self.stage.set_turn(Turn::Go);
            let is_last =
                self.rounds >= self.options.rounds || clock.monotonic() - begun >= self.options.time_max;
            if is_last || self.rounds > 0 && self.rounds.is_multiple_of(self.options.check_every) {
                let report = self.judge()?;
                let (rounds, seconds) = (self.rounds, (clock.monotonic() - begun).as_secs());
                writeln!(out, "round {rounds}, {seconds} s, slowest restart {slowest_start:.0?}: {report}")?;
                if is_last || !report.is_good() {
                    return Ok(Outcomes { rounds, report });
                }
                self.stage.set_turn(Turn::Go);
            }
            self.stage.wait_ms(self.entropy.below(self.options.kill_after_ms_max))?;
            if node.has_ended() {
                bail!("the node ended by itself");
            }
            self.kill(node)?;
            let restart = clock.monotonic();
            node = self.start()?;
            slowest_start = slowest_start.max(clock.monotonic() - restart);
        }
    }

    fn kill(&mut self, node: Node) -> Result<()> {
        self.stage.node_is_at(None);
        let complaints = node.kill();
        self.rounds += 1;
        self.stage.record(self.stage.new_op(), DIRECTOR, Outcome::Ok, Action::Kill)?;
        if !complaints.is_empty() {
            bail!("the node complained before it was killed: {}", complaints.join("\n"));
        }
        if self.entropy.below(100) < KILLED_IN_RECOVERY_OF_100 {
            let again = self.program.launch()?;
            self.stage.wait_ms(self.entropy.below(60))?;
            drop(again);
        }
        Ok(())
    }

    fn start(&mut self) -> Result<Node> {
        let (node, address) = self.program.start()?;
        self.stage.record(self.stage.new_op(), DIRECTOR, Outcome::Ok, Action::Start)?;
        self.stage.node_is_at(Some(address));
        Ok(node)
    }

    /// Lets the clients finish, reads everything, and judges the whole history from its file.
    fn judge(&self) -> Result<Report> {
        self.stage.set_turn(Turn::Rest);
        let SoakOptions { producers, transactional, copiers, readers, .. } = self.options;
        let (consumers, trimmers) = (2, 1);
        self.stage.wait_for_rest(producers + transactional + copiers + readers + consumers + trimmers)?;
        for topic in [TOPIC, COPIES_TOPIC] {
            consumer::read_all(self.stage, topic)?;
        }
        let partitions: Vec<i32> = (0..self.options.partitions).collect();
        for group in [COPIERS, READERS] {
            let found = member::fetch_offsets(self.stage, DIRECTOR, group, &partitions, &mut None)?;
            ensure!(
                found.is_some(),
                "a transaction with offsets of {group} is open though all its members rest"
            );
        }
        let mut failure = None;
        let events = read_file(&self.history)?;
        let report = check(events.map_while(|event| event.map_err(|error| failure = Some(error)).ok()))?;
        failure.map_or(Ok(report), Err)
    }
}
