//! Loose file and environment -> strict [`Config`].

pub mod table;

/// The policy of a run.
#[derive(Clone, Debug, Default)]
pub struct Config {}
