//! What can go wrong with a payload.

/// A table's format options or column types are not possible: the user must act.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FormatError(pub String);

/// A record does not fit the declared columns. The message says where and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub Box<str>);

impl DecodeError {
    /// An error with this message.
    #[cold]
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self(message.into())
    }
}

/// At most this many bytes of a bad value are shown.
const SHOWN_BYTES_MAX: usize = 40;

/// A value as an error message shows it: quoted, cut, printable.
pub(crate) fn shown(value: &[u8]) -> String {
    let cut = &value[..value.len().min(SHOWN_BYTES_MAX)];
    let dots = if cut.len() < value.len() { "..." } else { "" };
    format!("{:?}{dots}", String::from_utf8_lossy(cut))
}
