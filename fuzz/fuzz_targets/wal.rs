//! Write-ahead files: damage is a torn end or is reported; with right checksums they may say anything,
//! and must not bring the log down.
#![no_main]

use std::sync::LazyLock;

use highwater_fuzz::directory::{Left, MEMORY_MAX, Template, patched, wander};
use highwater_fuzz::meter;
use libfuzzer_sys::fuzz_target;

const PAGE: usize = 4096;
const HEADER_BYTES: usize = 64;
const FRAME_BYTES: usize = 32;
/// Bytes of a frame's payload that the frame's own checksum covers.
const PREFIX_BYTES: usize = 21;

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(Left::Crashed));

fuzz_target!(init: { LazyLock::force(&TEMPLATE); }, |input: &[u8]| {
    let Some(([how, choice], content)) = input.split_first_chunk::<2>() else { return };
    let files = TEMPLATE.files_named(".wal");
    let (path, original) = files[usize::from(*choice) % files.len()];
    let mut content = if how & 1 == 0 { content.to_vec() } else { patched(original, content) };
    if how & 2 != 0 {
        seal_all(&mut content);
    }
    let disk = TEMPLATE.with(path, &content);
    meter::within(MEMORY_MAX, || wander(&disk));
});

/// Sets right every checksum that can be found: of the file, of groups, of frames and their batches.
fn seal_all(content: &mut [u8]) {
    let Some(header) = content.get_mut(..HEADER_BYTES) else { return };
    seal(header, 0);
    let seed = crc32c::crc32c(&header[24..32]);
    let mut at = PAGE;
    while at + HEADER_BYTES <= content.len() {
        let header = &mut content[at..at + HEADER_BYTES];
        seal(header, seed);
        let frames = u32::from_le_bytes(header[32..36].try_into().expect("4 bytes"));
        let bytes = u32::from_le_bytes(header[36..40].try_into().expect("4 bytes")) as usize;
        let mut frame = at + HEADER_BYTES;
        for _ in 0..frames.min(1000) {
            match seal_frame(content, frame, seed) {
                Some(next) => frame = next,
                None => break,
            }
        }
        at += (HEADER_BYTES + bytes.min(content.len())).next_multiple_of(PAGE);
    }
}

fn seal(header: &mut [u8], seed: u32) {
    let crc = crc32c::crc32c_append(seed, &header[..60]);
    header[60..64].copy_from_slice(&crc.to_le_bytes());
}

fn seal_frame(content: &mut [u8], at: usize, seed: u32) -> Option<usize> {
    let len = u32::from_le_bytes(content.get(at + 4..at + 8)?.try_into().ok()?) as usize;
    let payload = at + FRAME_BYTES;
    let next = payload.checked_add(len)?;
    let batch = content.get_mut(payload..next)?;
    if batch.len() > PREFIX_BYTES {
        let crc = crc32c::crc32c(&batch[PREFIX_BYTES..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    let prefix = crc32c::crc32c_append(seed, &content[at..at + 28]);
    let crc = crc32c::crc32c_append(prefix, &content[payload..payload + len.min(PREFIX_BYTES)]);
    content[at + 28..at + FRAME_BYTES].copy_from_slice(&crc.to_le_bytes());
    Some(next)
}
