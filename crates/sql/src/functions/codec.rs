//! Hashes and encodings of text.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::Result as EvalResult;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use super::{Binder, Call, Typed, call, downcast, primitive, strings};
use crate::error::Bound;
use crate::types::{LENGTH_MAX, SqlType};

/// Functions by name.
pub(crate) const FUNCTIONS: &[(&str, Binder)] = &[
    ("MD5", |c| hash(c, "md5", 32, hex_digest::<Md5>)),
    ("SHA1", |c| hash(c, "sha1", 40, hex_digest::<Sha1>)),
    ("SHA224", |c| hash(c, "sha224", 56, hex_digest::<Sha224>)),
    ("SHA256", |c| hash(c, "sha256", 64, hex_digest::<Sha256>)),
    ("SHA384", |c| hash(c, "sha384", 96, hex_digest::<Sha384>)),
    ("SHA512", |c| hash(c, "sha512", 128, hex_digest::<Sha512>)),
    ("SHA2", sha_2),
    ("TO_BASE64", |c| super::text::map(c, "to_base64", |text| base64(text.as_bytes()))),
    ("FROM_BASE64", from_base64),
    ("URL_ENCODE", |c| super::text::map(c, "url_encode", url_encode)),
    ("URL_DECODE", url_decode),
    ("CHR", chr),
    ("ENCODE", encode),
    ("DECODE", decode),
    ("UNHEX", unhex),
    ("BIN", bin),
];

fn hex_digest<D: Digest>(text: &[u8]) -> String {
    let mut out = String::new();
    for byte in D::digest(text).as_slice() {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

fn hash(c: Call<'_>, name: &'static str, length: u32, f: fn(&[u8]) -> String) -> Bound<Typed> {
    let typed = super::text::map_with(c, name, move |text| Some(f(text.as_bytes())))?;
    Ok(Typed { ty: SqlType::Char(length), ..typed })
}

/// `SHA2(text, bits)`; NULL for a NULL length.
fn sha_2(c: Call<'_>) -> Bound<Typed> {
    c.arity(2, 2)?;
    let (f, length): (fn(&[u8]) -> String, u32) = match c.literal_integer(1)? {
        224 => (hex_digest::<Sha224>, 56),
        256 => (hex_digest::<Sha256>, 64),
        384 => (hex_digest::<Sha384>, 96),
        512 => (hex_digest::<Sha512>, 128),
        _ => return Err(c.mismatch(1, "224, 256, 384 or 512")),
    };
    let expr = call(format!("sha2[{length}]"), DataType::Utf8, vec![c.text(0)?], move |arguments| {
        let hashes = strings(&arguments[0])?.iter().map(|text| text.map(|text| f(text.as_bytes())));
        Ok(Arc::new(hashes.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::Varchar(128)))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for place in 0..4 {
            if place > chunk.len() {
                out.push('=');
            } else {
                out.push(char::from(ALPHABET[(word >> (18 - 6 * place) & 63) as usize]));
            }
        }
    }
    out
}

/// Base64, padding optional at the end. None: it is none.
fn base64_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) || digits.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in digits.bytes() {
        let value = ALPHABET.iter().position(|known| *known == byte)?;
        word = word << 6 | u32::try_from(value).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits & 255) as u8);
        }
    }
    Some(out)
}

/// Fails the job on what is no base64, as Java does.
fn from_base64(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = super::fallible_call("from_base64", DataType::Utf8, vec![c.text(0)?], |arguments| {
        let mut texts = StringBuilder::new();
        for text in strings(&arguments[0])? {
            let Some(text) = text else {
                texts.append_null();
                continue;
            };
            let bytes = base64_bytes(text).ok_or_else(|| super::failed(format!("'{text}' is no base64")))?;
            let decoded = String::from_utf8(bytes)
                .map_err(|_| super::failed("FROM_BASE64: the bytes are no UTF-8 text"))?;
            texts.append_value(decoded);
        }
        Ok(Arc::new(texts.finish()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// `application/x-www-form-urlencoded`.
fn url_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// NULL if an escape is incomplete. Bytes that are no UTF-8 become the replacement character.
fn url_decode(c: Call<'_>) -> Bound<Typed> {
    super::text::map_with(c, "url_decode", |text| {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'+' => out.push(b' '),
                b'%' => {
                    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                        return None;
                    }
                    out.push(u8::from_str_radix(digits, 16).ok()?);
                    rest = &rest[2..];
                }
                byte => out.push(*byte),
            }
        }
        Some(String::from_utf8_lossy(&out).into_owned())
    })
}

/// The character with that code modulo 256; nothing for a negative one.
fn chr(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call("chr", DataType::Utf8, vec![c.integer(0)?], |arguments| {
        let texts = primitive::<Int64Type>(&arguments[0])?.iter().map(|code| {
            code.map(|code| if code < 0 { String::new() } else { char::from((code & 255) as u8).to_string() })
        });
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

#[derive(Clone, Copy)]
enum Charset {
    Ascii,
    Latin1,
    Utf8,
    Utf16Be,
    Utf16Le,
    Utf16,
}

fn charset(c: &Call<'_>) -> Bound<(Charset, String)> {
    c.arity(2, 2)?;
    let name = c.literal_text(1)?;
    let charset = match name.to_uppercase().as_str() {
        "US-ASCII" => Charset::Ascii,
        "ISO-8859-1" => Charset::Latin1,
        "UTF-8" => Charset::Utf8,
        "UTF-16BE" => Charset::Utf16Be,
        "UTF-16LE" => Charset::Utf16Le,
        "UTF-16" => Charset::Utf16,
        _ => return Err(c.mismatch(1, "US-ASCII, ISO-8859-1, UTF-8, UTF-16BE, UTF-16LE or UTF-16")),
    };
    Ok((charset, name))
}

/// What a character set does not have becomes `?`.
fn encode(c: Call<'_>) -> Bound<Typed> {
    let (charset, name) = charset(&c)?;
    let bytes_of = move |text: &str| -> Vec<u8> {
        let single = |most: u32| {
            text.chars()
                .map(|c| u8::try_from(u32::from(c)).ok().filter(|b| u32::from(*b) <= most).unwrap_or(b'?'))
                .collect()
        };
        match charset {
            Charset::Ascii => single(127),
            Charset::Latin1 => single(255),
            Charset::Utf8 => text.as_bytes().to_vec(),
            Charset::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Charset::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Charset::Utf16 if text.is_empty() => Vec::new(),
            Charset::Utf16 => {
                [0xfe, 0xff].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect()
            }
        }
    };
    let expr = call(format!("encode[{name}]"), DataType::Binary, vec![c.text(0)?], move |arguments| {
        let bytes = strings(&arguments[0])?.iter().map(|text| text.map(&bytes_of));
        Ok(Arc::new(bytes.collect::<BinaryArray>()))
    });
    Ok(c.typed(expr, SqlType::Varbinary(LENGTH_MAX)))
}

fn decode(c: Call<'_>) -> Bound<Typed> {
    let (charset, name) = charset(&c)?;
    if !matches!(c.arguments[0].ty, SqlType::Binary(_) | SqlType::Varbinary(_)) {
        return Err(c.mismatch(0, "BYTES"));
    }
    let text_of = move |bytes: &[u8]| -> String {
        let wide = |bytes: &[u8], word: fn([u8; 2]) -> u16| {
            let mut text = String::from_utf16_lossy(
                &bytes.chunks_exact(2).map(|pair| word([pair[0], pair[1]])).collect::<Vec<_>>(),
            );
            if !bytes.len().is_multiple_of(2) {
                text.push('\u{fffd}');
            }
            text
        };
        match charset {
            Charset::Ascii => {
                bytes.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '\u{fffd}' }).collect()
            }
            Charset::Latin1 => bytes.iter().map(|b| char::from(*b)).collect(),
            Charset::Utf8 => String::from_utf8_lossy(bytes).into_owned(),
            Charset::Utf16Be => wide(bytes, u16::from_be_bytes),
            Charset::Utf16Le => wide(bytes, u16::from_le_bytes),
            Charset::Utf16 => match bytes {
                [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
                [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
                bytes => wide(bytes, u16::from_be_bytes),
            },
        }
    };
    let argument = c.arguments[0].expr.clone();
    let expr = call(format!("decode[{name}]"), DataType::Utf8, vec![argument], move |arguments| {
        let texts = downcast::<BinaryArray>(&arguments[0])?.iter().map(|bytes| bytes.map(&text_of));
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}

/// NULL if a digit is none; an odd first digit stands alone.
fn unhex(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call("unhex", DataType::Binary, vec![c.text(0)?], |arguments| -> EvalResult<ArrayRef> {
        let bytes = strings(&arguments[0])?.iter().map(|text| text.and_then(hex_bytes));
        Ok(Arc::new(bytes.collect::<BinaryArray>()))
    });
    Ok(c.typed(expr, SqlType::Varbinary(LENGTH_MAX)))
}

fn hex_bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    let (first, rest) = digits.split_at(digits.len() % 2);
    Some(first.iter().copied().chain(rest.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1])).collect())
}

fn bin(c: Call<'_>) -> Bound<Typed> {
    c.arity(1, 1)?;
    let expr = call("bin", DataType::Utf8, vec![c.integer(0)?], |arguments| {
        let texts = primitive::<Int64Type>(&arguments[0])?.iter().map(|n| n.map(|n| format!("{n:b}")));
        Ok(Arc::new(texts.collect::<StringArray>()))
    });
    Ok(c.typed(expr, SqlType::STRING))
}
