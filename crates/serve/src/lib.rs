//! The HTTP server. See [`Node`] for what it needs of a node.

pub mod metrics;

mod feed;
mod node;

pub use feed::Feed;
pub use node::*;
