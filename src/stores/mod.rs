//! The agents' auth stores: which families exist, where their agents' stores lie, how to read and patch them.

pub mod discover;
pub mod families;
pub mod sqlite;
pub mod store;
