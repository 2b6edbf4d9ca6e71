//! Histories as files of JSON lines.
#![expect(clippy::disallowed_methods, reason = "a history is kept on the real disk, outside of the node")]

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::Event;

/// Appends events to a history, for many threads: the order of calls is the order of lines. Nothing is
/// kept back: what was sent is known even if this process is killed.
pub struct Recorder {
    file: Mutex<File>,
}

impl Recorder {
    /// Opens a history to go on with it; makes it if it is not there. A last line that was cut
    /// short is removed.
    ///
    /// # Errors
    /// If the file cannot be opened, read or cut.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut whole = 0;
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") {
                whole += line.len() as u64;
            }
            line.clear();
        }
        file.set_len(whole)?;
        Ok(Self { file: Mutex::new(file) })
    }

    /// Appends one event.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn record(&self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// Reads a history line by line.
///
/// # Errors
/// If the file cannot be opened; each item: if it cannot be read or is no event.
pub fn read_file(path: &Path) -> Result<impl Iterator<Item = Result<Event>>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let lines = BufReader::new(file).lines().enumerate();
    Ok(lines.map(|(index, line)| {
        serde_json::from_str(&line?).with_context(|| format!("line {} of the history", index + 1))
    }))
}
