//! `MATCH_RECOGNIZE`: patterns of rows.

use arrow::datatypes::DataType;
use datafusion_expr::Expr;

use crate::{AggregateCall, EventTime};

/// `MATCH_RECOGNIZE (PARTITION BY keys ORDER BY time ..)`, one row per match. The node's schema is: keys, measures.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchSpec {
    /// Key columns in the input's schema; none: all rows are one sequence.
    pub keys: Vec<usize>,
    /// The time attribute in the input's schema; none: processing time, the order of arrival.
    pub time_column: Option<usize>,
    /// How rows of one event time stand; those that are equal in it keep their order of arrival.
    pub order: Vec<MatchOrder>,
    /// `PATTERN`: the variables in their order, at most [`VARIABLES_MAX`].
    pub variables: Vec<PatternVariable>,
    /// Where the next match may start.
    pub skip: AfterMatch,
    /// `WITHIN`: a match's last row is less than so many ms after its first; above 0.
    pub within_ms: Option<EventTime>,
    /// `MEASURES`: one expression per column behind the keys, over `values`.
    pub measures: Vec<Expr>,
    /// What the measures are computed from.
    pub values: Vec<MatchValue>,
}

/// A column that orders rows of one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatchOrder {
    /// Index in the input's schema.
    pub column: usize,
    /// Greatest first.
    pub descending: bool,
    /// NULL comes before all others.
    pub nulls_first: bool,
}

/// Variables of one pattern; each takes a bit.
pub const VARIABLES_MAX: usize = 64;

/// A variable of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternVariable {
    /// Its name in SQL.
    pub name: String,
    /// The fewest rows it takes.
    pub min: u32,
    /// The most rows it takes, at least `min` and 1; none: any number.
    pub max: Option<u32>,
    /// Takes a row that the next variable could take as well.
    pub greedy: bool,
    /// `DEFINE`: which rows it takes; none: every row.
    pub condition: Option<MatchCondition>,
}

/// A condition on the row that a variable is to take.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchCondition {
    /// Boolean over `values`.
    pub condition: Expr,
    /// What it is computed from. The row in question counts as the last of its variable and of the match.
    pub values: Vec<MatchValue>,
    /// Whether the condition may be evaluated on a row that nobody asks about, without failing.
    pub total: bool,
}

/// A value of a match, named by [`MatchValue::name`] in expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum MatchValue {
    /// A column of one row; NULL if there is no such row.
    Column {
        /// Which row.
        row: MatchRow,
        /// Index in the input's schema.
        column: usize,
    },
    /// An aggregate over the rows of a variable.
    Aggregate {
        /// Index in the pattern; none: all rows of the match.
        variable: Option<usize>,
        /// Over columns of the input's schema.
        call: AggregateCall,
    },
    /// `MATCH_ROWTIME()`.
    Time(DataType),
}

/// A row of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MatchRow {
    /// Index in the pattern; none: counts all rows of the match.
    pub variable: Option<usize>,
    /// Counts from the first row on, or from the last row back.
    pub first: bool,
    /// How many rows further.
    pub offset: usize,
}

/// `AFTER MATCH SKIP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterMatch {
    /// The next match starts behind this one.
    PastLastRow,
    /// The next match starts behind this one's first row.
    ToNextRow,
    /// The next match starts at the variable's first row; the job fails if there is none or if it is the
    /// match's first.
    ToFirst(usize),
    /// The same with the variable's last row.
    ToLast(usize),
}

impl MatchValue {
    /// What expressions call the value with this index.
    pub fn name(index: usize) -> String {
        format!("$value{index}")
    }
}
