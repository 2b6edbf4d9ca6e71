//! What clients delete from the start of a partition stays away, and nothing else goes with it.

use std::collections::BTreeMap;

use highwater_env::Offset;

use super::facts::{Facts, PartitionIndex};
use super::{Kind, Report, Stage};

/// Deletions asked for in one partition.
#[derive(Clone, Copy, Default)]
struct Trim {
    /// The highest offset asked for.
    asked: Offset,
    /// The highest offset acknowledged.
    acknowledged: Offset,
}

/// All deletions, and the starts of full reads.
#[derive(Default)]
pub(super) struct Trims {
    by_partition: BTreeMap<PartitionIndex, Trim>,
    /// Of each full read of a partition that clients delete from: its start, and what was deleted then.
    starts: Vec<(PartitionIndex, Offset, Trim)>,
}

impl Trims {
    pub(super) fn asked(&mut self, partition: PartitionIndex, stage: Stage, offset: Offset) {
        let trim = self.by_partition.entry(partition).or_default();
        trim.asked = trim.asked.max(offset);
        if stage == Stage::Ok {
            trim.acknowledged = trim.acknowledged.max(offset);
        }
    }

    pub(super) fn started(&mut self, partition: PartitionIndex, start: Offset) {
        if let Some(trim) = self.by_partition.get(&partition) {
            self.starts.push((partition, start, *trim));
        }
    }
}

pub(super) fn check(facts: &Facts, report: &mut Report) {
    for (partition, start, Trim { asked, acknowledged }) in &facts.trims.starts {
        let name = &facts.partitions[*partition];
        if start < acknowledged {
            report.add(Kind::DeletedRead, || {
                format!("{name} begins at {start}, its records below {acknowledged} were deleted")
            });
        }
        if start > asked {
            report.add(Kind::LostStart, || {
                format!("{name} begins at {start}, only records below {asked} were to be deleted")
            });
        }
    }
}
