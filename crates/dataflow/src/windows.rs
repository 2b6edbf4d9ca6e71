//! Which window a time belongs to, and when a window is over.

use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use highwater_stream::{EventTime, WindowSpec};

const HOUR_MS: i64 = 3_600_000;

/// Cuts event time into windows `[start, start + size)`.
///
/// Windows live on a clock of their own: event time itself, or with a zone its wall clock (written as if it
/// were UTC), so that the hour repeated in autumn is one window. All numbers are ms.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    size_ms: i64,
    offset_ms: i64,
    zone: Option<Zone>,
}

#[derive(Debug, Clone)]
struct Zone {
    tz: Tz,
    /// The second whose offset was asked last, and the offset: rows of one batch are near each other.
    last: (i64, i64),
}

impl Windows {
    /// # Errors
    /// If the size is not above 0 or the zone is unknown; the text says which.
    pub(crate) fn new(spec: &WindowSpec) -> Result<Self, String> {
        if spec.size_ms <= 0 {
            return Err(format!("a window of {} ms, expected more than 0", spec.size_ms));
        }
        let tz = spec.zone.as_deref().map(Tz::from_str).transpose().map_err(|e| e.to_string())?;
        let zone = tz.filter(|tz| *tz != Tz::UTC).map(|tz| Zone { tz, last: (i64::MIN, 0) });
        Ok(Self { size_ms: spec.size_ms, offset_ms: spec.offset_ms.rem_euclid(spec.size_ms), zone })
    }

    /// The end, exclusive, of the window of `time`.
    #[inline]
    pub(crate) fn end_of(&mut self, time: EventTime) -> i64 {
        let local = match &mut self.zone {
            None => time,
            Some(zone) => zone.local_time(time),
        };
        // Floor-modulo: also right before 1970 and with a negative offset.
        let into = local.saturating_sub(self.offset_ms).rem_euclid(self.size_ms);
        local.saturating_sub(into).saturating_add(self.size_ms)
    }

    /// Whether windows are cut on event time itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.zone.is_none()
    }

    pub(crate) fn start_of_window(&self, end: i64) -> i64 {
        end.saturating_sub(self.size_ms)
    }

    /// The lowest watermark at which the window that ends at `end` is over.
    #[inline]
    pub(crate) fn closes_at(&self, end: i64) -> EventTime {
        match &self.zone {
            None => end.saturating_sub(1),
            Some(zone) => zone.closing_instant(end.saturating_sub(1)),
        }
    }

    /// The event time of the window's result: its last ms.
    pub(crate) fn time_of_window(&self, end: i64) -> EventTime {
        match &self.zone {
            None => end.saturating_sub(1),
            Some(zone) => zone.instant(end.saturating_sub(1)),
        }
    }
}

impl Zone {
    fn local_time(&mut self, time: EventTime) -> i64 {
        let second = time.div_euclid(1_000);
        if second != self.last.0 {
            let utc = DateTime::from_timestamp(second, 0).unwrap_or_default().naive_utc();
            let offset = i64::from(self.tz.offset_from_utc_datetime(&utc).fix().local_minus_utc());
            self.last = (second, offset * 1_000);
        }
        time.saturating_add(self.last.1)
    }

    /// As Java's `LocalDateTime.atZone`: the earlier of two instants; in a gap, shifted by the gap's length.
    fn instant(&self, local: i64) -> EventTime {
        let Some(wall) = wall_clock(local) else { return local };
        match self.tz.from_local_datetime(&wall) {
            LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => at.timestamp_millis(),
            LocalResult::None => {
                let before = self.tz.offset_from_utc_datetime(&(wall - chrono::TimeDelta::days(1)));
                local - i64::from(before.fix().local_minus_utc()) * 1_000
            }
        }
    }

    /// As Flink's `TimeWindowUtil.toEpochMillsForTimer`: the later of two instants; in a gap, its first hour.
    fn closing_instant(&self, local: i64) -> EventTime {
        let Some(wall) = wall_clock(local) else { return local };
        match self.tz.from_local_datetime(&wall) {
            LocalResult::Single(at) | LocalResult::Ambiguous(_, at) => at.timestamp_millis(),
            LocalResult::None => {
                let shifted = self.instant(local);
                shifted - shifted.rem_euclid(HOUR_MS)
            }
        }
    }
}

/// None beyond the calendar (years outside about ±262,000): no zone has changes there.
fn wall_clock(local: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp_millis(local)?.naive_utc())
}

#[cfg(test)]
mod tests;
