//! One file per command.

pub(crate) mod answers;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod group;
pub(crate) mod pipeline;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod topic;
pub(crate) mod transaction;
