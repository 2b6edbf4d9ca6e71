//! Opening a directory: checkpoint, then what the write-ahead log holds beyond it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use highwater_env::{Clock, Disk, MemoryBudget, Offset, TopicPartition};

use super::{Core, SegmentsAtWork, State};
use crate::checkpoint::{PartitionCheckpoint, SegmentCheckpoint};
use crate::directory::{self, Layout};
use crate::partition::{Partition, TailBatch};
use crate::producers::Producers;
use crate::segment::{CLEANED, Segment};
use crate::ticket::Durability;
use crate::wal::{self, Change, WalFileFound, WalSettings, WalWriter};
use crate::{LogBatch, LogError, LogOptions, PartitionOptions, RecoveryReport};

impl Core {
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        dir: &Path,
        options: LogOptions,
        budget: &MemoryBudget,
    ) -> Result<(Self, RecoveryReport), LogError> {
        options.check()?;
        let started = clock.monotonic();
        let opened = directory::open(disk.as_ref(), dir, &options)?;
        let layout = opened.layout;
        let budget = budget.child("log", options.memory_bytes_max);
        let mut recovery = Recovery {
            disk: Arc::clone(&disk),
            layout: layout.clone(),
            budget: budget.clone(),
            state: State { next_group: 1, checkpointed: opened.checkpoint.sequence, ..State::default() },
            report: RecoveryReport { created: opened.created, ..RecoveryReport::default() },
            damaged: Vec::new(),
        };
        for partition in &opened.checkpoint.partitions {
            recovery.restore(partition)?;
        }
        let files = recovery.replay(opened.checkpoint.sequence)?;
        recovery.refuse_damaged()?;
        for partition in recovery.state.partitions.values_mut() {
            partition.options = PartitionOptions::default().checked(&options);
            partition.producers = partition.durable_producers.clone();
        }
        let settings = WalSettings {
            dir: layout.wal(),
            entropy: Arc::clone(&options.entropy),
            file_bytes: options.wal_file_bytes,
            zero_bytes: options.wal_zero_bytes,
            files_max: options.wal_files_max,
        };
        let wal = WalWriter::new(Arc::clone(&disk), settings, files);
        let mut report = recovery.report;
        report.unclean = report.replayed_batches > 0 || report.torn_bytes > 0;
        report.partitions = recovery.state.partitions.len();
        let core = Self {
            disk,
            clock,
            options,
            cluster_id: opened.cluster_id,
            layout,
            budget,
            durability: Arc::new(Durability::new(0)),
            state: Mutex::new(recovery.state),
            writer_wanted: Condvar::new(),
            segments_wanted: Condvar::new(),
            wal: Mutex::new(wal),
            segments: Mutex::new(SegmentsAtWork::default()),
            lock: Mutex::new(Some(opened.lock)),
        };
        core.settle_recovered()?;
        core.segments_at_work().is_open = true;
        let took = core.clock.monotonic().saturating_sub(started);
        report.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Ok((core, report))
    }

    /// Puts what was replayed into segments, so that it need not be replayed again and its memory
    /// is free. A full disk only postpones that.
    fn settle_recovered(&self) -> Result<(), LogError> {
        let replayed = {
            let state = self.state();
            state.wal_durable > state.checkpointed
        };
        if replayed {
            match self.checkpoint() {
                Err(e) if e.is_disk_full() => {
                    tracing::warn!("disk full: recovered records stay in memory for now");
                    return Ok(());
                }
                done => done?,
            }
            self.state().evict(0);
        }
        self.remove_orphans()
    }

    /// Removes directories of partitions that no longer exist.
    fn remove_orphans(&self) -> Result<(), LogError> {
        let known: HashSet<String> = self.state().partitions.keys().map(TopicPartition::to_string).collect();
        let dir = self.layout.segments();
        for entry in self.disk.list(&dir).map_err(LogError::io("list", &dir))? {
            if entry.is_dir && !known.contains(&entry.name) {
                let orphan = dir.join(&entry.name);
                self.disk.remove_dir_all(&orphan).map_err(LogError::io("remove", &orphan))?;
            }
        }
        Ok(())
    }
}

struct Recovery {
    disk: Arc<dyn Disk>,
    layout: Layout,
    budget: MemoryBudget,
    state: State,
    report: RecoveryReport,
    /// Segments that are not what the checkpoint says, with the offset where they end: right if the
    /// write-ahead log deletes the partition, or its records up to there.
    damaged: Vec<(TopicPartition, Offset, LogError)>,
}

impl Recovery {
    /// A partition as its checkpoint describes it.
    fn restore(&mut self, found: &PartitionCheckpoint) -> Result<(), LogError> {
        let dir = self.layout.partition(found.tp);
        let segments = self.segments(&dir, found)?;
        if segments.len() == found.segments.len() {
            self.remove_uncheckpointed(&dir, found)?;
        }
        let next = found.next_offset;
        let partition = Partition {
            log_start_offset: found.log_start_offset,
            high_watermark: next,
            log_end_offset: next,
            materialised: next,
            cleaned_until: found.cleaned_until,
            segments,
            durable_producers: Producers::restore(found.producers.clone()),
            aborted: found.aborted.iter().copied().collect(),
            ..Partition::default()
        };
        self.state.partitions.insert(found.tp, partition);
        Ok(())
    }

    /// What is damaged must be deleted by now. Segments before it are, too: whether their files are
    /// still there is chance.
    fn refuse_damaged(&mut self) -> Result<(), LogError> {
        for (tp, end, damage) in self.damaged.drain(..) {
            let Some(partition) = self.state.partitions.get_mut(&tp) else { continue };
            if partition.log_start_offset < end {
                return Err(damage);
            }
            partition.segments.retain(|segment| segment.base_offset >= end);
        }
        Ok(())
    }

    /// Segments hold at least what the checkpoint says; what lies behind was never synced and comes
    /// again from the write-ahead log. Without those that are damaged.
    fn segments(&mut self, dir: &Path, found: &PartitionCheckpoint) -> Result<Vec<Arc<Segment>>, LogError> {
        let mut segments = Vec::new();
        let ends = found.segments.iter().skip(1).map(|next| next.base_offset).chain([found.next_offset]);
        for (segment, end) in found.segments.iter().zip(ends) {
            match self.segment(dir, segment) {
                Ok(existing) => segments.push(Arc::new(existing)),
                Err(damage @ LogError::Corrupt { .. }) => self.damaged.push((found.tp, end, damage)),
                Err(e) => return Err(e),
            }
        }
        Ok(segments)
    }

    fn segment(&self, dir: &Path, found: &SegmentCheckpoint) -> Result<Segment, LogError> {
        let existing = Segment::existing(&self.disk, dir, found);
        let path = existing.path("log");
        if existing.adopt().map_err(LogError::io("rename", &path))? {
            self.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
        }
        let corrupt = |pos, what| LogError::Corrupt { path: path.clone(), pos, what };
        let len = existing.cut_to_checkpoint().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => corrupt(0, "it is missing".into()),
            _ => LogError::Io { action: "open", path: path.clone(), source: e },
        })?;
        if len < found.bytes {
            return Err(corrupt(len, format!("it ends there, expected {} bytes", found.bytes)));
        }
        Ok(existing)
    }

    /// Removes segments made after the checkpoint.
    fn remove_uncheckpointed(&self, dir: &Path, found: &PartitionCheckpoint) -> Result<(), LogError> {
        if !self.disk.exists(dir).map_err(LogError::io("look for", dir))? {
            return Ok(());
        }
        for entry in self.disk.list(dir).map_err(LogError::io("list", dir))? {
            let base = entry.name.split('.').next().and_then(|base| base.parse::<i64>().ok());
            let known = base.is_some_and(|base| found.segments.iter().any(|s| s.base_offset == base));
            if !known || entry.name.ends_with(CLEANED) {
                let path = dir.join(&entry.name);
                self.disk.remove_file(&path).map_err(LogError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Applies all groups after `covered`; returns the files, oldest first, with their last groups.
    fn replay(&mut self, covered: u64) -> Result<Vec<(WalFileFound, u64)>, LogError> {
        let found = wal::find_files(self.disk.as_ref(), &self.layout.wal())?;
        let mut ends: Vec<Option<u64>> = Vec::new();
        for (index, _) in found.iter().enumerate() {
            let next = found.get(index + 1).and_then(|next| next.header);
            ends.push(next.map(|next| next.first_sequence.saturating_sub(1)));
        }
        self.state.wal_durable = covered;
        let mut files = Vec::new();
        for (file, end) in found.into_iter().zip(ends) {
            let last = self.replay_file(&file, end, covered)?;
            files.push((file, last));
        }
        Ok(files)
    }

    fn replay_file(&mut self, file: &WalFileFound, end: Option<u64>, covered: u64) -> Result<u64, LogError> {
        let Some(header) = file.header else { return Ok(0) };
        if let Some(end) = end.filter(|end| *end <= covered) {
            return Ok(end);
        }
        let (first, due) = (header.first_sequence, self.state.wal_durable + 1);
        if first > due {
            let what = format!("it starts with group {first}, expected {due}");
            return Err(LogError::Corrupt { path: file.path.clone(), pos: 32, what });
        }
        let scan = wal::scan(file, end, covered)?;
        for (pos, tp, change) in scan.frames {
            self.apply(tp, change).map_err(|what| LogError::Corrupt {
                path: file.path.clone(),
                pos,
                what,
            })?;
        }
        self.report.torn_bytes += scan.torn_bytes;
        self.state.wal_durable = self.state.wal_durable.max(scan.last_sequence);
        if end.is_none() {
            // What was read may be only in the page cache; it is about to be served.
            file.file.sync_data().map_err(LogError::io("sync", &file.path))?;
        }
        Ok(scan.last_sequence)
    }

    fn apply(&mut self, tp: TopicPartition, change: Change) -> Result<(), String> {
        match change {
            Change::Create => {
                self.state.partitions.entry(tp).or_default();
            }
            Change::Delete => drop(self.state.remove(tp)),
            Change::Batch(batch) => self.apply_batch(tp, batch)?,
            Change::Trim(offset) => {
                if let Some(partition) = self.state.partitions.get_mut(&tp) {
                    partition.trim(offset);
                }
            }
        }
        Ok(())
    }

    fn apply_batch(&mut self, tp: TopicPartition, batch: LogBatch) -> Result<(), String> {
        let partition =
            self.state.partitions.get_mut(&tp).ok_or(format!("a batch for unknown partition {tp}"))?;
        let (base, due) = (batch.base_offset(), partition.log_end_offset);
        if base != due {
            return Err(format!("partition {tp} goes on with offset {base}, expected {due}"));
        }
        partition.log_end_offset = batch.next_offset();
        partition.publish(&batch, 0);
        let bytes = batch.bytes().len() as u64;
        self.state.memory_bytes += bytes;
        self.state.unmaterialised_bytes += bytes;
        self.report.replayed_batches += 1;
        self.report.replayed_bytes += bytes;
        self.state.cached.push_back((tp, base));
        let reservation = self.budget.reserve(bytes).ok();
        partition.tail.push_back(TailBatch { batch, _reservation: reservation });
        Ok(())
    }
}
