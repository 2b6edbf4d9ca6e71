//! What the fuzz targets share: a meter of memory, data directories to damage, batches to forge.
//!
//! A target fails when the code under test panics, takes more memory than its input allows, or says
//! something else than was written. It must not fail on an error that is reported.

pub mod directory;
pub mod forge;
pub mod meter;
