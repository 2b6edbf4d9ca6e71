//! A node as a child process: started, waited for, killed, stopped.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};

use super::stop::locked;

/// Recovery of a large data directory takes a while; a node that says nothing this long is stuck.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// `serve` promises to end within 30 s of SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(35);
/// Lines of the node's messages kept to explain why it ended.
const TAIL_LINES: usize = 30;

/// How to start `highwater serve`.
#[derive(Clone)]
pub(crate) struct NodeOptions {
    pub(crate) data_dir: PathBuf,
    /// 0 picks one.
    pub(crate) http_port: u16,
    /// 0 picks one.
    pub(crate) kafka_port: u16,
    /// Where the demo's own figures are served, for the node's page.
    pub(crate) demo_url: Option<String>,
}

/// A running node. Dropping it kills it.
pub(crate) struct NodeProcess {
    child: Child,
    heard: Arc<Heard>,
    /// `http://host:port`.
    pub(crate) http: String,
    /// `host:port`.
    pub(crate) kafka: String,
}

#[derive(Default)]
struct Heard {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    http: Option<String>,
    kafka: Option<String>,
    ready: bool,
    ended: bool,
    tail: VecDeque<String>,
}

impl NodeProcess {
    /// Starts this program as a node and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it ends first, with what it said.
    pub(crate) fn start(options: &NodeOptions) -> anyhow::Result<Self> {
        let mut command = Command::new(own_program()?);
        command.args(["serve", "--supervised", "--data-dir"]).arg(&options.data_dir);
        command.arg("--http-port").arg(options.http_port.to_string());
        command.arg("--kafka-port").arg(options.kafka_port.to_string());
        if let Some(url) = &options.demo_url {
            command.arg("--demo-url").arg(url);
        }
        // Ctrl-C is for the supervisor, which then stops the node in order.
        command.process_group(0);
        // The pipe ends with the supervisor, however that ends; then the node ends too.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start the node")?;
        let heard = Arc::new(Heard::default());
        if let Some(stderr) = child.stderr.take() {
            let heard = Arc::clone(&heard);
            std::thread::Builder::new().name("node-messages".into()).spawn(move || heard.listen(stderr))?;
        }
        let mut node = Self { child, heard, http: String::new(), kafka: String::new() };
        node.wait_until_ready()?;
        Ok(node)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let said = locked(&self.heard.said);
        let (said, _) = self
            .heard
            .changed
            .wait_timeout_while(said, START_TIMEOUT, |said| !said.ready && !said.ended)
            .unwrap_or_else(PoisonError::into_inner);
        let tail = || said.tail.iter().cloned().collect::<Vec<_>>().join("\n");
        if !said.ready {
            bail!("the node did not start; it said:\n{}", tail());
        }
        let Some(http) = said.http.clone() else {
            bail!("the node named no HTTP address; it said:\n{}", tail())
        };
        let kafka = said.kafka.clone().unwrap_or_default();
        drop(said);
        (self.http, self.kafka) = (http, kafka);
        Ok(())
    }

    /// Process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// kill -9, and waits until the process is gone.
    pub(crate) fn kill(&mut self) {
        // An error means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for a clean end; kill -9 if it takes too long.
    pub(crate) fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            // Its messages end when it does.
            let said = locked(&self.heard.said);
            let _ = self.heard.changed.wait_timeout_while(said, STOP_TIMEOUT, |said| !said.ended);
        }
        self.kill();
    }

    /// How it ended, if it has.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The last lines it said.
    pub(crate) fn last_words(&self) -> String {
        locked(&self.heard.said).tail.iter().cloned().collect::<Vec<_>>().join("\n")
    }
}

/// The program's own file. On Linux by a name that still works after a new build replaced the file.
fn own_program() -> anyhow::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() {
        return Ok(running);
    }
    std::env::current_exe().context("cannot find this program's own file")
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Heard {
    fn listen(&self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { break };
            let mut said = locked(&self.said);
            if let Some((_, address)) = line.split_once("http listening on ") {
                said.http = Some(address.trim().trim_end_matches('/').to_owned());
            } else if let Some((_, address)) = line.split_once("kafka listening on ") {
                said.kafka = Some(address.trim().to_owned());
            } else if line.trim() == "ready" {
                said.ready = true;
            }
            if said.tail.len() == TAIL_LINES {
                said.tail.pop_front();
            }
            said.tail.push_back(line);
            self.changed.notify_all();
        }
        locked(&self.said).ended = true;
        self.changed.notify_all();
    }
}

/// `wanted` if nothing listens there, else a port the system picks.
///
/// # Errors
/// When this machine has no loopback port left.
pub(crate) fn free_port(wanted: u16) -> anyhow::Result<u16> {
    let listener =
        TcpListener::bind(("127.0.0.1", wanted)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.port())
}
