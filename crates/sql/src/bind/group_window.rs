//! Group windows: `GROUP BY TUMBLE(ts, INTERVAL '10' SECOND)`, and `TUMBLE_START(..)` and its kin.

use highwater_stream::{WindowColumn, WindowShape};
use sqlparser::ast::{Expr as Syntax, Function, GroupByExpr};
use sqlparser::tokenizer::Location;

use super::aggregate::plain_arguments;
use super::expression::{ExprBinder, Scope};
use super::window::{interval, zone_of};
use crate::error::{Bound, Fault};
use crate::functions::Typed;
use crate::relation::{Window, column_name, named};
use crate::types::SqlType;

/// A window of GROUP BY, and which of its columns are asked for.
#[derive(Clone, Debug)]
pub(crate) struct GroupWindow {
    pub(super) window: Window,
    pub(super) parts: Vec<WindowColumn>,
    /// Of the time attribute.
    ty: SqlType,
}

/// Whether a key of GROUP BY is a window.
pub(super) fn is_window(key: &Syntax) -> bool {
    matches!(key, Syntax::Function(function) if window_name(&function.name.to_string()).is_some())
}

fn window_name(name: &str) -> Option<&'static str> {
    ["TUMBLE", "HOP", "SESSION"].into_iter().find(|known| name.eq_ignore_ascii_case(known))
}

/// `TUMBLE_START` as the window's name and what is asked of it.
fn part_name(name: &str) -> Option<(&'static str, WindowColumn, bool)> {
    let (window, part) = name.rsplit_once('_')?;
    let part = match part {
        "START" => (WindowColumn::Start, false),
        "END" => (WindowColumn::End, false),
        "ROWTIME" => (WindowColumn::Time, false),
        "PROCTIME" => (WindowColumn::Time, true),
        _ => return None,
    };
    Some((window_name(window)?, part.0, part.1))
}

/// The window among the keys, if there is one.
pub(super) fn find(
    scope: &Scope,
    group_by: &GroupByExpr,
    zone: chrono_tz::Tz,
    at: Location,
) -> Bound<Option<GroupWindow>> {
    let GroupByExpr::Expressions(keys, _) = group_by else { return Ok(None) };
    let mut windows = keys.iter().filter_map(|key| match key {
        Syntax::Function(function) if is_window(key) => Some(function),
        _ => None,
    });
    let Some(function) = windows.next() else { return Ok(None) };
    if windows.next().is_some() {
        return Err(Fault::new(at, "two windows in one GROUP BY"));
    }
    let (window, ty) = bind(&mut ExprBinder::new(scope, zone), function, &function.name.to_string(), at)?;
    Ok(Some(GroupWindow { window, parts: Vec::new(), ty }))
}

/// The window that a call's arguments name, and the type of its time.
fn bind(
    plain: &mut ExprBinder<'_>,
    function: &Function,
    name: &str,
    at: Location,
) -> Bound<(Window, SqlType)> {
    let name = window_name(name).unwrap_or("TUMBLE");
    let form = match name {
        "HOP" => "HOP(ts, INTERVAL '5' SECOND slide, INTERVAL '10' SECOND size)",
        "SESSION" => "SESSION(ts, INTERVAL '5' SECOND gap)",
        _ => "TUMBLE(ts, INTERVAL '10' SECOND)",
    };
    let arguments = plain_arguments(function, at)?;
    let (time, shape, size_ms) = match (name, arguments.as_slice()) {
        ("HOP", [time, slide, size]) => {
            (time, WindowShape::Hop { slide_ms: interval(slide, at)?, in_order: true }, interval(size, at)?)
        }
        ("SESSION", [time, gap]) => (time, WindowShape::Session, interval(gap, at)?),
        ("TUMBLE", [time, size]) => (time, WindowShape::Tumble, interval(size, at)?),
        _ => return Err(Fault::unsupported(at, format!("these arguments of {name}")).hint(form)),
    };
    let slide_ms = if let WindowShape::Hop { slide_ms, .. } = shape { slide_ms } else { size_ms };
    if size_ms <= 0 || slide_ms <= 0 {
        return Err(Fault::new(at, format!("a window of {size_ms} ms: expected more than 0")).hint(form));
    }
    let zone = plain.zone;
    if !matches!(time, Syntax::Identifier(_) | Syntax::CompoundIdentifier(_)) {
        return Err(Fault::new(
            at,
            format!("a window needs a time attribute, but '{time}' is an expression"),
        ));
    }
    let bound = plain.bind(time)?;
    let relation = &plain.scope.relation;
    let column = column_name(&bound.expr).and_then(|name| relation.index(name));
    let Some(column) = column.map(|index| &relation.columns[index]).filter(|c| c.rowtime || c.proctime)
    else {
        return Err(Fault::new(
            bound.at,
            format!("a window needs a time attribute, but '{time}' is {}", bound.ty),
        )
        .hint(
            "declare WATERMARK FOR it or a column AS PROCTIME() in CREATE TABLE, and select it unchanged",
        ));
    };
    let window = Window {
        time: column.name.clone(),
        shape,
        size_ms,
        offset_ms: 0,
        zone: zone_of(zone, &column.ty),
        processing_time: column.proctime,
        partition: Vec::new(),
    };
    Ok((window, column.ty.clone()))
}

/// Binds `TUMBLE_START(..)` and its kin. None: `name` is none of them.
pub(super) fn bind_part(
    plain: &mut ExprBinder<'_>,
    group_window: Option<&mut GroupWindow>,
    function: &Function,
    name: &str,
    at: Location,
) -> Bound<Option<Typed>> {
    let Some((window_name, part, processing_time)) = part_name(name) else { return Ok(None) };
    let (window, _) = bind(plain, function, window_name, at)?;
    let Some(group) = group_window.filter(|group| group.window == window) else {
        return Err(Fault::new(at, format!("{name} without the same {window_name} in GROUP BY"))
            .hint(format!("GROUP BY {window_name}(...) with exactly these arguments")));
    };
    if part == WindowColumn::Time && processing_time != window.processing_time {
        let time = if window.processing_time { "processing time" } else { "event time" };
        return Err(Fault::new(at, format!("{name} of a window of {time}")));
    }
    if !group.parts.contains(&part) {
        group.parts.push(part);
    }
    Ok(Some(Typed { expr: named(part_column(part)), ty: group.part_type(part), at }))
}

/// The result's column of a part.
pub(super) fn part_column(part: WindowColumn) -> &'static str {
    match part {
        WindowColumn::Start => "$window_start",
        WindowColumn::End => "$window_end",
        WindowColumn::Time => "$window_time",
    }
}

impl GroupWindow {
    pub(super) fn part_type(&self, part: WindowColumn) -> SqlType {
        if part == WindowColumn::Time { self.ty.clone() } else { SqlType::Timestamp(3) }
    }
}
