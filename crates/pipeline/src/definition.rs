//! A pipeline as it was submitted, on disk: enough to start it again after a restart of the node.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use highwater_env::{Disk, OpenMode};
use serde::{Deserialize, Serialize};

const MAGIC: &str = "highwater-pipeline";
const VERSION: u32 = 1;
const FILE: &str = "pipeline.json";
const NAME_LEN_MAX: usize = 100;

/// What was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    magic: String,
    version: u32,
    /// The pipeline's name; also its directory's.
    pub name: String,
    /// The script's file name, for messages.
    pub file: String,
    /// The script.
    pub sql: String,
    /// What replaces `${K}` in it.
    pub vars: BTreeMap<String, String>,
    /// Whether the node starts it.
    pub wanted: Wanted,
}

/// What the user wants of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// That it runs.
    Running,
    /// That it keeps its state and does nothing.
    Stopped,
}

/// A stored definition cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct DefinitionError {
    path: String,
    message: String,
}

impl Definition {
    /// A definition of a pipeline that is to run.
    pub fn new(name: &str, file: &str, sql: &str, vars: BTreeMap<String, String>) -> Self {
        let (magic, wanted) = (MAGIC.to_owned(), Wanted::Running);
        let (name, file, sql) = (name.to_owned(), file.to_owned(), sql.to_owned());
        Self { magic, version: VERSION, name, file, sql, vars, wanted }
    }

    /// Makes the definition durable in the pipeline's directory, which is made if missing.
    ///
    /// # Errors
    /// If it cannot be written; an older definition stays then.
    pub fn store(&self, disk: &dyn Disk, dir: &Path) -> Result<(), DefinitionError> {
        let text = serde_json::to_string_pretty(self).expect("plain data has a JSON form");
        let path = dir.join(FILE);
        let temporary = dir.join(format!("{FILE}.tmp"));
        let write = || {
            disk.create_dir_all(dir)?;
            let file = disk.open(&temporary, OpenMode::Create)?;
            file.set_len(0)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.sync_data()?;
            disk.rename(&temporary, &path)?;
            disk.sync_dir(dir)
        };
        write().map_err(|error: io::Error| DefinitionError::at(&path, error))
    }

    /// Reads the definition in a pipeline's directory; None if there is none.
    ///
    /// # Errors
    /// If it is damaged or of a newer version.
    pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Self>, DefinitionError> {
        let path = dir.join(FILE);
        if !disk.exists(&path).map_err(|error| DefinitionError::at(&path, error))? {
            return Ok(None);
        }
        let bytes = disk.open(&path, OpenMode::Read).and_then(|file| file.read_all());
        let bytes = bytes.map_err(|error| DefinitionError::at(&path, error))?;
        let definition: Self =
            serde_json::from_slice(&bytes).map_err(|error| DefinitionError::at(&path, error))?;
        if definition.magic != MAGIC || definition.version != VERSION {
            let (magic, version) = (&definition.magic, definition.version);
            let message = format!("{magic} version {version}, this program reads {MAGIC} version {VERSION}");
            return Err(DefinitionError::at(&path, message));
        }
        Ok(Some(definition))
    }
}

impl DefinitionError {
    fn at(path: &Path, message: impl std::fmt::Display) -> Self {
        Self { path: path.display().to_string(), message: message.to_string() }
    }
}

/// Whether a pipeline can bear this name: it becomes a directory and part of topic names.
pub fn is_valid_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.')
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests damage files behind the store's back")]
mod tests {
    use highwater_env::RealDisk;

    use super::*;

    #[test]
    fn a_definition_comes_back_and_a_newer_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Definition::load(&RealDisk, dir.path()).unwrap().is_none());
        let vars = BTreeMap::from([("K".to_owned(), "V".to_owned())]);
        let definition = Definition::new("p", "p.sql", "SELECT 1", vars);
        definition.store(&RealDisk, dir.path()).unwrap();
        assert_eq!(Definition::load(&RealDisk, dir.path()).unwrap(), Some(definition));

        let path = dir.path().join(FILE);
        let newer = std::fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 2");
        std::fs::write(&path, newer).unwrap();
        let error = Definition::load(&RealDisk, dir.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("highwater-pipeline version 2, this program reads highwater-pipeline version 1")
        );
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for good in ["a", "bus_speed", "v1.2-x"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(101)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
