//! Answers to `SHOW`, `DESCRIBE`, `EXPLAIN` and `SET` without a key.

use highwater_stream::{SinkSpec, SinkTarget};
use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Location, Span};

use super::File;
use super::declare::{described, described_view};
use crate::bind::Ctes;
use crate::error::{Bound, Fault};
use crate::explain::explain;
use crate::lower::{Output, lower};
use crate::statement::{Name, Show, Statement, create_text};

/// A table of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}

impl Answer {
    fn one(column: &'static str, cells: impl IntoIterator<Item = String>) -> Self {
        Self { columns: vec![column], rows: cells.into_iter().map(|cell| vec![cell]).collect() }
    }
}

impl File<'_> {
    pub(super) fn show(&self, show: Show) -> Bound<Answer> {
        let session = &self.session;
        let views = || session.views.keys().cloned();
        Ok(match show {
            Show::Tables(like) => {
                let mut names: Vec<String> = session.tables.keys().cloned().chain(views()).collect();
                names.extend(session.materialized.keys().cloned());
                names.sort();
                Answer::one("table name", names.into_iter().filter(|name| like.takes(name)))
            }
            Show::Views(like) => Answer::one("view name", views().filter(|name| like.takes(name))),
            Show::CreateTable(name) => match self.declared.get(&name.value) {
                Some(table) => Answer::one("result", [create_text(table)]),
                None => return Err(self.not_found("table", &name)),
            },
            Show::CreateView(name) => match session.views.get(&name.value) {
                Some(view) => {
                    let text = format!(
                        "CREATE VIEW `default_catalog`.`default_database`.`{}` AS {}",
                        name.value, view.query
                    );
                    Answer::one("result", [text])
                }
                None => return Err(self.not_found("view", &name)),
            },
            Show::Columns(name, like) => {
                let rows = self.columns(&name)?;
                let rows = rows.into_iter().filter(|row| like.takes(&row[0])).collect();
                Answer { columns: vec!["name", "type", "null", "key", "extras", "watermark"], rows }
            }
            Show::Catalogs => Answer::one("catalog name", ["default_catalog".to_owned()]),
            Show::CurrentCatalog => Answer::one("current catalog name", ["default_catalog".to_owned()]),
            Show::Databases => Answer::one("database name", ["default_database".to_owned()]),
            Show::CurrentDatabase => Answer::one("current database name", ["default_database".to_owned()]),
            Show::Settings => {
                let pair = |(key, value): (&String, &String)| vec![key.clone(), value.clone()];
                Answer { columns: vec!["key", "value"], rows: session.settings.iter().map(pair).collect() }
            }
        })
    }

    fn columns(&self, name: &Name) -> Bound<Vec<Vec<String>>> {
        if let Some(table) = self.session.tables.get(&name.value) {
            return Ok(described(table, self.declared.get(&name.value)));
        }
        if self.session.views.contains_key(&name.value) {
            let ident =
                Ident { value: name.value.clone(), quote_style: None, span: Span::new(name.at, name.at) };
            return Ok(described_view(&*self.session.relation(&Ctes::new(), &[ident])?));
        }
        match self.session.catalog.table(&name.value) {
            Some(table) => Ok(described(&table, None)),
            None => Err(self.not_found("table or view", name)),
        }
    }

    fn not_found(&self, what: &str, name: &Name) -> Fault {
        let known = self.session.tables.keys().chain(self.session.views.keys()).map(String::as_str);
        let fault = Fault::new(name.at, format!("{what} '{}' not found", name.value));
        match crate::error::nearest(&name.value, known) {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    pub(super) fn explain(&self, statement: Statement, at: Location) -> Bound<Answer> {
        let output = match statement {
            Statement::Insert(insert) => {
                let query = self.session.top_query(&insert.query)?;
                self.output(&insert.table, &insert.columns, &query)?
            }
            Statement::Query(query) => {
                let relation = self.session.top_query(&query)?;
                let sink = SinkSpec { target: SinkTarget::Collect, primary_key: Vec::new() };
                Output { relation, sink, title: "Collect".to_owned() }
            }
            _ => return Err(Fault::new(at, "EXPLAIN takes SELECT or INSERT INTO")),
        };
        Ok(Answer::one("result", [explain(&lower(&[output]))]))
    }
}
