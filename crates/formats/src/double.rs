//! Floating point as Java writes it (`Double.toString`, shortest digits since JDK 19) and reads it.

use std::fmt::LowerExp;
use std::io::Write;

/// Appends `value`: `1.0`, `1.0E10`, `NaN`, `-Infinity`.
pub(crate) fn write_f64(value: f64, out: &mut Vec<u8>) {
    write(value, value.is_finite(), value.is_nan(), value == 0.0, value.is_sign_negative(), out);
}

/// Appends `value` with the digits that tell it from its neighbours of 32 bits.
pub(crate) fn write_f32(value: f32, out: &mut Vec<u8>) {
    write(value, value.is_finite(), value.is_nan(), value == 0.0, value.is_sign_negative(), out);
}

fn write(value: impl LowerExp, finite: bool, nan: bool, zero: bool, negative: bool, out: &mut Vec<u8>) {
    if nan {
        return out.extend_from_slice(b"NaN");
    }
    if negative {
        out.push(b'-');
    }
    if !finite {
        return out.extend_from_slice(b"Infinity");
    }
    if zero {
        return out.extend_from_slice(b"0.0");
    }
    // Rust's shortest form, `-1.2345e-7`.
    let mut text = [0u8; 40];
    let mut rest = &mut text[..];
    let wrote = write!(rest, "{value:e}").is_ok();
    debug_assert!(wrote, "a float's shortest form has at most 24 characters");
    let left = rest.len();
    let used = text.len() - left;
    let text = text[..used].strip_prefix(b"-").unwrap_or(&text[..used]);
    let e = text.iter().position(|byte| *byte == b'e').unwrap_or(text.len());
    let exponent: i32 =
        std::str::from_utf8(text.get(e + 1..).unwrap_or(b"0")).map_or(0, |t| t.parse().unwrap_or(0));
    let digits: Vec<u8> = text[..e].iter().copied().filter(|byte| *byte != b'.').collect();
    place(&digits, exponent, out);
}

/// Puts the point into `d.ddd * 10^exponent`: plain from 10^-3 to 10^7, else scientific.
fn place(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let zeros = |n: usize| std::iter::repeat_n(b'0', n);
    let or_zero = |digits: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(if digits.is_empty() { b"0" } else { digits });
    };
    match usize::try_from(exponent) {
        Ok(whole) if whole < 7 => {
            let known = digits.len().min(whole + 1);
            out.extend_from_slice(&digits[..known]);
            out.extend(zeros(whole + 1 - known));
            out.push(b'.');
            or_zero(&digits[known..], out);
        }
        Err(_) if exponent >= -3 => {
            out.extend_from_slice(b"0.");
            out.extend(zeros(usize::try_from(-1 - exponent).unwrap_or(0)));
            out.extend_from_slice(digits);
        }
        _ => {
            out.extend_from_slice(&digits[..1]);
            out.push(b'.');
            or_zero(&digits[1..], out);
            out.push(b'E');
            out.extend_from_slice(exponent.to_string().as_bytes());
        }
    }
}

/// Reads what `Double.parseDouble` reads, hexadecimal forms excepted.
pub(crate) fn parse(text: &str) -> Option<f64> {
    match text {
        "NaN" => return Some(f64::NAN),
        "Infinity" | "+Infinity" => return Some(f64::INFINITY),
        "-Infinity" => return Some(f64::NEG_INFINITY),
        _ => {}
    }
    let suffixed = |c: char| matches!(c, 'd' | 'D' | 'f' | 'F');
    let number = text.strip_suffix(suffixed).unwrap_or(text);
    // Rust also reads "inf" and "nan" in any case; Java does not.
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E');
    if number.bytes().all(plain) { number.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_java_does() {
        let text = |value: f64| {
            let mut out = Vec::new();
            write_f64(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-1.5, "-1.5"),
            (100.0, "100.0"),
            (1e7, "1.0E7"),
            (9_999_999.0, "9999999.0"),
            (123_456_789.0, "1.23456789E8"),
            (0.001, "0.001"),
            (0.000_999, "9.99E-4"),
            (1e300, "1.0E300"),
            (0.033_333_333_333_333_33, "0.03333333333333333"),
            (f64::MIN_POSITIVE, "2.2250738585072014E-308"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(text(value), expected);
        }
        let mut out = Vec::new();
        write_f32(0.1, &mut out);
        assert_eq!(out, b"0.1");
    }

    #[test]
    fn reads_what_java_reads() {
        assert_eq!(parse("1.5d"), Some(1.5));
        assert_eq!(parse("1e400"), Some(f64::INFINITY));
        for bad in ["", "inf", "nan", "infinity", "0x1p3", "1..2", "d", "--1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
