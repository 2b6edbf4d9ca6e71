//! What an operator instance hands over at a barrier, and the file that holds it.

use bytes::Bytes;
use highwater_env::KeyGroup;
use highwater_stream::{Committable, EventTime, RejectedRecord};

use crate::{Cursor, SplitPosition, StateError};

const MAGIC: &[u8; 6] = b"HWSNAP";
const VERSION: u16 = 1;

/// The state of one operator instance at the end of an epoch, or what changed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorSnapshot {
    /// The operator, [`PlanNode::uid`](highwater_stream::PlanNode::uid).
    pub uid: String,
    /// The instance, `0..shards`.
    pub shard: usize,
    /// How many instances the operator has.
    pub shards: usize,
    /// Everything the instance holds (`true`), or the changes since its last snapshot.
    pub full: bool,
    /// The instance's watermark at the barrier.
    pub watermark: EventTime,
    /// Changes per key group, in the form of [`SectionWriter`](crate::SectionWriter).
    pub sections: Vec<(KeyGroup, Bytes)>,
}

impl OperatorSnapshot {
    /// Bytes of all sections.
    pub fn bytes(&self) -> usize {
        self.sections.iter().map(|(_, section)| section.len()).sum()
    }
}

/// What one instance (fused operators of one shard) hands over at a barrier.
#[derive(Clone, Debug, Default)]
pub struct InstanceSnapshot {
    /// Its operators' state, or what changed in it.
    pub operators: Vec<OperatorSnapshot>,
    /// How far its splits were read.
    pub positions: Vec<SplitPosition>,
    /// What its sinks prepared: uid, shard, committable.
    pub committables: Vec<(String, usize, Committable)>,
    /// Changes its sinks received since the job started: uid and count.
    pub received: Vec<(String, u64)>,
    /// Records its sources rejected in the epoch: uid and record.
    pub rejects: Vec<(String, RejectedRecord)>,
}

/// Snapshots as one file.
///
/// ```text
/// +----------+-------------+-----------+-----------------+------------------------+
/// | "HWSNAP" | version u16 | count u32 | snapshot, ...   | CRC-32C u32 of all     |
/// +----------+-------------+-----------+-----------------+------------------------+
/// snapshot:
/// | uid len u32 | uid | shard u32 | shards u32 | full u8 | watermark i64 | sections u32 |
/// then per section: | key group u8 | len u32 | entries |            numbers little-endian
/// ```
pub fn encode_snapshots(snapshots: &[OperatorSnapshot]) -> Bytes {
    let mut out = Vec::with_capacity(64 + snapshots.iter().map(OperatorSnapshot::bytes).sum::<usize>());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(snapshots.len() as u32).to_le_bytes());
    for snapshot in snapshots {
        out.extend_from_slice(&(snapshot.uid.len() as u32).to_le_bytes());
        out.extend_from_slice(snapshot.uid.as_bytes());
        out.extend_from_slice(&(snapshot.shard as u32).to_le_bytes());
        out.extend_from_slice(&(snapshot.shards as u32).to_le_bytes());
        out.push(u8::from(snapshot.full));
        out.extend_from_slice(&snapshot.watermark.to_le_bytes());
        out.extend_from_slice(&(snapshot.sections.len() as u32).to_le_bytes());
        for (group, section) in &snapshot.sections {
            out.push(group.0);
            out.extend_from_slice(&(section.len() as u32).to_le_bytes());
            out.extend_from_slice(section);
        }
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    Bytes::from(out)
}

/// Reads what [`encode_snapshots`] wrote. Sections share `file`'s memory.
///
/// # Errors
/// If the file is damaged or of a newer version.
pub fn decode_snapshots(file: &Bytes) -> Result<Vec<OperatorSnapshot>, StateError> {
    let mut cursor = Cursor::new(file);
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err(StateError::Corrupt("not a snapshot file".to_owned()));
    }
    let version = u16::from_le_bytes(cursor.array()?);
    if version != VERSION {
        return Err(StateError::Version { found: version, supported: VERSION });
    }
    let body_len = file.len().checked_sub(4).ok_or_else(|| StateError::Corrupt("too short".to_owned()))?;
    let stored = u32::from_le_bytes(Cursor::new(&file[body_len..]).array()?);
    let computed = crc32c::crc32c(&file[..body_len]);
    if stored != computed {
        return Err(StateError::Corrupt(format!("CRC-32C {stored:08x}, computed {computed:08x}")));
    }
    let mut cursor = Cursor::new(&file[MAGIC.len() + 2..body_len]);
    let count = u32::from_le_bytes(cursor.array()?);
    let mut snapshots = Vec::new();
    for _ in 0..count {
        snapshots.push(decode_snapshot(file, &mut cursor)?);
    }
    match cursor.is_empty() {
        true => Ok(snapshots),
        false => Err(StateError::Corrupt("bytes behind the last snapshot".to_owned())),
    }
}

fn decode_snapshot(file: &Bytes, cursor: &mut Cursor<'_>) -> Result<OperatorSnapshot, StateError> {
    let uid =
        String::from_utf8(cursor.counted()?.to_vec()).map_err(|e| StateError::Corrupt(e.to_string()))?;
    let shard = u32::from_le_bytes(cursor.array()?) as usize;
    let shards = u32::from_le_bytes(cursor.array()?) as usize;
    let full = cursor.take(1)?[0] != 0;
    let watermark = EventTime::from_le_bytes(cursor.array()?);
    if !(1..=usize::from(highwater_env::KEY_GROUPS)).contains(&shards) || shard >= shards {
        return Err(StateError::Corrupt(format!("shard {shard} of {shards}")));
    }
    let mut sections = Vec::new();
    for _ in 0..u32::from_le_bytes(cursor.array()?) {
        let group = KeyGroup(cursor.take(1)?[0]);
        sections.push((group, file.slice_ref(cursor.counted()?)));
    }
    Ok(OperatorSnapshot { uid, shard, shards, full, watermark, sections })
}

#[cfg(test)]
mod tests;
