//! Event time.

/// Event time or a watermark: ms since the Unix epoch. UTC for `TIMESTAMP_LTZ`, the zone-less
/// wall clock for `TIMESTAMP`.
pub type EventTime = i64;

/// The watermark before any row: nothing is late.
pub const WATERMARK_NONE: EventTime = i64::MIN;

/// The watermark after the last row of bounded input: every window is over.
pub const WATERMARK_END: EventTime = i64::MAX;
