//! Where in the log a request's events ended.

use std::fmt;
use std::str::FromStr;

use highwater_env::Offset;

/// How many partitions a position may name.
const PARTITIONS_MAX: usize = 10_000;

/// A place in one topic. Covered once everything below the named offsets is; partitions that are
/// not named do not matter. As text: `topic:0@123,1@456`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The topic's name.
    pub topic: String,
    /// Partition and the offset after the last record meant, ascending by partition.
    pub partitions: Vec<(i32, Offset)>,
}

/// A text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no position, expected `topic:partition@offset,...` as an ingest answer gave it")]
pub struct PositionError {
    /// The text, its first 100 characters.
    pub text: String,
}

impl LogPosition {
    /// The start of a topic: covered from the beginning.
    pub fn start_of(topic: &str) -> Self {
        Self { topic: topic.to_owned(), partitions: Vec::new() }
    }

    /// Moves to behind the record at `offset`, if that is further on.
    pub fn include(&mut self, partition: i32, offset: Offset) {
        let next = offset.saturating_add(1);
        match self.partitions.binary_search_by_key(&partition, |(number, _)| *number) {
            Ok(at) => self.partitions[at].1 = self.partitions[at].1.max(next),
            Err(at) => self.partitions.insert(at, (partition, next)),
        }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.topic)?;
        for (index, (partition, next)) in self.partitions.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{partition}@{next}")?;
        }
        Ok(())
    }
}

impl FromStr for LogPosition {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        parse(text).ok_or_else(|| PositionError { text: text.chars().take(100).collect() })
    }
}

fn parse(text: &str) -> Option<LogPosition> {
    let (topic, rest) = text.split_once(':').filter(|(topic, _)| !topic.is_empty())?;
    let mut position = LogPosition::start_of(topic);
    for item in rest.split(',').filter(|item| !item.is_empty()) {
        let (partition, next) = item.split_once('@')?;
        let partition = partition.parse::<i32>().ok().filter(|number| *number >= 0)?;
        let next = next.parse::<Offset>().ok().filter(|offset| *offset >= 0)?;
        if next > 0 {
            position.include(partition, next - 1);
        }
        if position.partitions.len() > PARTITIONS_MAX {
            return None;
        }
    }
    Some(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_what_it_writes() {
        let mut position = LogPosition::start_of("fleet.raw");
        position.include(3, 41);
        position.include(0, 9);
        position.include(3, 7);
        assert_eq!(position.to_string(), "fleet.raw:0@10,3@42");
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!("t:".parse(), Ok(LogPosition::start_of("t")));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in [
            "",
            ":",
            ":0@1",
            "t",
            "t:0",
            "t:0@",
            "t:@1",
            "t:-1@1",
            "t:0@-1",
            "t:0@9223372036854775808",
            "t:a@b",
        ] {
            assert!(text.parse::<LogPosition>().is_err(), "{text}");
        }
    }
}
