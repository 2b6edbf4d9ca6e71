//! A broker on a port of its own, over a temporary directory.
#![allow(dead_code, reason = "each test binary uses another part")]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use highwater_broker::{Broker, BrokerOptions, Listener, SocketThreads, serve};
use highwater_coordinator::{Coordinators, Groups, TopicOptions, Topics};
use highwater_env::{Clock, Entropy, MemoryBudget, OsEntropy, RealDisk, SystemClock};
use highwater_log::{BatchBuilder, Log, LogOptions};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Node {
    pub(crate) broker: Arc<Broker>,
    pub(crate) addr: SocketAddr,
    pub(crate) log: Log,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
    _dir: TempDir,
}

impl Node {
    pub(crate) fn start(options: BrokerOptions) -> Self {
        Self::start_with(options, MemoryBudget::unlimited())
    }

    pub(crate) fn start_without_auto_create(options: BrokerOptions) -> Self {
        let topics = TopicOptions { auto_create: false, ..TopicOptions::default() };
        Self::start_all(options, topics, MemoryBudget::unlimited())
    }

    pub(crate) fn start_with(options: BrokerOptions, budget: MemoryBudget) -> Self {
        Self::start_all(options, TopicOptions::default(), budget)
    }

    fn start_all(options: BrokerOptions, topics: TopicOptions, budget: MemoryBudget) -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = Runtime::new().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let log_budget = MemoryBudget::unlimited();
        let disk = Arc::new(RealDisk);
        let (log, _) =
            Log::open(disk, Arc::clone(&clock), dir.path(), LogOptions::default(), &log_budget).unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy::new());
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), topics).unwrap();
        let coordinators = Coordinators::open(&log, topics.clone(), &clock, &entropy).unwrap();
        let groups = coordinators.groups.clone();
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let addr = socket.local_addr().unwrap();
        let listener = Arc::new(Listener { port: addr.port(), ..Listener::default() });
        let broker = Arc::new(Broker::new(log.clone(), coordinators, options, clock, entropy, &budget));
        let (stop, stopped) = oneshot::channel::<()>();
        let threads = Arc::new(SocketThreads::start().unwrap());
        let served = runtime.spawn(serve(socket, listener, Arc::clone(&broker), threads, async {
            let _ = stopped.await;
        }));
        Self { broker, addr, log, topics, groups, runtime, stop: Some(stop), served: Some(served), _dir: dir }
    }

    /// Asks the broker to stop and waits until it has.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(served) = self.served.take() {
            self.runtime.block_on(served).unwrap();
        }
    }
}

/// A request as it goes over the socket, classic header.
pub(crate) fn framed(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(10 + body.len()).unwrap());
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(correlation_id);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame.freeze()
}

fn put_topic(body: &mut BytesMut, topic: &str) {
    body.put_i32(1);
    body.put_i16(i16::try_from(topic.len()).unwrap());
    body.put_slice(topic.as_bytes());
    body.put_i32(1);
}

/// Produce in version 7, to partition 0.
pub(crate) fn produce(correlation_id: i32, topic: &str, acks: i16, records: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i16(-1);
    body.put_i16(acks);
    body.put_i32(30_000);
    put_topic(&mut body, topic);
    body.put_i32(0);
    body.put_i32(i32::try_from(records.len()).unwrap());
    body.put_slice(records);
    framed(0, 7, correlation_id, &body)
}

/// Fetch in version 4, of partition 0.
pub(crate) fn fetch(correlation_id: i32, topic: &str, offset: i64, wait_ms: i32) -> Bytes {
    let mut body = BytesMut::new();
    body.put_i32(-1);
    body.put_i32(wait_ms);
    body.put_i32(1);
    body.put_i32(8 << 20);
    body.put_i8(0);
    put_topic(&mut body, topic);
    body.put_i32(0);
    body.put_i64(offset);
    body.put_i32(8 << 20);
    framed(1, 4, correlation_id, &body)
}

pub(crate) fn batch(values: &[&[u8]]) -> Bytes {
    let mut batch = BatchBuilder::new(1000);
    for value in values {
        batch.push(1000, None, Some(value), &[]);
    }
    batch.finish().bytes().clone()
}
