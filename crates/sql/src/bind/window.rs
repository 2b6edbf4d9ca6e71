//! Window table functions.

use std::sync::Arc;

use highwater_stream::{WindowColumn, WindowShape};
use sqlparser::ast::{
    Expr as Syntax, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments,
    ObjectName, Spanned, TableFunctionArgs,
};
use sqlparser::tokenizer::Location;

use super::{Ctes, Session};
use crate::error::{Bound, Fault, nearest};
use crate::relation::{Column, Node, Relation, Window, WindowRole, column_name, named, unique};
use crate::script::PARTITION;
use crate::types::SqlType;

const FORM: &str = "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND [, INTERVAL '2' SECOND offset])";

/// The window table functions: name, arguments, how to write it.
const FUNCTIONS: &[(&str, &[&str], &str)] = &[
    ("TUMBLE", &["DATA", "TIMECOL", "SIZE", "OFFSET"], FORM),
    (
        "HOP",
        &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
        "HOP(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND slide, INTERVAL '10' SECOND size [, offset])",
    ),
    (
        "CUMULATE",
        &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
        "CUMULATE(TABLE t, DESCRIPTOR(ts), INTERVAL '5' SECOND step, INTERVAL '10' SECOND size [, offset])",
    ),
    (
        "SESSION",
        &["DATA", "TIMECOL", "GAP"],
        "SESSION(TABLE t [PARTITION BY k], DESCRIPTOR(ts), INTERVAL '5' SECOND)",
    ),
];

/// A call of a window table function.
struct Call<'a> {
    name: &'static str,
    form: &'static str,
    names: &'static [&'static str],
    places: Vec<Option<&'a Syntax>>,
    /// The columns of PARTITION BY.
    partition: Vec<&'a Syntax>,
    at: Location,
}

impl<'a> Call<'a> {
    fn new(syntax: &'a Syntax) -> Bound<Self> {
        let at = syntax.span().start;
        let Syntax::Function(function) = syntax else {
            return Err(Fault::unsupported(at, "this table function").hint(FORM));
        };
        let name = function.name.to_string().to_uppercase();
        let Some((name, names, form)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            return Err(Fault::unsupported(at, format!("table function {name}")).hint(FORM));
        };
        let places = vec![None; names.len()];
        let mut call = Self { name, form, names, places, partition: Vec::new(), at };
        call.arguments(function)?;
        Ok(call)
    }

    /// By place or by name.
    fn arguments(&mut self, function: &'a Function) -> Bound<()> {
        let (name, form, at) = (self.name, self.form, self.at);
        let FunctionArguments::List(list) = &function.args else {
            return Err(Fault::new(at, format!("{name} without arguments")).hint(form));
        };
        let mut next = 0;
        for argument in &list.args {
            let (place, expr) = match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(Syntax::Function(partition)))
                    if partition.name.to_string() == PARTITION =>
                {
                    self.partition = super::aggregate::plain_arguments(partition, at)?;
                    continue;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => {
                    next += 1;
                    (Some(next - 1), expr)
                }
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                    (self.names.iter().position(|known| name.value.eq_ignore_ascii_case(known)), expr)
                }
                _ => {
                    let message = format!("{name} with an argument that is no expression");
                    return Err(Fault::new(at, message).hint(form));
                }
            };
            match place.and_then(|place| self.places.get_mut(place)) {
                Some(slot @ None) => *slot = Some(expr),
                _ => {
                    let message = format!("an argument {name} does not have");
                    return Err(Fault::new(expr.span().start, message).or_at(at).hint(form));
                }
            }
        }
        Ok(())
    }

    fn argument(&self, name: &str) -> Bound<&'a Syntax> {
        self.optional(name).ok_or_else(|| {
            let names = self.names.join(", ");
            Fault::new(self.at, format!("{} needs {names}", self.name)).hint(self.form)
        })
    }

    fn optional(&self, name: &str) -> Option<&'a Syntax> {
        self.names.iter().position(|known| *known == name).and_then(|place| self.places[place])
    }

    fn length(&self, name: &str) -> Bound<i64> {
        let syntax = self.argument(name)?;
        let ms = interval(syntax, self.at)?;
        if ms <= 0 {
            let message = format!("window {} {ms} ms: expected more than 0", name.to_lowercase());
            return Err(Fault::new(syntax.span().start, message).or_at(self.at));
        }
        Ok(ms)
    }

    /// Shape, size and offset.
    fn shape(&self) -> Bound<(WindowShape, i64, i64)> {
        let offset_ms = self.optional("OFFSET").map(|offset| interval(offset, self.at)).transpose()?;
        let offset_ms = offset_ms.unwrap_or(0);
        let (shape, size_ms) = match self.name {
            "HOP" => {
                (WindowShape::Hop { slide_ms: self.length("SLIDE")?, in_order: false }, self.length("SIZE")?)
            }
            "CUMULATE" => (WindowShape::Cumulate { step_ms: self.length("STEP")? }, self.length("SIZE")?),
            "SESSION" => (WindowShape::Session, self.length("GAP")?),
            _ => (WindowShape::Tumble, self.length("SIZE")?),
        };
        if shape == WindowShape::Tumble && offset_ms.abs() >= size_ms {
            let message = format!("window offset {offset_ms} ms: expected less than the size, {size_ms} ms");
            return Err(Fault::new(self.at, message));
        }
        match shape {
            WindowShape::Cumulate { step_ms } if size_ms % step_ms != 0 => {
                let message =
                    format!("CUMULATE of {size_ms} ms: expected a multiple of its step, {step_ms} ms");
                Err(Fault::new(self.at, message))
            }
            _ => Ok((shape, size_ms, offset_ms)),
        }
    }
}

/// `TABLE(TUMBLE(...))` and its kin.
pub(crate) fn bind(session: &Session<'_>, ctes: &Ctes, syntax: &Syntax) -> Bound<Arc<Relation>> {
    let call = Call::new(syntax)?;
    let at = call.at;
    let input = match call.argument("DATA")? {
        Syntax::Identifier(name) => session.relation(ctes, std::slice::from_ref(name))?,
        Syntax::CompoundIdentifier(names) => session.relation(ctes, names)?,
        Syntax::Subquery(query) => session.query(ctes, query)?,
        other => {
            return Err(Fault::new(other.span().start, format!("'{other}' is no table"))
                .or_at(at)
                .hint(call.form));
        }
    };
    let index = time_column(&input, call.argument("TIMECOL")?, at)?;
    let (shape, size_ms, offset_ms) = call.shape()?;
    let mut partition = Vec::with_capacity(call.partition.len());
    for column in &call.partition {
        match column {
            Syntax::Identifier(name) if input.index(&name.value).is_some() => {
                partition.push(name.value.clone())
            }
            other => {
                let message = format!("'{other}' of PARTITION BY is no column of the table");
                return Err(Fault::new(other.span().start, message).or_at(at));
            }
        }
    }
    super::rank::refuse_time(&input, at)?;
    let time = &input.columns[index];
    let zone = zone_of(session.zone, &time.ty);
    let (time, processing_time) = (time.name.clone(), time.proctime);
    let window = Window { time, shape, size_ms, offset_ms, zone, processing_time, partition };
    Ok(table(&input, index, window))
}

/// A table function's call as an expression.
pub(super) fn call_of(name: &ObjectName, arguments: &TableFunctionArgs) -> Syntax {
    let list =
        FunctionArgumentList { duplicate_treatment: None, args: arguments.args.clone(), clauses: Vec::new() };
    Syntax::Function(Function {
        name: name.clone(),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// The zone whose wall clock cuts windows over times of this type.
pub(super) fn zone_of(zone: chrono_tz::Tz, ty: &SqlType) -> Option<String> {
    matches!(ty, SqlType::TimestampLtz(_)).then(|| zone.name().to_owned())
}

fn table(input: &Arc<Relation>, index: usize, window: Window) -> Arc<Relation> {
    // As Flink: the time attribute stays one, beside that of the window.
    let mut columns: Vec<Column> = input
        .columns
        .iter()
        .map(|column| Column { proctime: false, window: None, ..column.clone() })
        .collect();
    let (local, processing_time) = (window.zone.is_some(), window.processing_time);
    for (part, name) in [
        (WindowColumn::Start, "window_start"),
        (WindowColumn::End, "window_end"),
        (WindowColumn::Time, "window_time"),
    ] {
        let time = part == WindowColumn::Time;
        columns.push(Column {
            name: name.to_owned(),
            ty: if time { input.columns[index].ty.clone() } else { SqlType::Timestamp(3) },
            rowtime: time && !processing_time,
            proctime: time && processing_time,
            window: Some(WindowRole { part, closed: false, local, processing_time }),
        });
    }
    let names = unique(columns.iter().map(|column| column.name.clone()).collect());
    for (column, name) in columns.iter_mut().zip(names) {
        column.name = name;
    }
    let end = columns.len() - 2;
    let keys = match window.shape {
        // A row may be in several windows.
        WindowShape::Hop { .. } | WindowShape::Cumulate { .. } => {
            input.keys.iter().map(|key| key.iter().copied().chain([end]).collect()).collect()
        }
        _ => input.keys.clone(),
    };
    Arc::new(Relation {
        columns,
        updating: input.updating,
        keys,
        node: Node::WindowTable { input: Arc::clone(input), window },
    })
}

fn time_column(input: &Relation, syntax: &Syntax, at: Location) -> Bound<usize> {
    let column = match syntax {
        Syntax::Function(function) if function.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
            match super::aggregate::plain_arguments(function, at)?.as_slice() {
                [Syntax::Identifier(column)] => column,
                _ => return Err(Fault::new(at, "DESCRIPTOR needs one column").hint(FORM)),
            }
        }
        _ => return Err(Fault::new(syntax.span().start, "expected DESCRIPTOR(column)").or_at(at).hint(FORM)),
    };
    let place = column.span.start;
    let Some(index) = input.index(&column.value) else {
        let known = input.columns.iter().map(|column| column.name.as_str());
        let fault = Fault::new(place, format!("column '{}' not found", column.value));
        return Err(match nearest(&column.value, known) {
            Some(hint) => fault.hint(hint),
            None => fault,
        });
    };
    let found = &input.columns[index];
    if !found.rowtime && !found.proctime {
        let message = format!("a window needs a time attribute, but '{}' is {}", column.value, found.ty);
        return Err(Fault::new(place, message).hint(format!(
            "declare WATERMARK FOR {} AS ... or a column AS PROCTIME() in CREATE TABLE, and select it unchanged",
            column.value
        )));
    }
    Ok(index)
}

pub(super) fn interval(syntax: &Syntax, at: Location) -> Bound<i64> {
    let place = syntax.span().start;
    let Syntax::Interval(interval) = syntax else {
        return Err(Fault::new(place, format!("'{syntax}' is no interval"))
            .or_at(at)
            .hint("INTERVAL '10' SECOND"));
    };
    let bound = super::literal::bind_interval(interval, place).map_err(|fault| fault.or_at(at))?;
    match (bound.ty, crate::functions::integer_literal(&bound.expr)) {
        (SqlType::IntervalDay, Some(ms)) => Ok(ms),
        _ => Err(Fault::new(place, "a window of months: expected a fixed length")
            .or_at(at)
            .hint("INTERVAL '30' DAY")),
    }
}

/// Names of the columns that windows added.
pub(crate) fn names(relation: &Relation) -> Vec<String> {
    relation
        .columns
        .iter()
        .filter(|column| column.window.is_some())
        .map(|column| column.name.clone())
        .collect()
}

/// The relation below a window table, with the projections and filters above it, and the window
/// by the names of the result. None: what is above needs the window's columns.
pub(crate) fn strip(relation: &Arc<Relation>) -> Option<(Arc<Relation>, Window)> {
    match &relation.node {
        Node::WindowTable { input, window } => Some((Arc::clone(input), window.clone())),
        Node::Calc { input, filter, columns } => {
            let (below, window) = strip(input)?;
            let gone = names(input);
            let touches = |expr: &datafusion_expr::Expr| {
                expr.column_refs().iter().any(|column| gone.contains(&column.name))
            };
            let mut kept = Vec::with_capacity(columns.len() + 1);
            for (column, expr) in relation.columns.iter().zip(columns) {
                if !touches(expr) {
                    kept.push((column.name.clone(), expr.clone(), column.ty.clone()));
                } else if column.window.is_none() {
                    return None;
                }
            }
            if filter.as_ref().is_some_and(touches) {
                return None;
            }
            let mut kept_as = |below_name: &String, add: String| -> String {
                let known = kept.iter().find(|(_, expr, _)| column_name(expr) == Some(below_name));
                if let Some((name, ..)) = known {
                    return name.clone();
                }
                let ty =
                    below.index(below_name).map_or(SqlType::Null, |index| below.columns[index].ty.clone());
                kept.push((add.clone(), named(below_name), ty));
                add
            };
            let time = kept_as(&window.time, "$time".to_owned());
            let partition = window.partition.iter().enumerate();
            let partition =
                partition.map(|(index, column)| kept_as(column, format!("$partition{index}"))).collect();
            Some((Relation::calc(&below, filter.clone(), kept), Window { time, partition, ..window }))
        }
        _ => None,
    }
}

/// Whether the relation's rows carry the windows of one window table or aggregation with them.
pub(crate) fn carries_windows(relation: &Relation) -> bool {
    windows_of(relation).is_some()
}

/// The windows that the relation's rows carry, by names below.
fn windows_of(relation: &Relation) -> Option<&Window> {
    match &relation.node {
        Node::WindowTable { window, .. } => Some(window),
        Node::WindowAggregate { input, window, .. } if window.shape == WindowShape::Attached => {
            windows_of(input)
        }
        Node::WindowAggregate { window, .. } => Some(window),
        Node::Calc { input, .. } => windows_of(input),
        Node::Union { inputs } => {
            let (first, others) = inputs.split_first()?;
            let first = windows_of(first)?;
            others
                .iter()
                .all(|other| windows_of(other).is_some_and(|other| alike(first, other)))
                .then_some(first)
        }
        _ => None,
    }
}

fn alike(a: &Window, b: &Window) -> bool {
    Window { time: b.time.clone(), ..a.clone() } == *b
}

/// The window of a column of a union of these. Unlike windows are none; of windows that are not known here the
/// column keeps its part, so that nothing is made of it that depends on them.
pub(super) fn role_in_union(sides: [&Relation; 2], roles: [Option<WindowRole>; 2]) -> Option<WindowRole> {
    let [a, b] = roles;
    let (a, b) = (a?, b?);
    let known = sides.map(windows_of);
    let unlike = matches!(known, [Some(x), Some(y)] if !alike(x, y));
    let closed = a.closed && b.closed;
    (a.part == b.part && !unlike).then_some(WindowRole { closed, ..a })
}
