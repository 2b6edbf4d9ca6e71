//! Queries: FROM, WHERE, SELECT, GROUP BY, HAVING, set operations.

use std::sync::Arc;

use highwater_stream::{JoinKind, carries_changes, is_proctime};
use sqlparser::ast::{
    Distinct, Expr as Syntax, GroupByExpr, Ident, ObjectName, OrderByExpr, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableAlias, TableFactor, TableWithJoins, Values,
};
use sqlparser::tokenizer::Location;

use super::aggregate::{Grouping, bind_key, contains_aggregate};
use super::expression::{ExprBinder, Scope};
use super::over::Overs;
use super::{
    Ctes, Session, View, clock, group_window, grouping_sets, join, match_recognize, rank, sort, subquery,
    table, unnest, window,
};
use crate::catalog::{ColumnKind, Usage, check_options};
use crate::error::{Bound, Fault, nearest};
use crate::relation::{Column, Node, Relation, Scan, named};
use crate::statement::{Name, global_name};
use crate::types::SqlType;

/// Views within views and queries within queries; deeper is refused.
const DEPTH_MAX: usize = 32;

impl Session<'_> {
    /// Binds a query that stands in a file.
    pub(crate) fn top_query(&self, query: &Query) -> Bound<Arc<Relation>> {
        let relation = self.view_query(query)?;
        rank::settle(&relation)?;
        Ok(relation)
    }

    /// Binds the query of a view: what it leaves open is settled where it is used.
    pub(crate) fn view_query(&self, query: &Query) -> Bound<Arc<Relation>> {
        let relation = self.query_at(&Ctes::new(), query, Level::Top)?;
        clock::check(&relation, query.span().start)?;
        Ok(relation)
    }

    /// Binds a subquery.
    pub(crate) fn query(&self, ctes: &Ctes, query: &Query) -> Bound<Arc<Relation>> {
        self.query_at(ctes, query, Level::Within)
    }

    fn query_at(&self, ctes: &Ctes, query: &Query, level: Level) -> Bound<Arc<Relation>> {
        let at = query.span().start;
        let mut ctes = ctes.clone();
        if let Some(with) = &query.with {
            if with.recursive {
                return Err(Fault::unsupported(with.with_token.0.span.start, "WITH RECURSIVE"));
            }
            for cte in &with.cte_tables {
                let relation = self.query(&ctes, &cte.query)?;
                let relation =
                    renamed(&relation, &alias_columns(Some(&cte.alias)), cte.alias.name.span.start)?;
                ctes.insert(cte.alias.name.value.clone(), relation);
            }
        }
        let rest = !query.locks.is_empty()
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty();
        if rest {
            return Err(Fault::unsupported(at, "FOR or another clause behind the query"));
        }
        let sorting = sort::Sorting::of(query, level, at)?;
        let relation = match query.body.as_ref() {
            SetExpr::Select(select) if select.distinct.is_none() => {
                self.select(&ctes, select, &sorting.order).map_err(|fault| fault.or_at(at))?
            }
            SetExpr::Query(inner) if sorting.is_none() => self.query_at(&ctes, inner, level)?,
            body => sort::with_keys(&self.set_expr(&ctes, body, at)?, &sorting.order, self.zone)?,
        };
        sorting.apply(&relation, at)
    }

    fn set_expr(&self, ctes: &Ctes, body: &SetExpr, at: Location) -> Bound<Arc<Relation>> {
        match body {
            SetExpr::Select(select) => self.select(ctes, select, &[]).map_err(|fault| fault.or_at(at)),
            SetExpr::Query(query) => self.query(ctes, query),
            SetExpr::Values(values) => self.values(values, at),
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let place = right.span().start;
                let sides = [self.set_expr(ctes, left, at)?, self.set_expr(ctes, right, place)?];
                self.set_operation(*op, *set_quantifier, &sides, place).map_err(|fault| fault.or_at(at))
            }
            other => Err(Fault::unsupported(other.span().start, "this kind of query").or_at(at)),
        }
    }

    fn values(&self, values: &Values, at: Location) -> Bound<Arc<Relation>> {
        let scope = Scope::new(Arc::new(one_row()), None);
        let mut rows: Vec<Arc<Relation>> = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let mut columns = Vec::new();
            for (index, value) in row.content.iter().enumerate() {
                let bound = ExprBinder::new(&scope, self.zone).bind(value)?;
                columns.push((format!("EXPR${index}"), bound.expr, bound.ty));
            }
            rows.push(Relation::calc(&scope.relation, None, columns));
        }
        let mut rows = rows.into_iter();
        let Some(first) = rows.next() else { return Err(Fault::new(at, "VALUES without rows")) };
        let all = rows.try_fold(first, |all, row| self.union(&[all, row], at))?;
        match all.columns.iter().position(|column| column.ty == SqlType::Null) {
            Some(index) => Err(Fault::new(at, format!("column {} of VALUES is nothing but NULL", index + 1))
                .hint("CAST(NULL AS type)")),
            None => Ok(all),
        }
    }

    /// The columns of SELECT, then those of `order`.
    fn select(&self, ctes: &Ctes, select: &Select, order: &[OrderByExpr]) -> Bound<Arc<Relation>> {
        let at = select.select_token.0.span.start;
        let mut scope = self.from(ctes, select, at)?;
        if let Some(condition) = &select.selection {
            scope = self.restricted(ctes, scope, condition, at)?.0;
        }
        self.projected(ctes, scope, (select, order), at)
    }

    /// What of a query stands above FROM and WHERE, then the columns of `order`.
    pub(super) fn projected(
        &self,
        ctes: &Ctes,
        scope: Scope,
        (select, order): (&Select, &[OrderByExpr]),
        at: Location,
    ) -> Bound<Arc<Relation>> {
        let mut items = self.expand(&scope, &select.projection, at)?;
        sort::append(&mut items, order)?;
        let row_number = rank::take(&mut items)?;
        let grouping = self.group_keys(&scope, &select.group_by, at)?;
        let projected = if is_aggregated(select) {
            let above = items.iter().filter_map(Item::syntax).chain(&select.having);
            let (scope, rows) = self.scalars_above(ctes, &scope, above)?;
            self.aggregated(&scope, select, (items, grouping.unwrap_or_default()), rows, at)?
        } else {
            let scope = self.with_scalars(ctes, scope, items.iter().filter_map(Item::syntax))?;
            let mut columns = Vec::with_capacity(items.len());
            let mut overs = Overs::new(&select.named_window)?;
            for item in items {
                let mut binder = ExprBinder::new(&scope, self.zone).with_overs(&mut overs);
                columns.push(self.output(&mut binder, item)?);
            }
            Relation::calc(&overs.build(&scope.relation)?, None, columns)
        };
        let projected = match row_number {
            None => projected,
            Some(row_number) => row_number.number(&projected)?,
        };
        match &select.distinct {
            None | Some(Distinct::All) => Ok(projected),
            Some(Distinct::Distinct) => self.distinct(&projected, at),
            Some(Distinct::On(_)) => Err(Fault::unsupported(at, "DISTINCT ON")),
        }
    }

    /// What FROM gives.
    pub(super) fn from(&self, ctes: &Ctes, select: &Select, at: Location) -> Bound<Scope> {
        refuse_clauses(select, at)?;
        match select.from.as_slice() {
            [] => Ok(Scope::new(Arc::new(one_row()), None)),
            [from, rest @ ..] if unnest::only(&from.joins, rest) => {
                let scope = self.factor(ctes, &from.relation, at)?;
                unnest::join(scope, &from.joins, rest, self.zone)
            }
            [first, others @ ..] => {
                let mut scope = self.joined(ctes, first, at)?;
                for other in others {
                    scope = join::product(scope, self.joined(ctes, other, at)?, JoinKind::Inner);
                }
                Ok(scope)
            }
        }
    }

    fn joined(&self, ctes: &Ctes, from: &TableWithJoins, at: Location) -> Bound<Scope> {
        let first = self.factor(ctes, &from.relation, at)?;
        from.joins.iter().try_fold(first, |scope, syntax| self.join(ctes, scope, syntax, at))
    }

    /// What GROUP BY asks for.
    pub(super) fn group_keys(
        &self,
        scope: &Scope,
        group_by: &GroupByExpr,
        at: Location,
    ) -> Bound<Option<Grouping>> {
        let GroupByExpr::Expressions(keys, modifiers) = group_by else {
            return Err(Fault::unsupported(at, "GROUP BY ALL").hint("name the columns"));
        };
        if !modifiers.is_empty() {
            return Err(Fault::unsupported(at, "a modifier of GROUP BY"));
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let bind = |key: &Syntax| bind_key(&mut ExprBinder::new(scope, self.zone), key);
        let sets =
            grouping_sets::sets(keys.iter().filter(|key| !group_window::is_window(key)), at)?.into_iter();
        let sets = sets.map(|set| set.into_iter().map(bind).collect()).collect::<Bound<Vec<Vec<_>>>>()?;
        Ok(Some(Grouping::of_sets(sets)))
    }

    fn aggregated(
        &self,
        scope: &Scope,
        select: &Select,
        (items, mut grouping): (Vec<Item<'_>>, Grouping),
        rows: Vec<Arc<Relation>>,
        at: Location,
    ) -> Bound<Arc<Relation>> {
        grouping.window = group_window::find(scope, &select.group_by, self.zone, at)?;
        let mut columns = Vec::with_capacity(items.len());
        let mut overs = Overs::new(&select.named_window)?;
        for item in items {
            let mut binder = ExprBinder::grouped(scope, self.zone, &mut grouping).with_overs(&mut overs);
            columns.push(self.output(&mut binder, item)?);
        }
        let having = match &select.having {
            None => None,
            Some(condition) => {
                Some(ExprBinder::grouped(scope, self.zone, &mut grouping).condition(condition, "HAVING")?)
            }
        };
        let relation = grouping.build(&scope.relation, self.zone, at)?;
        let relation = subquery::above(&relation, rows, at)?;
        if overs.is_empty() {
            return Ok(Relation::calc(&relation, having, columns));
        }
        let relation =
            having.map_or_else(|| Arc::clone(&relation), |having| Relation::filtered(&relation, having));
        Ok(Relation::calc(&overs.build(&relation)?, None, columns))
    }

    pub(super) fn output(
        &self,
        binder: &mut ExprBinder<'_>,
        item: Item<'_>,
    ) -> Bound<(String, datafusion_expr::Expr, SqlType)> {
        let (name, bound) = match item {
            Item::Column { name, syntax } => (name, binder.bind(&syntax)?),
            Item::Expr { name, syntax } => (name, binder.bind(syntax)?),
        };
        match bound.ty {
            SqlType::Null => Err(Fault::new(bound.at, format!("column '{name}' is nothing but NULL"))
                .hint("CAST(NULL AS type)")),
            SqlType::IntervalDay | SqlType::IntervalMonth => {
                Err(Fault::unsupported(bound.at, format!("column '{name}' of type {}", bound.ty))
                    .hint("add it to a time"))
            }
            ty => Ok((name, bound.expr, ty)),
        }
    }

    pub(super) fn expand<'q>(
        &self,
        scope: &Scope,
        projection: &'q [SelectItem],
        at: Location,
    ) -> Bound<Vec<Item<'q>>> {
        let mut items = Vec::with_capacity(projection.len());
        let all = |items: &mut Vec<Item<'q>>, only: Option<&str>, at: Location| {
            let ident = |name: &String| Ident {
                value: name.clone(),
                quote_style: None,
                span: sqlparser::tokenizer::Span::new(at, at),
            };
            for (index, name) in scope.names.iter().enumerate() {
                let qualifier = &scope.qualifiers[index];
                if only.map_or(scope.hidden[index], |only| qualifier.as_deref() != Some(only)) {
                    continue;
                }
                let syntax = match qualifier {
                    Some(qualifier) => Syntax::CompoundIdentifier(vec![ident(qualifier), ident(name)]),
                    None => Syntax::Identifier(ident(name)),
                };
                items.push(Item::Column { name: name.clone(), syntax: Box::new(syntax) });
            }
        };
        for (index, item) in projection.iter().enumerate() {
            match item {
                SelectItem::UnnamedExpr(syntax) => {
                    items.push(Item::Expr { name: implied_name(syntax, index), syntax })
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item::Expr { name: alias.value.clone(), syntax: expr });
                }
                SelectItem::Wildcard(options) if is_plain(options) => {
                    all(&mut items, None, options.wildcard_token.0.span.start)
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                    if is_plain(options) =>
                {
                    let place = name.span().start;
                    let qualifier = name.to_string().replace('`', "");
                    if !scope.is_qualifier(&qualifier) {
                        return Err(Fault::new(place, format!("table '{qualifier}' not found in FROM")));
                    }
                    all(&mut items, Some(&qualifier), place);
                }
                other => {
                    return Err(
                        Fault::unsupported(other.span().start, format!("'{other}' in SELECT")).or_at(at)
                    );
                }
            }
        }
        Ok(items)
    }

    pub(super) fn factor(&self, ctes: &Ctes, factor: &TableFactor, at: Location) -> Bound<Scope> {
        let place = factor.span().start;
        let place = if place.line == 0 { at } else { place };
        let (relation, alias, default) = match factor {
            TableFactor::Table {
                name,
                alias,
                args: None,
                version: None,
                sample: None,
                with_ordinality: false,
                ..
            } => {
                let names = identifiers(name)?;
                let relation = self.relation(ctes, &names)?;
                (relation, alias.as_ref(), names.last().map(|name| name.value.clone()))
            }
            // TUMBLE(..) without TABLE(..) around it.
            TableFactor::Table {
                name,
                alias,
                args: Some(args),
                version: None,
                sample: None,
                with_ordinality: false,
                ..
            } => (window::bind(self, ctes, &window::call_of(name, args))?, alias.as_ref(), None),
            TableFactor::Table { version: Some(_), .. } => {
                return Err(Fault::unsupported(place, "FOR SYSTEM_TIME AS OF"));
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                (self.query(ctes, subquery)?, alias.as_ref(), None)
            }
            TableFactor::TableFunction { expr, alias } => {
                (window::bind(self, ctes, expr)?, alias.as_ref(), None)
            }
            TableFactor::NestedJoin { table_with_joins, alias: None }
                if table_with_joins.joins.is_empty() =>
            {
                return self.factor(ctes, &table_with_joins.relation, at);
            }
            TableFactor::UNNEST { .. } => {
                return Err(Fault::unsupported(place, "UNNEST as the first item of FROM")
                    .hint("FROM t CROSS JOIN UNNEST(t.a) AS u (x)"));
            }
            TableFactor::MatchRecognize { .. } => {
                let (relation, alias) = match_recognize::bind(self, ctes, factor, place)?;
                (relation, alias, None)
            }
            TableFactor::Derived { lateral: true, .. } | TableFactor::Function { .. } => {
                return Err(Fault::unsupported(place, "LATERAL and table functions in FROM")
                    .hint("window table functions stand in TABLE(...): FROM TABLE(TUMBLE(...))"));
            }
            _ => return Err(Fault::unsupported(place, "this item of FROM")),
        };
        let relation = renamed(&relation, &alias_columns(alias), place)?;
        let qualifier = alias.map(|alias| alias.name.value.clone()).or(default);
        Ok(Scope::new(relation, qualifier))
    }

    /// The table, view or common table expression of that name.
    pub(crate) fn relation(&self, ctes: &Ctes, names: &[Ident]) -> Bound<Arc<Relation>> {
        if let [name] = names
            && let Some(relation) = ctes.get(&name.value)
        {
            return Ok(Arc::clone(relation));
        }
        let name = global_name(names)?;
        if let Some(view) = self.views.get(&name.value) {
            return self.view(view, &name);
        }
        if self.materialized.contains_key(&name.value) {
            return Err(Fault::unsupported(name.at, format!("reading materialized table {}", name.value))
                .hint("put the query into a view and read that"));
        }
        let table = match self.tables.get(&name.value) {
            Some(table) => Arc::clone(table),
            None => match self.catalog.table(&name.value) {
                Some(table) => Arc::new(table),
                None => return Err(self.unknown_table(&name, ctes)),
            },
        };
        if table.materialized {
            return Err(Fault::unsupported(name.at, format!("reading materialized table {}", table.name))
                .hint("read the topic it is made from"));
        }
        let last = names.last().map_or(name.at, |name| name.span.start);
        let hint = self.hints.iter().find(|(place, _)| *place == last);
        let mut options = table.options.clone();
        if let Some((_, added)) = hint {
            options.extend(added.clone());
        }
        check_options(&table, &options, Usage::Read, name.at)?;
        let scan = Scan { options, idle_timeout_ms: table::idle_timeout(self)?, table };
        Ok(Arc::new(scan_relation(scan)))
    }

    fn view(&self, view: &Arc<View>, name: &Name) -> Bound<Arc<Relation>> {
        let depth = self.view_depth.get();
        if depth >= DEPTH_MAX {
            return Err(Fault::new(name.at, format!("views nested deeper than {DEPTH_MAX}")));
        }
        self.view_depth.set(depth + 1);
        let relation =
            self.view_query(&view.query).and_then(|relation| renamed(&relation, &view.columns, name.at));
        self.view_depth.set(depth);
        relation
    }

    fn unknown_table(&self, name: &Name, ctes: &Ctes) -> Fault {
        let fault = Fault::new(name.at, format!("table '{}' not found", name.value));
        let known = self.tables.keys().chain(self.views.keys()).chain(ctes.keys()).map(String::as_str);
        match nearest(&name.value, known) {
            Some(hint) => fault.hint(hint),
            None => fault.hint("CREATE TABLE it first; tables of a file are private to its pipeline"),
        }
    }
}

/// Where a query stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// In the file, or as a view.
    Top,
    /// In another query.
    Within,
}

/// An item of SELECT.
pub(super) enum Item<'q> {
    /// From a wildcard.
    Column {
        name: String,
        syntax: Box<Syntax>,
    },
    Expr {
        name: String,
        syntax: &'q Syntax,
    },
}

impl Item<'_> {
    /// What is written, if it is no wildcard.
    pub(super) fn syntax(&self) -> Option<&Syntax> {
        match self {
            Item::Column { .. } => None,
            Item::Expr { syntax, .. } => Some(syntax),
        }
    }
}

/// Whether the query groups or aggregates.
pub(super) fn is_aggregated(select: &Select) -> bool {
    let calls = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(syntax) | SelectItem::ExprWithAlias { expr: syntax, .. } => {
            contains_aggregate(syntax)
        }
        _ => false,
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty());
    grouped || select.having.is_some() || select.projection.iter().any(calls)
}

fn is_plain(options: &sqlparser::ast::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn implied_name(syntax: &Syntax, index: usize) -> String {
    match syntax {
        Syntax::Identifier(name) => name.value.clone(),
        Syntax::CompoundIdentifier(names) => names.last().map_or_else(String::new, |name| name.value.clone()),
        Syntax::Nested(inner) => implied_name(inner, index),
        _ => format!("EXPR${index}"),
    }
}

fn refuse_clauses(select: &Select, at: Location) -> Bound<()> {
    let found = [
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
        (select.select_modifiers.is_some(), "a modifier of SELECT"),
    ];
    match found.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(Fault::unsupported(at, *what)),
        None => Ok(()),
    }
}

fn identifiers(name: &ObjectName) -> Bound<Vec<Ident>> {
    let part = |part: &sqlparser::ast::ObjectNamePart| {
        part.as_ident().cloned().ok_or_else(|| Fault::new(name.span().start, format!("'{name}' is no table")))
    };
    name.0.iter().map(part).collect()
}

fn alias_columns(alias: Option<&TableAlias>) -> Vec<Ident> {
    alias.map_or_else(Vec::new, |alias| alias.columns.iter().map(|column| column.name.clone()).collect())
}

/// The relation with its columns renamed, all of them or none.
fn renamed(relation: &Arc<Relation>, names: &[Ident], at: Location) -> Bound<Arc<Relation>> {
    if names.is_empty() {
        return Ok(Arc::clone(relation));
    }
    if names.len() != relation.columns.len() {
        let message = format!("{} column names for {} columns", names.len(), relation.columns.len());
        return Err(Fault::new(names.first().map_or(at, |name| name.span.start), message));
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].iter().any(|other| other.value == name.value) {
            return Err(Fault::new(name.span.start, format!("column '{}' appears twice", name.value)));
        }
    }
    let columns = relation
        .columns
        .iter()
        .zip(names)
        .map(|(column, name)| (name.value.clone(), named(&column.name), column.ty.clone()))
        .collect();
    Ok(Relation::calc(relation, None, columns))
}

pub(super) fn one_row() -> Relation {
    Relation { node: Node::OneRow, columns: Vec::new(), updating: false, keys: vec![Vec::new()] }
}

fn scan_relation(scan: Scan) -> Relation {
    let rowtime = scan.table.rowtime.as_ref().map(|(index, _)| *index);
    let columns: Vec<Column> = scan
        .table
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| Column {
            name: column.name.clone(),
            ty: column.ty.clone(),
            rowtime: rowtime == Some(index),
            proctime: matches!(&column.kind, ColumnKind::Computed(expr) if is_proctime(expr)),
            window: None,
        })
        .collect();
    let keys =
        if scan.table.primary_key.is_empty() { Vec::new() } else { vec![scan.table.primary_key.clone()] };
    let updating = carries_changes(&scan.options);
    Relation { node: Node::Scan(Arc::new(scan)), columns, updating, keys }
}
