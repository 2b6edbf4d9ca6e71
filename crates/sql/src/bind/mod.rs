//! From syntax to bound relations and expressions.

pub(crate) mod aggregate;
mod clock;
mod compound;
pub(crate) mod expression;
mod group_window;
mod grouping_sets;
mod join;
mod literal;
pub(crate) mod match_recognize;
mod match_values;
mod over;
pub(crate) mod query;
mod rank;
mod set_operation;
mod sort;
mod subquery;
mod syntax;
pub(crate) mod table;
mod temporal_join;
mod time_join;
mod unnest;
pub(crate) mod window;
mod window_join;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono_tz::Tz;
use sqlparser::ast::{Ident, Query};
use sqlparser::tokenizer::Location;

use crate::catalog::{Catalog, TableDefinition};
use crate::relation::Relation;
use crate::script::Hints;

/// What names mean while a file is compiled.
pub(crate) struct Session<'a> {
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) tables: BTreeMap<String, Arc<TableDefinition>>,
    pub(crate) views: BTreeMap<String, Arc<View>>,
    /// Materialized tables of this file.
    pub(crate) materialized: BTreeMap<String, Location>,
    pub(crate) settings: BTreeMap<String, String>,
    pub(crate) zone: Tz,
    pub(crate) hints: Hints,
    pub(crate) view_depth: Cell<usize>,
}

/// A view: its query is bound anew at each use.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) columns: Vec<Ident>,
    pub(crate) query: Box<Query>,
}

/// Common table expressions in sight.
pub(crate) type Ctes = HashMap<String, Arc<Relation>>;
