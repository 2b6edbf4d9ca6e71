//! The current time within expressions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_expr::Expr;

const NOW: &str = "@now";
const PROCTIME: &str = "@proctime";

/// The time at which a row is evaluated, `TIMESTAMP_LTZ(3)`, never NULL. Whoever runs the plan puts a clock in.
pub fn now() -> Expr {
    variable(NOW)
}

/// The same as a processing time attribute: what SQL calls `PROCTIME()`.
pub fn proctime() -> Expr {
    variable(PROCTIME)
}

/// Whether the expression is [`proctime`] itself.
pub fn is_proctime(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarVariable(_, name) if name.as_slice() == [PROCTIME])
}

/// Whether the expression is [`now`] or [`proctime`] itself.
pub fn is_now(expr: &Expr) -> bool {
    is_proctime(expr) || matches!(expr, Expr::ScalarVariable(_, name) if name.as_slice() == [NOW])
}

fn variable(name: &str) -> Expr {
    let data_type = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    Expr::ScalarVariable(Arc::new(Field::new(name, data_type, false)), vec![name.to_owned()])
}
