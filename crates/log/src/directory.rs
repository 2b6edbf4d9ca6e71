//! The data directory as a whole.
//!
//! ```text
//! highwater.meta            whose directory this is, in which format; four lines of text
//! highwater.lock            locked while a process uses it
//! log.checkpoint            what segments hold
//! wal/<slot>.wal            write-ahead files
//! segments/<topic id>-<partition>/<base offset>.log, .index, .timeindex
//! ```
//! `highwater.meta` is written last: without it a directory is new, or not ours.

use std::path::{Path, PathBuf};

use highwater_env::{Disk, DiskLock, Entropy, OpenMode, TopicPartition};

use crate::checkpoint::{Checkpoint, write_replacing};
use crate::{LogError, LogOptions};

const META: &str = "highwater.meta";
const MAGIC: &str = "highwater data directory";
const VERSION: u32 = 1;

/// Names below a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
}

impl Layout {
    pub(crate) fn wal(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn segments(&self) -> PathBuf {
        self.root.join("segments")
    }

    pub(crate) fn partition(&self, tp: TopicPartition) -> PathBuf {
        self.segments().join(tp.to_string())
    }
}

/// A locked data directory.
pub(crate) struct Opened {
    pub(crate) layout: Layout,
    pub(crate) lock: Box<dyn DiskLock>,
    pub(crate) cluster_id: String,
    pub(crate) created: bool,
    pub(crate) checkpoint: Checkpoint,
}

/// Locks a directory and reads its head files; makes them if it is new.
pub(crate) fn open(disk: &dyn Disk, dir: &Path, options: &LogOptions) -> Result<Opened, LogError> {
    disk.create_dir_all(dir).map_err(LogError::io("create", dir))?;
    let lock_path = dir.join("highwater.lock");
    let lock = disk.lock(&lock_path).map_err(|e| match e.kind() {
        std::io::ErrorKind::WouldBlock => LogError::Locked(dir.to_owned()),
        _ => LogError::Io { action: "lock", path: lock_path.clone(), source: e },
    })?;
    let layout = Layout { root: dir.to_owned() };
    let meta_path = dir.join(META);
    if disk.exists(&meta_path).map_err(LogError::io("look for", &meta_path))? {
        let file = disk.open(&meta_path, OpenMode::Read).map_err(LogError::io("open", &meta_path))?;
        let cluster_id = parse_meta(&file.read_all().map_err(LogError::io("read", &meta_path))?, &meta_path)?;
        let checkpoint = Checkpoint::read(disk, dir)?;
        let checkpoint = checkpoint.ok_or_else(|| LogError::Corrupt {
            path: dir.join("log.checkpoint"),
            pos: 0,
            what: "it is missing".into(),
        })?;
        return Ok(Opened { layout, lock, cluster_id, created: false, checkpoint });
    }
    let cluster_id = create(disk, &layout, options)?;
    Ok(Opened { layout, lock, cluster_id, created: true, checkpoint: Checkpoint::default() })
}

fn create(disk: &dyn Disk, layout: &Layout, options: &LogOptions) -> Result<String, LogError> {
    let dir = &layout.root;
    for below in [layout.wal(), layout.segments()] {
        disk.create_dir_all(&below).map_err(LogError::io("create", &below))?;
        let entries = disk.list(&below).map_err(LogError::io("list", &below))?;
        if let Some(entry) = entries.first() {
            let what = format!("{META} is missing, but {} is there", below.join(&entry.name).display());
            return Err(LogError::NotOurs { path: dir.clone(), what });
        }
    }
    Checkpoint::default().write(disk, dir)?;
    let cluster_id = options.cluster_id.clone().unwrap_or_else(|| new_cluster_id(options.entropy.as_ref()));
    write_replacing(disk, dir, META, format_meta(&cluster_id).as_bytes())?;
    Ok(cluster_id)
}

fn format_meta(cluster_id: &str) -> String {
    let body = format!("{MAGIC}\nversion {VERSION}\ncluster-id {cluster_id}\n");
    let crc = crc32c::crc32c(body.as_bytes());
    format!("{body}crc32c {crc:08x}\n")
}

fn parse_meta(bytes: &[u8], path: &Path) -> Result<String, LogError> {
    let not_ours = |what: &str| LogError::NotOurs { path: path.to_owned(), what: what.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| not_ours("it is not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(not_ours(&format!("its first line is not {MAGIC:?}")));
    }
    let version = lines.next().and_then(|line| line.strip_prefix("version ")?.parse::<u32>().ok());
    let found = version.ok_or_else(|| not_ours("it names no version"))?;
    if found > VERSION {
        return Err(LogError::NewerVersion { path: path.to_owned(), found, newest: VERSION });
    }
    let cluster_id = lines.next().and_then(|line| line.strip_prefix("cluster-id "));
    match cluster_id {
        Some(id) if format_meta(id) == text => Ok(id.to_owned()),
        _ => Err(LogError::Corrupt { path: path.to_owned(), pos: 0, what: "checksum mismatch".into() }),
    }
}

/// 128 random bits in URL-safe base64 without padding: 22 characters, like Kafka's.
fn new_cluster_id(entropy: &dyn Entropy) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = entropy.next_u128();
    let digit = |i: u32| {
        let shift = 128_i64 - 6 * (i64::from(i) + 1);
        let six = if shift >= 0 { bits >> shift } else { bits << -shift };
        char::from(ALPHABET[usize::try_from(six & 63).unwrap_or(0)])
    };
    (0..22).map(digit).collect()
}
