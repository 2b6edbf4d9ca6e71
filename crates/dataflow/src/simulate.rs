//! Steps a job's instances one at a time, in an order drawn from a seed: the same seed replays a run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use highwater_env::{Clock, Entropy};

use crate::handle::lock;
use crate::job::Instance;
use crate::pool::step_caught;
use crate::ready::Scheduler;
use crate::task::Step;
use crate::{Job, JobHandle};

/// A job under simulation.
pub struct Simulation {
    handle: JobHandle,
    instances: Vec<Instance>,
    ready: Arc<ReadySet>,
    timers: Vec<(Duration, usize)>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

#[derive(Default)]
struct ReadySet(Mutex<Vec<usize>>);

impl Scheduler for ReadySet {
    fn ready(&self, _job: u64, instance: usize) {
        lock(&self.0).push(instance);
    }
}

impl Simulation {
    /// Takes over `job`; nothing runs until [`Simulation::step`].
    pub fn new(job: Job, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let handle = job.handle();
        let (_, instances) = job.into_parts();
        let ready = Arc::new(ReadySet::default());
        for instance in &instances {
            let scheduler: Arc<dyn Scheduler> = Arc::<ReadySet>::clone(&ready);
            instance.signal.attach(0, scheduler);
        }
        Self { handle, instances, ready, timers: Vec::new(), clock, entropy }
    }

    /// The job's handle.
    pub fn handle(&self) -> &JobHandle {
        &self.handle
    }

    /// Steps one ready instance by one message. False: none is ready (a timer may be: [`Simulation::next_timer`]).
    pub fn step(&mut self) -> bool {
        let now = self.clock.monotonic();
        let due = self.timers.extract_if(.., |(at, _)| *at <= now);
        let due: Vec<usize> = due.map(|(_, instance)| instance).collect();
        due.into_iter().for_each(|instance| self.instances[instance].signal.ring());
        let Some(instance) = self.draw() else { return false };
        let instance = &self.instances[instance];
        instance.signal.begin();
        match step_caught(instance, self.clock.as_ref(), 1) {
            Step::Ran => instance.signal.again(),
            Step::Blocked => instance.signal.sleep(),
            Step::IdleUntil(at) => {
                self.timers.push((at, instance.number));
                instance.signal.sleep();
            }
            Step::Done => instance.signal.finish(),
        }
        true
    }

    fn draw(&self) -> Option<usize> {
        let mut ready = lock(&self.ready.0);
        let count = ready.len();
        let drawn = usize::try_from(self.entropy.below(count as u64)).unwrap_or(0);
        (count > 0).then(|| ready.swap_remove(drawn))
    }

    /// Steps until nothing is ready, at most `steps_max` times; false if that was not enough.
    pub fn run(&mut self, steps_max: usize) -> bool {
        (0..steps_max).any(|_| !self.step())
    }

    /// The monotonic time at which the next timer is due.
    pub fn next_timer(&self) -> Option<Duration> {
        self.timers.iter().map(|(at, _)| *at).min()
    }
}
