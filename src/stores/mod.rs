//! The agents' auth stores: which families exist, where their agents' stores lie, how to read and patch them.

pub mod agent_config;
pub mod agent_entry;
pub(crate) mod aside;
pub mod discover;
pub mod dotenv;
pub mod families;
pub mod sqlite;
pub mod store;
