//! What `doctor` finds: facts in, findings out. Health and alerts are judged elsewhere and only put in their place here.

use super::alert::Alert;
use super::lineage::Relation;
use super::wording::{self, Words, quote, span};
use crate::secret::Fingerprint;
use crate::types::{DAY, HOUR, MINUTE, Ms, Problem, Severity};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// Our own configuration.
    Configuration,
    /// Claude Code's logins.
    Logins,
    /// The agents' stores.
    Agents,
    /// Locks, of Claude Code and of the agents.
    Locks,
    /// Owners, modes, our state directory, room on the disk.
    Files,
    /// Channels and the heartbeat.
    Telling,
    /// Who runs nolapse, and with which `claude`.
    Running,
    /// Other hosts.
    Remotes,
    /// The time of day.
    Clock,
}

impl Group {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Configuration,
        Self::Logins,
        Self::Agents,
        Self::Locks,
        Self::Files,
        Self::Telling,
        Self::Running,
        Self::Remotes,
        Self::Clock,
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Logins => "logins",
            Self::Agents => "agents",
            Self::Locks => "locks",
            Self::Files => "files",
            Self::Telling => "telling",
            Self::Running => "running",
            Self::Remotes => "remotes",
            Self::Clock => "clock",
        }
    }
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It does not work, and a person is needed.
    Broken,
    /// It could not be told.
    Unknown,
    /// It works, and will not always.
    Warning,
    /// Good to know; counts for nothing.
    Note,
}

impl Level {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A command.
    Run(String),
    /// What no command does.
    Do(String),
}

/// What `doctor --fix` does by itself. None of it reads, spends or moves a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// Takes permissions away.
    Mode {
        /// Of this file or directory of ours.
        path: PathBuf,
        /// What is left at the most.
        mode: u32,
    },
    /// Removes a lock whose holder died, if it still is one.
    Lock {
        /// The lock.
        path: PathBuf,
        /// A directory not touched for this long is nobody's.
        stale_after: Duration,
    },
}

impl Fix {
    /// What it is done to.
    pub fn path(&self) -> &Path {
        match self {
            Self::Mode { path, .. } | Self::Lock { path, .. } => path,
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A stable word.
    pub kind: String,
    /// What it is about.
    pub group: Group,
    /// How bad it is.
    pub level: Level,
    /// The file or directory.
    pub path: Option<PathBuf>,
    /// What was found.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// What helps.
    pub remedy: Remedy,
    /// What `--fix` would do.
    pub fix: Option<Fix>,
}

impl Finding {
    fn new(kind: &str, group: Group, level: Level, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            group,
            level,
            path: None,
            what: what.into(),
            why: why.into(),
            remedy: Remedy::Do("nothing to do".into()),
            fix: None,
        }
    }

    fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    fn run(mut self, command: impl Into<String>) -> Self {
        self.remedy = Remedy::Run(command.into());
        self
    }

    fn advice(mut self, text: impl Into<String>) -> Self {
        self.remedy = Remedy::Do(text.into());
        self
    }
}

/// A path, and how people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The path.
    pub path: PathBuf,
    /// With `~` for the home.
    pub shown: String,
}

/// All that is looked at.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// [`Ms`].
    pub now: Ms,
    /// The configuration.
    pub config: ConfigFact,
    /// There is neither a login nor a profile nor a key.
    pub nothing: bool,
    /// What a look found worth a word.
    pub problems: Vec<Problem>,
    /// What needs a human, in words.
    pub alerts: Vec<(Alert, Words)>,
    /// What somebody silenced.
    pub silenced: Vec<Problem>,
    /// Logins.
    pub logins: Vec<LoginFact>,
    /// Directories that hold a login and are not watched.
    pub unwatched: Vec<Spot>,
    /// Who holds which refresh token.
    pub holders: Vec<Holder>,
    /// Whether new profiles get the access token alone.
    pub share_access: bool,
    /// Profiles with a refresh token of their own that hang on a login and fare well.
    pub copies: Vec<CopyFact>,
    /// Agents, and why their stores are not written where that is not meant.
    pub agents: Vec<AgentFact>,
    /// Locks that exist.
    pub locks: Vec<LockFact>,
    /// Modes and owners of what holds secrets or memory.
    pub modes: Vec<ModeFact>,
    /// Our state directory.
    pub state: StateFact,
    /// What is from the future, and by how much.
    pub ahead: Vec<(String, Ms)>,
    /// Why `claude` cannot renew, where it is to.
    pub cli: Option<Result<String, Problem>>,
    /// Channels, and the heartbeat.
    pub channels: Vec<ChannelFact>,
    /// Who runs nolapse.
    pub running: RunningFact,
    /// Remotes that are asked.
    pub remotes: usize,
}

/// The configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigFact {
    /// Its path, for people.
    pub shown: String,
    /// It is there.
    pub there: bool,
    /// Place, message and hint of what is wrong with it.
    pub error: Option<(String, String, String)>,
    /// Files that hold its secrets and can be read by others, and whether they are ours.
    pub loose: Vec<(Spot, u32, bool)>,
}

/// A login beside its health.
#[derive(Clone, Debug)]
pub struct LoginFact {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: Spot,
    /// Its directory.
    pub dir: Spot,
    /// What goes before it.
    pub shadowed_by: Vec<String>,
    /// That is a token whose end is known and ahead.
    pub shadow_known: bool,
    /// A refresh was begun and never saved, and its access token is over.
    pub abandoned: bool,
    /// Whose, where a record says it.
    pub abandoned_by: Option<u32>,
    /// It could be renewed, and its `expiresAt` is `0` or none at all.
    pub no_end: Option<&'static str>,
    /// What the file is a link to.
    pub link: Option<Spot>,
    /// What it was a link to and no longer is, where that holds an older token of the same login.
    pub left_behind: Option<Spot>,
    /// Why nothing can be saved in its directory.
    pub not_writable: Option<String>,
    /// Others can write its directory; its mode.
    pub open: Option<u32>,
}

/// Somebody who holds a refresh token.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Which.
    pub token: Fingerprint,
    /// Who.
    pub who: Who,
    /// Where the agents of one state directory lock each other out while one of them renews: which one.
    pub locked: Option<usize>,
}

/// A login or a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A login, by id, with its directory.
    Login(String, Spot),
    /// An agent's profile: label and id.
    Profile(String, String),
}

/// A profile with a refresh token that hangs on a login.
#[derive(Clone, Debug)]
pub struct CopyFact {
    /// The agent's label.
    pub agent: String,
    /// The profile id.
    pub profile: String,
    /// The login's id.
    pub login: String,
    /// How it descends from it.
    pub relation: Relation,
}

/// An agent's store.
#[derive(Clone, Debug)]
pub struct AgentFact {
    /// The agent's label.
    pub label: String,
    /// Its store.
    pub store: Spot,
    /// Why it is not written, where nobody asked for that.
    pub not_written: Option<String>,
    /// It is not used any more and holds profiles.
    pub retired: bool,
}

/// What a lock is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockOf {
    /// A renewal by Claude Code, of this login.
    Refresh(String),
    /// A save by Claude Code, of this login.
    Save(String),
    /// A store, of this agent.
    Store(String),
    /// A renewal by the agents of one state directory.
    Grant,
}

/// A lock that exists.
#[derive(Clone, Debug)]
pub struct LockFact {
    /// Where.
    pub spot: Spot,
    /// What for.
    pub of: LockOf,
    /// A directory, or a file.
    pub is_dir: bool,
    /// Its last touch, [`Ms`].
    pub touched: Ms,
    /// Nobody holds it any more.
    pub stale: bool,
    /// After how long without a touch a directory is nobody's.
    pub limit: Duration,
    /// The process that it, or the record beside it, names; whether that lives; and its name.
    pub pid: Option<(u32, bool, Option<String>)>,
}

/// The mode and owner of a file or directory.
#[derive(Clone, Debug)]
pub struct ModeFact {
    /// Which.
    pub spot: Spot,
    /// What is in it.
    pub holds: Holds,
    /// `0o7777`.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Whose it should be: the directory's owner, or ours.
    pub should: u32,
    /// It is ours.
    pub ours: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A login.
    Login,
    /// An agents' JSON store.
    Store,
    /// An agents' database, which is not touched.
    Database,
    /// An agents' `.env`, which is not touched.
    Dotenv,
    /// What nolapse remembers.
    Memory,
    /// The directory of that.
    MemoryDir,
}

/// Our state directory.
#[derive(Clone, Debug, Default)]
pub struct StateFact {
    /// For people.
    pub shown: String,
    /// Why nothing can be written there.
    pub not_writable: Option<String>,
    /// Room that is left, in bytes.
    pub room: Option<u64>,
    /// Tokens that wait to be saved in their place.
    pub rescued: Vec<Spot>,
    /// Logins or profiles whose renewal was begun by a pass that died.
    pub fences: Vec<String>,
}

/// A channel, or the heartbeat.
#[derive(Clone, Debug)]
pub struct ChannelFact {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// Why the last delivery failed, where it did.
    pub trouble: Option<String>,
    /// How many alerts wait for it.
    pub waiting: usize,
    /// Whether it was reached just now.
    pub probe: Probe,
}

/// Whether the other end is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Somebody listens.
    Reached,
    /// Nobody does, and why.
    Not(String),
    /// It was not tried, and why.
    Untried(&'static str),
}

/// Who runs nolapse.
#[derive(Clone, Debug, Default)]
pub struct RunningFact {
    /// The ways in which it is installed.
    pub ways: Vec<Way>,
    /// That was not looked at, since a service would not look at this home.
    pub elsewhere: bool,
    /// Daemons that run on this home now.
    pub daemons: Vec<u32>,
    /// When the last whole pass ended, [`Ms`].
    pub last_pass: Option<Ms>,
    /// And the last one that could do its work and tell whom it had to, [`Ms`].
    pub last_good: Option<Ms>,
    /// For how long there may be none.
    pub patience: Ms,
    /// This program.
    pub exe: Option<Spot>,
    /// systemd keeps the user's services after logout.
    pub linger: Option<bool>,
    /// The user's name.
    pub user: String,
    /// The platform to install for here.
    pub platform: &'static str,
    /// Termux:API, where this is Termux.
    pub termux_api: Option<TermuxApi>,
}

/// How Termux:API fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermuxApi {
    /// It answers.
    Answers,
    /// Its commands are not installed.
    Missing,
    /// Its commands never end: the app is missing or was never opened.
    Silent,
}

/// One way in which it is installed.
#[derive(Clone, Debug)]
pub struct Way {
    /// The word after `nolapse install`.
    pub platform: &'static str,
    /// In words: `the systemd timer`.
    pub name: String,
    /// The resident form.
    pub daemon: bool,
    /// The program that it runs, and whether that is there.
    pub program: Option<(Spot, bool)>,
    /// Files of it that are gone.
    pub gone: usize,
    /// Whether it is switched on.
    pub on: On,
}

/// Whether something is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// It was not asked: a file says that it is.
    Likely,
    /// It could not be told, and why.
    Untold(String),
}

/// No pass knows of a time before 2025.
const EARLIEST: Ms = 1_735_689_600_000;

/// Less room than this is none: a ledger and a login do not fit, in bytes.
const NO_ROOM: u64 = 64 << 10;

/// Less room than this is soon none, in bytes.
const LITTLE_ROOM: u64 = 16 << 20;

/// Everything that is found, by group, the worst first.
pub fn examine(facts: &Facts) -> Vec<Finding> {
    let mut found = configuration(facts);
    found.extend(looked(facts));
    found.extend(logins(facts));
    found.extend(shared(facts));
    found.extend(agents(facts));
    found.extend(locks(facts));
    found.extend(modes(facts));
    found.extend(state(facts));
    found.extend(telling(facts));
    found.extend(running(facts));
    found.extend(clock(facts));
    found.sort_by(|a, b| (a.group, a.level, &a.kind).cmp(&(b.group, b.level, &b.kind)));
    found.dedup();
    found
}

/// The exit code: what is broken outweighs what could not be told, and that what is only a warning.
pub fn exit(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.level).min() {
        Some(Level::Broken) => 1,
        Some(Level::Unknown) => 3,
        Some(Level::Warning) => 2,
        Some(Level::Note) | None => 0,
    }
}

fn configuration(facts: &Facts) -> Vec<Finding> {
    use Group::Configuration as G;
    let config = &facts.config;
    let mut found = Vec::new();
    for (spot, mode, ours) in &config.loose {
        let finding = Finding::new(
            "secret_readable",
            G,
            Level::Broken,
            format!(
                "`{}` holds a secret of the configuration and has mode {mode:04o}",
                spot.shown
            ),
            "others on this host can read it, and nolapse refuses to run with it",
        );
        found.push(private(finding, spot, 0o600, *ours));
    }
    if let Some((place, message, hint)) = &config.error
        && (config.loose.is_empty() || !hint.starts_with("run `chmod"))
    {
        let finding = Finding::new(
            "config_invalid",
            G,
            Level::Broken,
            format!("{place}: {message}"),
            "no pass starts with it, so nobody watches; what follows was looked at with the defaults",
        );
        found.push(helped(finding, hint));
    }
    found
}

/// With the permissions that it has too many of taken away.
fn private(finding: Finding, spot: &Spot, mode: u32, ours: bool) -> Finding {
    let mut finding = finding
        .at(&spot.path)
        .run(format!("chmod {mode:o} {}", quote(&spot.shown)));
    finding.fix = ours.then(|| Fix::Mode {
        path: spot.path.clone(),
        mode,
    });
    finding
}

/// A hint as others word it: a command where it is nothing else.
fn helped(finding: Finding, hint: &str) -> Finding {
    let command = hint.strip_prefix("run `").and_then(|rest| rest.strip_suffix('`'));
    match command.filter(|command| !command.contains('`')) {
        Some(command) => finding.run(command),
        None => finding.advice(hint),
    }
}

/// What a look and the judgement found.
fn looked(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.nothing {
        found.push(
            Finding::new(
                "nothing_found",
                Group::Logins,
                Level::Broken,
                "there is neither a Claude Code login nor an agent's store",
                "there is nothing to watch",
            )
            .run("claude auth login"),
        );
    }
    for problem in &facts.problems {
        found.extend(of_problem(facts, problem));
    }
    for (alert, words) in &facts.alerts {
        found.extend(of_alert(facts, alert, words));
    }
    for problem in &facts.silenced {
        let finding = Finding::new(
            "silenced",
            Group::Telling,
            Level::Note,
            &problem.message,
            "somebody asked for it",
        );
        found.push(helped(finding, &problem.hint));
    }
    found
}

fn is_login(facts: &Facts, path: &Path) -> bool {
    facts.logins.iter().any(|login| login.file.path == path)
}

fn of_problem(facts: &Facts, problem: &Problem) -> Option<Finding> {
    let path = problem.path.as_deref();
    let login = path.is_some_and(|path| is_login(facts, path));
    let (group, level, why) = match problem.kind {
        // looked at more closely, or with the alert that comes of it
        "dead_lock" | "wrong_owner" | "readable_by_others" => return None,
        "unreadable" | "no_scopes" if login => return None,
        "expires_in_seconds" => (
            Group::Logins,
            Level::Warning,
            "whoever compares it with the time of day takes the login for ended",
        ),
        "shadowed_by_env" => (
            Group::Logins,
            Level::Warning,
            "what ends there stops the agents although the login is fine",
        ),
        "unreadable" => (Group::Agents, Level::Unknown, "how it fares is not known"),
        "store_malformed" => (
            Group::Agents,
            Level::Broken,
            "the next write of the agent loses what is in it",
        ),
        "json_beside_sqlite" => (
            Group::Agents,
            Level::Warning,
            "openclaw 2026.6.5 and later stumble over it",
        ),
        "legacy_store" => (
            Group::Agents,
            Level::Warning,
            "until then the agent is not brought up to date",
        ),
        "agent_config_malformed" => (Group::Agents, Level::Warning, "an agent may be overlooked"),
        "ledger_corrupt" => (
            Group::Files,
            Level::Warning,
            "who was told of what, and when setup tokens end, is forgotten",
        ),
        _ => (Group::Files, Level::Warning, "it may keep a pass from doing its work"),
    };
    let mut finding = Finding::new(problem.kind, group, level, &problem.message, why);
    finding.path = problem.path.clone();
    Some(helped(finding, &problem.hint))
}

fn of_alert(facts: &Facts, alert: &Alert, words: &Words) -> Option<Finding> {
    let (scope, rest) = alert.id.split_once(':').unwrap_or(("", &alert.id));
    let group = match scope {
        // said by the problem of the same store
        "store" => return None,
        "copies" | "profile" => Group::Agents,
        "channel" => Group::Telling,
        "remote" => Group::Remotes,
        _ => Group::Logins,
    };
    let level = match alert.severity {
        Severity::Info => Level::Note,
        Severity::Warning if alert.kind == "unreadable" => Level::Unknown,
        Severity::Critical => Level::Broken,
        Severity::Warning if alert.lapsed => Level::Broken,
        Severity::Warning => Level::Warning,
    };
    let line = |prefix: &str| words.message.lines().find(|line| line.starts_with(prefix));
    let mut why = words.message.lines().next().unwrap_or_default().to_owned();
    if let Some(affected) = line("affected: ") {
        why = format!("{why}; {affected}");
    }
    let mut what = words.title.clone();
    let mut path = None;
    if scope == "login"
        && let Some(login) = facts.logins.iter().find(|login| login.id == rest)
    {
        path = Some(login.file.path.clone());
        let same = |problem: &&Problem| {
            problem.path.as_ref() == Some(&login.file.path) && matches!(problem.kind, "unreadable" | "no_scopes")
        };
        // the cause is said better there
        if alert.kind == "unreadable"
            && let Some(problem) = facts.problems.iter().find(same)
        {
            what.clone_from(&problem.message);
            why = "whether the login lives is not known from here".into();
            if level == Level::Broken {
                why = "Claude Code takes it for signed out, and its agents stop as their tokens run out".into();
            }
        }
    }
    let mut finding = Finding::new(&alert.kind, group, level, what, why);
    finding.path = path;
    Some(match words.commands.first() {
        Some(command) => finding.run(command),
        None => finding,
    })
}

fn alerted(facts: &Facts, id: &str) -> bool {
    facts.alerts.iter().any(|(alert, _)| alert.id == id)
}

fn logins(facts: &Facts) -> Vec<Finding> {
    use Group::Logins as G;
    let mut found = Vec::new();
    for login in &facts.logins {
        let (id, file) = (&login.id, &login.file.shown);
        let sign_in = wording::sign_in(Some(&login.dir.shown));
        if !login.shadowed_by.is_empty() {
            let (settings, env): (Vec<_>, Vec<_>) = login
                .shadowed_by
                .iter()
                .partition(|name| name.ends_with(" in settings.json"));
            let mut places = Vec::new();
            if !env.is_empty() {
                places.push(format!("{} in the environment of this command", join(&env)));
            }
            if !settings.is_empty() {
                places.push(join(&settings));
            }
            let finding = Finding::new(
                "shadowed_by_env",
                G,
                if login.shadow_known { Level::Note } else { Level::Warning },
                format!("{} goes before the login `{id}`", places.join(" and ")),
                "Claude Code neither renews the login nor falls back to it while that is set: what ends there stops the work although the login is fine",
            )
            .at(&login.file.path);
            found.push(match settings.is_empty() {
                true => finding.run(format!(
                    "unset {}",
                    env.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
                )),
                false => finding.advice(format!(
                    "fine if meant; otherwise take it out of `{}/settings.json`",
                    login.dir.shown
                )),
            });
        }
        if login.abandoned && !alerted(facts, &format!("login:{id}")) {
            let by = login
                .abandoned_by
                .map_or(String::new(), |pid| format!(" by process {pid}"));
            found.push(
                Finding::new(
                    "abandoned_refresh",
                    G,
                    Level::Warning,
                    format!("a renewal of the login `{id}` was begun{by} and never saved, and its access token is over"),
                    "its single-use token is probably spent, so nolapse does not post it again (anthropics/claude-code#95822)",
                )
                .at(&login.file.path)
                .run(&sign_in),
            );
        }
        if let Some(end) = login.no_end {
            found.push(
                Finding::new(
                    "no_access_end",
                    G,
                    Level::Warning,
                    format!("`{file}` has tokens, and its `expiresAt` is {end}"),
                    match end {
                        "0" => "Claude Code writes that only when it wipes a login; who compares it with the time of day takes it for ended",
                        _ => "Claude Code never renews such a login by the clock, and neither can nolapse",
                    },
                )
                .at(&login.file.path)
                .run(&sign_in),
            );
        }
        if let Some(target) = &login.link {
            found.push(
                Finding::new(
                    "credentials_linked",
                    G,
                    Level::Warning,
                    format!("`{file}` is a link to `{}`", target.shown),
                    "Claude Code puts a file in its place when it next renews, and the target keeps the spent token (anthropics/claude-code#76561)",
                )
                .at(&login.file.path)
                .run(format!("rm {} && {sign_in}", quote(file))),
            );
        }
        if let Some(target) = &login.left_behind {
            found.push(
                Finding::new(
                    "symlink_replaced",
                    G,
                    Level::Broken,
                    format!("`{file}` was a link to `{}`, and that still holds an older token of the same login", target.shown),
                    "Claude Code replaced the link when it renewed; whoever posts the spent token from there can have the whole login revoked (anthropics/claude-code#76561)",
                )
                .at(&target.path)
                .run(format!("mv {} {}", quote(&target.shown), quote(&format!("{}.spent", target.shown)))),
            );
        }
        if let Some(why) = &login.not_writable {
            found.push(
                Finding::new(
                    "login_dir_not_writable",
                    G,
                    Level::Broken,
                    format!("nothing can be saved in `{}`: {why}", login.dir.shown),
                    "a renewal spends the token and then has no place for the new one",
                )
                .at(&login.dir.path)
                .run(format!("ls -ld {}", quote(&login.dir.shown))),
            );
        }
        if let Some(mode) = login.open {
            found.push(
                Finding::new(
                    "dir_writable_by_others",
                    Group::Files,
                    Level::Warning,
                    format!("`{}` has mode {mode:04o}: others can write in it", login.dir.shown),
                    "they can put another login in the place of yours, or hold its locks",
                )
                .at(&login.dir.path)
                .run(format!("chmod go-w {}", quote(&login.dir.shown))),
            );
        }
    }
    for dir in &facts.unwatched {
        found.push(
            Finding::new(
                "login_not_watched",
                G,
                Level::Note,
                format!("`{}` holds a Claude Code login that is not watched", dir.shown),
                "nobody hears of it when it ends",
            )
            .at(&dir.path)
            .advice(format!(
                "add `[[login]]` with `dir = \"{}\"` to the configuration",
                dir.shown
            )),
        );
    }
    found
}

fn join<S: AsRef<str>>(names: &[S]) -> String {
    names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Who else can spend the same single-use token.
fn shared(facts: &Facts) -> Vec<Finding> {
    let mut tokens: Vec<Fingerprint> = facts.holders.iter().map(|holder| holder.token).collect();
    tokens.sort();
    tokens.dedup();
    let mut found = Vec::new();
    for token in tokens {
        let of_it: Vec<&Holder> = facts.holders.iter().filter(|holder| holder.token == token).collect();
        let locked = of_it[0].locked.is_some() && of_it.iter().all(|holder| holder.locked == of_it[0].locked);
        if of_it.len() < 2 || locked {
            continue;
        }
        let names: Vec<String> = of_it
            .iter()
            .map(|holder| match &holder.who {
                Who::Login(id, _) => format!("the login `{id}`"),
                Who::Profile(label, id) => format!("`{id}` of {label}"),
            })
            .collect();
        let (some, more) = names.split_at(names.len().min(4));
        let mut who = some.join(", ");
        if !more.is_empty() {
            who = format!("{who} and {} more", more.len());
        }
        let logins_of_it = of_it
            .iter()
            .filter(|holder| matches!(holder.who, Who::Login(..)))
            .count();
        let meant = !facts.share_access && logins_of_it == 1;
        let finding = Finding::new(
            "shared_grant",
            Group::Logins,
            if meant { Level::Note } else { Level::Warning },
            format!("one refresh token is held by {who}"),
            "it is single-use: when two of them renew, the second is logged out, and the server may revoke the whole login (anthropics/claude-code#80585)",
        );
        let (logins, profiles): (Vec<&Who>, Vec<&Who>) = of_it
            .iter()
            .map(|holder| &holder.who)
            .partition(|who| matches!(who, Who::Login(..)));
        found.push(match (&logins[..], &profiles[..]) {
            ([_, Who::Login(_, dir), ..], _) => finding.run(wording::sign_in(Some(&dir.shown))),
            ([_], [Who::Profile(label, id), ..]) if facts.share_access => finding.run(format!(
                "nolapse token remove {} --agent {} && nolapse sync",
                quote(id),
                quote(label)
            )),
            ([_], _) => finding.advice("meant by `sync.share = \"full\"`; with \"access\" agents cannot renew"),
            _ => finding.advice("sign in once for each of them, with the agents' own `models auth login`"),
        });
    }
    found
}

fn agents(facts: &Facts) -> Vec<Finding> {
    use Group::Agents as G;
    let mut found = Vec::new();
    for copy in &facts.copies {
        let (profile, agent, login) = (&copy.profile, &copy.agent, &copy.login);
        let of = format!("`{profile}` of {agent}");
        found.extend(match copy.relation {
            Relation::Same => None,
            Relation::Older => Some(
                Finding::new(
                    "copy_behind",
                    G,
                    Level::Warning,
                    format!("{of} holds a spent refresh token of the login `{login}`"),
                    "when its agent posts it, the server may revoke the whole login (anthropics/claude-code#76561)",
                )
                .run("nolapse sync"),
            ),
            Relation::Newer => Some(
                Finding::new(
                    "copy_ahead",
                    G,
                    Level::Warning,
                    format!("{of} was renewed by its agent; the login `{login}` still holds the spent token"),
                    "Claude Code would post that next and be logged out",
                )
                .run("nolapse sync"),
            ),
            Relation::Unknown => Some(
                Finding::new(
                    "copy_diverged",
                    G,
                    Level::Warning,
                    format!("the refresh token of {of} is not that of the login `{login}`"),
                    "either it was signed in on its own, or one of the two is dead; the older one is",
                )
                .advice(format!(
                    "fine if it was signed in on its own; otherwise `nolapse token remove {} --agent {}`",
                    quote(profile),
                    quote(agent)
                )),
            ),
        });
    }
    for agent in &facts.agents {
        if agent.retired {
            found.push(
                Finding::new(
                    "store_retired",
                    G,
                    Level::Note,
                    format!("`{}` holds profiles and is not used any more", agent.store.shown),
                    "tokens lie there that nobody needs; its agent keeps them in SQLite now",
                )
                .at(&agent.store.path)
                .advice("remove it when the agent works"),
            );
        }
        if let Some(why) = &agent.not_written {
            found.push(
                Finding::new(
                    "store_not_written",
                    G,
                    Level::Note,
                    format!("the store of {} is judged and not written: {why}", agent.label),
                    "a copy of a login there is not brought up to date",
                )
                .at(&agent.store.path)
                .advice("nothing to do while the agent works; `sync.exclude_agents` says that it is meant"),
            );
        }
    }
    found
}

fn locks(facts: &Facts) -> Vec<Finding> {
    facts.locks.iter().map(|lock| of_lock(lock, facts.now)).collect()
}

fn of_lock(lock: &LockFact, now: Ms) -> Finding {
    use Group::Locks as G;
    let here = &lock.spot.shown;
    let age = now - lock.touched;
    let (what_for, matters) = match &lock.of {
        LockOf::Refresh(id) => (
            format!("a renewal of the login `{id}`"),
            "Claude Code clears it when it next renews; until then a monitor cannot tell it from a renewal under way",
        ),
        LockOf::Save(id) => (
            format!("a save of the login `{id}`"),
            "Claude Code loses a login that it cannot save in time (2.1.330)",
        ),
        LockOf::Store(label) => (
            format!("the store of {label}"),
            "agents of the other kind of lock wait for it for ever: a file stops clawdbot, a directory hangs openclaw",
        ),
        LockOf::Grant => (
            "a renewal by the agents".to_owned(),
            "the agents of this state directory wait for it before they renew",
        ),
    };
    let whose = match &lock.pid {
        Some((pid, true, Some(name))) => format!("process {pid} (`{name}`)"),
        Some((pid, true, None)) => format!("process {pid}"),
        Some((pid, false, _)) => format!("process {pid}, which is gone"),
        None => "a process that is not on record".to_owned(),
    };
    if lock.stale
        && lock.is_dir
        && let Some((pid, true, _)) = &lock.pid
    {
        return Finding::new(
            "lock_stopped",
            G,
            Level::Warning,
            format!("`{here}`, for {what_for}, is held by {whose}, which has not touched it for {}", span(age)),
            "it lives and is stopped or hangs; others take the lock from it, and it may save a spent token when it goes on",
        )
        .at(&lock.spot.path)
        .run(format!("ps -o pid,stat,etime,args -p {pid}"));
    }
    if lock.stale {
        let proof = match (&lock.pid, lock.is_dir) {
            (Some((pid, ..)), false) => format!("process {pid} is gone"),
            (None, false) => format!("it names no process and has lain there for {}", span(age)),
            (_, true) => format!(
                "its holder touches it every few seconds and has not for {}; the limit is {} s",
                span(age),
                lock.limit.as_secs()
            ),
        };
        let mut finding = Finding::new(
            "dead_lock",
            G,
            Level::Warning,
            format!("`{here}` was left, {} ago, by {whose}; it is for {what_for}", span(age)),
            format!("{matters}. Safe to remove: {proof}"),
        )
        .at(&lock.spot.path)
        .run("nolapse doctor --fix");
        finding.fix = Some(Fix::Lock {
            path: lock.spot.path.clone(),
            stale_after: lock.limit,
        });
        return finding;
    }
    if lock.is_dir && -age > MINUTE {
        return Finding::new(
            "lock_from_the_future",
            G,
            Level::Warning,
            format!("`{here}`, for {what_for}, was touched {} from now", span(-age)),
            "by its time it is fresh until then, so nobody clears it; the clock was set back, or is wrong",
        )
        .at(&lock.spot.path)
        .advice(format!(
            "not safe to remove while a `claude` or an agent runs; otherwise `rmdir {}`",
            quote(here)
        ));
    }
    Finding::new(
        "lock_held",
        G,
        Level::Note,
        format!(
            "`{here}`, for {what_for}, is held by {whose}, last touched {} ago",
            span(age)
        ),
        "not safe to remove: its holder lives",
    )
    .at(&lock.spot.path)
    .advice("nothing to do; it goes when its holder is done")
}

fn modes(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for fact in &facts.modes {
        let (shown, path) = (&fact.spot.shown, &fact.spot.path);
        let memory = matches!(fact.holds, Holds::Memory | Holds::MemoryDir);
        if fact.uid != fact.should {
            let finding = Finding::new(
                "wrong_owner",
                Group::Files,
                Level::Broken,
                match memory {
                    true => format!(
                        "`{shown}` belongs to user {}, and nolapse runs as user {}",
                        fact.uid, fact.should
                    ),
                    false => format!(
                        "`{shown}` belongs to user {} and its directory to user {}",
                        fact.uid, fact.should
                    ),
                },
                match memory {
                    true => "a pass cannot remember what it did; something ran as another user here, root perhaps",
                    false => "who uses it cannot read or replace it; something wrote it as another user, root perhaps",
                },
            );
            let recursive = if fact.holds == Holds::MemoryDir { "-R " } else { "" };
            found.push(
                finding
                    .at(path)
                    .run(format!("sudo chown {recursive}{} {}", fact.should, quote(shown))),
            );
        }
        if fact.mode & 0o077 != 0 {
            let touchable = fact.ours && !matches!(fact.holds, Holds::Database | Holds::Dotenv);
            let finding = Finding::new(
                "readable_by_others",
                Group::Files,
                Level::Warning,
                format!("`{shown}` has mode {:04o}", fact.mode),
                match memory {
                    true => "others on this host can read which logins and agents there are, and what was told",
                    false => "others on this host can read the tokens in it",
                },
            );
            let mode = if fact.holds == Holds::MemoryDir { 0o700 } else { 0o600 };
            found.push(private(finding, &fact.spot, mode, touchable));
        }
    }
    found
}

fn state(facts: &Facts) -> Vec<Finding> {
    use Group::Files as G;
    let state = &facts.state;
    let mut found = Vec::new();
    if let Some(why) = &state.not_writable {
        found.push(
            Finding::new(
                "state_dir",
                G,
                Level::Broken,
                format!("nothing can be written in `{}`: {why}", state.shown),
                "who was told of what cannot be remembered, so nobody is told at all",
            )
            .advice("make it writable, or name another with `--state-dir`"),
        );
    }
    if let Some(room) = state.room.filter(|room| *room < LITTLE_ROOM) {
        let full = room < NO_ROOM;
        found.push(
            Finding::new(
                "disk_full",
                G,
                if full { Level::Broken } else { Level::Warning },
                format!("{} kB are left on the disk of `{}`", room >> 10, state.shown),
                "a pass that can write nothing renews nothing and tells nobody",
            )
            .run(format!("df -h {}", quote(&state.shown))),
        );
    }
    let rescued = facts.alerts.iter().any(|(alert, _)| alert.kind == "rescue");
    for spot in state.rescued.iter().filter(|_| !rescued) {
        found.push(
            Finding::new(
                "rescue",
                Group::Logins,
                Level::Broken,
                format!("`{}` holds new tokens that could not be saved in their place", spot.shown),
                "they exist nowhere else; the next pass that can saves them, and what uses the login before then is logged out",
            )
            .at(&spot.path)
            .run("nolapse refresh"),
        );
    }
    for whom in &state.fences {
        found.push(
            Finding::new(
                "fence_left",
                Group::Logins,
                Level::Warning,
                format!("a renewal of `{whom}` was begun by a pass that died before the answer came"),
                "whether its single-use token is spent is found out by the next pass, and never by posting it again",
            )
            .run("nolapse run"),
        );
    }
    found
}

fn telling(facts: &Facts) -> Vec<Finding> {
    use Group::Telling as G;
    let mut found = Vec::new();
    let failed = |channel: &&ChannelFact| matches!(channel.probe, Probe::Not(_));
    let told: Vec<&ChannelFact> = facts
        .channels
        .iter()
        .filter(|channel| channel.kind != "heartbeat")
        .collect();
    let nobody = !told.is_empty() && told.iter().all(failed);
    for channel in &facts.channels {
        let name = &channel.name;
        let test = format!("nolapse alert test {}", quote(name));
        if let Probe::Not(why) = &channel.probe {
            let (kind, what) = match channel.kind {
                "desktop" => (
                    "no_session_bus",
                    format!("the desktop of channel `{name}` is not there: {why}"),
                ),
                "heartbeat" => ("heartbeat_unreachable", format!("the heartbeat is not reached: {why}")),
                "command" => (
                    "channel_unreachable",
                    format!("the command of channel `{name}` is not there: {why}"),
                ),
                _ => (
                    "channel_unreachable",
                    format!("the channel `{name}` is not reached: {why}"),
                ),
            };
            let finding = Finding::new(
                kind,
                G,
                if nobody { Level::Broken } else { Level::Warning },
                what,
                match channel.kind {
                    "heartbeat" => "who waits for its ping will think that nolapse is dead",
                    _ if nobody => "no alert reaches anybody now; they are kept for 7 days and tried again",
                    _ => "alerts sent by it are kept for 7 days and tried again",
                },
            );
            found.push(match channel.kind {
                "heartbeat" => finding.run("nolapse run"),
                _ => finding.run(&test),
            });
        }
        if let Some(why) = &channel.trouble
            && !alerted(facts, &super::alert::channel_id(name))
            && !matches!(channel.probe, Probe::Not(_))
        {
            found.push(
                Finding::new(
                    "delivery_failed",
                    G,
                    Level::Warning,
                    format!("the last delivery by channel `{name}` failed: {why}"),
                    format!(
                        "{} wait for it and are tried again by themselves",
                        counted(channel.waiting, "alert")
                    ),
                )
                .run(test),
            );
        }
    }
    if !told.is_empty() && told.iter().all(|channel| channel.kind == "log") {
        found.push(
            Finding::new(
                "log_only",
                G,
                Level::Note,
                "alerts go to the log alone",
                "nobody hears of them who does not read it",
            )
            .advice("add a `[[channel]]` to the configuration: `nolapse config init` makes one to fill in"),
        );
    }
    found
}

/// `1 alert`, `2 alerts`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn running(facts: &Facts) -> Vec<Finding> {
    use Group::Running as G;
    let running = &facts.running;
    let mut found = Vec::new();
    let idle = running.last_pass.map(|at| facts.now - at).filter(|idle| *idle >= 0);
    let recent = running.last_pass.is_some() && idle.is_none_or(|idle| idle <= running.patience);
    if running.elsewhere {
        found.push(
            Finding::new(
                "not_looked",
                G,
                Level::Note,
                "who runs nolapse on this home was not looked at",
                "services look at their user's own home, and this is another one",
            )
            .advice("run it as that user, without `--home`"),
        );
    } else if running.ways.is_empty() && running.daemons.is_empty() && !recent {
        let last = idle.map_or("there was no pass yet".to_owned(), |idle| {
            format!("the last pass was {} ago", span(idle))
        });
        found.push(
            Finding::new(
                "not_installed",
                G,
                Level::Warning,
                format!("nothing runs nolapse by itself; {last}"),
                "a login that ends is noticed only when somebody looks",
            )
            .run(format!("nolapse install {}", running.platform)),
        );
    }
    for way in &running.ways {
        let again = format!(
            "nolapse install {}{}",
            way.platform,
            if way.daemon { " --daemon" } else { "" }
        );
        if let Some((program, false)) = &way.program {
            found.push(
                Finding::new(
                    "program_gone",
                    G,
                    Level::Broken,
                    format!("{} runs `{}`, which is not there", way.name, program.shown),
                    "nobody watches",
                )
                .at(&program.path)
                .run(&again),
            );
        }
        if way.gone > 0 {
            found.push(
                Finding::new(
                    "install_incomplete",
                    G,
                    Level::Broken,
                    format!("{} of {} are gone", counted(way.gone, "file"), way.name),
                    "it does not run as it was installed",
                )
                .run(&again),
            );
        }
        match &way.on {
            On::Yes | On::Likely => {}
            On::No => found.push(
                Finding::new(
                    "not_running",
                    G,
                    Level::Broken,
                    format!("{} is not running", way.name),
                    "nobody watches",
                )
                .run(&again),
            ),
            On::Untold(why) => found.push(
                Finding::new(
                    "not_told",
                    G,
                    Level::Unknown,
                    format!("whether {} runs could not be told: {why}", way.name),
                    "it may not run",
                )
                .advice("ask again in a session of the user who has it"),
            ),
        }
    }
    let on = running.ways.iter().any(|way| matches!(way.on, On::Yes | On::Likely));
    if let Some(idle) = idle.filter(|idle| on && *idle > running.patience) {
        found.push(
            Finding::new(
                "last_pass_old",
                G,
                if idle > DAY { Level::Broken } else { Level::Warning },
                format!("the last pass was {} ago, although nolapse is installed", span(idle)),
                "nobody watched since; the host may have slept, or each pass fails before it begins",
            )
            .run("nolapse run"),
        );
    }
    let bad_for = match (running.last_pass, running.last_good) {
        (Some(last), Some(good)) if last > good => Some(span(facts.now - good)),
        (Some(_), None) => Some("ever".into()),
        _ => None,
    };
    let long = running.last_good.is_none_or(|good| facts.now - good > running.patience);
    if let Some(bad_for) = bad_for.filter(|_| recent && long) {
        found.push(
            Finding::new(
                "passes_fail",
                G,
                Level::Warning,
                match bad_for.as_str() {
                    "ever" => "passes are made, and none has gone well yet".to_owned(),
                    span => format!("passes are made, and none has gone well for {span}"),
                },
                "they could not do their work, or could not tell somebody",
            )
            .run("nolapse run"),
        );
    }
    if running.linger == Some(false) && running.ways.iter().any(|way| way.platform == "systemd") {
        found.push(
            Finding::new(
                "linger_off",
                G,
                Level::Warning,
                format!("linger is off for `{}`", running.user),
                "systemd stops the timer when the last session ends",
            )
            .run(format!("loginctl enable-linger {}", quote(&running.user))),
        );
    }
    found.extend(several(running));
    match running.termux_api {
        Some(TermuxApi::Missing) => found.push(
            Finding::new(
                "termux_api_missing",
                G,
                Level::Broken,
                "the commands of Termux:API are not installed",
                "no notification can be shown, and Android's job scheduler cannot be told",
            )
            .run("pkg install termux-api"),
        ),
        Some(TermuxApi::Silent) => found.push(
            Finding::new(
                "termux_api_silent",
                G,
                Level::Broken,
                "Termux:API does not answer",
                "its commands wait for ever without its app, and no notification is shown",
            )
            .advice("install the app Termux:API from where Termux came from, and open it once"),
        ),
        Some(TermuxApi::Answers) | None => {}
    }
    if let Some(Err(problem)) = &facts.cli {
        let mut finding = Finding::new(
            problem.kind,
            G,
            Level::Warning,
            &problem.message,
            "nothing renews the login but Claude Code in use: its copies end with the access token, within 8 h",
        );
        finding.path = problem.path.clone();
        found.push(helped(finding, &problem.hint));
    }
    found
}

/// Two installs, or two programs.
fn several(running: &RunningFact) -> Vec<Finding> {
    use Group::Running as G;
    let mut found = Vec::new();
    let mut names: Vec<String> = running.ways.iter().map(|way| way.name.clone()).collect();
    // an installed daemon is the process that runs
    let expected = running.ways.iter().filter(|way| way.daemon).count();
    for pid in running.daemons.iter().skip(expected) {
        names.push(format!("a daemon (process {pid})"));
    }
    if names.len() > 1 {
        let finding = Finding::new(
            "two_installs",
            G,
            Level::Warning,
            format!("nolapse is run by {}", names.join(" and ")),
            "each pass waits for the other, and with two state directories everything is told twice",
        );
        found.push(match running.ways.last().filter(|_| running.ways.len() > 1) {
            Some(way) => finding.run(format!("nolapse uninstall {}", way.platform)),
            None => match running.daemons.last() {
                Some(pid) => finding.run(format!("kill {pid}")),
                None => finding,
            },
        });
    }
    let mut programs: Vec<&Spot> = running
        .ways
        .iter()
        .filter_map(|way| way.program.as_ref())
        .map(|(spot, _)| spot)
        .collect();
    programs.dedup_by_key(|spot| &spot.path);
    if let [first, .., last] = programs[..]
        && first.path != last.path
    {
        found.push(
            Finding::new(
                "two_programs",
                G,
                Level::Warning,
                format!("two programs are installed: `{}` and `{}`", first.shown, last.shown),
                "an older one may judge and write by other rules",
            )
            .advice("remove one of them, then `nolapse install` again"),
        );
    } else if let (Some(own), [installed]) = (&running.exe, &programs[..])
        && own.path != installed.path
    {
        found.push(
            Finding::new(
                "two_programs",
                G,
                Level::Note,
                format!(
                    "this is `{}`, and what runs by itself is `{}`",
                    own.shown, installed.shown
                ),
                "what you see here may not be what it does",
            )
            .advice("fine if both are the same version"),
        );
    }
    found
}

fn clock(facts: &Facts) -> Vec<Finding> {
    use Group::Clock as G;
    if facts.now < EARLIEST {
        return vec![
            Finding::new(
                "clock_wrong",
                G,
                Level::Broken,
                "the clock of this host is before 2025",
                "every end is judged by it, and TLS refuses to connect",
            )
            .run("date"),
        ];
    }
    let Some((_, most)) = facts.ahead.iter().max_by_key(|(_, by)| *by) else {
        return Vec::new();
    };
    let names: Vec<String> = facts.ahead.iter().take(3).map(|(what, _)| what.clone()).collect();
    let more = match facts.ahead.len().saturating_sub(3) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    vec![
        Finding::new(
            "clock_skew",
            G,
            Level::Warning,
            format!("from the future, by up to {}: {}{more}", span(*most), names.join(", ")),
            "the clock was set back, or it is wrong now; every end is judged by it",
        )
        .run("date"),
    ]
}

/// What was looked at, a line for each group: what to say where nothing was found in it.
pub fn checked(facts: &Facts) -> Vec<(Group, String)> {
    let config = match (facts.config.there, &facts.config.error) {
        (false, None) => "the defaults, without a file".to_owned(),
        _ => format!("`{}`, valid; its secrets are private", facts.config.shown),
    };
    let cli = match &facts.cli {
        Some(Ok(version)) => format!(", renewed by `claude` {version}"),
        _ => String::new(),
    };
    let running = &facts.running;
    let mut how: Vec<String> = running.ways.iter().map(|way| way.name.clone()).collect();
    how.extend(running.last_pass.map(|at| match facts.now - at {
        ago if ago < MINUTE => "last pass just now".to_owned(),
        ago => format!("last pass {} ago", span(ago)),
    }));
    if running.linger == Some(true) {
        how.push("linger on".into());
    }
    if running.termux_api == Some(TermuxApi::Answers) {
        how.push("Termux:API answers".into());
    }
    let channels: Vec<String> = facts
        .channels
        .iter()
        .map(|channel| match &channel.probe {
            Probe::Reached if channel.kind == "desktop" => format!("{} has its session bus", channel.name),
            Probe::Reached => format!("{} reached", channel.name),
            Probe::Not(_) => format!("{} not reached", channel.name),
            Probe::Untried(why) => format!("{} ({why})", channel.name),
        })
        .collect();
    let room = facts
        .state
        .room
        .map_or(String::new(), |room| format!(", {} MB left", room >> 20));
    let mut lines = vec![
        (Group::Configuration, config),
        (
            Group::Logins,
            format!(
                "{}{cli}; whether the server has revoked one is not asked",
                counted(facts.logins.len(), "login")
            ),
        ),
        (Group::Agents, counted(facts.agents.len(), "store")),
        (
            Group::Locks,
            match facts.locks.len() {
                0 => "none held, none left".to_owned(),
                n => format!("{n} held by living processes"),
            },
        ),
        (
            Group::Files,
            format!(
                "owner and mode of {}; state directory writable{room}",
                counted(facts.modes.len(), "file")
            ),
        ),
        (Group::Telling, channels.join(", ")),
        (Group::Running, how.join(", ")),
    ];
    if facts.remotes > 0 {
        lines.push((
            Group::Remotes,
            format!("{} as the last pass heard them", counted(facts.remotes, "host")),
        ));
    }
    lines.push((
        Group::Clock,
        "no file and no memory is from the future; no time server was asked".to_owned(),
    ));
    lines
}

/// Passes are this far apart at the most where a timer or the daemon makes them; Android grants its jobs when it likes.
pub fn patience(termux: bool) -> Ms {
    if termux { 6 * HOUR } else { 2 * HOUR }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const NOW: Ms = 1_769_000_000_000;

    fn spot(text: &str) -> Spot {
        Spot {
            path: text.replace('~', "/h").into(),
            shown: text.into(),
        }
    }

    fn facts() -> Facts {
        Facts {
            now: NOW,
            share_access: true,
            running: RunningFact {
                last_pass: Some(NOW - MINUTE),
                last_good: Some(NOW - MINUTE),
                patience: patience(false),
                platform: "systemd",
                user: "u".into(),
                ..RunningFact::default()
            },
            ..Facts::default()
        }
    }

    fn kinds(facts: &Facts) -> Vec<(String, Level)> {
        let found = examine(facts);
        assert!(
            found.iter().all(|one| !one.what.is_empty() && !one.why.is_empty()),
            "{found:?}"
        );
        found.into_iter().map(|one| (one.kind, one.level)).collect()
    }

    fn login(id: &str) -> LoginFact {
        LoginFact {
            id: id.into(),
            file: spot("~/.claude/.credentials.json"),
            dir: spot("~/.claude"),
            shadowed_by: Vec::new(),
            shadow_known: false,
            abandoned: false,
            abandoned_by: None,
            no_end: None,
            link: None,
            left_behind: None,
            not_writable: None,
            open: None,
        }
    }

    #[test]
    fn nothing_wrong_is_nothing_found() {
        let fine = Facts {
            logins: vec![login("claude")],
            ..facts()
        };
        assert_eq!(kinds(&fine), []);
        assert_eq!(exit(&examine(&fine)), 0);
        assert!(checked(&fine).iter().any(|(_, what)| what.contains("1 login")));
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let of = |levels: &[Level]| {
            let found: Vec<Finding> = levels
                .iter()
                .map(|level| Finding::new("x", Group::Files, *level, "w", "w"))
                .collect();
            exit(&found)
        };
        for (levels, code) in [
            (&[][..], 0),
            (&[Level::Note], 0),
            (&[Level::Note, Level::Warning], 2),
            (&[Level::Warning, Level::Unknown], 3),
            (&[Level::Unknown, Level::Broken, Level::Warning], 1),
        ] {
            assert_eq!(of(levels), code, "{levels:?}");
        }
    }

    fn mode(holds: Holds, mode: u32, uid: u32, should: u32) -> ModeFact {
        ModeFact {
            spot: spot("~/f"),
            holds,
            mode,
            uid,
            should,
            ours: uid == 1000,
        }
    }

    #[test]
    fn owners_and_modes_are_judged_and_only_what_is_ours_is_repaired() {
        for (fact, kind, level, command, fix) in [
            (
                mode(Holds::Login, 0o600, 0, 1000),
                "wrong_owner",
                Level::Broken,
                "sudo chown 1000 ~/f",
                None,
            ),
            (
                mode(Holds::MemoryDir, 0o700, 0, 1000),
                "wrong_owner",
                Level::Broken,
                "sudo chown -R 1000 ~/f",
                None,
            ),
            (
                mode(Holds::Login, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                Some(0o600),
            ),
            (
                mode(Holds::MemoryDir, 0o755, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 700 ~/f",
                Some(0o700),
            ),
            (
                mode(Holds::Store, 0o640, 5, 5),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
            (
                mode(Holds::Database, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
            (
                mode(Holds::Dotenv, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
        ] {
            let found = examine(&Facts {
                modes: vec![fact.clone()],
                ..facts()
            });
            assert_eq!(found.len(), 1, "{fact:?}");
            let wanted = fix.map(|mode| Fix::Mode {
                path: "/h/f".into(),
                mode,
            });
            assert_eq!((found[0].kind.as_str(), found[0].level), (kind, level), "{fact:?}");
            assert_eq!(
                (&found[0].remedy, &found[0].fix),
                (&Remedy::Run(command.into()), &wanted),
                "{fact:?}"
            );
        }
        let fine = mode(Holds::Login, 0o600, 1000, 1000);
        assert_eq!(
            kinds(&Facts {
                modes: vec![fine],
                ..facts()
            }),
            []
        );
    }

    #[test]
    fn a_lock_is_removed_only_where_it_is_proven_dead() {
        let lock = |is_dir, stale, age: Ms, pid: Option<(u32, bool)>| LockFact {
            spot: spot("~/x.lock"),
            of: LockOf::Store("clawdbot/main".into()),
            is_dir,
            touched: NOW - age,
            stale,
            limit: Duration::from_secs(30),
            pid: pid.map(|(pid, lives)| (pid, lives, None)),
        };
        for (lock, kind, fixed) in [
            (lock(true, true, HOUR, None), "dead_lock", true),
            (lock(true, true, HOUR, Some((7, false))), "dead_lock", true),
            (lock(true, true, HOUR, Some((7, true))), "lock_stopped", false),
            (lock(true, false, 0, None), "lock_held", false),
            (lock(true, false, -HOUR, None), "lock_from_the_future", false),
            (lock(false, true, HOUR, Some((7, false))), "dead_lock", true),
            (lock(false, true, HOUR, None), "dead_lock", true),
            (lock(false, false, DAY, Some((7, true))), "lock_held", false),
        ] {
            let found = examine(&Facts {
                locks: vec![lock.clone()],
                ..facts()
            });
            assert_eq!(
                (found[0].kind.as_str(), found[0].fix.is_some()),
                (kind, fixed),
                "{lock:?}"
            );
        }
    }

    #[test]
    fn a_token_in_two_hands_is_told_unless_their_agents_lock_each_other_out() {
        let token = |text: &str| Secret::new(text).fingerprint();
        let holder = |who: Who, locked| Holder {
            token: token("R"),
            who,
            locked,
        };
        let a_login = |id: &str| Who::Login(id.into(), spot(&format!("~/.{id}")));
        let a_copy = |agent: &str| Who::Profile(agent.into(), "anthropic:claude-cli".into());
        let command = |holders: Vec<Holder>| {
            let found = examine(&Facts { holders, ..facts() });
            found.first().map(|one| match &one.remedy {
                Remedy::Run(text) | Remedy::Do(text) => text.clone(),
            })
        };
        for (holders, wanted) in [
            (vec![holder(a_login("claude"), None)], None),
            (
                vec![holder(a_login("claude"), None), holder(a_login("claude-b"), None)],
                Some("CLAUDE_CONFIG_DIR=~/.claude-b claude auth login"),
            ),
            (
                vec![
                    holder(a_login("claude"), None),
                    holder(a_copy("clawdbot/main"), Some(0)),
                ],
                Some("nolapse token remove anthropic:claude-cli --agent clawdbot/main && nolapse sync"),
            ),
            (
                vec![
                    holder(a_copy("openclaw/a"), Some(0)),
                    holder(a_copy("openclaw/b"), Some(0)),
                ],
                None,
            ),
            (
                vec![
                    holder(a_copy("openclaw/a"), Some(0)),
                    holder(a_copy("openclaw/b"), Some(1)),
                ],
                Some("sign in once for each of them, with the agents' own `models auth login`"),
            ),
        ] {
            assert_eq!(command(holders.clone()).as_deref(), wanted, "{holders:?}");
        }
    }

    #[test]
    fn what_is_meant_is_a_note() {
        let holders = vec![
            Holder {
                token: Secret::new("R").fingerprint(),
                who: Who::Login("claude".into(), spot("~/.claude")),
                locked: None,
            },
            Holder {
                token: Secret::new("R").fingerprint(),
                who: Who::Profile("clawdbot/main".into(), "anthropic:claude-cli".into()),
                locked: None,
            },
        ];
        let full = Facts {
            share_access: false,
            holders,
            ..facts()
        };
        assert_eq!(kinds(&full), [("shared_grant".to_owned(), Level::Note)]);
        let mut elsewhere = facts();
        elsewhere.running.elsewhere = true;
        elsewhere.running.last_pass = None;
        assert_eq!(kinds(&elsewhere), [("not_looked".to_owned(), Level::Note)]);
    }

    #[test]
    fn room_clock_and_state_are_judged() {
        let room = |room| Facts {
            state: StateFact {
                room: Some(room),
                ..StateFact::default()
            },
            ..facts()
        };
        let one = |kind: &str, level| vec![(kind.to_owned(), level)];
        assert_eq!(kinds(&room(1 << 30)), []);
        assert_eq!(kinds(&room(1 << 20)), one("disk_full", Level::Warning));
        assert_eq!(kinds(&room(0)), one("disk_full", Level::Broken));
        let mut early = facts();
        early.now = 1000;
        early.running.last_pass = Some(0);
        early.running.last_good = Some(0);
        assert_eq!(kinds(&early), one("clock_wrong", Level::Broken));
        let ahead = Facts {
            ahead: vec![("`a`".into(), HOUR), ("`b`".into(), DAY)],
            ..facts()
        };
        assert_eq!(kinds(&ahead), one("clock_skew", Level::Warning));
        assert!(examine(&ahead)[0].what.contains("up to 1 d: `a`, `b`"));
        let closed = Facts {
            logins: vec![LoginFact {
                not_writable: Some("read-only file system".into()),
                ..login("claude")
            }],
            ..facts()
        };
        assert_eq!(kinds(&closed), one("login_dir_not_writable", Level::Broken));
    }

    #[test]
    fn who_runs_it_is_judged() {
        let way = |platform, daemon, on| Way {
            platform,
            name: format!("the {platform}"),
            daemon,
            program: None,
            gone: 0,
            on,
        };
        let of = |ways: Vec<Way>, daemons: Vec<u32>, idle: Option<Ms>| {
            let running = RunningFact {
                ways,
                daemons,
                last_pass: idle.map(|idle| NOW - idle),
                last_good: idle.map(|idle| NOW - idle),
                ..facts().running
            };
            let found = kinds(&Facts { running, ..facts() });
            found
                .into_iter()
                .map(|(kind, level)| format!("{kind} {}", level.word()))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let timer = || way("systemd", false, On::Yes);
        for (found, wanted) in [
            (of(vec![], vec![], None), "not_installed warning"),
            (of(vec![], vec![], Some(3 * HOUR)), "not_installed warning"),
            (of(vec![], vec![], Some(HOUR)), ""),
            // a clock that was set back is said by the clock
            (of(vec![], vec![], Some(-HOUR)), ""),
            (of(vec![], vec![7], None), ""),
            (of(vec![timer()], vec![], Some(HOUR)), ""),
            (of(vec![timer()], vec![], Some(3 * HOUR)), "last_pass_old warning"),
            (of(vec![timer()], vec![], Some(3 * DAY)), "last_pass_old broken"),
            (
                of(vec![way("systemd", false, On::No)], vec![], Some(3 * DAY)),
                "not_running broken",
            ),
            (of(vec![way("systemd", true, On::Yes)], vec![7], Some(0)), ""),
            (
                of(vec![way("systemd", true, On::Yes)], vec![7, 8], Some(0)),
                "two_installs warning",
            ),
            (of(vec![timer()], vec![7], Some(0)), "two_installs warning"),
            (
                of(vec![timer(), way("cron", false, On::Yes)], vec![], Some(0)),
                "two_installs warning",
            ),
            (
                of(vec![way("cron", false, On::Untold("x".into()))], vec![], Some(0)),
                "not_told unknown",
            ),
        ] {
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn passes_that_fail_for_long_are_told() {
        for (good, wanted) in [
            (Some(NOW - MINUTE), vec![]),
            (Some(NOW - HOUR), vec![]),
            (Some(NOW - 3 * HOUR), vec![("passes_fail".to_owned(), Level::Warning)]),
            (None, vec![("passes_fail".to_owned(), Level::Warning)]),
        ] {
            let mut facts = facts();
            facts.running.last_good = good;
            assert_eq!(kinds(&facts), wanted, "{good:?}");
        }
    }

    #[test]
    fn channels_that_are_not_reached_are_worse_where_no_other_is() {
        let channel = |name: &str, kind, probe| ChannelFact {
            name: name.into(),
            kind,
            trouble: None,
            waiting: 0,
            probe,
        };
        let not = || Probe::Not("refused".into());
        let of = |channels| kinds(&Facts { channels, ..facts() });
        let one = |kind: &str, level| vec![(kind.to_owned(), level)];
        assert_eq!(
            of(vec![channel("a", "slack", not())]),
            one("channel_unreachable", Level::Broken)
        );
        assert_eq!(
            of(vec![channel("a", "slack", not()), channel("b", "ntfy", Probe::Reached)]),
            one("channel_unreachable", Level::Warning)
        );
        assert_eq!(
            of(vec![
                channel("b", "ntfy", Probe::Reached),
                channel("h", "heartbeat", not())
            ]),
            one("heartbeat_unreachable", Level::Warning)
        );
        assert_eq!(
            of(vec![channel("log", "log", Probe::Untried(""))]),
            one("log_only", Level::Note)
        );
    }

    #[test]
    fn a_hint_that_is_a_command_becomes_one() {
        let of = |hint: &str| helped(Finding::new("x", Group::Files, Level::Note, "w", "w"), hint).remedy;
        assert_eq!(of("run `claude update`"), Remedy::Run("claude update".into()));
        assert_eq!(of("fine if meant"), Remedy::Do("fine if meant".into()));
        assert_eq!(of("run `a` and `b`"), Remedy::Do("run `a` and `b`".into()));
    }
}
