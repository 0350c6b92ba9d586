//! One test binary over the real `nolapse`: temporary homes, the environment as data, loopback only.

mod canary;
mod cli;
mod fixtures;
mod home;
mod kill;
mod locks;
mod passes;
mod tokens;
