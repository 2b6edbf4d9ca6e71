//! What a decoder has learned about a stream: which fields follow which, and the very bytes between
//! their values. A guess that the next bytes are those costs one comparison; where it fails, the
//! general parser goes on from the same place.

/// The field of no cell.
pub(super) const NO_CELL: u32 = u32::MAX;

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
    /// Its cell.
    pub(super) cell: u32,
    /// The ROW it is in, by its number among the levels.
    pub(super) level: u32,
    /// How many ROWs were opened in front of it, since the record's start.
    pub(super) opened: u32,
}

/// What a right guess says about the next value.
pub(super) struct Guess<'a> {
    /// Bytes in front of it.
    pub(super) lead: usize,
    pub(super) cell: u32,
    pub(super) level: u32,
    /// The cells of ROWs that those bytes open.
    pub(super) opened: &'a [u32],
}

#[derive(Clone, Copy, Default)]
struct Field {
    /// Where its bytes end in `leads`.
    lead_end: usize,
    cell: u32,
    level: u32,
    /// Where its ROWs end in `opened`.
    opened_end: usize,
}

#[derive(Default)]
pub(super) struct Shape {
    /// The bytes in front of each field's value, one after the other.
    leads: Vec<u8>,
    /// The ROWs that are opened in front of each field's value, one after the other.
    opened: Vec<u32>,
    fields: Vec<Field>,
    strikes: u32,
    strikes_max: u32,
}

impl Shape {
    /// Whether the fields of the next record should be noted for [`Shape::learn`].
    pub(super) fn wants_to_learn(&self) -> bool {
        self.strikes >= self.strikes_max.max(STRIKES_FIRST) || self.strikes_max == 0
    }

    /// Field `index`, if it starts at the front of `rest`, behind a value of `level`.
    #[inline(always)]
    pub(super) fn guess(&self, index: usize, level: u32, rest: &[u8]) -> Option<Guess<'_>> {
        let field = *self.fields.get(index)?;
        let before = if index == 0 { Field::default() } else { self.fields[index - 1] };
        if before.level != level {
            // The same bytes would mean a field of another ROW.
            return None;
        }
        let lead = &self.leads[before.lead_end..field.lead_end];
        (rest.len() >= lead.len() && same(&rest[..lead.len()], lead)).then(|| Guess {
            lead: lead.len(),
            cell: field.cell,
            level: field.level,
            opened: &self.opened[before.opened_end..field.opened_end],
        })
    }

    /// Where to go on guessing behind a field of `cell` that was not guessed at `index`.
    pub(super) fn after(&self, cell: u32, index: usize) -> usize {
        if cell == NO_CELL {
            return index;
        }
        let found = self.fields.iter().position(|field| field.cell == cell);
        found.map_or(index, |found| found + 1)
    }

    /// Takes note of how a record without an error went.
    pub(super) fn judge(&mut self, wrong: bool) {
        self.strikes = if wrong { self.strikes + 1 } else { self.strikes.saturating_sub(1) };
    }

    /// Takes the fields of `record` as the new shape. `opened`: the ROWs that it opened, in order.
    pub(super) fn learn(&mut self, record: &[u8], seen: &[Seen], opened: &[u32]) {
        self.strikes = 0;
        self.strikes_max = (self.strikes_max * 2).clamp(STRIKES_FIRST, STRIKES_LIMIT);
        self.leads.clear();
        self.fields.clear();
        self.opened.clear();
        if seen.len() > FIELDS_MAX || opened.len() > FIELDS_MAX {
            return;
        }
        self.opened.extend_from_slice(opened);
        for field in seen {
            self.leads.extend_from_slice(&record[field.lead as usize..field.value as usize]);
            if self.leads.len() > LEAD_BYTES_MAX {
                self.fields.clear();
                return;
            }
            self.fields.push(Field {
                lead_end: self.leads.len(),
                cell: field.cell,
                level: field.level,
                opened_end: field.opened as usize,
            });
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
