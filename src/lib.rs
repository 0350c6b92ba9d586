//! nolapse keeps Claude Code logins from lapsing, and tells a person in time when only a person can help.
//!
//! The modules, in reading order; ARCHITECTURE.md is the map with the invariants.

// what the binary, the example, the fuzz targets and the tests do not need stays in the crate, where dead code shows
#![warn(unreachable_pub)]
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

pub mod cause;
pub mod secret;
pub mod types;

pub mod config;
pub mod ctx;

mod layout;
mod visible;

pub mod edge;
mod json;

pub mod table;

mod sources;
mod stores;

pub mod rules;

mod outcome;

mod act;
mod look;

pub mod deliver;
mod history;
mod judge;
mod ledger;
mod note;
pub mod notify;
mod phone;
mod remotes;
mod renew;

mod heard;
mod strangers;

mod pass;

mod metrics;

mod by_hand;
mod doctor;
mod link;
mod openclaw;
mod reauth;

mod daemon;
mod install;
mod report;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
#[cfg(test)]
mod trials;
