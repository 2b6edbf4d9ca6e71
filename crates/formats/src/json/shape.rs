//! What a decoder has learned about a stream: which fields follow which, and the very bytes between
//! their values. A guess that the next bytes are those costs one comparison; where it fails, the
//! general parser goes on from the same place.

/// The field of no column.
pub(super) const NO_COLUMN: u32 = u32::MAX;

/// A record with more fields, or longer keys, is parsed without guessing.
const FIELDS_MAX: usize = 512;
const LEAD_BYTES_MAX: usize = 16 * 1024;

/// Records with a wrong guess before the shape is learned anew; doubled each time, up to the limit,
/// so that a stream without a fixed order does not spend its time learning.
const STRIKES_FIRST: u32 = 2;
const STRIKES_LIMIT: u32 = 4096;

/// One field as it was last seen.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    /// Where the bytes in front of its value start: behind the value before, or at the record's start.
    pub(super) lead: u32,
    /// Where its value starts.
    pub(super) value: u32,
    /// Its column.
    pub(super) column: u32,
}

#[derive(Default)]
pub(super) struct Shape {
    /// The bytes in front of each field's value, one after the other.
    leads: Vec<u8>,
    /// For each field: where its bytes end in `leads`, and its column.
    fields: Vec<(usize, u32)>,
    strikes: u32,
    strikes_max: u32,
}

impl Shape {
    /// Whether the fields of the next record should be noted for [`Shape::learn`].
    pub(super) fn wants_to_learn(&self) -> bool {
        self.strikes >= self.strikes_max.max(STRIKES_FIRST) || self.strikes_max == 0
    }

    /// The column and length of lead of field `index`, if it starts at the front of `rest`.
    #[inline(always)]
    pub(super) fn guess(&self, index: usize, rest: &[u8]) -> Option<(u32, usize)> {
        let (end, column) = *self.fields.get(index)?;
        let start = if index == 0 { 0 } else { self.fields[index - 1].0 };
        let lead = &self.leads[start..end];
        (rest.len() >= lead.len() && same(&rest[..lead.len()], lead)).then_some((column, lead.len()))
    }

    /// Where to go on guessing behind a field of `column` that was not guessed at `index`.
    pub(super) fn after(&self, column: u32, index: usize) -> usize {
        if column == NO_COLUMN {
            return index;
        }
        let found = self.fields.iter().position(|(_, of)| *of == column);
        found.map_or(index, |found| found + 1)
    }

    /// Takes note of how a record without an error went.
    pub(super) fn judge(&mut self, wrong: bool) {
        self.strikes = if wrong { self.strikes + 1 } else { self.strikes.saturating_sub(1) };
    }

    /// Takes the fields of `record` as the new shape.
    pub(super) fn learn(&mut self, record: &[u8], seen: &[Seen]) {
        self.strikes = 0;
        self.strikes_max = (self.strikes_max * 2).clamp(STRIKES_FIRST, STRIKES_LIMIT);
        self.leads.clear();
        self.fields.clear();
        if seen.len() > FIELDS_MAX {
            return;
        }
        for field in seen {
            self.leads.extend_from_slice(&record[field.lead as usize..field.value as usize]);
            if self.leads.len() > LEAD_BYTES_MAX {
                self.fields.clear();
                return;
            }
            self.fields.push((self.leads.len(), field.column));
        }
    }
}

/// Equality of two slices of one length, without a call for the short ones.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    let n = b.len();
    let word = |of: &[u8], at: usize| u64::from_le_bytes(of[at..at + 8].try_into().expect("eight bytes"));
    match n {
        8..=16 => word(a, 0) == word(b, 0) && word(a, n - 8) == word(b, n - 8),
        17..=24 => word(a, 0) == word(b, 0) && word(a, 8) == word(b, 8) && word(a, n - 8) == word(b, n - 8),
        _ => a == b,
    }
}
