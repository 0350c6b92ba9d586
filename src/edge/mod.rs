//! The only code that touches files, locks, HTTP and subprocesses (`clippy.toml` forbids the rest).
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the edge that the rest of the crate goes through"
)]

pub(crate) mod files;
pub mod host;
pub mod http;
pub(crate) mod identity;
pub(crate) mod keychain;
pub(crate) mod listen;
pub(crate) mod locks;
pub(crate) mod names;
pub(crate) mod net;
pub(crate) mod openclaw;
pub(crate) mod process;
pub mod progress;
pub(crate) mod random;
pub(crate) mod replace;
pub(crate) mod schedule;
pub(crate) mod screen;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod step;
pub(crate) mod subprocess;
pub(crate) mod target;
pub(crate) mod terminal;
pub(crate) mod termux;
pub(crate) mod trust;
pub(crate) mod wake;
pub(crate) mod whose;
