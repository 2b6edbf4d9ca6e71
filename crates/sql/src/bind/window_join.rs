//! Joins of windows: Flink's rules of which joins are ones.

use std::sync::Arc;

use datafusion_expr::Expr;
use highwater_stream::{JoinKind, WindowColumn, WindowShape};
use sqlparser::tokenizer::Location;

use super::time_join::joined;
use crate::error::{Bound, Fault};
use crate::functions::compare::binary;
use crate::relation::{JoinKey, Node, Over, Relation, Window, column_name, named};

/// The join on these keys if it joins rows of equal windows: both sides are cut into windows in the same way, and
/// starts and ends must be equal.
pub(super) fn bind(
    left: &Arc<Relation>,
    right: &Arc<Relation>,
    kind: JoinKind,
    keys: &[JoinKey],
    residual: Option<&Expr>,
    at: Location,
) -> Bound<Option<Arc<Relation>>> {
    let part = |key: &JoinKey| {
        let role = |side: &Relation, name: &str| side.columns.get(side.index(name)?)?.window;
        let (a, b) = (role(left, &key.left)?.part, role(right, &key.right)?.part);
        (a == b && a != WindowColumn::Time).then_some(a)
    };
    let start = keys.iter().find(|key| part(key) == Some(WindowColumn::Start));
    let end = keys.iter().find(|key| part(key) == Some(WindowColumn::End));
    let (Some(start), Some(end)) = (start, end) else { return Ok(None) };
    let windows = window_of(left, &start.left).zip(window_of(right, &start.right));
    let Some((window, other)) = windows else {
        return Err(Fault::unsupported(at, "a join of the windows of such queries")
            .hint("join them directly above the window functions or their aggregations"));
    };
    if [&window, &other].iter().any(|window| window.shape == WindowShape::Session) {
        return Err(Fault::unsupported(at, "a join of SESSION windows")
            .hint("aggregate one side per key, without windows"));
    }
    if window != other {
        return Ok(None);
    }
    if window.processing_time {
        return Err(Fault::new(at, "a join of windows of processing time").hint("cut windows of event time"));
    }
    if left.updating || right.updating {
        return Err(Fault::new(at, "a join of windows whose rows change")
            .hint("CAST window_start and window_end to TIMESTAMP(3) for a join that keeps all rows"));
    }
    let condition =
        |key: &JoinKey| binary(named(&key.left), datafusion_expr::Operator::Eq, named(&key.right));
    let (of_window, keys): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(|key| part(key).is_some());
    let over = Over::Window {
        left: end.left.clone(),
        right: end.right.clone(),
        zone: window.zone,
        conditions: of_window.iter().map(condition).collect(),
    };
    Ok(Some(joined(left, right, kind, (keys, residual.cloned()), over)))
}

/// How the rows of a relation were cut into the windows that the column is of, but for the name of their time.
fn window_of(relation: &Relation, name: &str) -> Option<Window> {
    let column = relation.index(name)?;
    relation.columns[column].window?;
    match &relation.node {
        Node::WindowAggregate { input, window, .. } if window.shape == WindowShape::Attached => {
            window_of(input, name).or_else(|| window_of(input, &window.time))
        }
        Node::WindowTable { window, .. } | Node::WindowAggregate { window, .. } => {
            Some(Window { time: String::new(), ..window.clone() })
        }
        Node::Calc { input, columns, .. } => window_of(input, column_name(columns.get(column)?)?),
        _ => relation.inputs().into_iter().find_map(|input| window_of(input, name)),
    }
}
