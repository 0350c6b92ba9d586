//! The words of the domain: ids, times, credentials as seen, health, problems, events. Plain data, no I/O.

use crate::cause::Cause;
use crate::secret::{Fingerprint, Secret};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, Sub};
use std::path::PathBuf;

/// A span of time in milliseconds, the unit of every foreign file and of our own. When something is, [`Moment`] says.
pub type Ms = i64;

/// A moment: milliseconds since 1970-01-01T00:00:00Z. Two make a span, a moment and a span make a moment, and nothing else does.
/// What hostile files say goes up to the ends of the range, so all of it stops there instead of wrapping around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(i64);

impl Moment {
    /// Before all others.
    pub const MIN: Self = Self(i64::MIN);
    /// 1970-01-01T00:00:00Z, which also stands for "never yet" in files.
    pub const EPOCH: Self = Self(0);
    /// After all others: the end of what never ends.
    pub const MAX: Self = Self(i64::MAX);

    /// So many milliseconds after 1970 began.
    pub const fn at(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970 began: for what is written, sent or asked of the system.
    pub const fn ms(self) -> i64 {
        self.0
    }
}

impl Add<Ms> for Moment {
    type Output = Self;

    fn add(self, span: Ms) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub<Ms> for Moment {
    type Output = Self;

    fn sub(self, span: Ms) -> Self {
        Self(self.0.saturating_sub(span))
    }
}

impl Sub for Moment {
    type Output = Ms;

    fn sub(self, earlier: Self) -> Ms {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since 1970 began, as every file and JSON has it.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most characters of a foreign id or name that are kept.
pub(crate) const LONGEST: usize = 256;

/// A foreign id or name as it is kept: of one longer than [`LONGEST`] the beginning, and a fingerprint of all of it, so that two stay
/// two. Such a name is judged and told, and never written back.
pub(crate) fn bounded(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST || text.chars().nth(LONGEST).is_none() {
        return Cow::Borrowed(text);
    }
    let begin: String = text.chars().take(LONGEST - MARK).collect();
    Cow::Owned(format!("{begin}…{}", Secret::new(text).fingerprint()))
}

/// Whether this may be what [`bounded`] left of a longer name.
pub(crate) fn is_cut(text: &str) -> bool {
    text.chars().count() == LONGEST && text.chars().nth(LONGEST - MARK) == Some('…')
}

/// An ellipsis and a fingerprint, in characters.
const MARK: usize = 17;

/// One second, minute, hour and day in [`Ms`].
pub(crate) const SECOND: Ms = 1_000;
/// One minute in [`Ms`].
pub const MINUTE: Ms = 60 * SECOND;
/// One hour in [`Ms`].
pub const HOUR: Ms = 60 * MINUTE;
/// One day in [`Ms`].
pub const DAY: Ms = 24 * HOUR;

/// How the file of a store or a login is locked by the programs that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A directory `<file>.lock` (proper-lockfile 4.1.2).
    Directory,
    /// A file `<file>.lock` holding `{"pid","createdAt"}`, complete from the first moment.
    File,
}

/// A product whose agents keep `auth-profiles.json` stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Clawdbot, the first name.
    Clawdbot,
    /// Moltbot, the second.
    Moltbot,
    /// OpenClaw, the present one.
    Openclaw,
}

/// The word that JSON has.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// One agent: where its auth store lives and who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRef {
    /// The product.
    pub family: Family,
    /// `X` of `--profile X` (`~/.clawdbot-X`), if the state directory is a named profile's.
    pub named: Option<String>,
    /// The agent id, normalised as the agents do (lower case, `-` for runs of invalid characters, at most 64).
    pub id: String,
    /// The agent's own folder, usually `<state dir>/agents/<id>/agent`.
    pub dir: PathBuf,
}

impl AgentRef {
    /// `family/agent`, or `family-profile/agent`: how an agent is named to people and in `exclude_agents` globs.
    pub(crate) fn label(&self) -> String {
        label(self.family, self.named.as_deref(), &self.id)
    }
}

/// The health of a profile or login: the agents' own five words, and one for what is kept elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// A reference to a secret kept elsewhere, whose end is not known here.
    Referenced,
    /// Works, and keeps working by itself or for long enough.
    Ok,
    /// Does not expire by the clock (an API key, a token with no recorded end).
    Static,
    /// Works now, ends soon, and a human will be needed.
    Expiring,
    /// Has ended.
    Expired,
    /// There is nothing usable.
    Missing,
}

impl Health {
    /// Whether a human need not be told.
    pub(crate) fn fine(self) -> bool {
        matches!(self, Self::Ok | Self::Static | Self::Referenced)
    }

    /// Order of badness, 0 best: for choosing the worst of several.
    pub(crate) fn badness(self) -> u8 {
        match self {
            Self::Referenced => 0,
            Self::Static => 1,
            Self::Ok => 2,
            Self::Expiring => 3,
            Self::Missing => 4,
            Self::Expired => 5,
        }
    }
}

/// The word that JSON has.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Why a health was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The access token is short-lived and renewed without a human.
    RenewsItself,
    /// The login's fixed deadline comes near.
    LoginEndsSoon,
    /// The login reached its deadline.
    LoginEnded,
    /// Claude Code blanked the login while its deadline was still ahead: two refreshers raced for one token.
    RaceLogout,
    /// Claude Code blanked the login, and nothing tells why.
    Blanked,
    /// The server answered `invalid_grant` for this refresh token.
    Rejected,
    /// An older state was put back, whose refresh token a renewal has used up.
    OlderState,
    /// The credential ends by the clock and nothing can renew it.
    NoRefreshToken,
    /// A copy of the login was not brought up to date in time.
    CopyStale,
    /// A copy's refresh token differs from its login's, and which one is alive cannot be known from here.
    CopyDiverged,
    /// A refresh was begun and never saved; its refresh token is probably spent.
    AbandonedRefresh,
    /// It should be renewed although no agent uses it, and its access token expired longer ago than the grace.
    NotRenewed,
    /// The file is there and cannot be read or parsed.
    Unreadable,
    /// The store was superseded by another format and is not used any more.
    StoreRetired,
    /// A setup token whose date of issue nobody recorded.
    IssueDateUnknown,
    /// The value of a token or key is not a token or key.
    NoToken,
    /// Its agent refuses a profile of this id, whatever it holds.
    ProfileRetired,
}

impl Reason {
    /// The stable word used in JSON and the ledger.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::RenewsItself => "renews_itself",
            Self::LoginEndsSoon => "login_ends_soon",
            Self::LoginEnded => "login_ended",
            Self::RaceLogout => "race_logout",
            Self::Blanked => "blanked",
            Self::Rejected => "rejected",
            Self::OlderState => "older_state",
            Self::NoRefreshToken => "no_refresh_token",
            Self::CopyStale => "copy_stale",
            Self::CopyDiverged => "copy_diverged",
            Self::AbandonedRefresh => "abandoned_refresh",
            Self::NotRenewed => "not_renewed",
            Self::Unreadable => "unreadable",
            Self::StoreRetired => "store_retired",
            Self::IssueDateUnknown => "issue_date_unknown",
            Self::NoToken => "no_token",
            Self::ProfileRetired => "profile_retired",
        }
    }
}

/// What an agent's store holds under one profile id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `{"type":"api_key"}`: never expires by the clock.
    ApiKey,
    /// `{"type":"token"}`; `token` is `None` where it is kept elsewhere (`tokenRef`).
    Token {
        /// The token itself.
        token: Option<Secret>,
        /// `expires`, if a positive number.
        expires: Option<Moment>,
    },
    /// `{"type":"oauth"}`.
    Oauth {
        /// The access token.
        access: Option<Secret>,
        /// The refresh token, if it is there and not empty.
        refresh: Option<Secret>,
        /// `expires`, if a positive finite number.
        expires: Option<Moment>,
    },
}

impl Credential {
    /// The `type` word in the store.
    pub(crate) fn type_word(&self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::Token { .. } => "token",
            Self::Oauth { .. } => "oauth",
        }
    }

    /// When it expires by the clock.
    pub(crate) fn expires(&self) -> Option<Moment> {
        match self {
            Self::ApiKey => None,
            Self::Token { expires, .. } | Self::Oauth { expires, .. } => *expires,
        }
    }

    /// The refresh token's fingerprint, the identity of a grant.
    pub(crate) fn refresh_fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Oauth {
                refresh: Some(refresh), ..
            } => Some(refresh.fingerprint()),
            _ => None,
        }
    }
}

/// How an entry of a store holds its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Held {
    /// In the entry, and it may be one.
    #[default]
    Inline,
    /// The value is not a token, judged by its shape alone.
    Flawed(Flaw),
    /// Elsewhere: `keyRef`, `tokenRef`, or an object where the text belongs (openclaw 2026.3 and later).
    Referenced(SecretRef),
    /// In no store: a program that the agent runs uses a login; which, in words.
    Runtime(String),
}

/// Where a secret lies that an entry refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// `env`, `file`, `exec` or `store`; blank where it is not told.
    pub(crate) source: String,
    /// The name of the source in the agents' config.
    pub(crate) provider: String,
    /// Which secret: a variable, a JSON pointer.
    pub(crate) id: String,
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source.as_str(), self.provider.as_str()) {
            ("", _) => f.write_str("of a form that is not known"),
            (source, "" | "default") => write!(f, "{source} {}", self.id),
            (source, provider) => write!(f, "{source} {provider} {}", self.id),
        }
    }
}

/// One valid entry of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The profile id, `anthropic:claude-cli`.
    pub id: String,
    /// The provider, `anthropic`.
    pub provider: String,
    /// The credential.
    pub credential: Credential,
    /// How it holds its secret.
    pub held: Held,
    /// Whose it is, where the store says so of an `oauth` of Anthropic's: of `email` and `accountId`.
    pub account: Option<Fingerprint>,
}

/// Something a person should know, found on the way: what, where, why it matters and the one thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word: `store_malformed`, `unreadable`, `json_beside_sqlite` …
    pub(crate) kind: &'static str,
    /// The file or directory concerned.
    pub(crate) path: Option<PathBuf>,
    /// The cause, lower case, no period.
    pub(crate) message: String,
    /// The one command or step that helps.
    pub(crate) hint: String,
}

impl Problem {
    /// A problem about `path`.
    pub(crate) fn at(
        kind: &'static str,
        path: impl Into<PathBuf>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            path: Some(path.into()),
            message: message.into(),
            hint: hint.into(),
        }
    }
}

/// How loud an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// A human will be needed, not now.
    Warning,
    /// Agents have stopped or are about to.
    Critical,
}

impl Severity {
    /// `info`, `warning`, `critical`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Whether an event says that something is wrong or that it is right again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Something is wrong.
    Firing,
    /// It is right again.
    Resolved,
}

/// A login as an event names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventLogin {
    /// The login's id, `claude`.
    pub(crate) id: String,
    /// Its directory, `~` for the home.
    pub(crate) dir: String,
    /// Its health.
    pub(crate) health: Health,
    /// Why.
    pub(crate) reason: Option<Reason>,
    /// When its access token ends.
    pub(crate) access_expires_at: Option<Moment>,
    /// Its fixed deadline.
    pub(crate) login_ends_at: Option<Moment>,
}

/// A profile that hangs on the cause of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Affected {
    /// The product.
    pub(crate) family: Family,
    /// `X` of `--profile X`, if the agent lives in a named profile's state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) named: Option<String>,
    /// The agent.
    pub(crate) agent: String,
    /// The profile id.
    pub(crate) profile: String,
    /// Its judged health.
    pub(crate) health: Health,
    /// When it expires by the clock.
    pub(crate) expires_at: Option<Moment>,
}

impl Affected {
    /// The agent's label, as [`AgentRef::label`] has it.
    pub(crate) fn label(&self) -> String {
        label(self.family, self.named.as_deref(), &self.agent)
    }
}

/// How an agent is named to people.
pub(crate) fn label(family: Family, named: Option<&str>, agent: &str) -> String {
    match named {
        Some(named) => format!("{family}-{named}/{agent}"),
        None => format!("{family}/{agent}"),
    }
}

/// One thing to tell a person, the same for every channel and over every retry. Holds no secret, so it may be stored,
/// logged and sent. Its JSON is the public `nolapse.alert/1` schema.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Unique and unchanging over retries: receivers drop duplicates by it (`msg_…`).
    pub event_id: String,
    /// The root cause, the same from its first warning to its recovery: `login:claude`, `store:clawdbot/main`.
    pub alert_id: Cause,
    /// Firing or resolved.
    pub status: Status,
    /// How loud.
    pub severity: Severity,
    /// What happened, a stable word: a [`Reason`] word, or a problem's kind.
    pub(crate) kind: String,
    /// One line.
    pub(crate) title: String,
    /// A few lines: since or until when, who is affected, what to do. Lines are parted by `\n`, plain text.
    pub(crate) message: String,
    /// The commands that help, the first one first.
    pub(crate) commands: Vec<String>,
    /// The login concerned, if one is.
    pub(crate) login: Option<EventLogin>,
    /// Who hangs on it.
    pub(crate) affected: Vec<Affected>,
    /// The host it happened on.
    pub(crate) host: String,
    /// When this event was decided.
    pub at: Moment,
}

/// The part of `stat` that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, `0o7777`.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Last modification.
    pub(crate) modified: Moment,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Whether what was opened is itself a symbolic link.
    pub(crate) link: bool,
}

/// Why something is no token or key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Nothing, or white space.
    Empty,
    /// `${NAME}` or the like, which agents take literally.
    Placeholder,
    /// A value from an example, or one that was masked.
    Example,
    /// `export NAME=…`.
    Assignment,
    /// Quotes are part of it.
    Quoted,
    /// A line break or blank inside.
    Broken,
    /// `CODE#STATE`, which signs in once and is no token.
    Code,
    /// A refresh token.
    RefreshToken,
    /// An API key where a token belongs.
    ApiKey,
    /// A token where an API key belongs.
    Token,
    /// Two in a row.
    Doubled,
    /// Shorter than a token is.
    Cut,
    /// It begins like a token and has a character that no token has.
    Damaged,
}

impl Flaw {
    /// What it looks like, after "it is" or "that is".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Placeholder => "a placeholder: agents do not fill in variables here",
            Self::Example => "an example or masked value",
            Self::Assignment => "a shell assignment, not the token alone",
            Self::Quoted => "in quotes, which agents take for part of it",
            Self::Broken => "broken by a line break or blank inside",
            Self::Code => "a sign-in code (`code#state`), which is no token",
            Self::RefreshToken => "a refresh token, which is no access token",
            Self::ApiKey => "an API key kept as a token",
            Self::Token => "an OAuth token kept as an API key",
            Self::Doubled => "two tokens in a row",
            Self::Cut => "cut: a whole token has 108 characters",
            Self::Damaged => "damaged: it has a character that no token has",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let long = |end: &str| format!("{}{end}", "ä".repeat(2000));
        let cut = bounded(&long("a")).into_owned();
        assert_eq!(cut.chars().count(), LONGEST);
        assert_ne!(cut, bounded(&long("b")));
        assert_eq!(bounded(&cut), cut);
        assert!(is_cut(&cut) && !is_cut("anthropic:claude-cli") && !is_cut(&"x".repeat(LONGEST)));
        assert_eq!(bounded(&"ä".repeat(LONGEST)), "ä".repeat(LONGEST));
    }

    #[test]
    fn moments_stop_at_the_ends_of_their_range_and_are_bare_numbers_in_json() {
        assert_eq!(Moment::MAX + HOUR, Moment::MAX);
        assert_eq!(Moment::MIN - HOUR, Moment::MIN);
        assert_eq!(Moment::MAX - Moment::at(-1), Ms::MAX);
        assert_eq!(
            serde_json::to_string(&Moment::at(7)).unwrap(),
            Moment::at(7).to_string()
        );
        assert_eq!(serde_json::from_str::<Moment>("7").unwrap(), Moment::EPOCH + 7);
    }
}
