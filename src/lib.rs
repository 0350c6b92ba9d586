//! nolapse keeps Claude Code logins from lapsing, and tells a person in time when only a person can help.
//!
//! The modules, in reading order; ARCHITECTURE.md is the map with the invariants.

// tests build their own worlds; `clippy.toml` holds the edges of everything else
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        clippy::print_stdout,
        clippy::print_stderr
    )
)]

pub mod secret;
pub mod types;

pub mod config;
pub mod ctx;

pub mod layout;
pub(crate) mod visible;

pub mod edge;
pub mod json;

pub mod table;

pub mod sources;
pub mod stores;

pub mod rules;

pub mod outcome;

pub mod look;

pub mod deliver;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod note;
pub mod notify;
pub(crate) mod phone;
pub mod remotes;
pub mod renew;

mod heard;
mod strangers;

pub mod pass;

pub mod metrics;

pub mod by_hand;
pub(crate) mod doctor;
pub(crate) mod link;
pub(crate) mod openclaw;
pub mod reauth;

pub mod daemon;
pub mod install;
pub mod report;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
