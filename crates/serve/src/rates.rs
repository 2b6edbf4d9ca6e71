//! How fast counts grow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// A rate is taken over so many measurements.
const WINDOW: usize = 6;
/// A measurement is too old to say anything about now after so many ms.
const AGE_MS_MAX: i64 = 30_000;

/// The last counts of everything measured, by name, each with its time in ms since the Unix epoch.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    measured: Mutex<BTreeMap<String, VecDeque<(i64, u64)>>>,
}

impl Rates {
    /// Notes counts at `now_ms`, those of one name added up; forgets names that are gone.
    pub(crate) fn measure<'a>(&self, now_ms: i64, counts: impl Iterator<Item = (&'a str, u64)>) {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, count) in counts {
            let sum = sums.entry(name).or_default();
            *sum = sum.saturating_add(count);
        }
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = BTreeMap::new();
        for (name, sum) in sums {
            let mut points = measured.remove(name).unwrap_or_default();
            points.retain(|(at_ms, _)| now_ms - at_ms <= AGE_MS_MAX);
            if points.len() == WINDOW {
                points.pop_front();
            }
            points.push_back((now_ms, sum));
            next.insert(name.to_owned(), points);
        }
        *measured = next;
    }

    /// Growth per second over the last seconds; none before the second measurement.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn per_s(&self, name: &str) -> Option<f64> {
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let points = measured.get(name)?;
        let ((from_ms, from), (to_ms, to)) = (points.front()?, points.back()?);
        (to_ms > from_ms).then(|| to.saturating_sub(*from) as f64 * 1000.0 / (to_ms - from_ms) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_needs_two_measurements_that_are_not_far_apart() {
        let rates = Rates::default();
        rates.measure(1000, [("a", 10), ("b", 1)].into_iter());
        assert_eq!(rates.per_s("a"), None);
        rates.measure(3000, [("a", 50), ("b", 1), ("a", 20)].into_iter());
        assert_eq!((rates.per_s("a"), rates.per_s("b")), (Some(30.0), Some(0.0)));
        rates.measure(4000, [("a", 0)].into_iter());
        assert_eq!((rates.per_s("a"), rates.per_s("b")), (Some(0.0), None));
        rates.measure(60_000, [("a", 9000)].into_iter());
        assert_eq!(rates.per_s("a"), None);
    }
}
