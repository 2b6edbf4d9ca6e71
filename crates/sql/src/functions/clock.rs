//! Functions that tell the current time, per row.

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, TimestampMillisecondType};
use datafusion_common::tree_node::TreeNode;
use datafusion_expr::Expr;
use sqlparser::tokenizer::Location;

use super::cast::{self, OnFailure};
use super::{Typed, call, primitive};
use crate::error::Bound;
use crate::types::SqlType;

/// `name` without parentheses, if it is the current time.
pub(crate) fn word(name: &str, at: Location, zone: chrono_tz::Tz) -> Option<Bound<Typed>> {
    let ty = match name.to_uppercase().as_str() {
        "CURRENT_TIMESTAMP" => SqlType::TimestampLtz(3),
        "LOCALTIMESTAMP" => SqlType::Timestamp(3),
        "CURRENT_DATE" => SqlType::Date,
        "CURRENT_TIME" | "LOCALTIME" => SqlType::Time(0),
        _ => return None,
    };
    let now = Typed { expr: highwater_stream::now(), ty: SqlType::TimestampLtz(3), at };
    Some(if ty == now.ty { Ok(now) } else { cast::explicit(now, &ty, OnFailure::Fail, zone) })
}

/// `name()`, if it is the current time.
pub(crate) fn function(name: &str, at: Location) -> Option<Typed> {
    let (expr, ty) = match name {
        "PROCTIME" => (highwater_stream::proctime(), SqlType::TimestampLtz(3)),
        "NOW" | "CURRENT_ROW_TIMESTAMP" => (highwater_stream::now(), SqlType::TimestampLtz(3)),
        "UNIX_TIMESTAMP" => (seconds(highwater_stream::now()), SqlType::BigInt),
        _ => return None,
    };
    Some(Typed { expr, ty, at })
}

/// Whether the expression gives something else each time it is evaluated.
pub(crate) fn reads_clock(expr: &Expr) -> bool {
    expr.exists(|node| Ok(highwater_stream::is_now(node))).unwrap_or(true)
}

fn seconds(time: Expr) -> Expr {
    call("unix_seconds", DataType::Int64, vec![time], |arguments| {
        let times = primitive::<TimestampMillisecondType>(&arguments[0])?;
        let seconds: Int64Array = times.unary(|ms| ms.div_euclid(1000));
        Ok(std::sync::Arc::new(seconds))
    })
}
