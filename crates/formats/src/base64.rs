//! Base64 with padding (RFC 4648 §4), as Jackson reads and writes `BYTES`.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the text of `bytes`.
pub(crate) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let group = (at(0) << 16) | (at(1) << 8) | at(2);
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { ALPHABET[index as usize] } else { b'=' });
        }
    }
}

/// Appends the bytes of `text`; false if it is not base64 (then `out` holds rubbish past its old end).
pub(crate) fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    if !text.len().is_multiple_of(4) {
        return false;
    }
    let groups = text.len() / 4;
    for (index, group) in text.chunks_exact(4).enumerate() {
        let pads = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if pads > 2 || (pads > 0 && index + 1 < groups) {
            return false;
        }
        let mut bits = 0u32;
        for byte in &group[..4 - pads] {
            let Some(digit) = digit(*byte) else { return false };
            bits = (bits << 6) | digit;
        }
        bits <<= 6 * pads;
        let [_, a, b, c] = bits.to_be_bytes();
        out.extend_from_slice(&[a, b, c][..3 - pads]);
    }
    true
}

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}~", "w79+"),
        ] {
            let (mut encoded, mut decoded) = (Vec::new(), Vec::new());
            encode(bytes.as_bytes(), &mut encoded);
            assert_eq!(encoded, text.as_bytes());
            assert!(decode(text.as_bytes(), &mut decoded));
            assert_eq!(decoded, bytes.as_bytes());
        }
        for bad in ["Zg", "Zg=a", "====", "Zg==Zg==", "Z*==", "a==="] {
            assert!(!decode(bad.as_bytes(), &mut Vec::new()), "{bad}");
        }
    }
}
