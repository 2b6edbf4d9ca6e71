//! Which columns of a table are needed, and of columns that are rows, which fields.

use std::collections::{BTreeMap, BTreeSet};

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::Expr;

use crate::functions::nested::as_field;
use crate::types::SqlType;

/// Columns by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uses(BTreeMap<String, Fields>);

#[derive(Clone, Debug)]
enum Fields {
    All,
    Some(BTreeSet<String>),
}

impl Uses {
    /// All of a column.
    pub(crate) fn add_whole(&mut self, column: &str) {
        self.0.insert(column.to_owned(), Fields::All);
    }

    /// What `expr` reads.
    pub(crate) fn add(&mut self, expr: &Expr) {
        // The closure never fails.
        let _ = expr.apply(|part| {
            if let Some((field, Expr::Column(column))) = as_field(part) {
                self.add_field(&column.name, field);
                return Ok(TreeNodeRecursion::Jump);
            }
            if let Expr::Column(column) = part {
                self.add_whole(&column.name);
            }
            Ok(TreeNodeRecursion::Continue)
        });
    }

    /// What `others` says of one column.
    pub(crate) fn add_all_of(&mut self, column: &str, others: &Self) {
        match others.0.get(column) {
            None => {}
            Some(Fields::All) => self.add_whole(column),
            Some(Fields::Some(fields)) => fields.iter().for_each(|field| self.add_field(column, field)),
        }
    }

    fn add_field(&mut self, column: &str, field: &str) {
        let known = self.0.entry(column.to_owned()).or_insert_with(|| Fields::Some(BTreeSet::new()));
        if let Fields::Some(fields) = known {
            fields.insert(field.to_owned());
        }
    }

    pub(crate) fn contains(&self, column: &str) -> bool {
        self.0.contains_key(column)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The type of a column of type `ty` with the fields that are needed.
    pub(crate) fn narrowed(&self, column: &str, ty: &SqlType) -> SqlType {
        match (self.0.get(column), ty) {
            (Some(Fields::Some(needed)), SqlType::Row(fields)) => {
                SqlType::Row(fields.iter().filter(|(name, _)| needed.contains(name)).cloned().collect())
            }
            _ => ty.clone(),
        }
    }
}
