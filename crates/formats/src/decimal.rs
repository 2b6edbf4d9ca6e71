//! Decimal text to a scaled integer, as Java's `BigDecimal` and Flink's `DecimalData` read it.

/// A decimal read from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The value times 10^scale.
    Value(i128),
    /// It needs more digits than the type has: NULL, as in Flink.
    Overflow,
    /// Not a number.
    Invalid,
}

/// More digits than this are cut off; they cannot change the rounding of a kept digit.
const DIGITS_MAX: u32 = 38;

/// Reads `[+-]digits[.digits][e[+-]digits]`, rounding half away from zero to `scale`.
pub(crate) fn parse(text: &[u8], precision: u8, scale: i8) -> Parsed {
    let (negative, rest) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let mut mantissa = 0u128;
    let (mut kept, mut digits, mut point) = (0u32, 0usize, None);
    let mut shift = i64::from(scale);
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            byte @ b'0'..=b'9' => {
                digits += 1;
                let after_point = i64::from(point.is_some());
                if kept < DIGITS_MAX {
                    mantissa = mantissa * 10 + u128::from(byte - b'0');
                    kept += u32::from(mantissa != 0);
                    shift -= after_point;
                } else {
                    shift += 1 - after_point;
                }
            }
            b'.' if point.is_none() => point = Some(at),
            b'e' | b'E' if digits > 0 => break,
            _ => return Parsed::Invalid,
        }
        at += 1;
    }
    if digits == 0 {
        return Parsed::Invalid;
    }
    if at < rest.len() {
        let Some(exponent) = exponent(&rest[at + 1..]) else { return Parsed::Invalid };
        shift += exponent;
    }
    let Some(magnitude) = scaled(mantissa, shift) else { return Parsed::Overflow };
    match i128::try_from(magnitude) {
        Ok(value) if magnitude < 10u128.pow(u32::from(precision.min(38))) => {
            Parsed::Value(if negative { -value } else { value })
        }
        _ => Parsed::Overflow,
    }
}

fn exponent(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `mantissa * 10^shift`, rounded half up; None if it has more than 38 digits.
fn scaled(mantissa: u128, shift: i64) -> Option<u128> {
    if mantissa == 0 {
        return Some(0);
    }
    match u32::try_from(shift.unsigned_abs()) {
        Ok(power @ 0..=38) if shift >= 0 => mantissa.checked_mul(10u128.pow(power)),
        Ok(power @ 1..=38) => {
            let unit = 10u128.pow(power);
            let up = mantissa % unit >= unit / 2;
            Some(mantissa / unit + u128::from(up))
        }
        _ => (shift < 0).then_some(0),
    }
}

/// Appends `value / 10^scale` without an exponent.
pub(crate) fn write(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let digits = value.unsigned_abs().to_string();
    let digits = digits.as_bytes();
    let places = usize::try_from(scale).unwrap_or(0);
    let zeros = usize::from(scale.min(0).unsigned_abs());
    if places == 0 {
        out.extend_from_slice(digits);
        out.extend(std::iter::repeat_n(b'0', if value == 0 { 0 } else { zeros }));
        return;
    }
    let whole = digits.len().saturating_sub(places);
    out.extend_from_slice(if whole == 0 { b"0" } else { &digits[..whole] });
    out.push(b'.');
    out.extend(std::iter::repeat_n(b'0', places.saturating_sub(digits.len())));
    out.extend_from_slice(&digits[whole..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_away_from_zero() {
        let parse = |text: &str| parse(text.as_bytes(), 6, 2);
        assert_eq!(parse("12.345"), Parsed::Value(1235));
        assert_eq!(parse("-12.345"), Parsed::Value(-1235));
        assert_eq!(parse("12.3449999999999999999999999999999999999999999"), Parsed::Value(1234));
        assert_eq!(parse("7"), Parsed::Value(700));
        assert_eq!(parse("1e3"), Parsed::Value(100_000));
        assert_eq!(parse("1e-3"), Parsed::Value(0));
        assert_eq!(parse("+.5"), Parsed::Value(50));
        assert_eq!(parse("5."), Parsed::Value(500));
        assert_eq!(parse("0.005"), Parsed::Value(1));
        assert_eq!(parse("00000000000000000000000000000000000000000000001"), Parsed::Value(100));
    }

    #[test]
    fn too_many_digits_are_null_and_rubbish_is_refused() {
        let parse = |text: &str| parse(text.as_bytes(), 6, 2);
        for text in ["10000", "9999.995", "1e2000000000", "123456789012345678901234567890123456789012345"] {
            assert_eq!(parse(text), Parsed::Overflow, "{text}");
        }
        assert_eq!(parse("1e-2000000000"), Parsed::Value(0));
        for text in ["", "-", ".", "1.2.3", "1e", "1e+", "e5", "1 ", "0x1", "1e99999999999"] {
            assert_eq!(parse(text), Parsed::Invalid, "{text}");
        }
    }

    #[test]
    fn writes_plain_digits() {
        let text = |value, scale| {
            let mut out = Vec::new();
            write(value, scale, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(1235, 2), "12.35");
        assert_eq!(text(-5, 3), "-0.005");
        assert_eq!(text(0, 2), "0.00");
        assert_eq!(text(42, 0), "42");
        assert_eq!(text(42, -2), "4200");
        assert_eq!(text(i128::MIN, 0), i128::MIN.to_string());
    }
}
