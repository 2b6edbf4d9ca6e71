//! The node's figures in the server's words.

use highwater_coordinator::Topic;
use highwater_dataflow::OperatorStats;
use highwater_log::Log;
use highwater_pipeline::tables::{TableDefinition, Tables};
use highwater_pipeline::{PipelineStatus as Pipeline, State};
use highwater_serve::metrics::Sample;
use highwater_serve::{
    ColumnStatus, OperatorStatus, PartitionStatus, PipelineState, PipelineStatus, SinkBalance, SourceBalance,
    TableStatus, TopicStatus,
};
use highwater_sql::FLINK_TYPE;
use highwater_stream::{EventTime, OperatorSpec, PlanNode, SinkTarget, WATERMARK_END, WATERMARK_NONE};

use super::LocalNode;

pub(super) fn topic(log: &Log, topic: &Topic) -> TopicStatus {
    let partition = |number: i32| {
        let bounds = log.bounds(topic.partition(number)).unwrap_or_default();
        PartitionStatus {
            partition: number,
            log_start_offset: bounds.log_start_offset,
            last_stable_offset: bounds.last_stable_offset,
            high_watermark: bounds.high_watermark,
            log_end_offset: bounds.log_end_offset,
        }
    };
    TopicStatus {
        name: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.internal,
        configs: topic.configs.as_ref().clone(),
        partitions: (0..topic.partitions).map(partition).collect(),
    }
}

pub(super) fn table(tables: &Tables, table: &TableDefinition, pipelines: &[Pipeline]) -> TableStatus {
    let keeper = pipelines.iter().find(|pipeline| pipeline.name == table.pipeline);
    let column = |field: &arrow::datatypes::FieldRef| ColumnStatus {
        name: field.name().clone(),
        sql_type: field.metadata().get(FLINK_TYPE).cloned().unwrap_or_else(|| field.data_type().to_string()),
        nullable: field.is_nullable(),
    };
    TableStatus {
        name: table.name.clone(),
        pipeline: table.pipeline.clone(),
        columns: table.schema.fields().iter().map(column).collect(),
        primary_key: table.primary_key.iter().map(|at| table.schema.field(*at).name().clone()).collect(),
        rows: tables.row_count(&table.name).unwrap_or_default(),
        epoch: tables.epoch(&table.name).unwrap_or_default().0,
        committed_at_ms: keeper.and_then(|pipeline| pipeline.committed.at_ms),
    }
}

pub(super) fn pipeline(pipeline: &Pipeline) -> PipelineStatus {
    let (state, error) = match &pipeline.state {
        State::Starting => (PipelineState::Starting, None),
        State::Running => (PipelineState::Running, None),
        State::Finished => (PipelineState::Finished, None),
        State::Stopped => (PipelineState::Stopped, None),
        State::Restarting { error } => (PipelineState::Restarting, Some(error.clone())),
        State::Failed { error } => (PipelineState::Failed, Some(error.clone())),
    };
    let figures = pipeline.stats.operators.iter().zip(&pipeline.plan.nodes);
    PipelineStatus {
        name: pipeline.name.clone(),
        state,
        error,
        epoch: pipeline.committed.epoch.0,
        committed_at_ms: pipeline.committed.at_ms,
        epoch_duration_ms: pipeline.committed.took.map(|took| millis(took.as_nanos())),
        restarts: pipeline.restarts,
        recovery_ms: None,
        lag: pipeline.stats.operators.iter().filter_map(OperatorStats::lag).reduce(|a, b| a + b),
        operators: figures.clone().map(|(stats, node)| operator(stats, node)).collect(),
        sources: figures.clone().filter_map(|(stats, node)| source(stats, node)).collect(),
        sinks: figures.filter_map(|(stats, node)| sink(stats, node, pipeline)).collect(),
    }
}

fn operator(stats: &OperatorStats, node: &PlanNode) -> OperatorStatus {
    OperatorStatus {
        node: stats.node,
        uid: stats.uid.clone(),
        title: stats.title.clone(),
        inputs: node.inputs.iter().map(|edge| edge.from).collect(),
        rows_in: stats.rows_in,
        rows_out: stats.rows_out,
        filtered: stats.filtered,
        late_rows: stats.late_rows,
        watermark_ms: shown_watermark(stats.watermark),
        held_back_by: None,
        state_keys: stats.state_keys,
        state_bytes: stats.state_bytes,
        busy_ms: millis(u128::from(stats.busy_ns)),
        lag: stats.lag(),
    }
}

fn source(stats: &OperatorStats, node: &PlanNode) -> Option<SourceBalance> {
    let OperatorSpec::Source(spec) = &node.spec else { return None };
    Some(SourceBalance {
        table: spec.table.clone(),
        records: stats.rows_in + stats.rejected + stats.filtered,
        decoded: stats.rows_in,
        dead_lettered: stats.rejected,
        skipped: stats.filtered,
    })
}

fn sink(stats: &OperatorStats, node: &PlanNode, pipeline: &Pipeline) -> Option<SinkBalance> {
    let OperatorSpec::Sink(spec) = &node.spec else { return None };
    let (table, connector) = match &spec.target {
        SinkTarget::Table { table, options } => {
            (table.clone(), options.get("connector").cloned().unwrap_or_default())
        }
        SinkTarget::Materialized { table } => (table.clone(), "materialized".to_owned()),
        SinkTarget::Collect => ("SELECT".to_owned(), "collect".to_owned()),
    };
    let guarantee = match connector.as_str() {
        "materialized" | "kafka" | "filesystem" => "exactly-once",
        "blackhole" => "none",
        _ => "at-least-once",
    };
    let (received, guarantee) = (stats.rows_in, guarantee.to_owned());
    let committed = pipeline.committed_changes.get(&stats.uid).copied().unwrap_or_default();
    let pending = received.saturating_sub(committed);
    Some(SinkBalance { table, connector, guarantee, received, committed, suppressed: 0, pending })
}

fn shown_watermark(watermark: EventTime) -> Option<i64> {
    (watermark != WATERMARK_NONE && watermark != WATERMARK_END).then_some(watermark)
}

fn millis(nanos: u128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(u64::MAX)
}

pub(super) fn samples(node: &LocalNode) -> Vec<Sample> {
    let log = node.log.stats();
    let seconds = |ns: u64| std::time::Duration::from_nanos(ns).as_secs_f64();
    let open = node.coordinators.transactions.stats();
    let oldest_ms = u64::try_from(open.oldest_open_ms).unwrap_or(0);
    let mut samples = vec![
        Sample::count("highwater_env_memory_used_bytes", node.budget.used()),
        Sample::count("highwater_env_memory_limit_bytes", node.budget.bytes_max()),
        Sample::count("highwater_log_appended_batches_total", log.batches),
        Sample::count("highwater_log_appended_bytes_total", log.bytes),
        Sample::count("highwater_log_syncs_total", log.groups),
        Sample::new("highwater_log_sync_seconds_total", seconds(log.sync_ns)),
        Sample::count("highwater_coordinator_open_transactions_count", open.open as u64),
        Sample::new(
            "highwater_coordinator_oldest_transaction_seconds",
            std::time::Duration::from_millis(oldest_ms).as_secs_f64(),
        ),
    ];
    if let Some(broker) = node.broker.get() {
        let stats = broker.stats();
        samples.push(Sample::count("highwater_broker_connections_count", stats.connections_open));
        for (api, requests) in stats.requests {
            samples.push(Sample::count("highwater_broker_requests_total", requests).with("api", api));
        }
    }
    samples
}
