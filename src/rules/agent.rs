//! An agent as data: the state directory it lives in, and what its store holds.

use super::resolve::AuthConfig;
use crate::secret::Secret;
use crate::types::{AgentRef, Family, Flaw, LockKind, Moment, Profile};
use std::fmt;
use std::path::PathBuf;

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

/// Which locks a family's agents hold while they renew an OAuth grant, outermost first. All of them hold the store's own lock
/// over the whole exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshLocks {
    /// The store's alone.
    Store,
    /// `refresh_lock_target`'s first, and inside it the store's.
    GrantThenStore,
}

/// A product's state directory, found and understood.
#[derive(Clone, Debug)]
pub struct StateDir {
    /// The product.
    pub family: Family,
    /// `X` of `--profile X`.
    pub named: Option<String>,
    /// The directory, links followed. Absent where only an agent directory named by the environment exists.
    pub dir: PathBuf,
    /// The agents' config file, if there is one.
    pub config_path: Option<PathBuf>,
    /// The default agent's id (`main` unless the config says otherwise).
    pub default_agent: String,
    /// Format and lock.
    pub generation: Generation,
    /// Version of the product that last wrote the config, as it spells it.
    pub version: Option<String>,
    /// What a refresh holds here, or why that cannot be told.
    pub refresh_locks: Result<RefreshLocks, String>,
    /// `state/openclaw.sqlite`, if there is one.
    pub shared_sqlite: Option<PathBuf>,
    /// Names (never values) of the non-blank variables in `<state>/.env`.
    pub dotenv: Vec<String>,
    /// Those of them whose value serves nobody, and why.
    pub dotenv_flaws: Vec<(String, Flaw)>,
    /// Providers of the models in use by the default agent (`agents.defaults.model` and the agent's own), `anthropic` where
    /// the config names none; for the raw clock's "a provider in use has no auth".
    pub providers_in_use: Vec<String>,
    /// The same of each agent that the config names, by id, and of all others.
    pub agent_providers: (Vec<(String, Vec<String>)>, Vec<String>),
    /// What the config says of credentials.
    pub auth: AuthConfig,
    /// An agent here has an `auth-state.json`.
    pub auth_state: bool,
    /// What the config says of the `claude` that the Claude CLI runtime starts.
    pub claude: ClaudeCommand,
    /// Where referenced secrets lie, as the config names it.
    pub secrets: Vec<SecretSource>,
    /// Its gateway, where one runs, does not follow the config until it is restarted.
    pub reload_off: bool,
}

impl StateDir {
    /// The providers of an agent's models.
    pub(crate) fn providers_of(&self, agent: &str) -> &[String] {
        let (named, shared) = &self.agent_providers;
        named
            .iter()
            .find(|(id, _)| id == agent)
            .map_or(shared, |(_, list)| list)
    }
}

/// An agent with the index of its state directory in `Found::state_dirs`.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Who it is and where it lives.
    pub agent: AgentRef,
    /// Index into `Found::state_dirs`.
    pub state_dir: usize,
}

/// What a store's path holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// Nothing yet.
    Absent,
    /// Something that is no store, and stays so: never replaced.
    Malformed(String),
    /// A directory, so that its agent can save nothing.
    Directory,
    /// A FIFO, a socket or a device, likewise.
    Special,
    /// It would be a store but for the byte order mark that it begins with.
    ByteOrderMark,
    /// The system refused to read it.
    Refused(String),
    /// The same, and it is this user's: its mode keeps its owner out.
    OwnMode(String),
    /// A store with these valid entries, in file order.
    Read(Vec<Profile>),
}

impl Store {
    /// The valid entries, none where there is no readable store.
    pub(crate) fn profiles(&self) -> &[Profile] {
        match self {
            Self::Read(profiles) => profiles,
            _ => &[],
        }
    }

    /// Why nobody knows what it holds, where that is so.
    pub(crate) fn unread(&self) -> Option<&str> {
        match self {
            Self::Malformed(why) | Self::Refused(why) | Self::OwnMode(why) => Some(why),
            Self::Directory => Some("a directory stands in its place"),
            Self::Special => Some("what stands in its place is no file"),
            Self::ByteOrderMark => Some(BYTE_ORDER_MARK),
            Self::Absent | Self::Read(_) => None,
        }
    }

    /// Moves the valid entries out: a store is looked at once, and thousands of tokens are not kept twice.
    pub(crate) fn take_profiles(&mut self) -> Vec<Profile> {
        match self {
            Self::Read(profiles) => std::mem::take(profiles),
            _ => Vec::new(),
        }
    }
}

/// What is to stand under a profile id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// `{"type":"token"}`.
    Token {
        /// `token`.
        token: Secret,
        /// `expires`.
        expires: Moment,
    },
    /// `{"type":"oauth"}`.
    Oauth {
        /// `access`.
        access: Secret,
        /// `refresh`.
        refresh: Secret,
        /// `expires`.
        expires: Moment,
    },
}

/// One change of one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// The profile id.
    pub(crate) id: String,
    /// The provider, written only where the profile is made.
    pub(crate) provider: String,
    /// The new content.
    pub(crate) put: Put,
}

/// Year, month, number.
pub(crate) type Version = (u32, u32, u32);

/// `2026.1.24-3` as its three numbers; what follows them is ignored.
pub(crate) fn parse_version(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts = text.splitn(3, '.');
    let year = parts.next()?.parse().ok()?;
    let month = parts.next()?.parse().ok()?;
    let last = parts.next()?;
    let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
    Some((year, month, last[..end].parse().ok()?))
}

/// Whether agents of this state directory read Claude Code's file on every start, and make the profile themselves: clawdbot up to
/// 2026.1.24-3, which is assumed for a config without a version.
pub(crate) fn reads_claude(state_dir: &StateDir) -> bool {
    let last = (2026, 1, 24);
    let version = state_dir.version.as_deref();
    state_dir.family == Family::Clawdbot
        && version.is_none_or(|text| parse_version(text).is_none_or(|version| version <= last))
}

/// `agents.defaults.cliBackends.claude-cli`, and what the config sets in the agents' environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaudeCommand {
    /// `command`, if one is given: a program that may use any login.
    pub(crate) command: Option<String>,
    /// `CLAUDE_CONFIG_DIR` of its `env`.
    pub(crate) dir: Option<String>,
    /// `CLAUDE_CONFIG_DIR` of the config's `env`, for all that OpenClaw starts.
    pub(crate) env_dir: Option<String>,
}

/// An entry of `secrets.providers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSource {
    /// Its name.
    pub(crate) name: String,
    /// `file`, `exec`, `env` …
    pub(crate) source: String,
    /// `path` of a file, `command` of a program.
    pub(crate) path: String,
}

/// Why a store is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotWritten {
    /// In words.
    pub why: String,
    /// The command that changes that, where there is one.
    pub fix: Option<String>,
    /// Whom it stands against.
    pub binds: Binds,
}

/// Whom it is that cannot or may not write a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binds {
    /// nolapse alone.
    Us,
    /// The file or its directory is such that its agent, as this user, cannot write it either.
    Everybody,
}

impl fmt::Display for NotWritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl From<String> for NotWritten {
    fn from(why: String) -> Self {
        Self {
            why,
            fix: None,
            binds: Binds::Us,
        }
    }
}

impl From<&str> for NotWritten {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// Why an agent does not accept a store that begins with one.
pub(crate) const BYTE_ORDER_MARK: &str = "it begins with a byte order mark, which the agents cannot read";

/// What the cause says where a file's mode does not let its own owner read it.
pub(crate) const OWN_MODE: &str = "its mode keeps its owner out";
