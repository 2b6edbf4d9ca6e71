//! Durable appends, in this process: no socket, no protocol.

use std::collections::VecDeque;
use std::sync::Arc;

use highwater_env::{MemoryBudget, RealDisk, TopicId, TopicPartition};
use highwater_log::{AppendError, BatchBuilder, Log, LogBatch, LogOptions, Ticket};

use super::Bench;
use super::process::Usage;
use super::report::{Measured, Report};

const PARTITIONS: i32 = 16;
const RECORDS_PER_BATCH: u64 = 100;
const RECORD_BYTES: usize = 256;
/// Appends not yet acknowledged: like as many producers with one request each.
const UNDER_WAY_MAX: usize = 64;
const EVENTS: u64 = 5_000_000;

pub(super) fn run(bench: &Bench) -> anyhow::Result<Report> {
    let budget = MemoryBudget::unlimited();
    let clock = Arc::clone(&bench.clock);
    let (log, _) =
        Log::open(Arc::new(RealDisk), clock, &bench.dir.join("log"), LogOptions::default(), &budget)?;
    let partitions: Vec<_> =
        (0..PARTITIONS).map(|partition| TopicPartition { topic: TopicId(1), partition }).collect();
    for tp in &partitions {
        log.create_partition(*tp)?;
    }
    let batch = batch(bench.clock.unix_ms())?;
    let batches = bench.events_or(EVENTS).div_ceil(RECORDS_PER_BATCH);

    let cpu_before = Usage::of(std::process::id()).cpu;
    let begun = bench.clock.monotonic();
    let mut under_way: VecDeque<Ticket> = VecDeque::with_capacity(UNDER_WAY_MAX);
    for tp in partitions.iter().cycle().take(usize::try_from(batches)?) {
        if under_way.len() == UNDER_WAY_MAX
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.wait()?;
        }
        let ticket = append(&log, *tp, &batch, &mut under_way)?;
        under_way.push_back(ticket);
    }
    for ticket in under_way {
        ticket.wait()?;
    }
    let took = bench.clock.monotonic() - begun;
    let usage = Usage::of(std::process::id());
    let groups = log.stats().groups;
    log.close()?;

    let measured = Measured {
        events: batches * RECORDS_PER_BATCH,
        bytes: batches * batch.bytes().len() as u64,
        took,
        cpu: usage.cpu.saturating_sub(cpu_before),
        usage,
    };
    let what = format!(
        "append of batches of {RECORDS_PER_BATCH} records of {RECORD_BYTES} bytes to {PARTITIONS} partitions, \
         {UNDER_WAY_MAX} under way, each acknowledged after fdatasync"
    );
    Ok(Report::new("log", what, &measured).with("fdatasyncs", groups))
}

/// Appends; when the log's memory is full, waits for the oldest append first.
fn append(
    log: &Log,
    tp: TopicPartition,
    batch: &LogBatch,
    under_way: &mut VecDeque<Ticket>,
) -> anyhow::Result<Ticket> {
    loop {
        match log.append(tp, batch.clone()) {
            Ok(ticket) => return Ok(ticket),
            Err(error @ AppendError::Backpressure(_)) => match under_way.pop_front() {
                Some(oldest) => oldest.wait()?,
                None => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
    }
}

fn batch(now_ms: i64) -> anyhow::Result<LogBatch> {
    let mut builder = BatchBuilder::new(now_ms);
    for number in 0..RECORDS_PER_BATCH {
        // Not all alike, as real payloads are not.
        let value: Vec<u8> = (0..RECORD_BYTES).map(|at| (at as u64 * 31 + number * 17) as u8).collect();
        builder.push(now_ms, None, Some(&value), &[]);
    }
    Ok(builder.finish())
}
