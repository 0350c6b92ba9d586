//! The part of the configuration that rules decide by.

use crate::types::{DAY, HOUR, MINUTE, Moment, Ms};
use std::path::PathBuf;

/// `[sync]`: what is copied from logins into agents' stores.
#[derive(Clone, Debug)]
pub struct SyncConfig {
    /// Whether stores are written at all.
    pub(crate) enabled: bool,
    /// What a profile that does not exist yet is given.
    pub(crate) share: Share,
    /// Where a profile that does not exist yet is made.
    pub(crate) create: Create,
    /// The profile id that mirrors the login.
    pub(crate) profile: String,
    /// Agents (`family/agent`) that are judged and never written; globs.
    pub(crate) exclude_agents: Vec<glob::Pattern>,
}

/// What a profile that does not exist yet is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// The access token alone: the agent can work, and can never spend the login's refresh token.
    Access,
    /// Access and refresh token, as Clawdbot's own sync wrote it.
    Full,
}

/// How a login is renewed without a human.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RenewMode {
    /// The unmodified Claude Code CLI is run so that it renews its own login.
    Delegate,
    /// nolapse makes the token exchange itself, under Claude Code's locks.
    Direct,
    /// Nobody here; Claude Code and the agents renew when they are used.
    Off,
}

/// `[alerts]`: when people are told.
#[derive(Clone, Debug)]
pub struct AlertsConfig {
    /// Warnings before a deadline, longest first, [`Ms`].
    pub(crate) steps: Vec<Ms>,
    /// How long a copy may be expired while its login is being renewed, [`Ms`].
    pub grace: Ms,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self {
            steps: vec![7 * DAY, 3 * DAY, DAY, 6 * HOUR],
            grace: 30 * MINUTE,
        }
    }
}

impl AlertsConfig {
    /// What verdicts are given by at this moment.
    pub fn at(&self, now: Moment) -> AsOf<'_> {
        AsOf { policy: self, now }
    }
}

/// What verdicts are given by: a policy, as of a moment.
#[derive(Clone, Copy, Debug)]
pub struct AsOf<'a> {
    pub(super) policy: &'a AlertsConfig,
    pub(super) now: Moment,
}

/// `[[login]]`.
#[derive(Clone, Debug)]
pub(crate) struct LoginConfig {
    /// Claude Code's directory.
    pub(crate) dir: PathBuf,
    /// Its id in messages.
    pub(crate) name: Option<String>,
    /// The agents (globs) that get this login; without it, only the first login is given to agents.
    pub(crate) agents: Option<Vec<glob::Pattern>>,
    /// The profile id that mirrors this login, if not `sync.profile`.
    pub(crate) profile: Option<String>,
}

/// Where a profile that does not exist yet is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Create {
    /// Where the agent itself would make it: clawdbot up to 2026.1.24-3, which reads Claude Code's file on every start.
    AsAgentsDo,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}
