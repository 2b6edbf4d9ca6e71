//! The node: a `highwater serve` process on a data directory that outlives it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Lines waiting to be read; the node's messages are few.
const LINES_MAX: usize = 4096;

/// How to start the node.
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) data_dir: PathBuf,
    /// 0 until the first start has picked one.
    pub(super) kafka_port: u16,
}

/// A running node; dropping it kills it.
pub(super) struct Node {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    /// Starts the node and waits until it is ready.
    ///
    /// # Errors
    /// If it ends before, with what it said.
    pub(super) fn start(&mut self) -> Result<(Node, SocketAddr)> {
        let node = self.launch()?;
        let (mut said, mut address) = (Vec::new(), None);
        loop {
            match node.lines.recv_timeout(START_TIMEOUT) {
                Ok(line) if line == "ready" => break,
                Ok(line) => {
                    if let Some(listening) = line.strip_prefix("kafka listening on ") {
                        address = Some(listening.parse::<SocketAddr>()?);
                    }
                    said.push(line);
                }
                Err(RecvTimeoutError::Timeout) => bail!("the node did not start: {}", said.join("\n")),
                Err(RecvTimeoutError::Disconnected) => bail!("the node ended: {}", said.join("\n")),
            }
        }
        let address = address.context("the node named no Kafka address")?;
        self.kafka_port = address.port();
        Ok((node, address))
    }

    /// Starts the node without waiting.
    pub(super) fn launch(&self) -> Result<Node> {
        let mut command = Command::new(&self.path);
        // Its standard input ends with this process, however that ends; then the node ends too.
        command.args(["serve", "--supervised", "--http-port", "0", "--kafka-port"]);
        command.arg(self.kafka_port.to_string()).arg("--data-dir").arg(&self.data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.path.display()))?;
        let (sender, lines) = sync_channel(LINES_MAX);
        let stderr = child.stderr.take().context("the node has no standard error")?;
        std::thread::Builder::new().name("node".into()).spawn(move || listen(stderr, &sender))?;
        Ok(Node { child, lines })
    }
}

fn listen(stderr: ChildStderr, lines: &SyncSender<String>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        // Nobody reads any more once it is ready; its pipe must not fill up all the same.
        let _ = lines.try_send(line);
    }
}

impl Node {
    /// kill -9, and waits for the end. What it said since it started, without routine.
    pub(super) fn kill(mut self) -> Vec<String> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.lines.try_iter().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The node's program: `$HIGHWATER_BIN`, else `highwater` beside this program.
///
/// # Errors
/// If there is none.
pub(super) fn find_program() -> Result<PathBuf> {
    let path = match std::env::var_os("HIGHWATER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.parent().unwrap_or(Path::new(".")).join("highwater"),
    };
    if !path.is_file() {
        bail!("{} is not there: build it (cargo build -p highwater), or set HIGHWATER_BIN", path.display());
    }
    Ok(path)
}
