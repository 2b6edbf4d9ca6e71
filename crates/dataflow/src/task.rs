//! Fused operators of one shard, stepped.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use highwater_env::{Clock, Reservation};
use highwater_state::InstanceSnapshot;
use highwater_stream::{Barrier, BarrierKind, Message, WATERMARK_END};

use crate::counters::{Counters, add};
use crate::exchange::Outlet;
use crate::handle::{BarrierInbox, JobShared};
use crate::inputs::Inputs;
use crate::operator::{Operator, Output, Progress};
use crate::operators::Place;
use crate::source::{Polled, Source};
use crate::{JobError, JobEvent};

/// How a step ended.
pub(crate) enum Step {
    /// There is more to do.
    Ran,
    /// Nothing to do until a bell rings.
    Blocked,
    /// Nothing to do until a bell rings or the monotonic clock shows this.
    IdleUntil(Duration),
    /// Over.
    Done,
}

impl Step {
    /// Waits no longer than until the wall clock shows `timer_ms`.
    fn at_most_until(self, timer_ms: Option<i64>, clock: &dyn Clock) -> Self {
        let Some(timer_ms) = timer_ms else { return self };
        let left = timer_ms.saturating_sub(clock.unix_ms()).max(0).unsigned_abs();
        let due = clock.monotonic().saturating_add(Duration::from_millis(left));
        match self {
            Self::Blocked => Self::IdleUntil(due),
            Self::IdleUntil(at) => Self::IdleUntil(at.min(due)),
            Self::Ran | Self::Done => self,
        }
    }
}

/// Where an instance's messages come from.
pub(crate) enum Head {
    /// It reads splits; barriers come from the job's handle.
    Source(Box<Source>, Arc<BarrierInbox>),
    /// It reads channels.
    Inputs(Inputs),
}

/// Where a message goes within an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// To an operator, by its index in the instance, and the number of its input.
    Node(usize, usize),
    /// Out of the instance.
    Outlet(usize),
}

/// An operator in its instance.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) targets: Vec<Target>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) memory: Reservation,
}

/// Work to do before the next input: what an operator has yet to say, and messages on their way.
enum Frame {
    Message(Target, Message),
    Resume(usize),
}

/// Fused operators of one shard: a tree, run depth first, so that one message has gone all its way before the
/// next comes in, and what lies in between stays bounded.
pub(crate) struct Task {
    number: usize,
    shared: Arc<JobShared>,
    head: Head,
    roots: Vec<Target>,
    nodes: Vec<Node>,
    outlets: Vec<Outlet>,
    frames: Vec<Frame>,
    /// The barrier on its way through the nodes, and what they handed over.
    barrier: Option<(Barrier, InstanceSnapshot)>,
    end: End,
}

/// How far an instance is at the end of its input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    /// The last watermark is on its way through the nodes.
    Flushing,
    /// Nothing comes but barriers.
    Flushed,
    /// The final barrier went through; the end goes out.
    Finishing,
}

impl Task {
    pub(crate) fn new(
        (number, shared): (usize, Arc<JobShared>),
        head: Head,
        roots: Vec<Target>,
        nodes: Vec<Node>,
        outlets: Vec<Outlet>,
    ) -> Self {
        Self {
            number,
            shared,
            head,
            roots,
            nodes,
            outlets,
            frames: Vec::new(),
            barrier: None,
            end: End::Open,
        }
    }

    /// Takes in up to `inputs_max` messages and does all that follows from them.
    pub(crate) fn step(&mut self, clock: &dyn Clock, inputs_max: usize) -> Result<Step, JobError> {
        let mut inputs = 0;
        loop {
            if !self.flush() {
                return Ok(Step::Blocked);
            }
            if let Some(frame) = self.frames.pop() {
                self.run(frame, clock)?;
                continue;
            }
            self.settle();
            if self.end == End::Finishing {
                if self.flush() {
                    self.shared.instance_finished();
                    return Ok(Step::Done);
                }
                return Ok(Step::Blocked);
            }
            if inputs == inputs_max {
                return Ok(Step::Ran);
            }
            inputs += 1;
            let timer = self.next_timer();
            if let Some((at, index)) = timer
                && at <= clock.unix_ms()
            {
                self.call(index, clock, |operator, out| operator.on_time(out))?;
                continue;
            }
            if let Some(wait) = self.receive(clock)? {
                return Ok(wait.at_most_until(timer.map(|(at, _)| at), clock));
            }
        }
    }

    /// The first timer of the operators, and whose it is. None once the input has ended.
    fn next_timer(&self) -> Option<(i64, usize)> {
        if self.end != End::Open {
            return None;
        }
        let timers = self.nodes.iter().enumerate();
        timers.filter_map(|(index, node)| Some((node.operator.next_timer()?, index))).min()
    }

    fn flush(&mut self) -> bool {
        // All are tried: one full outlet must not hold a barrier back from another.
        let mut done = true;
        for outlet in &mut self.outlets {
            done &= outlet.flush();
        }
        done
    }

    /// All that followed from the last input is done.
    fn settle(&mut self) {
        if self.end == End::Flushing {
            self.end = End::Flushed;
            self.shared.instance_flushed();
        }
        let Some((barrier, taken)) = self.barrier.take() else { return };
        self.shared.events.push(JobEvent::Snapshot { epoch: barrier.epoch, instance: self.number, taken });
        if barrier.kind == BarrierKind::Stop {
            self.end = End::Finishing;
            for outlet in &mut self.outlets {
                outlet.end();
            }
        }
    }

    /// Takes in one message. Returns how to wait if there is none.
    fn receive(&mut self, clock: &dyn Clock) -> Result<Option<Step>, JobError> {
        let messages = match &mut self.head {
            Head::Inputs(inputs) => match inputs.poll() {
                Some((input, message)) => {
                    self.roots.clear();
                    self.roots.push(Target::Node(0, input));
                    vec![message]
                }
                None => return Ok(Some(Step::Blocked)),
            },
            Head::Source(source, inbox) => match inbox.pop() {
                Some(barrier) => vec![Message::Barrier(barrier)],
                None if self.end != End::Open => return Ok(Some(Step::Blocked)),
                None => {
                    let mut out = Output::default();
                    let polled = source.poll(clock.monotonic(), &mut out)?;
                    match polled {
                        Polled::Nothing(wake_at) if out.messages.is_empty() => {
                            return Ok(Some(wake_at.map_or(Step::Blocked, Step::IdleUntil)));
                        }
                        Polled::Nothing(_) | Polled::Some | Polled::Ended => out.messages,
                    }
                }
            },
        };
        for message in &messages {
            match message {
                Message::Watermark(WATERMARK_END) => self.end = End::Flushing,
                Message::Barrier(barrier) => self.begin(*barrier),
                _ => {}
            }
        }
        let roots = std::mem::take(&mut self.roots);
        self.forward(&roots, messages);
        self.roots = roots;
        Ok(None)
    }

    /// A barrier came in.
    fn begin(&mut self, barrier: Barrier) {
        let mut taken = InstanceSnapshot::default();
        if let Head::Source(source, _) = &mut self.head {
            let (positions, rejects) = source.cut();
            let uid = source.uid();
            taken.rejects = rejects.into_iter().map(|reject| (uid.to_owned(), reject)).collect();
            taken.positions = positions;
        }
        self.barrier = Some((barrier, taken));
    }

    /// Queues `messages` for all `targets`, the first message to be run first.
    fn forward(&mut self, targets: &[Target], messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            for target in targets.iter().rev() {
                self.frames.push(Frame::Message(*target, message.clone()));
            }
        }
    }

    fn run(&mut self, frame: Frame, clock: &dyn Clock) -> Result<(), JobError> {
        match frame {
            Frame::Message(Target::Outlet(outlet), message) => self.outlets[outlet].send(message),
            Frame::Message(Target::Node(index, _), Message::Barrier(barrier)) => self.cut(index, barrier),
            Frame::Message(Target::Node(index, _), Message::Idle) => {
                self.emit(index, vec![Message::Idle]);
                Ok(())
            }
            // The end is told to outlets when the instance finishes.
            Frame::Message(Target::Node(..), Message::End) => Ok(()),
            Frame::Message(Target::Node(index, input), Message::Batch(batch)) => {
                add(&self.nodes[index].counters.rows_in, batch.len() as u64);
                self.call(index, clock, |operator, out| operator.on_batch(input, batch, out))
            }
            Frame::Message(Target::Node(index, _), Message::Watermark(watermark)) => {
                self.nodes[index].counters.watermark.fetch_max(watermark, Ordering::Relaxed);
                self.call(index, clock, |operator, out| operator.on_watermark(watermark, out))
            }
            Frame::Resume(index) => self.call(index, clock, |operator, out| operator.resume(out)),
        }
    }

    fn call(
        &mut self,
        index: usize,
        clock: &dyn Clock,
        call: impl FnOnce(&mut dyn Operator, &mut Output) -> Result<Progress, JobError>,
    ) -> Result<(), JobError> {
        let node = &mut self.nodes[index];
        let mut out = Output { now_ms: clock.unix_ms(), ..Output::default() };
        let before = clock.monotonic();
        let progress = call(node.operator.as_mut(), &mut out)?;
        let busy = clock.monotonic().saturating_sub(before);
        node.count(&out, busy)?;
        if progress == Progress::More {
            self.frames.push(Frame::Resume(index));
        }
        self.emit(index, out.messages);
        Ok(())
    }

    fn emit(&mut self, index: usize, messages: Vec<Message>) {
        let targets = std::mem::take(&mut self.nodes[index].targets);
        self.forward(&targets, messages);
        self.nodes[index].targets = targets;
    }

    /// The barrier reaches an operator: everything before it was taken in, nothing behind it.
    fn cut(&mut self, index: usize, barrier: Barrier) -> Result<(), JobError> {
        let full = self.shared.is_full(barrier.epoch);
        let node = &mut self.nodes[index];
        let snapshot = node.operator.snapshot(full);
        let prepared = node.operator.prepare(barrier.epoch)?;
        if let Some((_, taken)) = &mut self.barrier {
            taken.operators.extend(snapshot);
            let Place { uid, shard, .. } = &node.place;
            if let Some(committable) = prepared {
                taken.received.push((uid.clone(), node.counters.rows_in.load(Ordering::Relaxed)));
                taken.committables.push((uid.clone(), *shard, committable));
            }
        }
        self.emit(index, vec![Message::Barrier(barrier)]);
        Ok(())
    }
}

impl Node {
    fn count(&mut self, out: &Output, busy: Duration) -> Result<(), JobError> {
        let emitted = out.messages.iter().map(|message| match message {
            Message::Batch(batch) => batch.len() as u64,
            _ => 0,
        });
        add(&self.counters.rows_out, emitted.sum());
        add(&self.counters.filtered, out.filtered);
        add(&self.counters.late_rows, out.late);
        add(&self.counters.busy_ns, u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX));
        let (bytes, keys) = self.operator.held();
        self.counters.state_bytes.store(bytes as u64, Ordering::Relaxed);
        self.counters.state_keys.store(keys as u64, Ordering::Relaxed);
        self.memory
            .resize(bytes as u64)
            .map_err(|error| JobError::Memory { operator: self.place.title.clone(), error })
    }
}
