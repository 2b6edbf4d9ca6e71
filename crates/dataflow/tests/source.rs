//! Sources: idle splits, new splits, barriers while nothing comes, cancelling.
#![allow(clippy::unwrap_used, reason = "test code")]

mod toy;

use std::sync::Arc;

use highwater_dataflow::simulate::Simulation;
use highwater_dataflow::{Job, JobEvent, JobSettings};
use highwater_env::{Clock, Epoch, ManualClock, MemoryBudget, SeededEntropy};
use highwater_state::{InstanceSnapshot, RestoredState, SplitPosition};
use highwater_stream::{Barrier, BarrierKind, Position, SplitId, StreamPlan, WATERMARK_NONE};
use toy::*;

const STEPS_MAX: usize = 10_000;

struct Run {
    simulation: Simulation,
    clock: Arc<ManualClock>,
}

fn run(plan: &StreamPlan, toy: &Toy, shards: usize) -> Run {
    run_from(plan, toy, shards, None)
}

fn run_from(plan: &StreamPlan, toy: &Toy, shards: usize, restored: Option<&RestoredState>) -> Run {
    let clock = Arc::new(ManualClock::at(1_000));
    let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
    let settings = JobSettings { shards, split_discovery_ms: 500, ..JobSettings::default() };
    let job =
        Job::build(plan, toy, settings, restored, Arc::clone(&shared), &MemoryBudget::unlimited()).unwrap();
    let mut simulation = Simulation::new(job, shared, Arc::new(SeededEntropy::new(5)));
    assert!(simulation.run(STEPS_MAX), "the job comes to rest");
    Run { simulation, clock }
}

impl Run {
    fn after(&mut self, ms: i64) {
        self.clock.advance_ms(ms);
        assert!(self.simulation.run(STEPS_MAX), "the job comes to rest");
    }

    /// Sends a barrier through and returns what the instances handed over.
    fn epoch(&mut self, epoch: u64) -> Vec<InstanceSnapshot> {
        self.simulation.handle().barrier(Barrier { epoch: Epoch(epoch), kind: BarrierKind::Checkpoint });
        assert!(self.simulation.run(STEPS_MAX), "the job comes to rest");
        let taken = |event| match event {
            JobEvent::Snapshot { taken, .. } => taken,
            other => panic!("{other:?}"),
        };
        let events = std::iter::from_fn(|| self.simulation.handle().events().try_recv());
        events.map(taken).collect()
    }
}

fn unbounded(splits: Vec<Vec<Row>>) -> Toy {
    Toy { bounded: false, ..Toy::new(splits, 4) }
}

/// The tumbling plan with an idle timeout of 100 ms.
fn plan_with_timeout() -> StreamPlan {
    let mut plan = tumble_plan(0);
    plan.nodes[0] = source(0, Some(100));
    plan
}

#[test]
fn a_silent_split_holds_the_watermark_until_it_is_idle() {
    for shards in [1, 2] {
        let toy = unbounded(vec![vec![(Some("a"), 1, 1), (Some("a"), 25, 1)], vec![]]);
        let mut run = run(&plan_with_timeout(), &toy, shards);
        assert_eq!(run.epoch(1).len(), run.simulation.handle().instances());
        assert_eq!(toy.committed(1), Vec::<String>::new(), "held back by the silent split");
        assert_eq!(run.simulation.handle().stats().operators[0].watermark, WATERMARK_NONE);
        run.after(101);
        let stats = run.simulation.handle().stats();
        assert!(stats.operators[0].splits.iter().all(|split| split.idle));
        run.epoch(2);
        assert_eq!(toy.committed(2), Vec::<String>::new(), "all are silent: nobody knows the time");
        toy.grow(vec![(Some("a"), 30, 1)]);
        run.after(500);
        run.epoch(3);
        assert_eq!(toy.committed(3).len(), 2, "{shards} shards: the idle ones do not hold back the new one");
    }
}

#[test]
fn a_shard_without_splits_does_not_hold_the_watermark_back() {
    let toy = unbounded(vec![vec![(Some("a"), 1, 1), (Some("a"), 25, 1)]]);
    let mut run = run(&tumble_plan(0), &toy, 4);
    run.epoch(1);
    assert_eq!(toy.committed(1), ["+I(a, 1, 1, 1, 1, 1970-01-01T00:00:00.010)"]);
}

#[test]
fn positions_are_those_of_the_rows_before_the_barrier() {
    let toy = unbounded(vec![vec![(Some("a"), 1, 1); 9], vec![(Some("b"), 2, 1); 5]]);
    let mut run = run(&tumble_plan(0), &toy, 2);
    let taken = run.epoch(1);
    let mut positions: Vec<_> = taken
        .iter()
        .flat_map(|taken| &taken.positions)
        .map(|p| (p.split.0.clone(), p.position.0, p.watermark))
        .collect();
    positions.sort();
    assert_eq!(positions, [("0".to_owned(), 9, 1), ("1".to_owned(), 5, 2)]);
    // The next epoch holds only what changed: nothing.
    let bytes = |taken: &[InstanceSnapshot]| -> usize {
        taken.iter().flat_map(|taken| &taken.operators).map(|operator| operator.bytes()).sum()
    };
    assert!(bytes(&taken) > 0);
    assert_eq!(bytes(&run.epoch(2)), 0);
}

#[test]
fn new_splits_are_found_and_read_from_their_start() {
    let toy = unbounded(vec![vec![(Some("a"), 1, 1)]]);
    let mut run = run(&group_plan(), &toy, 2);
    toy.grow(vec![(Some("b"), 2, 1), (Some("b"), 3, 1)]);
    run.after(499);
    assert_eq!(run.simulation.handle().stats().operators[0].rows_in, 1);
    run.after(2);
    assert_eq!(run.simulation.handle().stats().operators[0].rows_in, 3);
    run.epoch(1);
    assert_eq!(collapse(toy.committed_in_order()), ["(1, 1, 1, 1)", "(2, 1, 2, 2)"]);
}

#[test]
fn a_cancelled_job_says_nothing_more() {
    let toy = Toy::new(vec![vec![(Some("a"), 1, 1)]], 4);
    let mut run = run(&tumble_plan(0), &toy, 2);
    while run.simulation.handle().events().try_recv().is_some() {}
    run.simulation.handle().cancel();
    assert!(run.epoch(1).is_empty());
}

#[test]
fn a_split_goes_on_with_its_watermark() {
    let toy = unbounded(vec![vec![(Some("a"), 90, 1), (Some("a"), 5, 1)]]);
    let mut restored = RestoredState::new();
    let split = SplitId("0".to_owned());
    restored.set_position(SplitPosition {
        uid: "source:1".to_owned(),
        split,
        position: Position(1),
        watermark: 90,
    });
    let mut run = run_from(&tumble_plan(0), &toy, 1, Some(&restored));
    let taken = run.epoch(1);
    assert_eq!((taken[0].positions[0].position, taken[0].positions[0].watermark), (Position(2), 90));
    assert_eq!(run.simulation.handle().stats().operators[1].late_rows, 1, "late as it was before");
}
