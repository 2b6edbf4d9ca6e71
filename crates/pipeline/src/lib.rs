//! Pipelines from submit to drop: compile, start, epochs, recovery, commit; and the materialized
//! tables they keep.
//!
//! Invariants:
//! - A sink's output becomes visible only after the manifest of its epoch is durable.
//! - A pipeline goes on from its highest manifest or not at all; an older one is never taken instead.
//! - State made by other SQL is refused, not guessed at.
//! - A materialized table changes by whole epochs.
//!
//! It must not use tokio or sockets, know SQL syntax, or evaluate rows.

mod collect;
mod connect;
mod dead_letter;
mod definition;
mod epochs;
mod failpoint;
pub mod materialize;
mod once;
mod pipelines;
mod progress;
mod run;
mod settings;
mod supervisor;
pub mod tables;

pub use collect::{Collect, CollectFormat, CollectTarget};
pub use dead_letter::{dead_letter_schema, dead_letter_topic};
pub use definition::{Definition, DefinitionError, Wanted, is_valid_name};
pub use epochs::{EpochCause, EpochError, EpochStore};
pub use failpoint::FailpointConnect;
pub use once::{Once, OnceError, run_once};
pub use pipelines::{Host, PipelineError, PipelineStatus, Pipelines};
pub use progress::{CommittedEpoch, Progress};
pub use run::{Outcome, RunContext, RunError, RunOptions, check_fingerprint, fingerprint, run};
pub use settings::epoch_interval;
pub use supervisor::{State, Supervisor};
