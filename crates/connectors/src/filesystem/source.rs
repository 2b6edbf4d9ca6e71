//! Files as bounded splits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::Waker;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use bytes::Bytes;
use highwater_env::{Disk, DiskFile, OpenMode};
use highwater_formats::{CsvOptions, RecordDecoder};
use highwater_stream::{
    ConnectorError, ErrorKind, Position, SourceConnector, SourcePoll, SourceSpec, SplitId, SplitReader,
};

use crate::decode::{Layout, Outcome};
use crate::options::{BadRecords, TableOptions};

/// Bytes read at a time. A longer record grows the buffer.
const CHUNK_BYTES: usize = 256 << 10;

/// A record that has no end within so many bytes is not one.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// One poll reads no more than this, whatever the number of rows.
const POLL_BYTES_MAX: usize = 8 << 20;

/// Directories in each other, at most: links may form circles.
const DEPTH_MAX: usize = 16;

/// Metadata columns, as in Flink.
const METADATA: [&str; 3] = ["file.path", "file.name", "file.size"];

/// A file, or all files below a directory, as they are when the table is opened.
pub(crate) struct FileSource {
    disk: Arc<dyn Disk>,
    spec: SourceSpec,
    path: PathBuf,
    layout: Layout,
    bad_records: BadRecords,
    /// Whether each file starts with a line to be skipped.
    header: bool,
}

impl FileSource {
    pub(crate) fn new(
        disk: &Arc<dyn Disk>,
        spec: &SourceSpec,
        options: TableOptions<'_>,
    ) -> Result<Self, ConnectorError> {
        let layout = Layout::new(spec, &METADATA, options)?;
        // Mistakes in the format's options show now, not with the first file.
        layout.decoder(&spec.declared, options)?;
        let csv =
            CsvOptions::from_options(options.options).map_err(|error| options.error(error.to_string()))?;
        if options.get("source.path.regex-pattern").is_some() {
            return Err(
                options.error("option 'source.path.regex-pattern' is not supported by this version".into())
            );
        }
        Ok(Self {
            disk: Arc::clone(disk),
            spec: spec.clone(),
            path: super::path(options)?,
            layout,
            bad_records: options.bad_records(BadRecords::Fail)?,
            header: csv.ignore_first_line && options.format()? == "csv",
        })
    }

    fn error(&self, path: &Path, error: &std::io::Error) -> ConnectorError {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::Config,
            _ => ErrorKind::External,
        };
        ConnectorError::new(
            kind,
            format!("table {}", self.spec.table),
            format!("cannot read {}: {error}", path.display()),
        )
    }

    /// Adds the files below `dir`, sorted by path.
    fn walk(&self, dir: &Path, depth: usize, files: &mut Vec<SplitId>) -> Result<(), ConnectorError> {
        for entry in self.disk.list(dir).map_err(|error| self.error(dir, &error))? {
            let path = dir.join(&entry.name);
            if entry.name.starts_with(['.', '_']) {
                continue;
            }
            if !entry.is_dir {
                files.push(split_of(&path));
            } else if depth < DEPTH_MAX {
                self.walk(&path, depth + 1, files)?;
            }
        }
        Ok(())
    }
}

fn split_of(path: &Path) -> SplitId {
    SplitId(path.to_string_lossy().into_owned())
}

impl SourceConnector for FileSource {
    fn splits(&mut self) -> Result<Vec<SplitId>, ConnectorError> {
        if self.disk.list(&self.path).is_err() && self.disk.open(&self.path, OpenMode::Read).is_ok() {
            return Ok(vec![split_of(&self.path)]);
        }
        let mut files = Vec::new();
        self.walk(&self.path, 0, &mut files)?;
        Ok(files)
    }

    fn is_bounded(&self) -> bool {
        true
    }

    fn open(
        &mut self,
        split: &SplitId,
        from: Option<Position>,
    ) -> Result<Box<dyn SplitReader>, ConnectorError> {
        let path = PathBuf::from(&split.0);
        if path
            .extension()
            .is_some_and(|extension| matches!(extension.to_str(), Some("gz" | "zst" | "bz2" | "xz")))
        {
            let message = format!("{} is compressed, which this version does not read", path.display());
            return Err(ConnectorError::new(
                ErrorKind::Config,
                format!("table {}", self.spec.table),
                message,
            ));
        }
        let file = self.disk.open(&path, OpenMode::Read).map_err(|error| self.error(&path, &error))?;
        let len = file.len().map_err(|error| self.error(&path, &error))?;
        let start = from.map_or(0, |position| position.0);
        if start > len {
            let message = format!("{} has {len} bytes, expected at least {start}", path.display());
            return Err(ConnectorError::new(
                ErrorKind::PositionLost,
                format!("table {}", self.spec.table),
                message,
            ));
        }
        let options = TableOptions { table: &self.spec.table, options: &self.spec.options };
        Ok(Box::new(FileReader {
            decoder: self.layout.decoder(&self.spec.declared, options)?,
            layout: self.layout.clone(),
            bad_records: self.bad_records,
            skip_line: self.header && start == 0,
            buffer: Buffer { file, bytes: Vec::new(), at: 0, start_pos: start, at_end: false },
            path,
            len,
            opened_pos: start,
            lines: 0,
        }))
    }
}

/// Reads one file from some byte on.
struct FileReader {
    path: PathBuf,
    len: u64,
    buffer: Buffer,
    decoder: RecordDecoder,
    layout: Layout,
    bad_records: BadRecords,
    skip_line: bool,
    opened_pos: u64,
    /// Line ends since then.
    lines: u64,
}

/// A window on a file.
struct Buffer {
    file: Arc<dyn DiskFile>,
    bytes: Vec<u8>,
    /// Bytes already used.
    at: usize,
    /// Where `bytes` starts in the file.
    start_pos: u64,
    at_end: bool,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn pos(&self) -> u64 {
        self.start_pos + self.at as u64
    }

    /// Reads on behind what is there.
    fn fill(&mut self) -> std::io::Result<()> {
        self.start_pos = self.pos();
        self.bytes.drain(..self.at);
        self.at = 0;
        let have = self.bytes.len();
        self.bytes.resize(have + CHUNK_BYTES.max(have), 0);
        let read = self.file.read_at(&mut self.bytes[have..], self.start_pos + have as u64)?;
        self.bytes.truncate(have + read);
        self.at_end = read == 0;
        Ok(())
    }
}

impl SplitReader for FileReader {
    fn poll(&mut self, rows_max: usize, _waker: &Waker) -> Result<SourcePoll, ConnectorError> {
        let started = self.buffer.pos();
        let mut outcome = Outcome::default();
        if self.skip_line {
            self.skip_first_line()?;
        }
        while self.decoder.len() < rows_max.max(1) && self.buffer.pos() - started < POLL_BYTES_MAX as u64 {
            if !self.record(&mut outcome)? {
                break;
            }
        }
        if self.decoder.is_empty()
            && outcome.is_empty()
            && self.buffer.at_end
            && self.buffer.rest().is_empty()
        {
            return Ok(SourcePoll::End);
        }
        let kinds = self.decoder.take_kinds();
        let payload = self.decoder.finish().map_err(|error| self.defect(error.to_string()))?;
        let rows = payload.num_rows();
        let rows = self.layout.assemble(&payload, |index| self.metadata(index, rows));
        let rows = rows.map_err(|error| self.defect(error))?;
        Ok(SourcePoll::Batch(outcome.batch(rows, kinds, self.buffer.pos())))
    }
}

impl FileReader {
    /// Decodes one record; false at the file's end, and in front of a bad record that must wait until
    /// the rows before it are delivered.
    fn record(&mut self, outcome: &mut Outcome) -> Result<bool, ConnectorError> {
        loop {
            let Some(taken) = self.decoder.take(self.buffer.rest(), self.buffer.at_end) else {
                if self.buffer.at_end {
                    return Ok(false);
                }
                self.fill()?;
                continue;
            };
            let fails = taken.row.is_err() && self.bad_records == BadRecords::Fail;
            if fails && !(self.decoder.is_empty() && outcome.is_empty()) {
                return Ok(false);
            }
            let line = match &taken.row {
                Err(_) => self.line()?,
                Ok(_) => 0,
            };
            let record = &self.buffer.rest()[..taken.bytes];
            let about =
                || (self.path.display().to_string(), line, Bytes::copy_from_slice(record.trim_ascii_end()));
            if taken.row != Ok(false) || !record.trim_ascii().is_empty() {
                outcome.take(taken.row.clone(), self.bad_records, about)?;
            }
            self.lines += record.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.buffer.at += taken.bytes;
            return Ok(true);
        }
    }

    fn fill(&mut self) -> Result<(), ConnectorError> {
        if self.buffer.rest().len() >= RECORD_BYTES_MAX {
            let line = self.line()?;
            let place = format!("{}:{line}", self.path.display());
            let message = format!("no record ends within {RECORD_BYTES_MAX} bytes");
            return Err(ConnectorError::new(ErrorKind::BadRecord, place, message));
        }
        self.buffer.fill().map_err(|error| self.io_error(&error))
    }

    fn skip_first_line(&mut self) -> Result<(), ConnectorError> {
        while self.skip_line {
            match self.buffer.rest().iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.buffer.at += end + 1;
                    self.lines += 1;
                    self.skip_line = false;
                }
                None if self.buffer.at_end => {
                    self.buffer.at = self.buffer.bytes.len();
                    self.skip_line = false;
                }
                None => self.fill()?,
            }
        }
        Ok(())
    }

    /// The number of the line at hand, from 1. Lines before the position at which the file was opened
    /// are counted only now: most readers never have to name one.
    fn line(&mut self) -> Result<u64, ConnectorError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut pos = 0;
        while pos < self.opened_pos {
            let want = usize::try_from(self.opened_pos - pos).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let read =
                self.buffer.file.read_at(&mut chunk[..want], pos).map_err(|error| self.io_error(&error))?;
            if read == 0 {
                break;
            }
            self.lines += chunk[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            pos += read as u64;
        }
        self.opened_pos = 0;
        Ok(self.lines + 1)
    }

    fn metadata(&self, index: usize, rows: usize) -> ArrayRef {
        let text = |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
        match index {
            0 => text(self.path.display().to_string()),
            1 => text(self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            _ => Arc::new(Int64Array::from(vec![i64::try_from(self.len).unwrap_or(i64::MAX); rows])),
        }
    }

    fn io_error(&self, error: &std::io::Error) -> ConnectorError {
        ConnectorError::new(
            ErrorKind::External,
            self.path.display().to_string(),
            format!("cannot read: {error}"),
        )
    }

    fn defect(&self, message: String) -> ConnectorError {
        ConnectorError::new(ErrorKind::External, self.path.display().to_string(), message)
    }
}
