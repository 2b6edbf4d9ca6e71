//! What travels along an edge.

use highwater_env::Epoch;

use crate::{ChangeBatch, EventTime};

/// One item on an edge, in order.
#[derive(Clone, Debug)]
pub enum Message {
    /// Rows.
    Batch(ChangeBatch),
    /// No later row is older than this; never decreases on one edge.
    Watermark(EventTime),
    /// The sender has nothing for now: it no longer holds the watermark back, until its next message.
    Idle,
    /// Everything before belongs to the epoch, everything after to the next (Chandy and Lamport, 1985).
    Barrier(Barrier),
    /// Nothing follows.
    End,
}

/// The cut between two epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// What follows.
    pub kind: BarrierKind,
}

/// What follows a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierKind {
    /// The next epoch.
    Checkpoint,
    /// Nothing: the pipeline stops here, to be started again from this epoch.
    Stop,
}
