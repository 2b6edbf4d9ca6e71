//! JSON, one object per record: in and out.

mod changes;
mod decoder;
mod encoder;
mod fast;
mod fields;
mod options;
pub(crate) mod scan;
mod shape;
#[cfg(test)]
mod tests;

pub use changes::{ChangeDecoder, ChangeEncoder, ChangeFormat};
pub use decoder::JsonDecoder;
pub use encoder::JsonEncoder;
pub(crate) use encoder::{JsonStyle, check_columns, keys, write_hex, write_row};
pub use options::JsonOptions;
pub(crate) use options::flag;
