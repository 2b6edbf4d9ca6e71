//! The state machine under a clock that is moved by hand, over a log that is stepped by hand.

mod members;
mod offsets;
mod restarts;
mod statics;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use highwater_env::{Clock, Entropy, ManualClock, SeededEntropy, SimDisk};
use highwater_log::Log;

use super::refusal::GroupRefusal;
use super::{
    GroupOptions, Groups, JoinRefused, JoinRequest, Joined, Leaving, MemberClaim, SyncRequest, Synced,
};
use crate::testing::open_log;
use crate::{TopicOptions, Topics};

const SESSION_MS: i64 = 10_000;
const REBALANCE_MS: i64 = 60_000;
const DELAY_MS: i64 = 500;

struct Fixture {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    log: Log,
    groups: Groups,
}

/// A future that is looked at again and again; waiting is not allowed.
type Waiting<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

fn look<T>(waiting: &mut Waiting<T>) -> Option<T> {
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

fn options() -> GroupOptions {
    GroupOptions {
        initial_rebalance_delay: Duration::from_millis(DELAY_MS as u64),
        ..GroupOptions::default()
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(options())
    }

    fn with(options: GroupOptions) -> Self {
        Self::open(SimDisk::new(1), Arc::new(ManualClock::at(1_000_000)), options)
    }

    fn open(disk: SimDisk, clock: Arc<ManualClock>, options: GroupOptions) -> Self {
        let time: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let log = open_log(&disk, Arc::clone(&time));
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::new(7));
        let topics = Topics::open(log.clone(), Arc::clone(&entropy), TopicOptions::default()).unwrap();
        let groups = Groups::open(log.clone(), topics, time, entropy, options).unwrap();
        Self { disk, clock, log, groups }
    }

    /// The same after a power cut: what was not synced is gone.
    fn crash(self) -> Self {
        let Self { disk, clock, log, groups } = self;
        drop((groups, log));
        disk.crash();
        Self::open(disk, clock, options())
    }

    fn pass(&self, ms: i64) {
        self.clock.advance_ms(ms);
        self.groups.tick();
    }

    /// The end of something that only waits for the disk.
    fn settle<T>(&self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        for _ in 0..100 {
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(done) = waiting.as_mut().poll(context) {
                return done;
            }
            self.log.step();
        }
        panic!("it waits for more than the disk");
    }

    fn join(&self, request: &JoinRequest) -> Waiting<Result<Joined, JoinRefused>> {
        Box::pin(self.groups.join(request))
    }

    /// A join that must be answered at once.
    fn join_now(&self, request: &JoinRequest) -> Result<Joined, JoinRefused> {
        self.settle(self.groups.join(request))
    }

    fn sync(
        &self,
        joined: &Joined,
        assignments: &[(&Arc<str>, &str)],
    ) -> Waiting<Result<Synced, GroupRefusal>> {
        let assignments = assignments
            .iter()
            .map(|(member, text)| (member.to_string(), Bytes::from(text.to_string())))
            .collect();
        Box::pin(self.groups.sync(&SyncRequest {
            group: "g".to_owned(),
            claim: claim(joined),
            assignments,
            ..SyncRequest::default()
        }))
    }

    fn heartbeat(&self, joined: &Joined) -> Result<(), GroupRefusal> {
        self.groups.heartbeat("g", &claim(joined))
    }

    fn state(&self) -> &'static str {
        let listed = self.settle(self.groups.list()).unwrap();
        listed.iter().find(|group| &*group.group == "g").map_or("Dead", |group| group.state)
    }

    /// A stable group of one, its only member assigned `all`.
    fn stable_group_of_one(&self, request: &JoinRequest) -> Joined {
        let mut joining = self.join(request);
        assert!(look(&mut joining).is_none());
        self.pass(DELAY_MS);
        let joined = look(&mut joining).unwrap().unwrap();
        let synced = self.settle(self.sync(&joined, &[(&joined.member_id, "all")])).unwrap();
        assert_eq!(synced.assignment, "all");
        assert_eq!(self.state(), "Stable");
        joined
    }

    /// `joined` and one more member, both joining anew: what each is told.
    fn rejoin_with(&self, joined: &Joined, another: &JoinRequest) -> (Joined, Joined) {
        let mut second = self.join(another);
        assert!(look(&mut second).is_none());
        assert_eq!(self.heartbeat(joined), Err(GroupRefusal::RebalanceInProgress));
        let again = JoinRequest { member_id: joined.member_id.to_string(), ..member("one") };
        let mut first = self.join(&again);
        (look(&mut first).unwrap().unwrap(), look(&mut second).unwrap().unwrap())
    }
}

fn claim(joined: &Joined) -> MemberClaim {
    MemberClaim { generation: joined.generation, member_id: joined.member_id.to_string(), instance_id: None }
}

/// What consumers put into their metadata: the topics they read.
fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 1];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([255; 4]);
    bytes.into()
}

/// A consumer of topic `t` that joins group `g` without an id.
fn member(client_id: &str) -> JoinRequest {
    JoinRequest {
        group: "g".to_owned(),
        client_id: client_id.to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: Duration::from_millis(SESSION_MS as u64),
        rebalance_timeout: Duration::from_millis(REBALANCE_MS as u64),
        protocol_type: "consumer".to_owned(),
        protocols: vec![("range".to_owned(), subscription(&["t"]))],
        ..JoinRequest::default()
    }
}

fn protocols(names: &[&str]) -> Vec<(String, Bytes)> {
    names.iter().map(|name| (name.to_string(), subscription(&["t"]))).collect()
}

fn leaving(joined: &Joined) -> Leaving {
    Leaving { member_id: joined.member_id.to_string(), instance_id: None }
}

fn reason(outcome: Result<Joined, JoinRefused>) -> GroupRefusal {
    outcome.unwrap_err().reason
}
