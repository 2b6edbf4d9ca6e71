//! What a history says of consumer groups: who belongs to them, what they committed and were shown.

use std::collections::{BTreeMap, HashMap};

use highwater_env::Offset;

use super::Stage;
use super::facts::{Line, PartitionIndex};

/// A group's offset in one partition, as somebody committed it.
#[derive(Debug)]
pub(super) struct Commit {
    pub(super) offset: Offset,
    pub(super) invoked_at: Line,
    /// When and how it was answered.
    pub(super) answered: Option<(Line, Stage)>,
    pub(super) transaction: Option<usize>,
}

/// A group's offset in one partition, as it was shown to somebody; -1 for none.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) offset: Offset,
    pub(super) invoked_at: Line,
    pub(super) answered_at: Line,
}

/// What is known of one group in one partition.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// In the order in which they were asked for.
    pub(super) commits: Vec<Commit>,
    /// In the order of their answers.
    pub(super) shown: Vec<Shown>,
}

type PlaceKey = (String, PartitionIndex);

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) places: BTreeMap<PlaceKey, Place>,
    pub(super) of_process: HashMap<u64, String>,
    /// Places and numbers of the commits of an operation.
    commits: HashMap<u64, Vec<(PlaceKey, usize)>>,
    fetches: HashMap<u64, Line>,
}

impl Groups {
    pub(super) fn joined(&mut self, process: u64, group: String) -> Result<(), String> {
        let known = self.of_process.entry(process).or_insert_with(|| group.clone());
        match *known == group {
            true => Ok(()),
            false => Err(format!("process {process} of group {known} is assigned by group {group}")),
        }
    }

    pub(super) fn committed(
        &mut self,
        (op, stage, line): (u64, Stage, Line),
        group: &str,
        offsets: Vec<(PartitionIndex, Offset)>,
        transaction: Option<usize>,
    ) -> Result<(), String> {
        if stage == Stage::Invoke {
            for (partition, offset) in offsets {
                let key = (group.to_owned(), partition);
                let commits = &mut self.places.entry(key.clone()).or_default().commits;
                self.commits.entry(op).or_default().push((key, commits.len()));
                commits.push(Commit { offset, invoked_at: line, answered: None, transaction });
            }
            return Ok(());
        }
        let known = self.commits.get(&op).ok_or_else(|| format!("op {op} was never invoked"))?;
        for (key, number) in known {
            if let Some(place) = self.places.get_mut(key) {
                place.commits[*number].answered = Some((line, stage));
            }
        }
        Ok(())
    }

    pub(super) fn fetched(
        &mut self,
        (op, stage, line): (u64, Stage, Line),
        group: &str,
        offsets: Vec<(PartitionIndex, Offset)>,
    ) -> Result<(), String> {
        if stage == Stage::Invoke {
            self.fetches.insert(op, line);
        }
        if stage != Stage::Ok {
            return Ok(());
        }
        let invoked_at = self.fetches.get(&op).ok_or_else(|| format!("op {op} was never invoked"))?;
        for (partition, offset) in offsets {
            let place = self.places.entry((group.to_owned(), partition)).or_default();
            place.shown.push(Shown { offset, invoked_at: *invoked_at, answered_at: line });
        }
        Ok(())
    }

    /// Offsets whose commit was acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        let commits = self.places.values().flat_map(|place| &place.commits);
        commits.filter(|commit| matches!(commit.answered, Some((_, Stage::Ok)))).count() as u64
    }
}
