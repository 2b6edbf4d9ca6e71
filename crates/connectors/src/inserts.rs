//! Sinks that cannot take a row back.

use highwater_stream::{ChangeBatch, ConnectorError, ErrorKind, RowKind};

/// Refuses rows that take others back: neither files nor topics can forget a row.
pub(crate) fn only_inserts(changes: &ChangeBatch, place: &str) -> Result<(), ConnectorError> {
    match changes.kinds.as_deref().and_then(|kinds| kinds.iter().find(|kind| **kind != RowKind::Insert)) {
        None => Ok(()),
        Some(kind) => {
            let message = format!("a change {} cannot be written here, expected only inserts", kind.symbol());
            Err(ConnectorError::new(ErrorKind::Config, place, message))
        }
    }
}
