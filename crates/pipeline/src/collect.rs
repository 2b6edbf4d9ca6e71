//! The result of a bare `SELECT`: printed, or appended to a file, epoch by epoch.
//!
//! A file is exact across crashes: beside it, the pipeline keeps how long it was after which epoch,
//! and cuts it back to that length before it appends.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use highwater_env::{Disk, Epoch, OpenMode};
use highwater_formats::{FormatError, PrettyTable, ValuesEncoder};
use highwater_stream::{ChangeBatch, Committable, Committer, ConnectorError, ErrorKind, SinkConnector};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectFormat {
    /// Aligned columns, with the kind of change.
    Table,
    /// One JSON object per row; only for results that only grow.
    Jsonl,
    /// One JSON object per change: `{"op":"+I","row":{...}}`.
    Changelog,
}

/// Where the result of a bare `SELECT` goes.
#[derive(Clone)]
pub struct Collect {
    /// How rows are printed.
    pub format: CollectFormat,
    /// Where to.
    pub target: CollectTarget,
}

/// A stream or a file.
#[derive(Clone)]
pub enum CollectTarget {
    /// A stream that cannot be taken back; after a crash, an epoch may be printed again.
    Stream(Arc<Mutex<dyn Write + Send>>),
    /// A file to which each epoch is appended once.
    File {
        /// The disk it is on.
        disk: Arc<dyn Disk>,
        /// The file.
        path: PathBuf,
        /// Where its committed length is kept.
        length_path: PathBuf,
    },
}

/// Prints rows as they come.
pub(crate) struct CollectSink {
    printer: Printer,
    epoch: Vec<u8>,
}

enum Printer {
    Table(PrettyTable),
    Jsonl(ValuesEncoder),
    Changelog(ValuesEncoder),
}

impl CollectSink {
    pub(crate) fn new(format: CollectFormat, schema: &SchemaRef) -> Result<Self, ConnectorError> {
        let printer = match format {
            CollectFormat::Table => PrettyTable::new(schema).map(Printer::Table),
            CollectFormat::Jsonl => ValuesEncoder::new(schema).map(Printer::Jsonl),
            CollectFormat::Changelog => ValuesEncoder::new(schema).map(Printer::Changelog),
        };
        Ok(Self { printer: printer.map_err(|error| refused(&error))?, epoch: Vec::new() })
    }
}

fn refused(error: &FormatError) -> ConnectorError {
    ConnectorError::new(ErrorKind::Config, "SELECT", error.to_string())
}

impl SinkConnector for CollectSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        let out = &mut self.epoch;
        let written = match &mut self.printer {
            Printer::Table(table) => table.changes(changes, out),
            Printer::Jsonl(encoder) => encoder.rows(&changes.rows, out, |_, out| out.push(b'\n')),
            Printer::Changelog(encoder) => encoder.changes(changes, out),
        };
        written.map_err(|error| refused(&error))
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        Ok(Committable(Bytes::from(std::mem::take(&mut self.epoch))))
    }
}

/// Makes epochs visible.
pub(crate) struct CollectCommitter {
    target: CollectTarget,
}

impl CollectCommitter {
    pub(crate) fn new(target: CollectTarget) -> Self {
        Self { target }
    }
}

impl Committer for CollectCommitter {
    fn commit(&mut self, epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError> {
        let (place, done) = match &self.target {
            CollectTarget::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                let written = prepared.iter().try_for_each(|one| stream.write_all(&one.0));
                ("standard output".to_owned(), written.and_then(|()| stream.flush()))
            }
            CollectTarget::File { disk, path, length_path } => {
                let appended = append_once(disk.as_ref(), path, length_path, epoch, prepared);
                (path.display().to_string(), appended)
            }
        };
        done.map_err(|error| ConnectorError::new(ErrorKind::External, place, error.to_string()))
    }
}

/// Appends an epoch unless it is there. `length_path` holds `epoch length`, both decimal.
fn append_once(
    disk: &dyn Disk,
    path: &std::path::Path,
    length_path: &std::path::Path,
    epoch: Epoch,
    prepared: &[Committable],
) -> io::Result<()> {
    let (done, mut length) = committed_length(disk, length_path)?;
    if done >= epoch {
        return Ok(());
    }
    let file = disk.open(path, OpenMode::Create)?;
    if file.len()? < length {
        let message = format!(
            "it is shorter than the {length} bytes committed to it: \
             name the file this pipeline wrote before, or start over in another --data-dir"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    file.set_len(length)?;
    for one in prepared {
        file.write_all_at(&one.0, length)?;
        length += one.0.len() as u64;
    }
    file.sync_data()?;
    let temporary = length_path.with_extension("tmp");
    let note = disk.open(&temporary, OpenMode::Create)?;
    let text = format!("{epoch} {length}");
    note.set_len(0)?;
    note.write_all_at(text.as_bytes(), 0)?;
    note.sync_data()?;
    disk.rename(&temporary, length_path)?;
    length_path.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

/// The last epoch in the file, and the file's length after it.
fn committed_length(disk: &dyn Disk, length_path: &std::path::Path) -> io::Result<(Epoch, u64)> {
    if !disk.exists(length_path)? {
        return Ok((Epoch(0), 0));
    }
    let text = disk.open(length_path, OpenMode::Read)?.read_all()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let parsed =
        text.split_once(' ').and_then(|(epoch, length)| Some((epoch.parse().ok()?, length.parse().ok()?)));
    let wrong = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: `{text}`", length_path.display()));
    parsed.map(|(epoch, length)| (Epoch(epoch), length)).ok_or_else(wrong)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests damage files behind the store's back")]
mod tests {
    use highwater_env::RealDisk;

    use super::*;

    #[test]
    fn a_file_gets_each_epoch_once_even_after_a_crash_in_between() {
        let dir = tempfile::tempdir().unwrap();
        let (path, length_path) = (dir.path().join("out"), dir.path().join("length"));
        let target = CollectTarget::File { disk: Arc::new(RealDisk), path: path.clone(), length_path };
        let mut committer = CollectCommitter::new(target);
        let epoch = |text: &'static str| [Committable(Bytes::from_static(text.as_bytes()))];
        committer.commit(Epoch(1), &epoch("one\n")).unwrap();
        committer.commit(Epoch(1), &epoch("one\n")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\n");

        // A crash after the append and before its length was noted: the tail is cut and written again.
        std::fs::write(&path, "one\ntwo and some").unwrap();
        committer.commit(Epoch(2), &epoch("two\n")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");

        // Another file in its place is refused, not filled with zeros.
        std::fs::write(&path, "").unwrap();
        let error = committer.commit(Epoch(3), &epoch("three\n")).unwrap_err().to_string();
        assert!(error.contains("shorter than the 8 bytes"), "{error}");
    }
}
