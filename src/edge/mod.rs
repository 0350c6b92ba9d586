//! The only code that touches files, locks, HTTP and subprocesses (`clippy.toml` forbids the rest).

pub mod files;
pub mod http;
pub mod keychain;
pub mod locks;
pub mod subprocess;
pub mod terminal;
