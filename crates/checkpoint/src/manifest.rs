//! The durable description of one epoch: with it alone a pipeline can go on.

use bytes::Bytes;
use highwater_env::Epoch;
use highwater_state::SplitPosition;
use highwater_stream::{Committable, EventTime, Position, SplitId};
use serde::{Deserialize, Serialize};

const MAGIC: &str = "highwater-manifest";
const VERSION: u32 = 1;

/// One restorable epoch of one pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The pipeline's name.
    pub pipeline: String,
    /// The epoch this is the end of.
    pub epoch: Epoch,
    /// Identifies the plan; another plan may not simply start from this epoch.
    pub fingerprint: String,
    /// Instances per operator when it was written; state restores into any number.
    pub shards: usize,
    /// Where every split of every source goes on.
    pub positions: Vec<SplitPosition>,
    /// Snapshot files to apply in order; the first is full. Empty: no operator has state.
    pub chain: Vec<SnapshotRef>,
    /// What the sinks prepared for this epoch, to be committed (again) after a restart.
    pub committables: Vec<SinkCommittable>,
    /// The input is used up and all of it is in this epoch: nothing is left to run.
    pub finished: bool,
}

/// A snapshot file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRef {
    /// The epoch it is the end of.
    pub epoch: Epoch,
    /// Its name in the snapshot store.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// It holds everything, not only changes.
    pub full: bool,
}

/// What one writer of a sink prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkCommittable {
    /// The sink operator.
    pub uid: String,
    /// The writer's shard.
    pub shard: usize,
    /// For [`Committer::commit`](highwater_stream::Committer::commit).
    pub committable: Committable,
}

/// Why a manifest could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Damaged, or not a manifest.
    #[error("corrupt manifest: {0}")]
    Corrupt(String),
    /// Written by a newer program.
    #[error("manifest version {found}, this program reads up to {VERSION}")]
    Version {
        /// What the file says.
        found: u32,
    },
}

/// First line of the file; the second is the [`Body`], over which the CRC-32C goes.
#[derive(Serialize, Deserialize)]
struct Head {
    magic: String,
    version: u32,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct Body {
    pipeline: String,
    epoch: u64,
    fingerprint: String,
    shards: usize,
    finished: bool,
    positions: Vec<BodyPosition>,
    chain: Vec<BodySnapshot>,
    committables: Vec<BodyCommittable>,
}

#[derive(Serialize, Deserialize)]
struct BodyPosition {
    uid: String,
    split: SplitId,
    position: Position,
    watermark: EventTime,
}

#[derive(Serialize, Deserialize)]
struct BodySnapshot {
    epoch: u64,
    name: String,
    bytes: u64,
    full: bool,
}

#[derive(Serialize, Deserialize)]
struct BodyCommittable {
    uid: String,
    shard: usize,
    /// Hexadecimal, lower case.
    payload: String,
}

impl Manifest {
    /// The file: two lines of JSON, [`Head`] and [`Body`]. The same manifest always gives the same bytes.
    pub fn encode(&self) -> Bytes {
        let body = serde_json::to_string(&self.to_body()).expect("plain data has a JSON form");
        let head =
            Head { magic: MAGIC.to_owned(), version: VERSION, crc32c: crc32c::crc32c(body.as_bytes()) };
        let head = serde_json::to_string(&head).expect("plain data has a JSON form");
        Bytes::from(format!("{head}\n{body}\n"))
    }

    /// Reads what [`Manifest::encode`] wrote.
    ///
    /// # Errors
    /// If the file is damaged or of a newer version.
    pub fn decode(file: &[u8]) -> Result<Self, ManifestError> {
        let corrupt = |e: &dyn std::fmt::Display| ManifestError::Corrupt(e.to_string());
        let text = std::str::from_utf8(file).map_err(|e| corrupt(&e))?;
        let (head, body) = text.split_once('\n').ok_or_else(|| corrupt(&"one line, expected two"))?;
        let head: Head = serde_json::from_str(head).map_err(|e| corrupt(&e))?;
        if head.magic != MAGIC {
            return Err(corrupt(&"not a manifest"));
        }
        if head.version != VERSION {
            return Err(ManifestError::Version { found: head.version });
        }
        let body = body.strip_suffix('\n').ok_or_else(|| corrupt(&"the last line has no end"))?;
        let computed = crc32c::crc32c(body.as_bytes());
        if computed != head.crc32c {
            return Err(corrupt(&format!("CRC-32C {:08x}, computed {computed:08x}", head.crc32c)));
        }
        let body: Body = serde_json::from_str(body).map_err(|e| corrupt(&e))?;
        Self::from_body(body)
    }

    fn to_body(&self) -> Body {
        let position = |p: &SplitPosition| BodyPosition {
            uid: p.uid.clone(),
            split: p.split.clone(),
            position: p.position,
            watermark: p.watermark,
        };
        let snapshot = |s: &SnapshotRef| BodySnapshot {
            epoch: s.epoch.0,
            name: s.name.clone(),
            bytes: s.bytes,
            full: s.full,
        };
        let committable = |c: &SinkCommittable| BodyCommittable {
            uid: c.uid.clone(),
            shard: c.shard,
            payload: to_hex(&c.committable.0),
        };
        Body {
            pipeline: self.pipeline.clone(),
            epoch: self.epoch.0,
            fingerprint: self.fingerprint.clone(),
            shards: self.shards,
            finished: self.finished,
            positions: self.positions.iter().map(position).collect(),
            chain: self.chain.iter().map(snapshot).collect(),
            committables: self.committables.iter().map(committable).collect(),
        }
    }

    fn from_body(body: Body) -> Result<Self, ManifestError> {
        let position = |p: BodyPosition| SplitPosition {
            uid: p.uid,
            split: p.split,
            position: p.position,
            watermark: p.watermark,
        };
        let snapshot = |s: BodySnapshot| SnapshotRef {
            epoch: Epoch(s.epoch),
            name: s.name,
            bytes: s.bytes,
            full: s.full,
        };
        let committable = |c: BodyCommittable| {
            let committable = Committable(from_hex(&c.payload)?);
            Ok(SinkCommittable { uid: c.uid, shard: c.shard, committable })
        };
        Ok(Self {
            pipeline: body.pipeline,
            epoch: Epoch(body.epoch),
            fingerprint: body.fingerprint,
            shards: body.shards,
            positions: body.positions.into_iter().map(position).collect(),
            chain: body.chain.into_iter().map(snapshot).collect(),
            committables: body
                .committables
                .into_iter()
                .map(committable)
                .collect::<Result<_, ManifestError>>()?,
            finished: body.finished,
        })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn from_hex(text: &str) -> Result<Bytes, ManifestError> {
    let wrong = || ManifestError::Corrupt("a committable is not hexadecimal".to_owned());
    let digits = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(wrong));
    let digits = digits.collect::<Result<Vec<u8>, _>>()?;
    match digits.len() % 2 {
        0 => Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests;
