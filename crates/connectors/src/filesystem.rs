//! `filesystem`: CSV and JSON files.

mod sink;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use sink::{FileCommitter, FileSink};
pub(crate) use source::FileSource;

use std::path::PathBuf;

use highwater_stream::ConnectorError;

use crate::options::TableOptions;

/// The option `path`, with or without `file://`.
fn path(options: TableOptions<'_>) -> Result<PathBuf, ConnectorError> {
    let path = options.required("path")?;
    match path.split_once("://") {
        Some(("file", local)) => Ok(PathBuf::from(local)),
        Some((scheme, _)) => {
            Err(options.error(format!("option 'path' has scheme {scheme}, expected a local file")))
        }
        None => Ok(PathBuf::from(path.strip_prefix("file:").unwrap_or(path))),
    }
}
