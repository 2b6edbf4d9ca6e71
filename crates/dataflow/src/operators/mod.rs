//! The operators, one file each.

mod calc;
mod each_row;
mod first_row;
mod first_rows;
mod group_aggregate;
mod interval_join;
mod join;
mod joined_rows;
mod match_recognize;
mod ordered_rows;
mod over_aggregate;
mod over_value;
mod rank;
mod repeat;
mod session_aggregate;
mod session_table;
mod sessions;
mod sink;
mod sort;
mod temporal_join;
mod top_row;
mod union;
mod unnest;
mod window_aggregate;
mod window_join;
mod window_rank;
mod window_table;

pub(crate) use calc::Calc;
pub(crate) use each_row::EachRow;
pub(crate) use first_row::FirstRow;
pub(crate) use first_rows::FirstRows;
pub(crate) use group_aggregate::GroupAggregate;
pub(crate) use interval_join::IntervalJoin;
pub(crate) use join::Join;
pub(crate) use match_recognize::MatchRecognize;
pub(crate) use over_aggregate::OverAggregate;
pub(crate) use over_value::OverValue;
pub(crate) use rank::Rank;
pub(crate) use repeat::Repeat;
pub(crate) use session_aggregate::SessionAggregate;
pub(crate) use session_table::SessionTable;
pub(crate) use sink::Sink;
pub(crate) use sort::Sort;
pub(crate) use temporal_join::TemporalJoin;
pub(crate) use top_row::TopRow;
pub(crate) use union::Union;
pub(crate) use unnest::Unnest;
pub(crate) use window_aggregate::WindowAggregate;
pub(crate) use window_join::WindowJoin;
pub(crate) use window_rank::WindowRank;
pub(crate) use window_table::WindowTable;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use highwater_env::KeyGroup;
use highwater_state::OperatorSnapshot;
use highwater_stream::EventTime;

/// Which instance of an operator this is, and what all of them share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) uid: String,
    pub(crate) title: String,
    pub(crate) shard: usize,
    pub(crate) shards: usize,
    pub(crate) schema: SchemaRef,
    pub(crate) batch_rows_max: usize,
}

impl Place {
    pub(crate) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// This instance's snapshot.
    pub(crate) fn snapshot(
        &self,
        full: bool,
        watermark: EventTime,
        sections: Vec<(KeyGroup, Bytes)>,
    ) -> OperatorSnapshot {
        let (uid, shard, shards) = (self.uid.clone(), self.shard, self.shards);
        OperatorSnapshot { uid, shard, shards, full, watermark, sections }
    }
}

#[cfg(test)]
mod tests;
