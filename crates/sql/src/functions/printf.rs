//! `PRINTF`, with the conversions of Java's `Formatter` that need no locale.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, StringBuilder};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::Result as EvalResult;

use super::{Call, Typed, call, cast, decimal, downcast, primitive, strings};
use crate::error::{Bound, Fault};
use crate::types::SqlType;

#[derive(Clone, Debug)]
enum Piece {
    Literal(String),
    Argument { index: usize, form: Form },
}

#[derive(Clone, Debug)]
struct Form {
    left: bool,
    zeros: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// Widths beyond are refused.
const WIDTH_MAX: usize = 1000;

pub(crate) fn printf(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 64)?;
    let format = c.literal_text(0)?;
    let pieces = read(&format).ok_or_else(|| {
        Fault::unsupported(c.at, format!("PRINTF format '{format}'"))
            .hint("conversions: %s %d %x %X %f %% %n, with the flags - 0 +, a width and a precision")
    })?;
    let mut arguments = Vec::new();
    let mut types = Vec::new();
    for (index, argument) in c.arguments.iter().enumerate().skip(1) {
        let (ty, expr) = match &argument.ty {
            ty if ty.is_integer() => (SqlType::BigInt, c.integer(index)?),
            SqlType::Double => (SqlType::Double, argument.expr.clone()),
            SqlType::Boolean => (SqlType::Boolean, argument.expr.clone()),
            ty if ty.is_text() || *ty == SqlType::Null => (SqlType::STRING, c.text(index)?),
            ty => {
                return Err(Fault::unsupported(argument.at, format!("PRINTF of {ty}"))
                    .or_at(c.at)
                    .hint("CAST it to STRING or DOUBLE"));
            }
        };
        if matches!(argument.ty, SqlType::TinyInt | SqlType::SmallInt | SqlType::Int)
            && pieces.iter().any(|piece| {
                matches!(piece, Piece::Argument { index: of, form } if *of + 1 == index && matches!(form.letter, 'x' | 'X'))
            })
        {
            return Err(Fault::unsupported(argument.at, "PRINTF %x of INT").or_at(c.at).hint("CAST it to BIGINT"));
        }
        arguments.push(expr);
        types.push(ty);
    }
    for piece in &pieces {
        let Piece::Argument { index, form } = piece else { continue };
        let fits = match (form.letter, types.get(*index)) {
            (_, None) => false,
            ('s', _) => true,
            ('d' | 'x' | 'X', Some(ty)) => *ty == SqlType::BigInt,
            (_, Some(ty)) => *ty == SqlType::Double,
        };
        if !fits {
            return Err(Fault::unsupported(c.at, format!("PRINTF format '{format}' for these arguments"))
                .hint("%s any, %d and %x whole numbers, %f DOUBLE"));
        }
    }
    if arguments.is_empty() {
        arguments.push(c.text(0)?);
    }
    let expr = call(format!("printf['{format}']"), DataType::Utf8, arguments, move |arguments| {
        let mut texts = StringBuilder::new();
        let mut out = String::new();
        for row in 0..arguments[0].len() {
            out.clear();
            for piece in &pieces {
                match piece {
                    Piece::Literal(text) => out.push_str(text),
                    Piece::Argument { index, form } => {
                        let text = format_value(&arguments[*index], row, &types[*index], form)?;
                        out.push_str(&text);
                    }
                }
            }
            texts.append_value(&out);
        }
        Ok(Arc::new(texts.finish()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

fn read(format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut chars = format.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            literal.push(c);
            continue;
        }
        let mut form =
            Form { left: false, zeros: false, plus: false, width: 0, precision: None, letter: ' ' };
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+')) {
            match flag {
                '-' => form.left = true,
                '0' => form.zeros = true,
                _ => form.plus = true,
            }
        }
        let number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let width = number(&mut chars);
        form.width = if width.is_empty() { 0 } else { width.parse().ok().filter(|w| *w <= WIDTH_MAX)? };
        if chars.next_if_eq(&'.').is_some() {
            form.precision = Some(number(&mut chars).parse().ok().filter(|p| *p <= WIDTH_MAX)?);
        }
        form.letter = chars.next()?;
        let bare = !form.left && !form.zeros && !form.plus && form.width == 0 && form.precision.is_none();
        match form.letter {
            '%' if bare => literal.push('%'),
            'n' if bare => literal.push('\n'),
            's' if !form.zeros && !form.plus && (!form.left || form.width > 0) => {}
            'd' if form.precision.is_none() && flags_fit(&form) => {}
            'x' | 'X' if form.precision.is_none() && !form.plus && flags_fit(&form) => {}
            'f' if flags_fit(&form) => {}
            _ => return None,
        }
        if matches!(form.letter, '%' | 'n') {
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Argument { index: next, form });
        next += 1;
    }
    pieces.push(Piece::Literal(literal));
    Some(pieces)
}

/// Java wants a width with `-` and `0`, and not both.
fn flags_fit(form: &Form) -> bool {
    !(form.left && form.zeros) && (form.width > 0 || !(form.left || form.zeros))
}

fn format_value(array: &ArrayRef, row: usize, ty: &SqlType, form: &Form) -> EvalResult<String> {
    if array.is_null(row) {
        let text: String =
            "null".chars().take(form.precision.filter(|_| form.letter == 's').unwrap_or(4)).collect();
        return Ok(padded(&text, form, false));
    }
    let text = match (ty, form.letter) {
        (SqlType::BigInt, 'x') => format!("{:x}", primitive::<Int64Type>(array)?.value(row)),
        (SqlType::BigInt, 'X') => format!("{:X}", primitive::<Int64Type>(array)?.value(row)),
        (SqlType::BigInt, _) => primitive::<Int64Type>(array)?.value(row).to_string(),
        (SqlType::Double, 'f') => {
            let x = primitive::<Float64Type>(array)?.value(row);
            if !x.is_finite() {
                let text = cast::java_double(&format!("{x:e}"));
                return Ok(padded(&signed(text, form), form, false));
            }
            fixed(x, form.precision.unwrap_or(6))
        }
        (SqlType::Double, _) => {
            cast::java_double(&format!("{:e}", primitive::<Float64Type>(array)?.value(row)))
        }
        (SqlType::Boolean, _) => downcast::<BooleanArray>(array)?.value(row).to_string(),
        _ => strings(array)?.value(row).to_owned(),
    };
    if form.letter == 's' {
        let cut = form.precision.map_or(text.clone(), |precision| text.chars().take(precision).collect());
        return Ok(padded(&cut, form, false));
    }
    Ok(padded(&signed(text, form), form, form.zeros))
}

fn signed(text: String, form: &Form) -> String {
    if form.plus && !text.starts_with('-') && text != "NaN" { format!("+{text}") } else { text }
}

/// Rounded half up from the digits that Java shows of the double.
fn fixed(x: f64, digits: usize) -> String {
    let shown = format!("{x}");
    let (whole, fraction) = shown.split_once('.').unwrap_or((&shown, ""));
    if fraction.len() <= digits {
        let zeros = "0".repeat(digits - fraction.len());
        return if digits == 0 { whole.to_owned() } else { format!("{whole}.{fraction}{zeros}") };
    }
    let scale = u8::try_from(digits).unwrap_or(u8::MAX);
    match decimal::from_text(&shown, 38, scale.min(38)) {
        Some(value) if x.is_sign_negative() && value == 0 => format!("-{}", decimal::to_text(0, scale)),
        Some(value) => decimal::to_text(value, scale),
        None => format!("{x:.digits$}"),
    }
}

fn padded(text: &str, form: &Form, zeros: bool) -> String {
    let missing = form.width.saturating_sub(text.chars().count());
    if zeros {
        let sign = usize::from(text.starts_with(['-', '+']));
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    let blanks = " ".repeat(missing);
    if form.left { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
}
