//! A query as a graph of operators: the meeting point of `sql` (which makes it) and
//! `dataflow` (which runs it).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_expr::Expr;

use crate::MatchSpec;

/// A node's number: its index in [`StreamPlan::nodes`].
pub type NodeId = usize;

/// All statements of one pipeline as one graph without cycles.
#[derive(Clone, Debug, Default)]
pub struct StreamPlan {
    /// Every input of a node stands before it.
    pub nodes: Vec<PlanNode>,
}

/// One operator.
#[derive(Clone, Debug)]
pub struct PlanNode {
    /// Stable across edits that do not change what the operator means: names its state on disk.
    /// Unique within the plan. Example: `group-aggregate:3f2a91c07d5be844`.
    pub uid: String,
    /// For people: `GroupAggregate(route_id)`.
    pub title: String,
    /// What it does.
    pub spec: OperatorSpec,
    /// Where its rows come from, in the operator's input order.
    pub inputs: Vec<Edge>,
    /// Columns it emits. Sinks emit none: theirs is the schema they are written in.
    pub schema: SchemaRef,
    /// Which row kinds it emits.
    pub changelog: ChangelogMode,
    /// Runs as one instance (`true`) or as one per shard.
    pub single: bool,
}

/// Where an input comes from and how rows find their shard.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The sender.
    pub from: NodeId,
    /// How rows are spread over the receiver's instances.
    pub exchange: Exchange,
}

/// How rows are spread over the receiver's instances. No transport: that is the runner's choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Instance `i` to instance `i`; both sides have the same number.
    Forward,
    /// By the hash of these columns (indexes into the sender's schema).
    ByKey(Vec<usize>),
    /// Every row to every instance.
    Broadcast,
    /// Every row to the one instance.
    Gather,
}

/// Which row kinds a node may emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangelogMode {
    /// Only `+I`.
    InsertOnly,
    /// All four kinds; every `-U` and `-D` carries the full old row.
    Retract,
}

/// What an operator does. One file per variant in `dataflow/src/operators/`.
#[derive(Clone, Debug)]
pub enum OperatorSpec {
    /// Reads an external system or the node's own log.
    Source(SourceSpec),
    /// Keeps the rows for which `filter` is true, then computes `columns` (of the input's schema;
    /// their types are those of the node's schema). No filter: keeps all. A filtered row still moves
    /// the watermark.
    Calc {
        /// Boolean over the input's columns.
        filter: Option<Expr>,
        /// One expression per output column.
        columns: Vec<Expr>,
    },
    /// All rows of all inputs (same types), in order of arrival.
    Union,
    /// Each row once per element of an array or map.
    Unnest(UnnestSpec),
    /// Each row several times.
    Repeat(RepeatSpec),
    /// Appends `window_start`, `window_end`, `window_time` to each row, once per window. Never drops a late row.
    WindowTable(WindowSpec),
    /// The same for sessions: says a session's rows once it is over; drops rows whose session is over.
    SessionTable(SessionTableSpec),
    /// Aggregates per window and key; drops rows whose window is over.
    WindowAggregate(WindowAggregateSpec),
    /// Aggregates per key for ever; emits a changelog.
    GroupAggregate(GroupAggregateSpec),
    /// Pairs the rows of two inputs for ever; inputs: left, right.
    Join(JoinSpec),
    /// Pairs rows whose event times are near each other; inputs: left, right, both of inserts only.
    IntervalJoin(IntervalJoinSpec),
    /// Finds sequences of rows that fit a pattern.
    MatchRecognize(MatchSpec),
    /// Adds to each row what the rows before it in its partition aggregate to.
    OverAggregate(OverAggregateSpec),
    /// Keeps the first rows of each partition in an order for ever; emits a changelog, or inserts only if
    /// it takes the rows as they come.
    Rank(RankSpec),
    /// Keeps per key the first row in event time; emits it once, when the watermark reaches its time.
    FirstRow(FirstRowSpec),
    /// Keeps the first rows of each partition of a window; emits them once the window is over, and drops
    /// rows whose window is over.
    WindowRank(WindowRankSpec),
    /// Emits rows in the order of event time as the watermark passes them; drops rows that come too late
    /// for their place.
    Sort(SortSpec),
    /// Pairs rows of equal windows once these are over; inputs: left, right, both of inserts only.
    WindowJoin(WindowJoinSpec),
    /// Pairs rows with versions; inputs: rows, versions.
    TemporalJoin(TemporalJoinSpec),
    /// Hands rows to a connector.
    Sink(SinkSpec),
}

/// A table that is read.
#[derive(Clone, Debug)]
pub struct SourceSpec {
    /// The table's name in SQL.
    pub table: String,
    /// Its `WITH` options, `connector` among them.
    pub options: BTreeMap<String, String>,
    /// What the connector delivers: the physical columns the plan needs, with declared types,
    /// and metadata columns (field metadata `metadata` = the connector's metadata key).
    pub physical: SchemaRef,
    /// All declared physical columns, for formats in which the position matters (CSV).
    pub declared: SchemaRef,
    /// The node's columns: expressions over `physical` (plain columns and computed ones).
    pub columns: Vec<Expr>,
    /// Event time, if the table declares a watermark.
    pub rowtime: Option<RowtimeSpec>,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug)]
pub struct RowtimeSpec {
    /// Index of the rowtime column in the node's schema.
    pub column: usize,
    /// Over the node's schema; a timestamp. NULL is skipped.
    pub watermark: Expr,
    /// A split silent for so long no longer holds the watermark back, ms. None: never.
    pub idle_timeout_ms: Option<u64>,
}

/// `CROSS JOIN UNNEST(collection)`. The node's schema is: kept columns, the element's, the ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnnestSpec {
    /// The array or map in the input's schema. An array of rows gives one column per field, a map
    /// key and value, any other array one column.
    pub collection: usize,
    /// Columns of the input that are kept.
    pub kept: Vec<usize>,
    /// Appends the element's number in its array, from 1, `INT`.
    pub ordinality: bool,
    /// A row without elements is kept once, with NULLs (`LEFT JOIN`).
    pub outer: bool,
}

/// Rows several times. The node's schema is: kept columns, the number of the repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatSpec {
    /// How often each row comes.
    pub times: Times,
    /// Columns of the input that are kept.
    pub kept: Vec<usize>,
    /// Appends the number of the repetition, from 0, `INT`.
    pub ordinal: bool,
}

/// How often a row comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// As this `BIGINT` column of the input says; not at all if it is NULL or below 1.
    Column(usize),
    /// Always so often.
    Fixed(u32),
}

/// Windows over time. All times are ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Index in the input's schema: the time attribute; of attached windows the column of their ends.
    pub time_column: usize,
    /// How windows lie.
    pub shape: WindowShape,
    /// Above 0: the windows' length, of cumulating windows the longest; of sessions the gap.
    pub size_ms: i64,
    /// Windows start at `offset_ms + k * size_ms` (or `k * slide_ms`).
    pub offset_ms: i64,
    /// For `TIMESTAMP_LTZ`: the zone whose wall clock cuts the windows. None for `TIMESTAMP`.
    pub zone: Option<String>,
    /// Rows belong to the window that is open when they come, whatever their time column says.
    pub processing_time: bool,
}

/// How windows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowShape {
    /// One behind the other: `[start, start + size_ms)`.
    Tumble,
    /// One every so many ms; a row may be in several or in none.
    Hop {
        /// From one start to the next, above 0.
        slide_ms: i64,
        /// What is merged of a window's parts comes in order of time; else the latest part comes first.
        in_order: bool,
    },
    /// `[start, start + step_ms)`, `[start, start + 2 * step_ms)`, .. `[start, start + size_ms)`.
    Cumulate {
        /// Above 0, a divisor of the size.
        step_ms: i64,
    },
    /// Rows of one key of which each is at most a gap behind the one before: `[first, last + gap)`.
    Session,
    /// The windows that the rows of a window table or of an aggregation carry with them.
    Attached,
}

/// `SESSION(TABLE t PARTITION BY keys, ..)` without an aggregation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionTableSpec {
    /// Of shape [`WindowShape::Session`].
    pub window: WindowSpec,
    /// Key columns in the input's schema.
    pub keys: Vec<usize>,
}

/// `GROUP BY keys, window` over a window table function.
#[derive(Clone, Debug)]
pub struct WindowAggregateSpec {
    /// The window.
    pub window: WindowSpec,
    /// Key columns in the input's schema (without the window's own).
    pub keys: Vec<usize>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// Which of the window's columns to emit. The node's schema is: keys, calls, then these.
    pub window_columns: Vec<WindowColumn>,
}

/// A column that a window adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowColumn {
    /// Inclusive start, `TIMESTAMP(3)`.
    Start,
    /// Exclusive end, `TIMESTAMP(3)`.
    End,
    /// End - 1 ms: the event time of the result.
    Time,
}

/// `GROUP BY keys` without a window.
#[derive(Clone, Debug)]
pub struct GroupAggregateSpec {
    /// Key columns in the input's schema; none: one global group.
    pub keys: Vec<usize>,
    /// The aggregates. The node's schema is: keys, then calls.
    pub calls: Vec<AggregateCall>,
    /// Whether `-U` is emitted before `+U` (false when every consumer is an upsert by the same keys).
    pub emit_update_before: bool,
}

/// `left JOIN right ON ..`. The node's schema is: the columns of left, then those of right; of left alone if
/// the kind is [`JoinKind::Semi`] or [`JoinKind::Anti`].
#[derive(Clone, Debug)]
pub struct JoinSpec {
    /// Which rows come out without partner.
    pub kind: JoinKind,
    /// Key columns in the left input's schema; none: every pair is a candidate.
    pub left_keys: Vec<usize>,
    /// Those in the right input's schema that must equal them, of the same types.
    pub right_keys: Vec<usize>,
    /// Per key: NULL equals NULL (`IS NOT DISTINCT FROM`).
    pub null_safe: Vec<bool>,
    /// The rest of the condition, over the columns of left, then those of right: no two have one name.
    pub residual: Option<Expr>,
}

/// A join in which `lower_ms <= left time - right time <= upper_ms` besides what `join` says.
#[derive(Clone, Debug)]
pub struct IntervalJoinSpec {
    /// Kind, keys and the rest of the condition.
    pub join: JoinSpec,
    /// The event time in the left input's schema.
    pub left_time: usize,
    /// The event time in the right input's schema.
    pub right_time: usize,
    /// Inclusive; may be negative.
    pub lower_ms: i64,
    /// Inclusive; below `lower_ms`: no two rows match.
    pub upper_ms: i64,
}

/// A join in which the ends of windows are equal besides what `join` says. Rows whose window is over are dropped.
#[derive(Clone, Debug)]
pub struct WindowJoinSpec {
    /// Kind, keys without those of the window, and the rest of the condition.
    pub join: JoinSpec,
    /// The window's end in the left input's schema.
    pub left_end: usize,
    /// The window's end in the right input's schema.
    pub right_end: usize,
    /// For windows of `TIMESTAMP_LTZ`: the zone whose wall clock cut them.
    pub zone: Option<String>,
}

/// `left JOIN right FOR SYSTEM_TIME AS OF left time`: inner or left. The right input's rows are versions of their
/// key, valid from their event time on; `-D` ends one, `-U` is skipped.
#[derive(Clone, Debug)]
pub struct TemporalJoinSpec {
    /// Kind, keys and the rest of the condition.
    pub join: JoinSpec,
    /// The event time in the left input's schema.
    pub left_time: usize,
    /// The event time in the right input's schema.
    pub right_time: usize,
}

/// Which rows of a join come out without partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// Those of the left input.
    Left,
    /// Those of the right input.
    Right,
    /// Those of both.
    Full,
    /// None; and of a pair only the left row, once however many partners it has (`IN`, `EXISTS`).
    Semi,
    /// Only those of the left input, and no pairs (`NOT IN`, `NOT EXISTS`).
    Anti,
}

impl JoinKind {
    /// Whether rows of the left input come out without partner.
    pub fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    /// Whether the columns of left are all that comes out.
    pub fn is_left_only(self) -> bool {
        matches!(self, Self::Semi | Self::Anti)
    }

    /// Whether rows of the right input come out without partner.
    pub fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }
}

/// `call OVER (PARTITION BY keys ORDER BY order frame)`. The node's schema is: the input's columns, then calls.
#[derive(Clone, Debug)]
pub struct OverAggregateSpec {
    /// Key columns in the input's schema; none: one partition.
    pub keys: Vec<usize>,
    /// What rows are ordered by, ascending.
    pub order: OverOrder,
    /// Which rows a row's results are made from; it is always one of them.
    pub frame: OverFrame,
    /// What is computed.
    pub calls: Vec<OverCall>,
}

/// What the rows of a partition are ordered by, ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverOrder {
    /// This event time column of the input; rows come out when the watermark passes their time.
    EventTime(usize),
    /// Their arrival: processing time. Rows come out at once.
    Arrival,
    /// This column of the input. Rows come out at once, and again when rows before them come or go.
    Value {
        /// The column.
        column: usize,
        /// NULL before all values (else behind them).
        nulls_first: bool,
    },
}

/// From where the frame of a row reaches to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverFrame {
    /// `ROWS UNBOUNDED PRECEDING`: the partition's first row.
    Rows,
    /// `ROWS n PRECEDING`: as many rows before it.
    RowsPreceding(u64),
    /// `RANGE UNBOUNDED PRECEDING`: the partition's first row. Rows of the same time have one frame.
    Range,
    /// `RANGE INTERVAL PRECEDING`: the first row at most so many ms older. Rows of the same time have one frame.
    RangePreceding(i64),
}

impl OverFrame {
    /// Whether rows leave the frame.
    pub fn is_bounded(self) -> bool {
        matches!(self, Self::RowsPreceding(_) | Self::RangePreceding(_))
    }
}

/// What is computed over a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum OverCall {
    /// An aggregate function.
    Aggregate(AggregateCall),
    /// The first value of this column that is not NULL.
    FirstValue(usize),
    /// The last value of this column that is not NULL.
    LastValue(usize),
    /// The value of the column `offset` rows before the frame's last row. Only over unbounded frames.
    Lag {
        /// The column.
        argument: usize,
        /// How many rows before.
        offset: usize,
        /// The result where there is no such row: a literal of the column's type. None: NULL.
        default: Option<Expr>,
    },
}

/// A bounded `ROW_NUMBER()`, `LIMIT`, or the last row per key. The node's schema is: the input's columns,
/// then the rank (`BIGINT`) if it is numbered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankSpec {
    /// Partition columns in the input's schema; none: one partition.
    pub keys: Vec<usize>,
    /// The order within a partition; none: that of arrival.
    pub order: Vec<SortKey>,
    /// Of rows that are equal in the order, the one that came later stands first (else last).
    pub later_first: bool,
    /// The first and the last rank that are kept, both inclusive, from 1.
    pub ranks: (u64, u64),
    /// Whether rows carry their rank.
    pub numbered: bool,
    /// Tells what each row changes, not what a batch of rows does.
    pub each_row: bool,
}

/// `ORDER BY column`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// In the input's schema.
    pub column: usize,
    /// The greatest first.
    pub descending: bool,
    /// NULL before all values (else behind them).
    pub nulls_first: bool,
}

/// The first row per key in event time. The node's schema is the input's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstRowSpec {
    /// Key columns in the input's schema; none: one row in all.
    pub keys: Vec<usize>,
    /// The time attribute in the input's schema.
    pub time_column: usize,
}

/// A [`RankSpec`] per window; its keys are without the window's own columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowRankSpec {
    /// Which rows.
    pub rank: RankSpec,
    /// `window_end` in the input's schema.
    pub window_end: usize,
    /// For windows over `TIMESTAMP_LTZ`: the zone whose wall clock `window_end` shows.
    pub zone: Option<String>,
}

/// `ORDER BY time attribute, ...`. The node's schema is the input's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortSpec {
    /// The time attribute in the input's schema.
    pub time_column: usize,
    /// The order of rows of equal time; behind that, of arrival.
    pub order: Vec<SortKey>,
}

/// One aggregate call over columns of the input.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateCall {
    /// Which.
    pub function: AggregateFunction,
    /// The argument's column in the input's schema; none for `COUNT(*)`.
    pub argument: Option<usize>,
    /// Each value of the argument counts once.
    pub distinct: bool,
    /// Boolean column in the input's schema: `FILTER (WHERE ...)`, counted only where true.
    pub filter: Option<usize>,
    /// The result's type. Sums wrap around in it; a decimal sum that overflows is NULL.
    pub output: DataType,
}

/// The aggregate functions, with Flink's meaning: all but the counts skip NULL and give NULL over no rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregateFunction {
    /// `COUNT(*)`.
    CountStar,
    /// `COUNT(x)`: rows where x is not NULL.
    Count,
    /// `SUM(x)`, in the type of x (a decimal widens to precision 38).
    Sum,
    /// `AVG(x)`: integers truncate toward zero.
    Avg,
    /// `MIN(x)`.
    Min,
    /// `MAX(x)`.
    Max,
    /// `FIRST_VALUE(x)`: of the rows that are there, the one that came first.
    FirstValue,
    /// `LAST_VALUE(x)`.
    LastValue,
    /// `ARRAY_AGG(x)`: all values, NULL among them, in order of arrival.
    ArrayAgg,
    /// `COLLECT(x)`: a multiset, as a list in which equal values stand together.
    Collect,
    /// The sum of the squared distances of x from its mean, by Welford's method, DOUBLE: `VAR_POP` and its kin
    /// are made of it.
    SquaredDistances,
}

/// A table that is written.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// Where to.
    pub target: SinkTarget,
    /// Indexes of the primary key's columns in the node's schema; empty: none.
    pub primary_key: Vec<usize>,
}

/// What kind of thing a sink writes to.
#[derive(Clone, Debug)]
pub enum SinkTarget {
    /// A declared table: a connector.
    Table {
        /// The table's name in SQL.
        table: String,
        /// Its `WITH` options, `connector` among them.
        options: BTreeMap<String, String>,
    },
    /// A materialized table of the node.
    Materialized {
        /// Its global name.
        table: String,
    },
    /// The output of a bare `SELECT`.
    Collect,
}

impl StreamPlan {
    /// Adds a node behind its inputs and returns its number.
    ///
    /// # Panics
    /// If an input does not exist yet.
    pub fn add(&mut self, node: PlanNode) -> NodeId {
        let id = self.nodes.len();
        assert!(node.inputs.iter().all(|edge| edge.from < id), "an input stands before its node");
        self.nodes.push(node);
        id
    }

    /// The nodes that read `id`.
    pub fn consumers(&self, id: NodeId) -> impl Iterator<Item = (NodeId, &PlanNode)> {
        let reads = move |node: &&PlanNode| node.inputs.iter().any(|edge| edge.from == id);
        self.nodes.iter().enumerate().filter(move |(_, node)| reads(node))
    }
}

impl PlanNode {
    /// The node's schema, shared.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}
