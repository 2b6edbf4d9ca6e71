//! The threads that step all jobs' instances.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use highwater_env::Clock;

use crate::handle::lock;
use crate::job::Instance;
use crate::ready::Scheduler;
use crate::task::Step;
use crate::{Job, JobError, JobHandle};

/// How long a worker sleeps at most when nothing is ready and no timer is set.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Messages an instance takes in before others have their turn.
const INPUTS_PER_STEP: usize = 8;

/// Threads that step the instances of all jobs, fairly between jobs.
///
/// Dropping the pool stops its threads; jobs still in it stand still.
pub struct WorkerPool {
    inner: Arc<Inner>,
    threads: Vec<JoinHandle<()>>,
    next_job: AtomicU64,
}

struct Inner {
    clock: Arc<dyn Clock>,
    queues: Mutex<Queues>,
    work: Condvar,
}

#[derive(Default)]
struct Queues {
    jobs: HashMap<u64, RunningJob>,
    /// Jobs with ready instances, each once; the front is next.
    ring: VecDeque<u64>,
    /// Monotonic time, job, instance.
    timers: BinaryHeap<Reverse<(Duration, u64, usize)>>,
    stopping: bool,
}

struct RunningJob {
    instances: Vec<Arc<Instance>>,
    ready: VecDeque<usize>,
    /// Per instance: its earliest timer, so that waiting again adds none.
    timers: Vec<Option<Duration>>,
    live: usize,
}

impl WorkerPool {
    /// A pool of `threads` threads (at least 1).
    pub fn start(threads: usize, clock: Arc<dyn Clock>) -> Self {
        let inner = Arc::new(Inner { clock, queues: Mutex::default(), work: Condvar::new() });
        let spawn = |number: usize| {
            let inner = Arc::clone(&inner);
            let thread = std::thread::Builder::new().name(format!("worker-{number}"));
            thread.spawn(move || inner.work()).expect("the system can start a thread")
        };
        let threads = (0..threads.max(1)).map(spawn).collect();
        Self { inner, threads, next_job: AtomicU64::new(1) }
    }

    /// Starts to run a job.
    pub fn submit(&self, job: Job) -> JobHandle {
        let number = self.next_job.fetch_add(1, Ordering::Relaxed);
        let (shared, instances) = job.into_parts();
        let instances: Vec<Arc<Instance>> = instances.into_iter().map(Arc::new).collect();
        let live = instances.len();
        let (ready, timers) = (VecDeque::new(), vec![None; live]);
        let running = RunningJob { instances: instances.clone(), ready, timers, live };
        lock(&self.inner.queues).jobs.insert(number, running);
        let scheduler: Arc<dyn Scheduler> = Arc::<Inner>::clone(&self.inner);
        for instance in &instances {
            instance.signal.attach(number, Arc::clone(&scheduler));
        }
        JobHandle::new(shared)
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        lock(&self.inner.queues).stopping = true;
        self.inner.work.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches its instances' panics; if it died all the same there is nothing left to stop.
            let _ = thread.join();
        }
        // Instances and this pool hold each other: part them.
        lock(&self.inner.queues).jobs.clear();
    }
}

impl Scheduler for Inner {
    fn ready(&self, job: u64, instance: usize) {
        if lock(&self.queues).push(job, instance) {
            self.work.notify_one();
        }
    }
}

impl Queues {
    fn push(&mut self, job: u64, instance: usize) -> bool {
        let Some(running) = self.jobs.get_mut(&job) else { return false };
        if running.ready.is_empty() {
            self.ring.push_back(job);
        }
        running.ready.push_back(instance);
        true
    }

    /// The next ready instance, jobs taking turns.
    fn pop(&mut self) -> Option<(u64, Arc<Instance>)> {
        while let Some(job) = self.ring.pop_front() {
            let Some(running) = self.jobs.get_mut(&job) else { continue };
            let Some(instance) = running.ready.pop_front() else { continue };
            if !running.ready.is_empty() {
                self.ring.push_back(job);
            }
            return Some((job, Arc::clone(&running.instances[instance])));
        }
        None
    }

    /// The instances whose timers are due.
    fn due(&mut self, now: Duration) -> Vec<Arc<Instance>> {
        let mut due = Vec::new();
        while let Some(Reverse((at, job, instance))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if let Some(running) = self.jobs.get_mut(&job) {
                running.timers[instance] = None;
                due.push(Arc::clone(&running.instances[instance]));
            }
        }
        due
    }

    fn wake_at(&mut self, at: Duration, job: u64, instance: usize) {
        let Some(running) = self.jobs.get_mut(&job) else { return };
        let timer = &mut running.timers[instance];
        if timer.is_none_or(|earliest| at < earliest) {
            *timer = Some(at);
            self.timers.push(Reverse((at, job, instance)));
        }
    }

    fn finished(&mut self, job: u64) {
        let Some(running) = self.jobs.get_mut(&job) else { return };
        running.live -= 1;
        if running.live == 0 {
            self.jobs.remove(&job);
        }
    }
}

impl Inner {
    fn work(&self) {
        while let Some((job, instance)) = self.next() {
            self.step(job, &instance);
        }
    }

    /// Waits for a ready instance. None: the pool stops.
    fn next(&self) -> Option<(u64, Arc<Instance>)> {
        let mut queues = lock(&self.queues);
        loop {
            if queues.stopping {
                return None;
            }
            let now = self.clock.monotonic();
            let due = queues.due(now);
            if !due.is_empty() {
                drop(queues);
                due.iter().for_each(|instance| instance.signal.ring());
                queues = lock(&self.queues);
                continue;
            }
            if let Some(ready) = queues.pop() {
                return Some(ready);
            }
            let timer = queues.timers.peek().map(|Reverse((at, ..))| at.saturating_sub(now));
            queues = self.sleep(queues, timer.unwrap_or(SLEEP_MAX).min(SLEEP_MAX));
        }
    }

    fn sleep<'a>(&self, queues: MutexGuard<'a, Queues>, timeout: Duration) -> MutexGuard<'a, Queues> {
        // At least 1 ms: a clock that stands still must not make a worker spin.
        let timeout = timeout.max(Duration::from_millis(1));
        self.work.wait_timeout(queues, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    fn step(&self, job: u64, instance: &Instance) {
        instance.signal.begin();
        match step_caught(instance, self.clock.as_ref(), INPUTS_PER_STEP) {
            Step::Ran => instance.signal.again(),
            Step::Blocked => instance.signal.sleep(),
            Step::IdleUntil(at) => {
                lock(&self.queues).wake_at(at, job, instance.number);
                // Another worker may sleep longer than this timer.
                self.work.notify_one();
                instance.signal.sleep();
            }
            Step::Done => {
                instance.signal.finish();
                lock(&self.queues).finished(job);
            }
        }
    }
}

/// Steps an instance; an error or a panic stops its job, not the thread.
pub(crate) fn step_caught(instance: &Instance, clock: &dyn Clock, inputs_max: usize) -> Step {
    if instance.shared.cancelled.load(Ordering::SeqCst) {
        // Readers, writers and state go now, not when the last handle does.
        lock(&instance.task).take();
        return Step::Done;
    }
    let stepped = catch_unwind(AssertUnwindSafe(|| {
        let mut task = lock(&instance.task);
        match task.as_mut() {
            Some(task) => task.step(clock, inputs_max),
            None => Ok(Step::Done),
        }
    }));
    let failed = match stepped {
        Ok(Ok(step)) => return step,
        Ok(Err(error)) => error,
        Err(panic) => JobError::Panicked(panic_message(panic.as_ref())),
    };
    lock(&instance.task).take();
    instance.shared.fail(failed);
    Step::Done
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
