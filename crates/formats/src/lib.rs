//! Payload bytes to Arrow columns and back: JSON, CSV and changelogs in JSON, with the rules of Flink's formats.
//!
//! Invariants:
//! - No bytes, however hostile, make a decoder panic, recurse without limit or keep half a row: a
//!   record becomes one row (of a changelog: its rows), no row, or one error, and the columns stay of equal length.
//! - A decoder fills only the columns it is asked for, but refuses a malformed record whichever
//!   columns those are. (Flink stops reading once it has its columns; we do not.)
//! - What a decoder has learned about a stream changes its speed, never its answers.
//!
//! It must not read files, sockets or clocks, and it knows no topics.

mod base64;
mod column;
mod convert;
mod csv;
mod decimal;
mod double;
mod error;
mod json;
mod pretty;
mod reader;
mod record;
mod times;
mod values;

pub use csv::{CsvDecoder, CsvEncoder, CsvOptions};
pub use error::{DecodeError, FormatError};
pub use json::{ChangeDecoder, ChangeEncoder, ChangeFormat, JsonDecoder, JsonEncoder, JsonOptions};
pub use pretty::{PrettyTable, java_row};
pub use record::{RecordDecoder, RecordEncoder, Taken};
pub use times::TimestampFormat;
pub use values::ValuesEncoder;
