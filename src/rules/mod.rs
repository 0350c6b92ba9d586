//! The decisions. Pure: no I/O, no clock (`now` is an argument), no log; none can fail, and each says why.

pub mod alert;
pub mod backoff;
pub(crate) mod claude_cli;
pub(crate) mod digest;
pub(crate) mod doctor;
pub mod due;
pub mod health;
pub mod heard;
pub(crate) mod keys;
pub mod lineage;
pub mod metrics;
pub mod nagios;
pub(crate) mod neighbours;
pub mod plan;
pub mod remote;
pub mod renew;
pub mod resolve;
pub mod set_back;
pub mod shape;
pub(crate) mod spent;
pub(crate) mod stopped;
pub mod story;
pub(crate) mod target;
pub mod text;
pub mod wording;
