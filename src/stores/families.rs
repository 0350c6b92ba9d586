//! The table of store families, and how a state directory's generation is told.

use crate::types::Family;
use std::path::PathBuf;

/// How a store's file is locked by the agents that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A directory `<file>.lock` (proper-lockfile 4.1.2).
    Directory,
    /// A file `<file>.lock` holding `{"pid","createdAt"}`.
    File,
}

/// The generation of the product that last touched a state directory, which decides format and lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generation {
    /// JSON stores with this lock.
    Json(LockKind),
    /// JSON stores may not be written, since what lives here cannot be told; says why.
    Unknown(String),
    /// SQLite stores (openclaw 2026.6.5 and later): JSON beside them must be neither made nor written.
    Sqlite,
}

/// A product's state directory, found and understood.
#[derive(Clone, Debug)]
pub struct StateDir {
    /// The product.
    pub family: Family,
    /// `X` of `--profile X`.
    pub named: Option<String>,
    /// The directory, links followed.
    pub dir: PathBuf,
    /// The agents' config file, if there is one.
    pub config_path: Option<PathBuf>,
    /// The default agent's id (`main` unless the config says otherwise).
    pub default_agent: String,
    /// Format and lock.
    pub generation: Generation,
    /// `state/openclaw.sqlite`, if there is one.
    pub shared_sqlite: Option<PathBuf>,
    /// Names (never values) of the non-blank variables in `<state>/.env`.
    pub dotenv: Vec<String>,
    /// Providers of the models in use by the default agent (`agents.defaults.model` and the agent's own), `anthropic` where
    /// the config names none; for the raw clock's "a provider in use has no auth".
    pub providers_in_use: Vec<String>,
}
