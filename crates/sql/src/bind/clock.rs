//! What only a whole query shows: where the current time may stand, and which rows sessions may hold.

use std::collections::HashSet;
use std::sync::Arc;

use highwater_stream::WindowShape;
use sqlparser::tokenizer::Location;

use crate::error::{Bound, Fault};
use crate::functions::clock::reads_clock;
use crate::relation::{Node, Relation, TimeJoin};

/// The current time of a row that is taken back is another than when it came: such a row would not be found.
pub(crate) fn check(relation: &Arc<Relation>, at: Location) -> Bound<()> {
    let mut seen = HashSet::new();
    let mut left = vec![relation];
    while let Some(relation) = left.pop() {
        if !seen.insert(Arc::as_ptr(relation)) {
            continue;
        }
        let reads = match &relation.node {
            Node::Calc { input, filter, columns } => {
                input.updating && columns.iter().chain(filter).any(reads_clock)
            }
            Node::Join { residual, .. } | Node::TimeJoin(TimeJoin { residual, .. }) => {
                residual.as_ref().is_some_and(reads_clock)
            }
            _ => false,
        };
        if reads {
            return Err(Fault::unsupported(
                at,
                "the current time over rows that change or in a join's condition",
            )
            .hint("compute it in a view of the rows that come in"));
        }
        if let Node::WindowTable { input, window } = &relation.node
            && input.updating
            && window.shape == WindowShape::Session
        {
            return Err(Fault::unsupported(at, "a session over rows that change, without its aggregation"));
        }
        left.extend(relation.inputs());
    }
    Ok(())
}
