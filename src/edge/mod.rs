//! The only code that touches files, locks, HTTP and subprocesses (`clippy.toml` forbids the rest).
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this is the edge that the rest of the crate goes through"
)]

pub mod files;
pub mod host;
pub mod http;
pub(crate) mod identity;
pub mod keychain;
pub mod listen;
pub mod locks;
pub(crate) mod names;
pub mod net;
pub(crate) mod openclaw;
pub(crate) mod process;
pub mod progress;
pub(crate) mod random;
pub mod replace;
pub mod schedule;
pub mod screen;
pub mod session;
pub mod signals;
pub mod subprocess;
pub(crate) mod target;
pub mod terminal;
pub mod termux;
pub mod wake;
pub(crate) mod whose;
