//! Which window a time belongs to, and when a window is over.

use std::str::FromStr;

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use highwater_stream::{EventTime, WindowShape, WindowSpec};

const HOUR_MS: i64 = 3_600_000;

/// No wall clock is further from UTC, ms.
const ZONE_OFFSET_MAX_MS: i64 = 26 * 3_600_000;

/// Cuts time into slices, of which windows are made: no window begins or ends within a slice. A slice and a window
/// are named by their end, exclusive.
///
/// Windows live on a clock of their own: event time itself, or with a zone its wall clock (written as if it
/// were UTC), so that the hour repeated in autumn is one window. All numbers are ms.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    shape: WindowShape,
    size_ms: i64,
    offset_ms: i64,
    slice_ms: i64,
    /// From one window's end to the next.
    step_ms: i64,
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
    /// If a length is not above 0 or the zone is unknown; the text says which.
    pub(crate) fn new(spec: &WindowSpec) -> Result<Self, String> {
        let size_ms = spec.size_ms;
        let step_ms = match spec.shape {
            WindowShape::Hop { slide_ms, .. } => slide_ms,
            WindowShape::Cumulate { step_ms } => step_ms,
            WindowShape::Tumble | WindowShape::Session | WindowShape::Attached => size_ms,
        };
        if size_ms <= 0 || step_ms <= 0 {
            return Err(format!("a window of {size_ms} ms each {step_ms} ms, expected more than 0"));
        }
        let slice_ms = greatest_common_divisor(size_ms, step_ms);
        if matches!(spec.shape, WindowShape::Cumulate { .. }) && slice_ms != step_ms {
            return Err(format!("a window of {size_ms} ms, expected a multiple of its step {step_ms} ms"));
        }
        let tz = spec.zone.as_deref().map(Tz::from_str).transpose().map_err(|e| e.to_string())?;
        let zone = tz.filter(|tz| *tz != Tz::UTC).map(|tz| Zone { tz, last: (i64::MIN, 0) });
        let period_ms = if matches!(spec.shape, WindowShape::Hop { .. }) { step_ms } else { size_ms };
        let offset_ms = spec.offset_ms.rem_euclid(period_ms);
        Ok(Self { shape: spec.shape, size_ms, offset_ms, slice_ms, step_ms, zone })
    }

    /// Only to tell when windows that others cut close.
    ///
    /// # Errors
    /// If the zone is unknown.
    pub(crate) fn closing(zone: Option<&str>) -> Result<Self, String> {
        let zone = zone.map(str::to_owned);
        let (shape, processing_time) = (WindowShape::Attached, false);
        Self::new(&WindowSpec { time_column: 0, shape, size_ms: 1, offset_ms: 0, zone, processing_time })
    }

    /// `time` on the windows' clock.
    #[inline]
    pub(crate) fn local(&mut self, time: EventTime) -> i64 {
        match &mut self.zone {
            None => time,
            Some(zone) => zone.local_time(time),
        }
    }

    /// The end of the slice of `time`.
    #[inline]
    pub(crate) fn end_of(&mut self, time: EventTime) -> i64 {
        let local = self.local(time);
        // Floor-modulo: also right before 1970 and with a negative offset.
        let into = local.saturating_sub(self.offset_ms).rem_euclid(self.slice_ms);
        local.saturating_sub(into).saturating_add(self.slice_ms)
    }

    /// Whether each window is a slice.
    pub(crate) fn are_slices(&self) -> bool {
        !matches!(self.shape, WindowShape::Hop { .. } | WindowShape::Cumulate { .. })
    }

    /// The first window that has the slice that ends at `slice`.
    pub(crate) fn first_with(&self, slice: i64) -> i64 {
        match self.shape {
            WindowShape::Hop { slide_ms, .. } => {
                let grid = self.offset_ms.saturating_add(self.size_ms);
                slice.saturating_add(grid.saturating_sub(slice).rem_euclid(slide_ms))
            }
            _ => slice,
        }
    }

    /// The last window that has the slice that ends at `slice`; below [`Windows::first_with`] if none has.
    pub(crate) fn last_with(&self, slice: i64) -> i64 {
        match self.shape {
            WindowShape::Hop { slide_ms, .. } => {
                let slice_start = slice.saturating_sub(self.slice_ms);
                let into = slice_start.saturating_sub(self.offset_ms).rem_euclid(slide_ms);
                slice_start.saturating_sub(into).saturating_add(self.size_ms)
            }
            WindowShape::Cumulate { .. } => self.start_of_window(slice).saturating_add(self.size_ms),
            _ => slice,
        }
    }

    /// The window behind that which ends at `end`.
    pub(crate) fn next(&self, end: i64) -> i64 {
        end.saturating_add(self.step_ms)
    }

    /// The end of the first slice of the window that ends at `end`.
    pub(crate) fn first_slice(&self, end: i64) -> i64 {
        self.start_of_window(end).saturating_add(self.slice_ms)
    }

    /// The first window, from that which ends at `from`, that `watermark` leaves open.
    pub(crate) fn first_open(&self, mut from: i64, watermark: EventTime) -> i64 {
        if self.zone.is_none() && from <= watermark {
            // As many steps as lead to watermark + 1 at the most.
            from += watermark.saturating_sub(from) / self.step_ms * self.step_ms;
        }
        while self.closes_at(from) <= watermark && from < i64::MAX {
            from = self.next(from);
        }
        from
    }

    /// A window, as many steps before that which ends at `end` as it takes, that `watermark` does not leave
    /// open, if there is one.
    pub(crate) fn long_over(&self, end: i64, watermark: EventTime) -> i64 {
        let offset = if self.zone.is_some() { ZONE_OFFSET_MAX_MS } else { 0 };
        let ahead = end.saturating_sub(watermark).saturating_add(offset).max(0);
        end.saturating_sub((ahead / self.step_ms).saturating_add(1).saturating_mul(self.step_ms))
    }

    /// Whether windows are cut on event time itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.zone.is_none()
    }

    pub(crate) fn start_of_window(&self, end: i64) -> i64 {
        match self.shape {
            WindowShape::Cumulate { .. } => {
                let last = end.saturating_sub(1);
                last.saturating_sub(last.saturating_sub(self.offset_ms).rem_euclid(self.size_ms))
            }
            _ => end.saturating_sub(self.size_ms),
        }
    }

    /// The start of the slice that ends at `end`.
    pub(crate) fn start_of_slice(&self, end: i64) -> i64 {
        end.saturating_sub(self.slice_ms)
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

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// None beyond the calendar (years outside about ±262,000): no zone has changes there.
fn wall_clock(local: i64) -> Option<NaiveDateTime> {
    Some(DateTime::from_timestamp_millis(local)?.naive_utc())
}

#[cfg(test)]
mod tests;
