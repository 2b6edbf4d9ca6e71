//! Whole jobs under simulation: exact lateness, any parallelism, any interleaving, restore at every epoch.
#![allow(clippy::unwrap_used, reason = "test code")]

mod toy;

use std::sync::Arc;
use std::time::Duration;

use expect_test::expect;
use highwater_dataflow::{Job, JobEvent, JobSettings, WorkerPool};
use highwater_env::{Clock, Entropy, Epoch, MemoryBudget, SeededEntropy, SystemClock};
use highwater_stream::{Barrier, BarrierKind, StreamPlan};
use toy::*;

#[test]
fn late_and_boundary_rows_follow_the_rule() {
    let rows = vec![
        (Some("a"), -3, 1), // a window before 1970: [-10, 0)
        (Some("a"), 0, 2),
        (Some("b"), 9, 3), // the watermark reaches 9 = end - 1: [0, 10) closes behind this row
        (Some("a"), 9, 4), // late
        (Some("a"), 10, 5), // exactly the next window
        (Some("a"), 5, 6), // late
        (Some("b"), 18, 7), // 18 < 19: [10, 20) stays open
        (Some("a"), 11, 8), // behind the watermark, its window is open: counts
        (None, 30, 9),
    ];
    for batch in [1, 2, 4, 9] {
        let toy = Toy::new(vec![rows.clone()], batch);
        let (epochs, stats) = simulate(&tumble_plan(0), &toy, 1, 1, None, 0);
        let written = toy.written.lock().unwrap();
        expect![[r#"
            +I(a, 1, 1, 1, 1, 1970-01-01T00:00:00)
            +I(a, 1, 2, 2, 1, 1970-01-01T00:00:00.010)
            +I(b, 1, 3, 3, 1, 1970-01-01T00:00:00.010)
            +I(a, 2, 13, 5, 2, 1970-01-01T00:00:00.020)
            +I(b, 1, 7, 7, 1, 1970-01-01T00:00:00.020)
            +I(NULL, 1, 9, 9, 1, 1970-01-01T00:00:00.040)"#]]
        .assert_eq(&written.epochs[&(1, 0)].join("\n"));
        assert_eq!(stats.operators[1].late_rows, 2, "batches of {batch}");
        assert_eq!(epochs.0.len(), 1);
    }
}

#[test]
fn one_split_of_random_rows_gives_what_a_loop_gives() {
    for seed in 0..20 {
        let entropy = SeededEntropy::new(seed);
        let rows = random_rows(&entropy, 200, 30);
        let (expected, late) = expected_tumble(&rows, 5);
        let toy = Toy::new(vec![rows], 1 + entropy.below(40) as usize);
        let (_, stats) = simulate(&tumble_plan(5), &toy, 1, seed, None, 20);
        assert_eq!(toy.committed(u64::MAX), expected, "seed {seed}");
        assert_eq!(stats.operators[1].late_rows, late, "seed {seed}");
        assert!(late > 0, "seed {seed}: the input has late rows");
    }
}

/// One split is read in order whatever the number of shards: shards without splits do not blur what is late.
#[test]
fn one_split_on_many_shards_has_the_same_late_rows() {
    for seed in 0..20 {
        let rows = random_rows(&SeededEntropy::new(seed), 200, 30);
        let (expected, late) = expected_tumble(&rows, 5);
        let toy = Toy::new(vec![rows], 7);
        let (_, stats) = simulate(&tumble_plan(5), &toy, 3, seed, None, 20);
        assert_eq!(toy.committed(u64::MAX), expected, "seed {seed}");
        assert_eq!(stats.operators[1].late_rows, late, "seed {seed}");
    }
}

/// Any number of shards under any interleaving, started again after any epoch with another number of shards.
fn check_everywhere(
    plan: &StreamPlan,
    expect: impl Fn(&[Row]) -> Vec<String>,
    finish: impl Fn(Vec<String>) -> Vec<String>,
) {
    for seed in 0..24_u64 {
        let entropy = SeededEntropy::new(seed);
        let splits: Vec<Vec<Row>> = (0..3).map(|_| random_rows(&entropy, 60, 8)).collect();
        let expected = expect(&splits.concat());
        let shards = [1, 2, 4][(seed % 3) as usize];
        let toy = Toy { pending_every: 3, ..Toy::new(splits.clone(), 1 + entropy.below(9) as usize) };
        let (epochs, stats) = simulate(plan, &toy, shards, seed, None, 12);
        assert_eq!(finish(toy.committed(u64::MAX)), expected, "seed {seed}, {shards} shards");
        assert_eq!(stats.operators[0].rows_in, 180, "seed {seed}");
        for epoch in epochs.0.keys() {
            let other = [4, 1, 2, 3][(epoch % 4) as usize];
            let again = Toy { written: Default::default(), ..toy.clone() };
            let restored = epochs.restore(*epoch);
            simulate(plan, &again, other, seed + epoch, Some((&restored, *epoch)), 30);
            let mut rows = toy.committed(*epoch);
            rows.extend(again.committed(u64::MAX));
            rows.sort();
            assert_eq!(finish(rows), expected, "seed {seed}: {shards} shards, after epoch {epoch} {other}");
        }
    }
}

#[test]
fn windows_survive_any_parallelism_and_restart() {
    // Splits are up to 60 ms apart when they are read unevenly: nothing is late.
    check_everywhere(&tumble_plan(200), |rows| expected_tumble(rows, 10_000).0, |rows| rows);
}

#[test]
fn changing_results_survive_any_parallelism_and_restart() {
    check_everywhere(&group_plan(), expected_groups, collapse);
}

#[test]
fn restart_after_every_step_gives_the_same_late_rows() {
    let entropy = SeededEntropy::new(7);
    let rows = random_rows(&entropy, 120, 30);
    let (expected, late) = expected_tumble(&rows, 5);
    let toy = Toy::new(vec![rows], 3);
    let (epochs, stats) = simulate(&tumble_plan(5), &toy, 1, 7, None, 1);
    assert_eq!((toy.committed(u64::MAX), stats.operators[1].late_rows), (expected.clone(), late));
    assert!(epochs.0.len() > 20, "{} epochs", epochs.0.len());
    for epoch in epochs.0.keys() {
        let again = Toy { written: Default::default(), ..toy.clone() };
        let restored = epochs.restore(*epoch);
        simulate(&tumble_plan(5), &again, 1, 3, Some((&restored, *epoch)), 0);
        let mut rows = toy.committed(*epoch);
        rows.extend(again.committed(u64::MAX));
        rows.sort();
        assert_eq!(rows, expected, "after epoch {epoch}");
    }
}

fn settings(shards: usize) -> JobSettings {
    JobSettings { shards, batch_rows_max: 16, ..JobSettings::default() }
}

/// Runs to the end in a pool; false: failed.
fn run_in(pool: &WorkerPool, clock: &Arc<dyn Clock>, toy: &Toy, plan: &StreamPlan, shards: usize) -> bool {
    let job = Job::build(plan, toy, settings(shards), None, Arc::clone(clock), &MemoryBudget::unlimited());
    let handle = pool.submit(job.unwrap());
    loop {
        match handle.events().recv_timeout(Duration::from_secs(20)).expect("the job moves") {
            JobEvent::InputEnded => handle.barrier(Barrier { epoch: Epoch(1), kind: BarrierKind::Stop }),
            JobEvent::Finished => return true,
            JobEvent::Failed(error) => {
                assert!(error.to_string().contains("as told"), "{error}");
                return false;
            }
            JobEvent::Snapshot { .. } => {}
        }
    }
}

#[test]
fn a_pool_runs_jobs_and_outlives_a_panic() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let pool = WorkerPool::start(2, Arc::clone(&clock));
    let entropy = SeededEntropy::new(3);
    let splits: Vec<Vec<Row>> = (0..4).map(|_| random_rows(&entropy, 500, 8)).collect();
    let broken = Toy { panic_on_write: true, ..Toy::new(splits.clone(), 16) };
    assert!(!run_in(&pool, &clock, &broken, &group_plan(), 2), "the panic is told");
    for shards in [1, 2, 4] {
        let toy = Toy { pending_every: 5, ..Toy::new(splits.clone(), 16) };
        assert!(run_in(&pool, &clock, &toy, &group_plan(), shards));
        assert_eq!(collapse(toy.committed(u64::MAX)), expected_groups(&splits.concat()), "{shards} shards");
    }
}

#[test]
fn a_full_memory_budget_fails_the_job_clearly() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let toy = Toy::new(vec![random_rows(&SeededEntropy::new(1), 50, 0)], 16);
    let budget = MemoryBudget::root("node", 64);
    let job = Job::build(&tumble_plan(0), &toy, settings(1), None, Arc::clone(&clock), &budget).unwrap();
    let pool = WorkerPool::start(1, clock);
    let handle = pool.submit(job);
    match handle.events().recv_timeout(Duration::from_secs(20)) {
        Some(JobEvent::Failed(error)) => assert!(error.to_string().contains("memory budget node"), "{error}"),
        other => panic!("{other:?}"),
    }
}
