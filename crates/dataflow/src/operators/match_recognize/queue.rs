//! Attempts in the order in which they are looked at.

use super::nfa::Attempt;

/// A binary heap of attempts, the earliest first.
///
/// Among attempts that start with the same row, the order decides which match is found first; so this is the
/// heap of Java's `PriorityQueue`, step by step, whose order Flink's results depend on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Queue(Vec<Attempt>);

impl Queue {
    /// Takes over attempts that [`Queue::attempts`] gave.
    pub(super) fn restored(attempts: Vec<Attempt>) -> Self {
        Self(attempts)
    }

    pub(super) fn attempts(&self) -> &[Attempt] {
        &self.0
    }

    pub(super) fn attempts_mut(&mut self) -> &mut [Attempt] {
        &mut self.0
    }

    /// The attempts in the heap's order, which is not the sorted one.
    pub(super) fn into_attempts(self) -> Vec<Attempt> {
        self.0
    }

    pub(super) fn peek(&self) -> Option<&Attempt> {
        self.0.first()
    }

    pub(super) fn push(&mut self, attempt: Attempt) {
        let mut place = self.0.len();
        self.0.push(attempt);
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.0[place].start >= self.0[parent].start {
                break;
            }
            self.0.swap(place, parent);
            place = parent;
        }
    }

    pub(super) fn pop(&mut self) -> Option<Attempt> {
        if self.0.is_empty() {
            return None;
        }
        let first = self.0.swap_remove(0);
        self.sift_down(0);
        Some(first)
    }

    /// Keeps the attempts for which `keep` is true. Like Java, builds the heap anew only if any goes.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Attempt) -> bool) {
        let before = self.0.len();
        self.0.retain(keep);
        if self.0.len() < before {
            for place in (0..self.0.len() / 2).rev() {
                self.sift_down(place);
            }
        }
    }

    fn sift_down(&mut self, mut place: usize) {
        let len = self.0.len();
        while place < len / 2 {
            let mut child = 2 * place + 1;
            if child + 1 < len && self.0[child].start > self.0[child + 1].start {
                child += 1;
            }
            if self.0[place].start <= self.0[child].start {
                break;
            }
            self.0.swap(place, child);
            place = child;
        }
    }
}
