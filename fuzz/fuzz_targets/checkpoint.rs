//! `log.checkpoint` and `highwater.meta`: damaged ones are refused; with a right checksum they may say
//! anything, and must not bring the log down.
#![no_main]

use std::sync::LazyLock;

use highwater_fuzz::directory::{Left, MEMORY_MAX, Template, patched, wander};
use highwater_fuzz::meter;
use libfuzzer_sys::fuzz_target;

static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(Left::Crashed));

fuzz_target!(init: { LazyLock::force(&TEMPLATE); }, |input: &[u8]| {
    let Some((how, content)) = input.split_first() else { return };
    let name = if how & 1 == 0 { "log.checkpoint" } else { "highwater.meta" };
    let (path, original) = TEMPLATE.files_named(name)[0];
    let mut content = if how & 2 == 0 { content.to_vec() } else { patched(original, content) };
    let is_forged = how & 4 != 0;
    if is_forged && content.len() > 4 {
        let at = content.len() - 4;
        let crc = crc32c::crc32c(&content[..at]);
        content[at..].copy_from_slice(&crc.to_le_bytes());
    }
    let disk = TEMPLATE.with(path, &content);
    meter::within(MEMORY_MAX, || {
        if is_forged {
            wander(&disk);
        } else {
            TEMPLATE.check(&disk);
        }
    });
});
