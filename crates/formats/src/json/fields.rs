//! The columns of a schema and the fields of their ROWs, each with a cell of its own.

use std::collections::HashMap;

use arrow::datatypes::Schema;

use super::shape::NO_CELL;
use crate::convert::Kind;
use crate::{DecodeError, FormatError};

/// Cells in depth-first order: those of a ROW's fields follow its own.
pub(super) struct Fields {
    pub(super) cells: Vec<Field>,
    levels: Vec<Level>,
}

pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
    /// The cell of the ROW it is in; [`NO_CELL`]: it is a column.
    parent: u32,
    /// Behind the cells of its fields.
    pub(super) end: u32,
    /// The level of its fields, if it is a ROW.
    pub(super) level: Option<u32>,
}

impl Field {
    /// Whether it is a column, not a field of a ROW.
    pub(super) fn is_column(&self) -> bool {
        self.parent == NO_CELL
    }
}

/// Where fields may stand: the record itself (level 0) or a ROW.
struct Level {
    by_name: HashMap<Box<[u8]>, u32>,
    above: u32,
    depth: usize,
}

impl Fields {
    pub(super) fn new(schema: &Schema) -> Result<Self, FormatError> {
        let mut fields = Self { cells: Vec::new(), levels: Vec::new() };
        let root = fields.level(0, 1);
        for column in schema.fields() {
            let kind = Kind::of(column.data_type())
                .map_err(|error| FormatError(format!("column {}: {error}", column.name())))?;
            fields.add(column.name(), kind, column.is_nullable(), (NO_CELL, root));
        }
        Ok(fields)
    }

    fn level(&mut self, above: u32, depth: usize) -> u32 {
        self.levels.push(Level { by_name: HashMap::new(), above, depth });
        number(self.levels.len() - 1)
    }

    fn add(&mut self, name: &str, kind: Kind, nullable: bool, (parent, at): (u32, u32)) {
        let cell = number(self.cells.len());
        let above = &mut self.levels[at as usize];
        above.by_name.insert(name.as_bytes().into(), cell);
        let depth = above.depth + 1;
        let inner = if let Kind::Struct(inner) = &kind { Some(inner.clone()) } else { None };
        let level = inner.is_some().then(|| self.level(at, depth));
        self.cells.push(Field { name: name.into(), kind, nullable, parent, end: cell + 1, level });
        if let (Some(inner), Some(level)) = (inner, level) {
            for (name, kind) in inner {
                self.add(&name, kind, true, (cell, level));
            }
            self.cells[cell as usize].end = number(self.cells.len());
        }
    }

    /// The cell of the field `name` at `level`, or [`NO_CELL`].
    pub(super) fn find(&self, level: u32, name: &[u8]) -> u32 {
        self.levels[level as usize].by_name.get(name).copied().unwrap_or(NO_CELL)
    }

    /// The level around `level`; none around the record itself.
    pub(super) fn above(&self, level: u32) -> Option<u32> {
        (level > 0).then(|| self.levels[level as usize].above)
    }

    /// How many objects are open at `level`.
    pub(super) fn depth(&self, level: u32) -> usize {
        self.levels[level as usize].depth
    }

    /// The level of the fields of `cell`, if it is a ROW.
    #[inline(always)]
    pub(super) fn level_of(&self, cell: u32) -> Option<u32> {
        self.cells.get(cell as usize)?.level
    }

    /// The cell of the ROW that `cell` is a field of.
    pub(super) fn parent(&self, cell: usize) -> Option<usize> {
        let parent = self.cells[cell].parent;
        (parent != NO_CELL).then_some(parent as usize)
    }

    /// A mistake in `cell`, with the column's name in front.
    #[cold]
    pub(super) fn error(&self, cell: usize, reason: &str) -> DecodeError {
        let mut column = cell;
        while let Some(parent) = self.parent(column) {
            column = parent;
        }
        DecodeError::new(format!("column {}: {reason}", self.cells[column].name))
    }
}

fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NO_CELL)
}
