//! Damaged segment files: nothing wrong is served, nothing is missing without a word.
#![no_main]

use std::sync::LazyLock;

use highwater_fuzz::directory::{Left, MEMORY_MAX, Template, patched};
use highwater_fuzz::meter;
use libfuzzer_sys::fuzz_target;

static TEMPLATES: LazyLock<[Template; 2]> =
    LazyLock::new(|| [Template::new(Left::Clean), Template::new(Left::Crashed)]);

fuzz_target!(init: { LazyLock::force(&TEMPLATES); }, |input: &[u8]| {
    let Some(([left, choice, whole], content)) = input.split_first_chunk::<3>() else { return };
    let template = &TEMPLATES[usize::from(left % 2)];
    let files = template.files_named(".log");
    let (path, original) = files[usize::from(*choice) % files.len()];
    let content = if whole % 8 == 0 { content.to_vec() } else { patched(original, content) };
    let disk = template.with(path, &content);
    meter::within(MEMORY_MAX, || template.check(&disk));
});
