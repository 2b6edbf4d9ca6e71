//! Bound queries: a tree of operators over named columns, before shards and exchanges.
//!
//! Column names are unique within a relation, and expressions name columns without qualifier.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Column as ColumnName;
use datafusion_expr::Expr;
use highwater_stream::{AggregateFunction, JoinKind, OverFrame, WindowColumn, WindowShape, is_proctime};
use sqlparser::tokenizer::Location;

use crate::bind::match_recognize::Pattern;
use crate::catalog::TableDefinition;
use crate::types::SqlType;

/// A bound query or a part of one.
#[derive(Debug)]
pub(crate) struct Relation {
    pub(crate) node: Node,
    pub(crate) columns: Vec<Column>,
    /// Whether it emits more than `+I`.
    pub(crate) updating: bool,
    /// Sets of columns no two current rows agree on.
    pub(crate) keys: Vec<Vec<usize>>,
}

/// A column of a relation.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// Unique within the relation.
    pub(crate) name: String,
    pub(crate) ty: SqlType,
    /// Event time with a watermark.
    pub(crate) rowtime: bool,
    /// Processing time: tells when it is evaluated.
    pub(crate) proctime: bool,
    /// A column that a window added.
    pub(crate) window: Option<WindowRole>,
}

/// What a window's column means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowRole {
    pub(crate) part: WindowColumn,
    /// The window was aggregated: its rows are results.
    pub(crate) closed: bool,
    /// Cut on the session's wall clock.
    pub(crate) local: bool,
    /// In processing time.
    pub(crate) processing_time: bool,
}

/// An operator.
#[derive(Debug)]
pub(crate) enum Node {
    Scan(Arc<Scan>),
    /// One row without columns, for `SELECT` without `FROM` and `VALUES`.
    OneRow,
    Calc {
        input: Arc<Relation>,
        filter: Option<Expr>,
        columns: Vec<Expr>,
    },
    Union {
        inputs: Vec<Arc<Relation>>,
    },
    /// The columns of `input` without `collection`, then those of its elements.
    Unnest {
        input: Arc<Relation>,
        collection: String,
        ordinality: bool,
        outer: bool,
    },
    /// The columns of `input`, then, if asked for, the number of each repetition from 0, `INT`.
    Repeat {
        input: Arc<Relation>,
        times: Times,
        ordinal: Option<String>,
    },
    WindowTable {
        input: Arc<Relation>,
        window: Window,
    },
    WindowAggregate {
        input: Arc<Relation>,
        window: Window,
        keys: Vec<String>,
        calls: Vec<Aggregate>,
        parts: Vec<WindowColumn>,
    },
    GroupAggregate {
        input: Arc<Relation>,
        keys: Vec<String>,
        calls: Vec<Aggregate>,
    },
    /// Its columns are those of left, then those of right, each name once; of a semi or anti join those of
    /// left alone.
    Join {
        left: Arc<Relation>,
        right: Arc<Relation>,
        kind: JoinKind,
        keys: Vec<JoinKey>,
        residual: Option<Expr>,
    },
    /// Its columns are those of `input`, then the rank if rows are numbered.
    Rank {
        input: Arc<Relation>,
        rank: Rank,
    },
    /// Rows in the order of event time.
    Sort {
        input: Arc<Relation>,
        time: String,
        order: Vec<SortColumn>,
    },
    TimeJoin(TimeJoin),
    /// Its columns are the pattern's keys, then its measures.
    MatchRecognize {
        input: Arc<Relation>,
        pattern: Arc<Pattern>,
    },
    /// Its columns are those of `input`, then one per call.
    Over {
        input: Arc<Relation>,
        over: OverWindow,
    },
}

/// `OVER (PARTITION BY keys ORDER BY order frame)` by the names of its input's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OverWindow {
    pub(crate) keys: Vec<String>,
    pub(crate) order: OverBy,
    pub(crate) frame: OverFrame,
    pub(crate) calls: Vec<OverFunction>,
}

/// What the rows of a partition are ordered by, by the name of a column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OverBy {
    EventTime(String),
    Arrival,
    Value { column: String, nulls_first: bool },
}

/// What is computed over a frame, by the names of its input's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OverFunction {
    Aggregate(Aggregate),
    FirstValue(String),
    LastValue(String),
    Lag { argument: String, offset: usize, default: Option<Expr> },
}

/// A join that forgets rows as time goes on. Its columns are those of left, then those of right, each name once.
#[derive(Debug)]
pub(crate) struct TimeJoin {
    pub(crate) left: Arc<Relation>,
    pub(crate) right: Arc<Relation>,
    pub(crate) kind: JoinKind,
    pub(crate) keys: Vec<JoinKey>,
    pub(crate) residual: Option<Expr>,
    pub(crate) over: Over,
}

/// What of time a join is about.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// `lower_ms <= left - right <= upper_ms`; columns of event time.
    Interval {
        left: String,
        right: String,
        lower_ms: i64,
        upper_ms: i64,
        /// As they were written.
        conditions: Vec<Expr>,
    },
    /// Rows of equal windows; columns of their ends.
    Window {
        left: String,
        right: String,
        zone: Option<String>,
        /// As they were written.
        conditions: Vec<Expr>,
    },
    /// The version of right at left's time; columns of event time.
    Version { left: String, right: String },
}

/// How often each row comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// As this `BIGINT` column says; not at all if it is NULL or below 1.
    Column(String),
    Fixed(u32),
}

/// The first rows of each partition in an order.
#[derive(Clone, Debug)]
pub(crate) struct Rank {
    pub(crate) keys: Vec<String>,
    pub(crate) order: Vec<SortColumn>,
    /// The first and the last rank, inclusive. None: it is not known yet which are wanted.
    pub(crate) ranks: Option<(u64, u64)>,
    /// Of equal rows, the later one stands first.
    pub(crate) later_first: bool,
    pub(crate) when: RankWhen,
    /// Where it stands in the text.
    pub(crate) at: Location,
}

/// When the rows of a rank come out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RankWhen {
    /// At once, as a changelog.
    Always,
    /// The one row of each partition when the watermark reaches its time.
    AtItsTime,
    /// When the window is over whose end is this column of the input, in this zone's wall clock.
    WindowOver { end: String, zone: Option<String> },
}

/// `ORDER BY column`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortColumn {
    pub(crate) name: String,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Two columns that must be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinKey {
    pub(crate) left: String,
    pub(crate) right: String,
    pub(crate) null_safe: bool,
}

/// A table as one query reads it.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) table: Arc<TableDefinition>,
    /// Its options with those of a hint.
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) idle_timeout_ms: Option<u64>,
}

/// Windows by the names of the input's columns: see `WindowSpec`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) time: String,
    pub(crate) shape: WindowShape,
    pub(crate) size_ms: i64,
    pub(crate) offset_ms: i64,
    pub(crate) zone: Option<String>,
    pub(crate) processing_time: bool,
    /// Of sessions: the columns whose values have sessions of their own.
    pub(crate) partition: Vec<String>,
}

/// An aggregate call by the names of its input's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregate {
    pub(crate) function: AggregateFunction,
    pub(crate) argument: Option<String>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<String>,
    pub(crate) output: SqlType,
}

impl Column {
    pub(crate) fn plain(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), ty, rowtime: false, proctime: false, window: None }
    }
}

impl Relation {
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(
            self.columns.iter().map(|column| column.ty.field(&column.name)).collect::<Vec<_>>(),
        ))
    }

    /// What its operator reads.
    pub(crate) fn inputs(&self) -> Vec<&Arc<Self>> {
        match &self.node {
            Node::Scan(_) | Node::OneRow => Vec::new(),
            Node::Calc { input, .. }
            | Node::Unnest { input, .. }
            | Node::Repeat { input, .. }
            | Node::WindowTable { input, .. }
            | Node::WindowAggregate { input, .. }
            | Node::GroupAggregate { input, .. }
            | Node::Rank { input, .. }
            | Node::Sort { input, .. }
            | Node::MatchRecognize { input, .. }
            | Node::Over { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::TimeJoin(TimeJoin { left, right, .. }) => {
                vec![left, right]
            }
            Node::Union { inputs } => inputs.iter().collect(),
        }
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// A projection and filter of `input`. The columns' time and window roles, the keys and the
    /// changelog follow from `input`.
    pub(crate) fn calc(
        input: &Arc<Self>,
        filter: Option<Expr>,
        columns: Vec<(String, Expr, SqlType)>,
    ) -> Arc<Self> {
        let names = unique(columns.iter().map(|(name, ..)| name.clone()).collect());
        let described = names
            .into_iter()
            .zip(&columns)
            .map(|(name, (_, expr, ty))| {
                let from =
                    column_name(expr).and_then(|name| input.index(name)).map(|index| &input.columns[index]);
                Column {
                    name,
                    ty: ty.clone(),
                    rowtime: from.is_some_and(|from| from.rowtime && from.ty == *ty),
                    proctime: is_proctime(expr) || from.is_some_and(|from| from.proctime),
                    window: from.and_then(|from| from.window),
                }
            })
            .collect();
        let expressions: Vec<Expr> = columns.into_iter().map(|(_, expr, _)| expr).collect();
        let place = |key: usize| {
            expressions.iter().position(|expr| column_name(expr) == Some(input.columns[key].name.as_str()))
        };
        let keys =
            input.keys.iter().filter_map(|key| key.iter().map(|column| place(*column)).collect()).collect();
        Arc::new(Self {
            columns: described,
            updating: input.updating,
            keys,
            node: Node::Calc { input: Arc::clone(input), filter, columns: expressions },
        })
    }

    /// All columns of `input` where `filter` is true.
    pub(crate) fn filtered(input: &Arc<Self>, filter: Expr) -> Arc<Self> {
        let columns = input
            .columns
            .iter()
            .map(|column| (column.name.clone(), named(&column.name), column.ty.clone()))
            .collect();
        Self::calc(input, Some(filter), columns)
    }
}

/// The column of that name, as an expression.
pub(crate) fn named(name: &str) -> Expr {
    Expr::Column(ColumnName::new_unqualified(name))
}

/// The name, if the expression is nothing but a column.
pub(crate) fn column_name(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// The names with a number behind those that already stand before them, as Flink does it.
pub(crate) fn unique(names: Vec<String>) -> Vec<String> {
    let mut taken: HashSet<String> = names.iter().cloned().collect();
    let mut seen: HashSet<String> = HashSet::new();
    names
        .into_iter()
        .map(|name| {
            if seen.insert(name.clone()) {
                return name;
            }
            let mut number = 0;
            loop {
                let candidate = format!("{name}{number}");
                if taken.insert(candidate.clone()) {
                    seen.insert(candidate.clone());
                    return candidate;
                }
                number += 1;
            }
        })
        .collect()
}
