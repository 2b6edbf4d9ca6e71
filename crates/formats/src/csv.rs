//! CSV: in and out, with the rules of Flink's format (Jackson's CSV).

mod decoder;
mod encoder;
mod options;
#[cfg(test)]
mod tests;

pub use decoder::CsvDecoder;
pub use encoder::CsvEncoder;
pub use options::CsvOptions;
