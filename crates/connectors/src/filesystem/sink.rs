//! One file per shard and epoch: hidden while it is written, synced before the epoch's manifest,
//! renamed into view when the epoch commits.
//!
//! A committable is `{"v":1,"files":[["<hidden name>","<name>"]]}`. Hidden files of epochs that never
//! came to a manifest stay behind; readers skip them.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use highwater_env::{Disk, DiskFile, Epoch, OpenMode};
use highwater_formats::RecordEncoder;
use highwater_stream::{ChangeBatch, Committable, Committer, ConnectorError, ErrorKind, SinkConnector};
use serde::{Deserialize, Serialize};

use crate::Outside;
use crate::inserts::only_inserts;
use crate::options::TableOptions;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Prepared {
    v: u32,
    files: Vec<(String, String)>,
}

/// Writes files of one shard.
pub(crate) struct FileSink {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    place: String,
    encoder: RecordEncoder,
    extension: String,
    /// Sets this writer's files apart from those of all others, also after a restart.
    writer: String,
    files: u64,
    open: Option<OpenFile>,
    text: Vec<u8>,
}

struct OpenFile {
    file: Arc<dyn DiskFile>,
    hidden: String,
    name: String,
    len: u64,
}

impl FileSink {
    pub(crate) fn new(
        outside: &Outside,
        options: TableOptions<'_>,
        input: &SchemaRef,
        shard: usize,
    ) -> Result<Self, ConnectorError> {
        let format = options.format()?;
        let encoder = RecordEncoder::new(format, input, &options.format_options("value."))
            .map_err(|error| options.error(error.to_string()))?;
        let sink = Self {
            disk: Arc::clone(&outside.disk),
            dir: super::path(options)?,
            place: format!("table {}", options.table),
            encoder,
            extension: format.to_owned(),
            writer: format!("{:016x}-{shard}", outside.entropy.next_u64()),
            files: 0,
            open: None,
            text: Vec::new(),
        };
        sink.disk.create_dir_all(&sink.dir).map_err(|error| sink.error(&error))?;
        Ok(sink)
    }

    fn file(&mut self) -> Result<&mut OpenFile, ConnectorError> {
        if self.open.is_none() {
            let name = format!("part-{}-{}.{}", self.writer, self.files, self.extension);
            let hidden = format!(".{name}.inprogress");
            let file = self.disk.open(&self.dir.join(&hidden), OpenMode::CreateNew);
            let file = file.map_err(|error| self.error(&error))?;
            self.files += 1;
            self.open = Some(OpenFile { file, hidden, name, len: 0 });
        }
        Ok(self.open.as_mut().expect("it was opened above"))
    }

    fn error(&self, error: &std::io::Error) -> ConnectorError {
        io_error(&self.place, &self.dir, error)
    }
}

fn io_error(place: &str, dir: &std::path::Path, error: &std::io::Error) -> ConnectorError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::Interrupted => ErrorKind::Transient,
        _ => ErrorKind::External,
    };
    ConnectorError::new(kind, place, format!("cannot write to {}: {error}", dir.display()))
}

impl SinkConnector for FileSink {
    fn write(&mut self, changes: &ChangeBatch) -> Result<(), ConnectorError> {
        if !self.encoder.takes_changes() {
            only_inserts(changes, &self.place)?;
        }
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        self.encoder
            .encode(&changes.rows, changes.kinds.as_deref(), &mut text, |_, text| text.push(b'\n'))
            .map_err(|error| ConnectorError::new(ErrorKind::Config, &*self.place, error.to_string()))?;
        if !text.is_empty() {
            let open = self.file()?;
            let written = open.file.write_all_at(&text, open.len);
            open.len += text.len() as u64;
            written.map_err(|error| self.error(&error))?;
        }
        self.text = text;
        Ok(())
    }

    fn prepare(&mut self, _epoch: Epoch) -> Result<Committable, ConnectorError> {
        let mut prepared = Prepared { v: VERSION, files: Vec::new() };
        if let Some(open) = self.open.take() {
            open.file.sync_data().map_err(|error| self.error(&error))?;
            self.disk.sync_dir(&self.dir).map_err(|error| self.error(&error))?;
            prepared.files.push((open.hidden, open.name));
        }
        let encoded = serde_json::to_vec(&prepared).expect("names and numbers always encode as JSON");
        Ok(Committable(Bytes::from(encoded)))
    }
}

/// Renames files into view.
pub(crate) struct FileCommitter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    place: String,
}

impl FileCommitter {
    pub(crate) fn new(disk: &Arc<dyn Disk>, options: TableOptions<'_>) -> Result<Self, ConnectorError> {
        let place = format!("table {}", options.table);
        Ok(Self { disk: Arc::clone(disk), dir: super::path(options)?, place })
    }

    fn publish(&self, hidden: &str, name: &str) -> Result<(), ConnectorError> {
        let error = |error: std::io::Error| io_error(&self.place, &self.dir, &error);
        let (from, to) = (self.dir.join(hidden), self.dir.join(name));
        if self.disk.exists(&from).map_err(error)? {
            return self.disk.rename(&from, &to).map_err(error);
        }
        if self.disk.exists(&to).map_err(error)? {
            return Ok(());
        }
        let message = format!("{} is gone, with rows of an epoch that was to be committed", from.display());
        Err(ConnectorError::new(ErrorKind::External, &*self.place, message))
    }
}

impl Committer for FileCommitter {
    fn commit(&mut self, epoch: Epoch, prepared: &[Committable]) -> Result<(), ConnectorError> {
        let mut renamed = false;
        for committable in prepared {
            let prepared: Prepared = match serde_json::from_slice::<Prepared>(&committable.0) {
                Ok(prepared) if prepared.v == VERSION => prepared,
                Ok(prepared) => return Err(self.damaged(epoch, &format!("version {}", prepared.v))),
                Err(error) => return Err(self.damaged(epoch, &error.to_string())),
            };
            for (hidden, name) in &prepared.files {
                self.publish(hidden, name)?;
                renamed = true;
            }
        }
        if renamed {
            self.disk.sync_dir(&self.dir).map_err(|error| io_error(&self.place, &self.dir, &error))?;
        }
        Ok(())
    }
}

impl FileCommitter {
    fn damaged(&self, epoch: Epoch, what: &str) -> ConnectorError {
        let message = format!("cannot read what epoch {epoch} prepared: {what}");
        ConnectorError::new(ErrorKind::External, &*self.place, message)
    }
}
