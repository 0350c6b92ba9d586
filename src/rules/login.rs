//! A login as data: where it is kept and what stands there, as it was found.

use crate::rules::resolve::KEY_VAR;
use crate::secret::Secret;
use crate::types::{Flaw, Meta, Moment};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// The file of a login, in its directory.
pub(crate) const FILE_NAME: &str = ".credentials.json";

/// Where a login is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `D/.credentials.json`.
    File,
    /// The macOS Keychain.
    Keychain,
    /// A token in the environment.
    Env,
}

/// A place where a login may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A short stable name: `claude`, or the directory's name.
    pub id: String,
    /// Claude Code's directory D.
    pub dir: PathBuf,
    /// Named by the configuration, so its absence is reported.
    pub configured: bool,
    /// The agents (globs) that get this login; `None`: those that no other login names, if this is the first.
    pub agents: Option<Vec<glob::Pattern>>,
    /// The profile id that mirrors this login, if not `sync.profile`.
    pub profile: Option<String>,
    /// The directory string as Claude Code sees it in `CLAUDE_CONFIG_DIR`, for the Keychain item's name.
    pub dir_var: Option<String>,
}

impl Place {
    /// A place of which no more is said.
    pub fn new(id: impl Into<String>, dir: impl Into<PathBuf>, configured: bool) -> Self {
        Self {
            id: id.into(),
            dir: dir.into(),
            configured,
            agents: None,
            profile: None,
            dir_var: None,
        }
    }

    /// `D/.credentials.json`.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(FILE_NAME)
    }

    /// `D/.oauth_refresh.lock`, the first lock.
    pub(crate) fn refresh_lock(&self) -> PathBuf {
        self.dir.join(".oauth_refresh.lock")
    }

    /// `D/.storage-write.lock`, held for milliseconds around a save.
    pub(crate) fn write_lock(&self) -> PathBuf {
        self.dir.join(".storage-write.lock")
    }

    /// `D/.oauth_refresh.lock.owner`, the record of who refreshes.
    pub(crate) fn owner_record(&self) -> PathBuf {
        owner_beside(&self.refresh_lock())
    }
}

/// A login as it was found.
#[derive(Clone, Debug)]
pub struct Login {
    /// Where.
    pub place: Place,
    /// How it is kept.
    pub source: Source,
    /// What is there.
    pub state: State,
    /// The file, where it is one.
    pub meta: Option<Meta>,
    /// What else takes precedence over it.
    pub shadowed_by: Vec<Shadow>,
    /// A refresh was begun (`.owner` written) and its lock is gone.
    pub abandoned: bool,
    /// A refresh lock's last touch, where one is held by nobody any more.
    pub dead_lock: Option<(PathBuf, Moment)>,
    /// Owner of the directory, to see that somebody else (root) took the file.
    pub dir_uid: Option<u32>,
    /// What the file is a link to. Claude Code replaces the link when it next saves (anthropics/claude-code#76561).
    pub link: Option<PathBuf>,
}

impl Grant {
    /// A grant with these tokens, of which no more is known.
    pub fn new(access: Secret, refresh: Refresh, expires: Option<Moment>) -> Self {
        Self {
            access: Some(access),
            refresh,
            expires,
            deadline: None,
            ended_by_limit: false,
            scopes: Some(Vec::new()),
            client_id: None,
            subscription: None,
            blanked: false,
        }
    }
}

impl Login {
    /// A login with nothing around it.
    pub fn new(place: Place, source: Source, state: State) -> Self {
        Self {
            place,
            source,
            state,
            meta: None,
            shadowed_by: Vec::new(),
            abandoned: false,
            dead_lock: None,
            dir_uid: None,
            link: None,
        }
    }

    /// Whether a token in Claude Code's settings is used before this login, and nothing says that it is not a token.
    pub(crate) fn settings_token(&self) -> bool {
        let token = |shadow: &Shadow| shadow.rival == Rival::Token && shadow.file.is_some() && shadow.flaw.is_none();
        self.simple().is_none() && self.shadowed_by.iter().any(token)
    }

    /// What makes Claude Code say that nobody is logged in, if anything does.
    pub(crate) fn simple(&self) -> Option<&Shadow> {
        self.shadowed_by.iter().find(|shadow| shadow.rival == Rival::Simple)
    }

    /// Whether Claude Code is set up to use something other than a login, so that this one is never used.
    pub(crate) fn set_aside(&self) -> bool {
        self.settings_token() || self.shadowed_by.iter().any(|shadow| shadow.rival.is_another_way_in())
    }

    /// The grant, where signed in.
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match &self.state {
            State::SignedIn(grant) => Some(grant),
            _ => None,
        }
    }
}

/// What a login's place holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Absent,
    /// Something that stays unreadable; the cause, without content.
    Unreadable {
        /// In words.
        why: String,
        /// Of what kind.
        fault: Fault,
    },
    /// Readable, and no login in it (signed out).
    SignedOut,
    /// A login.
    SignedIn(Grant),
}

/// Claude Code's `claudeAiOauth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `accessToken`; `None` where it is missing or `""`.
    pub access: Option<Secret>,
    /// `refreshToken`.
    pub refresh: Refresh,
    /// `expiresAt`; `None` where it is no number.
    pub expires: Option<Moment>,
    /// `refreshTokenExpiresAt`, as stored.
    pub deadline: Option<Moment>,
    /// `loginEnded` is `"time_limit"`.
    pub ended_by_limit: bool,
    /// `scopes`; `None` where it is no array, which Claude Code reads as "not logged in".
    pub scopes: Option<Vec<String>>,
    /// `clientId`.
    pub client_id: Option<String>,
    /// `subscriptionType`.
    pub subscription: Option<String>,
    /// `accessToken` and `refreshToken` are both there and both `""`: Claude Code blanked a dead login.
    pub blanked: bool,
}

/// `refreshToken`, where the difference between missing and blanked tells what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Missing or `null`: a token that cannot be renewed.
    None,
    /// `""`: blanked by Claude Code.
    Blank,
    /// There.
    Token(Secret),
}

impl Refresh {
    /// The token, if there is one.
    pub(crate) fn token(&self) -> Option<&Secret> {
        match self {
            Self::Token(token) => Some(token),
            _ => None,
        }
    }
}

/// Why a login's file stays unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The system refused to read it, so Claude Code may well be able to.
    Refused,
    /// The same, and it or its directory belongs to another user.
    Foreign,
    /// The same, and it is this user's: its mode keeps its owner out, Claude Code as well.
    Mode,
    /// What it holds is no credentials document.
    Content,
    /// It would be one but for the byte order mark that it begins with: Claude Code 2.1.330 says "Not logged in".
    ByteOrderMark,
    /// A directory is in its place. Claude Code says that a sign-in succeeded, and saves nothing.
    Directory,
    /// Something else that is no file is in its place.
    Special,
}

impl Fault {
    /// Whether it is only from here that it cannot be read.
    pub(crate) fn only_here(self) -> bool {
        matches!(self, Self::Refused | Self::Foreign)
    }
}

/// When a setup token was issued and when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetupToken {
    /// When it was made.
    pub(crate) issued_at: Moment,
    /// When it ends.
    pub(crate) expires_at: Moment,
    /// Where it was put, if not into agents' stores, so that its end is announced as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept: Option<Kept>,
}

/// A file that holds a setup token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The file.
    pub(crate) path: PathBuf,
    /// The variable, where the file is a `.env`.
    pub(crate) var: Option<String>,
}

/// That a login was brought up to date from an agent's copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healed {
    /// When.
    pub(crate) at: Moment,
    /// The agent's label.
    pub(crate) from: String,
}

/// Where the owner of a lock is recorded.
pub(crate) fn owner_beside(lock: &Path) -> PathBuf {
    let mut name = lock.as_os_str().to_owned();
    name.push(".owner");
    PathBuf::from(name)
}

/// Something that is set and takes precedence over a login. Shown by its name, never by its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// What.
    pub(crate) rival: Rival,
    /// The settings that set it; the environment does where there are none.
    pub(crate) file: Option<String>,
    /// Why the token there is none.
    pub(crate) flaw: Option<Flaw>,
}

impl fmt::Display for Shadow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rival.name())?;
        if let Some(file) = &self.file {
            write!(f, " in {file}")?;
        }
        self.flaw
            .map_or(Ok(()), |flaw| write!(f, ", which holds no token ({})", flaw.words()))
    }
}

/// What Claude Code takes before a stored login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    /// With it set, Claude Code says "Not logged in" whatever is stored (2.1.330).
    Simple,
    /// Another server, which the login's token is sent to.
    BaseUrl,
    /// Amazon's models.
    Bedrock,
    /// Google's.
    Vertex,
    /// Microsoft's.
    Foundry,
    /// A token for another endpoint.
    AuthToken,
    /// A program of the settings that prints a key.
    KeyHelper,
    /// An API key.
    ApiKey,
    /// A setup token.
    Token,
}

impl Rival {
    /// Those that are variables, strongest first (Claude Code's documentation, "authentication precedence").
    pub(crate) const VARS: [Self; 8] = [
        Self::Simple,
        Self::BaseUrl,
        Self::Bedrock,
        Self::Vertex,
        Self::Foundry,
        Self::AuthToken,
        Self::ApiKey,
        Self::Token,
    ];

    /// Its name: a variable, or a key of the settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Simple => "CLAUDE_CODE_SIMPLE",
            Self::BaseUrl => "ANTHROPIC_BASE_URL",
            Self::Bedrock => "CLAUDE_CODE_USE_BEDROCK",
            Self::Vertex => "CLAUDE_CODE_USE_VERTEX",
            Self::Foundry => "CLAUDE_CODE_USE_FOUNDRY",
            Self::AuthToken => AUTH_VAR,
            Self::KeyHelper => "apiKeyHelper",
            Self::ApiKey => KEY_VAR,
            Self::Token => TOKEN_VAR,
        }
    }

    /// Whether a variable of this value takes precedence over a login. Flags count as Claude Code reads them, and its own server is
    /// no other one (2.1.100, its bundle).
    pub(crate) fn is_set_by(self, value: &str) -> bool {
        let value = value.trim().to_lowercase();
        match self {
            Self::Simple | Self::Bedrock | Self::Vertex | Self::Foundry => {
                matches!(value.as_str(), "1" | "true" | "yes" | "on")
            }
            Self::BaseUrl => {
                let host = value.split_once("://").map_or(value.as_str(), |(_, rest)| rest);
                !value.is_empty() && host.split(['/', '?', '#']).next() != Some("api.anthropic.com")
            }
            _ => !value.is_empty(),
        }
    }

    /// Whether Claude Code, set up with it, never uses a login.
    fn is_another_way_in(self) -> bool {
        matches!(
            self,
            Self::Bedrock | Self::Vertex | Self::Foundry | Self::AuthToken | Self::KeyHelper
        )
    }
}

/// The environment variable that carries a setup token.
pub(crate) const TOKEN_VAR: &str = "CLAUDE_CODE_OAUTH_TOKEN";
/// A token for another endpoint, which Claude Code puts before its login.
pub(crate) const AUTH_VAR: &str = "ANTHROPIC_AUTH_TOKEN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_goes_before_a_login_only_as_claude_code_reads_it() {
        for (rival, value, want) in [
            (Rival::Simple, "1", true),
            (Rival::Simple, " True ", true),
            (Rival::Simple, "on", true),
            (Rival::Simple, "0", false),
            (Rival::Simple, "false", false),
            (Rival::Simple, "2", false),
            (Rival::Vertex, "yes", true),
            (Rival::Vertex, "0", false),
            (Rival::BaseUrl, "https://API.anthropic.com/", false),
            (Rival::BaseUrl, "https://api.anthropic.com.example.org", true),
            (Rival::BaseUrl, "http://localhost:4000", true),
            (Rival::BaseUrl, " ", false),
            (Rival::AuthToken, "0", true),
            (Rival::Token, "", false),
        ] {
            assert_eq!(rival.is_set_by(value), want, "{rival:?}={value}");
        }
    }

    #[test]
    fn what_is_refused_here_alone_may_be_read_elsewhere() {
        for (fault, is) in [
            (Fault::Refused, true),
            (Fault::Foreign, true),
            (Fault::Mode, false),
            (Fault::Content, false),
            (Fault::ByteOrderMark, false),
            (Fault::Directory, false),
            (Fault::Special, false),
        ] {
            assert_eq!(fault.only_here(), is, "{fault:?}");
        }
    }

    #[test]
    fn a_token_of_the_settings_is_used_first_unless_it_is_none_or_nobody_is_logged_in() {
        let file = || Some("settings.json".to_owned());
        let shadow = |rival, file, flaw| Shadow { rival, file, flaw };
        // what takes precedence; whether that is a token of the settings, and whether nobody is logged in
        for (shadowed_by, token, simple) in [
            (vec![], false, false),
            (vec![shadow(Rival::Token, file(), None)], true, false),
            (vec![shadow(Rival::Token, None, None)], false, false),
            (vec![shadow(Rival::Token, file(), Some(Flaw::Quoted))], false, false),
            (vec![shadow(Rival::ApiKey, file(), None)], false, false),
            (vec![shadow(Rival::ApiKey, file(), Some(Flaw::Quoted))], false, false),
            (vec![shadow(Rival::Simple, None, None)], false, true),
            (
                vec![shadow(Rival::Token, file(), None), shadow(Rival::Simple, file(), None)],
                false,
                true,
            ),
        ] {
            let mut login = Login::new(Place::new("claude", "/c", false), Source::File, State::Absent);
            login.shadowed_by = shadowed_by;
            assert_eq!(
                (login.settings_token(), login.simple().is_some()),
                (token, simple),
                "{:?}",
                login.shadowed_by
            );
        }
    }

    #[test]
    fn the_locks_are_where_claude_code_makes_them() {
        let place = Place::new("claude", "/c", false);
        for (path, wanted) in [
            (place.file(), "/c/.credentials.json"),
            (place.refresh_lock(), "/c/.oauth_refresh.lock"),
            (place.write_lock(), "/c/.storage-write.lock"),
            (place.owner_record(), "/c/.oauth_refresh.lock.owner"),
        ] {
            assert_eq!(path, Path::new(wanted));
        }
    }
}
