//! Values of the rows of a frame: `FIRST_VALUE`, `LAST_VALUE`, `LAG`.

use std::collections::VecDeque;
use std::iter::once;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use datafusion_expr::Expr;
use highwater_state::{Cursor, KeyCodec, Slot, StateError};

use super::{Rows, Slab};
use crate::JobError;

/// A slab for the first value that is not NULL; `retract`: rows leave the frame.
pub(super) fn make_first(argument: &DataType, retract: bool) -> Result<Box<dyn Slab>, String> {
    let kept = if retract { Kept::All } else { Kept::First };
    Values::boxed(argument, kept, Pick::Front)
}

/// A slab for the last value that is not NULL; `retract`: rows leave the frame.
pub(super) fn make_last(argument: &DataType, retract: bool) -> Result<Box<dyn Slab>, String> {
    let kept = if retract { Kept::All } else { Kept::Last(1) };
    Values::boxed(argument, kept, Pick::Back)
}

/// A slab for the value `offset` rows before the last one.
pub(super) fn make_lag(
    argument: &DataType,
    offset: usize,
    default: Option<&Expr>,
) -> Result<Box<dyn Slab>, String> {
    let default = match default {
        None => None,
        Some(Expr::Literal(value, _)) => {
            let value = value.cast_to(argument).and_then(|value| value.to_array());
            Some(encoded(argument, &value.map_err(|e| e.to_string())?)?)
        }
        Some(other) => return Err(format!("LAG with the default {other}, expected a literal")),
    };
    let rows = offset.saturating_add(1);
    Values::boxed(argument, Kept::Last(rows), Pick::FrontOf { rows, default })
}

fn encoded(data_type: &DataType, value: &ArrayRef) -> Result<Box<[u8]>, String> {
    let codec = KeyCodec::new(vec![data_type.clone()]).map_err(|e| e.to_string())?;
    let value = codec.encode(std::slice::from_ref(value), 1, None).map_err(|e| e.to_string())?;
    Ok(value.get(0).into())
}

/// Which values are kept.
enum Kept {
    First,
    /// The last so many.
    Last(usize),
    /// Until they are taken back, the oldest first.
    All,
}

/// Which of the kept values is the result.
enum Pick {
    Front,
    Back,
    /// The front if there are so many rows.
    FrontOf {
        rows: usize,
        default: Option<Box<[u8]>>,
    },
}

/// State: the number of values (u32), then each (u32 length, bytes as [`KeyCodec`] writes them), oldest first.
struct Values {
    codec: KeyCodec,
    data_type: DataType,
    kept: Kept,
    pick: Pick,
    values: Vec<VecDeque<Box<[u8]>>>,
    bytes: usize,
}

impl Values {
    fn boxed(argument: &DataType, kept: Kept, pick: Pick) -> Result<Box<dyn Slab>, String> {
        let codec = KeyCodec::new(vec![argument.clone()]).map_err(|e| e.to_string())?;
        let data_type = argument.clone();
        Ok(Box::new(Self { codec, data_type, kept, pick, values: Vec::new(), bytes: 0 }))
    }

    fn add(&mut self, slot: usize, value: &[u8], weight: i64) {
        let values = &mut self.values[slot];
        if weight < 0 {
            self.bytes -= values.pop_front().map_or(0, |value| value.len());
            return;
        }
        if matches!(self.kept, Kept::First) && !values.is_empty() {
            return;
        }
        self.bytes += value.len();
        values.push_back(value.into());
        if let Kept::Last(most) = self.kept
            && values.len() > most
        {
            self.bytes -= values.pop_front().map_or(0, |value| value.len());
        }
    }

    fn result(&self, slot: usize) -> Option<&[u8]> {
        let values = &self.values[slot];
        let value = match &self.pick {
            Pick::Front => values.front(),
            Pick::Back => values.back(),
            Pick::FrontOf { rows, default } if values.len() < *rows => default.as_ref(),
            Pick::FrontOf { .. } => values.front(),
        };
        value.map(|value| &**value)
    }

    fn encode(&self, rows: &Rows<'_>) -> Option<highwater_state::EncodedKeys> {
        let column = rows.argument?;
        debug_assert_eq!(column.data_type(), &self.data_type, "arguments come in the call's own type");
        self.codec.encode(std::slice::from_ref(column), column.len(), None).ok()
    }

    fn column<'a>(&self, results: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef, JobError> {
        // One byte, 0, is NULL.
        let results = results.map(|result| result.unwrap_or(&[0]));
        let failed = |e: StateError| JobError::Plan(e.to_string());
        let column = self.codec.decode(results).map_err(failed)?.pop();
        Ok(column.unwrap_or_else(|| new_null_array(&self.data_type, 0)))
    }
}

/// With a default, Flink takes the result for NOT NULL, and what it makes of a NULL depends on the type and on
/// where the result is used: -1, an empty text, NULL or an error.
fn null_result(bytes: &[u8], ends: &[usize]) -> Option<String> {
    let mut starts = once(0).chain(ends.iter().copied());
    ends.iter().any(|_| starts.next().is_some_and(|start| bytes.get(start) == Some(&0))).then(|| {
        "the value is NULL, and Flink defines no answer for that beside a default; \
         write COALESCE(LAG(v) OVER (..), default), or LAG(COALESCE(v, other), 1, default)"
            .to_owned()
    })
}

impl Slab for Values {
    fn grow(&mut self, slots: usize) {
        self.values.resize_with(slots, VecDeque::new);
    }

    fn clear(&mut self, slot: usize) {
        self.bytes -= self.values[slot].iter().map(|value| value.len()).sum::<usize>();
        self.values[slot].clear();
    }

    fn update(&mut self, rows: &Rows<'_>) {
        let Some(encoded) = self.encode(rows) else { return };
        rows.each(|row, slot, weight| self.add(slot, encoded.get(row), weight));
    }

    fn merge(&mut self, into: usize, from: usize) {
        let values: Vec<Box<[u8]>> = self.values[from].iter().cloned().collect();
        values.iter().for_each(|value| self.add(into, value, 1));
    }

    fn output(&self, slots: &[Slot]) -> Result<ArrayRef, JobError> {
        self.column(slots.iter().map(|slot| self.result(*slot as usize)))
    }

    fn series(&mut self, rows: &Rows<'_>, ends: &[usize]) -> Result<ArrayRef, JobError> {
        let Some(encoded) = self.encode(rows) else { return self.output(&[]) };
        let mut results: (Vec<u8>, Vec<usize>) = (Vec::new(), Vec::with_capacity(ends.len()));
        let take = |this: &mut Self, row, slot, weight| this.add(slot, encoded.get(row), weight);
        rows.run(self, ends, take, |this, slot| {
            results.0.extend_from_slice(this.result(slot).unwrap_or(&[0]));
            results.1.push(results.0.len());
        });
        let (bytes, ends) = results;
        if matches!(self.pick, Pick::FrontOf { default: Some(_), .. })
            && let Some(message) = null_result(&bytes, &ends)
        {
            return Err(JobError::Evaluation { operator: "LAG".to_owned(), message });
        }
        let starts = once(0).chain(ends.iter().copied());
        self.column(starts.zip(&ends).map(|(start, end)| Some(&bytes[start..*end])))
    }

    fn write(&self, slot: usize, out: &mut Vec<u8>) {
        let values = &self.values[slot];
        out.extend_from_slice(&(values.len() as u32).to_le_bytes());
        for value in values {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        }
    }

    fn read(&mut self, slot: usize, cursor: &mut Cursor<'_>) -> Result<(), StateError> {
        self.clear(slot);
        for _ in 0..u32::from_le_bytes(cursor.array()?) {
            let value: Box<[u8]> = cursor.counted()?.into();
            self.bytes += value.len();
            self.values[slot].push_back(value);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes + self.values.capacity() * size_of::<VecDeque<Box<[u8]>>>()
    }
}
