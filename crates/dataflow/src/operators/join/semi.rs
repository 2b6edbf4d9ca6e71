//! Semi and anti joins: rows of the left input that have, or have not, a partner.

use arrow::array::{ArrayRef, UInt32Array};
use highwater_state::EncodedKeys;
use highwater_stream::{ChangeBatch, JoinKind, RowKind};

use super::{Candidates, Join};
use crate::JobError;
use crate::expressions::record_batch;
use crate::operator::Output;

impl Join {
    /// Rows of the left input come out with their own kind if they have a partner (semi) or none (anti). A right
    /// row that comes or goes brings or takes the left rows whose first or last partner it is; for a semi join as
    /// what it is itself (`-U`, `+U` as well), for an anti join as `-D` and `+I`.
    pub(super) fn apply_semi(
        &mut self,
        input: usize,
        rest: &ChangeBatch,
        (keys, joinable): (&EncodedKeys, &[bool]),
        (mut candidates, others): (Candidates, &[ArrayRef]),
        matches: &[Vec<u32>],
        out: &mut Output,
    ) -> Result<(), JobError> {
        let rows = self.sides[input].row_codec.encode(rest.rows.columns(), rest.len(), None);
        let rows = rows.map_err(|e| self.failed(e))?;
        let anti = self.kind == JoinKind::Anti;
        let (mut emitted, mut kinds): (Vec<u32>, Vec<RowKind>) = (Vec::new(), Vec::new());
        for (row, matches) in matches.iter().enumerate() {
            let kind = rest.kind(row);
            let comes = kind.weight() > 0;
            if !joinable[row] {
                if input == 0 && anti {
                    emitted.push(row as u32);
                    kinds.push(kind);
                }
                continue;
            }
            let partners = matches.iter().map(|other| candidates.counts[*other as usize].rows).sum();
            if !self.count(input, keys.get(row), rows.get(row), comes, partners)? {
                continue;
            }
            if input == 0 {
                if (partners == 0) == anti {
                    emitted.push(row as u32);
                    kinds.push(kind);
                }
                continue;
            }
            for &other in matches {
                let counts = &mut candidates.counts[other as usize];
                let before = counts.partners;
                counts.partners = if comes { before + 1 } else { before.saturating_sub(1) };
                if (before == 0) != (counts.partners == 0) {
                    let kind = match (anti, comes) {
                        (false, _) => kind,
                        (true, true) => RowKind::Delete,
                        (true, false) => RowKind::Insert,
                    };
                    emitted.extend(std::iter::repeat_n(other, counts.rows as usize));
                    kinds.extend(std::iter::repeat_n(kind, counts.rows as usize));
                }
                let (slot, name) = (candidates.slots[other as usize], &candidates.rows[other as usize]);
                self.state.put(slot, name, &counts.bytes());
            }
        }
        if kinds.is_empty() {
            return Ok(());
        }
        let columns = if input == 0 { rest.rows.columns() } else { others };
        let emitted = UInt32Array::from(emitted);
        let columns = self.sides[0].gather(columns, &emitted, &self.place.title)?;
        let rows = record_batch(&self.place.schema, columns, emitted.len(), &self.place.title)?;
        out.batch(ChangeBatch::with_kinds(rows, kinds));
        Ok(())
    }
}
