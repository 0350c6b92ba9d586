//! One test binary over the real `nolapse`: temporary homes, the environment as data, loopback only.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests build their own worlds; the edges hold in `src/`"
)]

mod ahead;
mod alerts;
mod canary;
mod channel;
mod cli;
mod config;
mod daemon;
mod delegate;
mod docs;
mod doctor;
mod endpoint;
mod fixtures;
mod flood;
mod heard;
mod history;
mod home;
mod homes;
mod install;
mod kill;
mod listen;
mod locks;
mod metrics;
mod openclaw;
mod outputs;
mod page;
mod passes;
mod phone;
mod progress;
mod reauth;
mod receiver;
mod release;
mod remedies;
mod remotes;
mod renew;
mod root;
mod schema;
mod setup;
mod shape;
mod tokens;
mod watch;

#[path = "../../examples/simulate.rs"]
#[allow(dead_code, reason = "its `main` prints what the test below asserts")]
mod simulate;
