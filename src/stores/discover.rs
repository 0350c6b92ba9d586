//! Finds every agent of every family: union of what the config says and what is on disk.

use super::families::StateDir;
use crate::ctx::Host;
use crate::types::{AgentRef, Problem};

/// An agent with the index of its state directory in [`Found::state_dirs`].
#[derive(Clone, Debug)]
pub struct Agent {
    /// Who it is and where it lives.
    pub agent: AgentRef,
    /// Index into [`Found::state_dirs`].
    pub state_dir: usize,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The state directories, each real directory once.
    pub state_dirs: Vec<StateDir>,
    /// The agents, sorted by label, each real directory once.
    pub agents: Vec<Agent>,
    /// What could not be understood.
    pub problems: Vec<Problem>,
    /// Every place that was looked at, for "nothing found".
    pub looked_at: Vec<std::path::PathBuf>,
}

/// Looks.
pub fn discover(_host: &Host) -> Found {
    todo!()
}
