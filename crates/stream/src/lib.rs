//! The language of a running query: what flows ([`ChangeBatch`], [`Message`]), what is run
//! ([`StreamPlan`]), and what stands at both ends ([`SourceConnector`], [`SinkConnector`]).
//!
//! Invariants:
//! - `sql` and `dataflow` meet only here; so do `dataflow` and `connectors`.
//! - A plan is plain data: bound expressions and Arrow schemas, no transport, no open file.
//! - Field names within one node's schema are unique; expressions name columns without qualifier.
//!
//! It must not plan, evaluate, or do I/O.

mod changes;
mod clock;
mod connect;
mod message;
mod options;
mod pattern;
mod plan;
mod time;

pub use changes::{ChangeBatch, RowKind};
pub use clock::{is_now, is_proctime, now, proctime};
pub use connect::{
    Committable, Committer, Connect, ConnectorError, ErrorKind, Position, RejectedRecord, SinkConnector,
    SourceBatch, SourceConnector, SourcePoll, SplitId, SplitReader,
};
pub use message::{Barrier, BarrierKind, Message};
pub use options::{
    CONNECTORS, ConnectorOptions, FORMATS, FormatOptions, TableOption, carries_changes, connector_options,
    finds_fields_by_name, format_options,
};
pub use pattern::{
    AfterMatch, MatchCondition, MatchOrder, MatchRow, MatchSpec, MatchValue, PatternVariable, VARIABLES_MAX,
};
pub use plan::{
    AggregateCall, AggregateFunction, ChangelogMode, Edge, Exchange, FirstRowSpec, GroupAggregateSpec,
    IntervalJoinSpec, JoinKind, JoinSpec, NodeId, OperatorSpec, OverAggregateSpec, OverCall, OverFrame,
    OverOrder, PlanNode, RankSpec, RepeatSpec, RowtimeSpec, SessionTableSpec, SinkSpec, SinkTarget, SortKey,
    SortSpec, SourceSpec, StreamPlan, TemporalJoinSpec, Times, UnnestSpec, WindowAggregateSpec, WindowColumn,
    WindowJoinSpec, WindowRankSpec, WindowShape, WindowSpec,
};
pub use time::{EventTime, WATERMARK_END, WATERMARK_NONE};
