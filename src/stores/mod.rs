//! The agents' auth stores: which families exist, where their agents' stores lie, how to read and patch them.

pub(crate) mod agent_config;
pub(crate) mod agent_entry;
pub(crate) mod aside;
pub(crate) mod discover;
pub(crate) mod dotenv;
pub(crate) mod families;
pub(crate) mod sqlite;
pub(crate) mod store;
