//! Loose file and environment -> strict [`Config`]. Everything has a default: nolapse runs with no file at all.

pub(crate) mod edit;
pub(crate) mod kept;
pub(crate) mod schema;
pub(crate) mod show;
mod written;

use crate::edge::files::{self, ReadError};
use crate::edge::host::Host;
use crate::notify::heartbeat::Heartbeat;
use crate::notify::{self, Channel};
use crate::rules::keys;
use crate::rules::policy::{AlertsConfig, Create, LoginConfig, RenewMode, Share, SyncConfig};
use crate::rules::renew::{Way, lead};
use crate::secret::SecretUrl;
use crate::sources::providers::ANTHROPIC;
use crate::table::{ConfigError, Source, Table, globs};
use crate::types::{self, MINUTE, Ms, SECOND};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub(crate) use written::{example, reference};

/// The policy of a run.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[sync]`.
    pub sync: SyncConfig,
    /// `[renew]`.
    pub renew: RenewConfig,
    /// `[alerts]`.
    pub alerts: AlertsConfig,
    /// `[[login]]`: further Claude Code directories.
    pub(crate) logins: Vec<LoginConfig>,
    /// `[[channel]]`; empty where none is configured.
    pub channels: Vec<Channel>,
    /// `[[remote]]`.
    pub(crate) remotes: Vec<RemoteConfig>,
    /// `[heartbeat]`.
    pub heartbeat: Option<Heartbeat>,
    /// `[daemon]`.
    pub(crate) daemon: DaemonConfig,
    /// `[metrics]`.
    pub(crate) metrics: MetricsConfig,
    /// The file it was read from; `None` for the defaults.
    pub(crate) path: Option<PathBuf>,
    /// What is wrong with that file, where this is the last valid one instead of it.
    pub(crate) broken: Option<String>,
}

/// `[daemon]`: when a resident nolapse makes a pass.
#[derive(Clone, Debug)]
pub(crate) struct DaemonConfig {
    /// Cron expression of six fields, seconds first, in the local time zone.
    pub(crate) schedule: String,
    /// A loopback address where metrics and health can be asked for.
    pub(crate) listen: Option<SocketAddr>,
}

/// `[metrics]`: where other programs find how things stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct MetricsConfig {
    /// Written after each pass, for node_exporter's textfile collector.
    pub(crate) textfile: Option<PathBuf>,
}

/// `[renew]`: who renews a login whose access token ends.
#[derive(Clone, Debug)]
pub struct RenewConfig {
    /// How.
    pub(crate) mode: RenewMode,
    /// Whether or not an agent uses the login.
    pub(crate) always: bool,
    /// How long before its access token ends a login is due, [`Ms`].
    pub(crate) lead: Ms,
    /// delegate: the CLI, a path or a name on the `PATH`.
    pub(crate) claude: PathBuf,
    /// delegate: how long the CLI is waited for before it is left alone. It is never ended.
    pub(crate) patience: Duration,
    /// direct: the token endpoint.
    pub(crate) token_url: SecretUrl,
    /// direct: the client id, for logins that name none of their own.
    pub(crate) client_id: String,
    /// direct: how long the answer is waited for.
    pub(crate) timeout: Duration,
}

/// `[[remote]]`: another host, asked by SSH.
#[derive(Clone, Debug)]
pub(crate) struct RemoteConfig {
    /// Its name in messages, unique.
    pub(crate) name: String,
    /// What `ssh` is given: a host, `user@host`, or a `Host` of `~/.ssh/config`.
    pub(crate) ssh: String,
    /// What is run there.
    pub(crate) command: String,
    /// How often it is asked, [`Ms`].
    pub(crate) every: Ms,
    /// The longest an answer may take, [`Ms`].
    pub(crate) timeout: Ms,
    /// How long it may be silent before that is an alert, [`Ms`].
    pub(crate) grace: Ms,
}

impl RemoteConfig {
    fn read(table: &Table<'_>, others: &[Self]) -> Result<Self, ConfigError> {
        let name = table.need_str("name")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || !name.chars().all(plain) || others.iter().any(|other| other.name == name) {
            return Err(table.error(
                "name",
                format!("is `{name}`, which is taken or more than letters, digits, `.`, `_` and `-`"),
                "choose another one",
            ));
        }
        let ssh = table.need_str("ssh")?;
        if ssh.is_empty() || ssh.starts_with('-') || ssh.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(table.error("ssh", format!("is `{ssh}`, no host"), "write `user@host`"));
        }
        let within = |key: &str, default: Ms| Ok(table.duration(key)?.unwrap_or(default));
        Ok(Self {
            name: name.into(),
            ssh: ssh.into(),
            command: table.filled("command")?.unwrap_or("nolapse status --json").into(),
            every: within("every", 15 * MINUTE)?,
            timeout: within("timeout", 30 * SECOND)?,
            grace: within("grace", 30 * MINUTE)?,
        })
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sync: SyncConfig {
                enabled: true,
                share: Share::Access,
                create: Create::AsAgentsDo,
                profile: "anthropic:claude-cli".into(),
                exclude_agents: Vec::new(),
            },
            renew: RenewConfig {
                mode: RenewMode::Delegate,
                always: false,
                lead: lead(Way::Delegate).usual,
                claude: "claude".into(),
                patience: Duration::from_secs(60),
                token_url: SecretUrl::new(ANTHROPIC.token_url),
                client_id: ANTHROPIC.client_id.into(),
                timeout: Duration::from_secs(30),
            },
            alerts: AlertsConfig::default(),
            logins: Vec::new(),
            channels: Vec::new(),
            remotes: Vec::new(),
            heartbeat: None,
            daemon: DaemonConfig {
                schedule: "0 */4 * * * *".into(),
                listen: None,
            },
            metrics: MetricsConfig::default(),
            path: None,
            broken: None,
        }
    }
}

/// `$XDG_CONFIG_HOME/nolapse/config.toml`, `~/.config` where that is not set to an absolute path.
pub(crate) fn default_path(host: &Host) -> PathBuf {
    host.xdg("XDG_CONFIG_HOME", ".config").join("nolapse/config.toml")
}

/// `$XDG_STATE_HOME/nolapse`, `~/.local/state` where that is not set to an absolute path.
pub(crate) fn default_state_dir(host: &Host) -> PathBuf {
    host.xdg("XDG_STATE_HOME", ".local/state").join("nolapse")
}

/// The configuration in force, key by key, with where each value comes from; `found` are the channels that were found by
/// themselves: type and name.
///
/// # Errors
/// As [`load`], which reads it first.
pub(crate) fn shown(path: &Path, host: &Host, found: &[(&str, &str)]) -> Result<String, ConfigError> {
    let there = files::exists(path);
    load(path, false, host)?;
    let bytes = files::read(path).map(|file| file.bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let source = Source::new(path, &text, true, host);
    Ok(show::show(&show::Shown {
        source: there.then_some(&source),
        path: &host.tilde(path),
        found,
    }))
}

/// Reads the configuration; the default where there is no file and none was asked for by name.
///
/// # Errors
/// A file that was named and is not there, is no TOML, or says something it may not: names file, line, key and remedy.
pub fn load(path: &Path, named: bool, host: &Host) -> Result<Config, ConfigError> {
    let fail = |message: &str, hint| ConfigError::of_file(path, message, hint);
    let snapshot = match files::read(path) {
        Ok(snapshot) => snapshot,
        Err(ReadError::Absent) if !named => return Ok(Config::default()),
        Err(ReadError::Absent) => return Err(fail("no such file", "run `nolapse config init` to make one")),
        Err(error) => {
            let hint = "make it a readable file, or name another with `--config`";
            return Err(fail(&error.to_string(), hint));
        }
    };
    // root would run what it names, whoever wrote it there
    if files::is_root() {
        trusted(path, host)?;
    }
    let text = std::str::from_utf8(&snapshot.bytes).map_err(|_| fail("not UTF-8 text", "save it as UTF-8"))?;
    parse(&Source::new(path, text, snapshot.meta.mode & 0o077 == 0, host))
}

/// Whether nobody but this user and root can change the configuration: it names programs that are run (`command`, `renew.claude`),
/// and who is told. As ssh judges its own.
///
/// # Errors
/// Who can, and the command that ends it.
pub(crate) fn trusted(path: &Path, host: &Host) -> Result<(), ConfigError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    for (path, what) in [(path, "this file"), (dir, "its directory")] {
        let Some(meta) = files::stat(path) else { continue };
        let shown = crate::rules::wording::quote(&host.tilde(path));
        let fail = |message: String, hint: String| ConfigError::of_file(path, message, hint);
        if meta.uid != 0 && meta.uid != files::our_uid() {
            return Err(fail(
                format!("{what} belongs to user {}, who can have nolapse run anything", meta.uid),
                format!("run `sudo chown {} {shown}`", files::our_uid()),
            ));
        }
        // in a sticky directory nobody takes the place of another's file
        if meta.mode & 0o022 != 0 && meta.mode & 0o1000 == 0 {
            return Err(fail(
                format!(
                    "{what} has mode {:04o}: others can write it, and so have nolapse run anything",
                    meta.mode
                ),
                format!("run `chmod go-w {shown}`"),
            ));
        }
    }
    Ok(())
}

/// The files that hold the configuration's secrets and can be read by others, whether or not it is valid otherwise: those
/// named by a `*_file` key, and the configuration itself where a secret stands in it.
pub(crate) fn loose_secrets(path: &Path, host: &Host) -> Vec<(PathBuf, types::Meta)> {
    let Ok(snapshot) = files::read(path) else {
        return Vec::new();
    };
    let Ok(text) = std::str::from_utf8(&snapshot.bytes) else {
        return Vec::new();
    };
    let Ok(document) = toml::de::DeTable::parse(text) else {
        return Vec::new();
    };
    let loose = |meta: &types::Meta| meta.mode & 0o077 != 0;
    let mut found = Vec::new();
    let read = |private| parse(&Source::new(path, text, private, host));
    // what is wrong only while others can read it is a secret in it
    if loose(&snapshot.meta) && read(false).err() != read(true).err() {
        found.push((path.to_owned(), snapshot.meta));
    }
    let mut names = Vec::new();
    file_keys(document.get_ref(), &mut names);
    for name in names {
        let named = crate::edge::host::expand_home(name, &host.home);
        let named = path.parent().map_or(named.clone(), |dir| dir.join(&named));
        if let Some(meta) = files::stat(&named).filter(loose) {
            found.push((named, meta));
        }
    }
    found.dedup_by(|a, b| a.0 == b.0);
    found
}

/// The values of all `*_file` keys but those of certificates, which are public.
fn file_keys<'t>(table: &'t toml::de::DeTable<'t>, names: &mut Vec<&'t str>) {
    use toml::de::DeValue;
    for (key, value) in table {
        match value.get_ref() {
            DeValue::String(text) if key.get_ref().ends_with("_file") && key.get_ref() != "ca_file" => names.push(text),
            DeValue::Table(inner) => file_keys(inner, names),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        file_keys(inner, names);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Reads the configuration's text.
///
/// # Errors
/// As [`load`].
pub fn parse(source: &Source<'_>) -> Result<Config, ConfigError> {
    let document = toml::de::DeTable::parse(source.text).map_err(|error| {
        let line = error.span().map_or(1, |span| source.line(span.start));
        ConfigError {
            place: format!("{}:{line}", source.path.display()),
            // the first line says what; the parser's own excerpt could show a secret
            message: format!("not valid TOML: {}", error.message().lines().next().unwrap_or_default()),
            hint: "see `nolapse config init --stdout` for an example".into(),
        }
    })?;
    let top = Table::new(source, "", document.span(), document.get_ref());
    let mut config = Config::default();

    if let Some(table) = top.table("sync")? {
        read_sync(&table, &mut config.sync)?;
        table.finish()?;
    }
    if let Some(table) = top.table("renew")? {
        read_renew(&table, &mut config.renew)?;
        table.finish()?;
    }
    if let Some(table) = top.table("alerts")? {
        let alerts = &mut config.alerts;
        if let Some(mut steps) = table.durations("steps")? {
            steps.sort_unstable_by(|a, b| b.cmp(a));
            steps.dedup();
            alerts.steps = steps;
        }
        alerts.grace = table.duration("grace")?.unwrap_or(alerts.grace);
        table.finish()?;
    }
    for table in top.tables("login")? {
        config.logins.push(LoginConfig {
            dir: match table.str("dir")? {
                Some("") => {
                    return Err(table.error("dir", "is empty", "name Claude Code's directory, as `~/.claude-team`"));
                }
                _ => table.path("dir")?.ok_or_else(|| table.missing("dir"))?,
            },
            name: table.filled("name")?.map(Into::into),
            agents: globs(&table, "agents")?,
            profile: table
                .str("profile")?
                .map(|id| profile_id(&table, "profile", id))
                .transpose()?,
        });
        table.finish()?;
    }
    config.channels = notify::read_channels(top.tables("channel")?)?;
    for table in top.tables("remote")? {
        let remote = RemoteConfig::read(&table, &config.remotes)?;
        config.remotes.push(remote);
        table.finish()?;
    }
    if let Some(table) = top.table("heartbeat")? {
        config.heartbeat = Some(Heartbeat::read(&table)?);
        table.finish()?;
    }
    if let Some(table) = top.table("daemon")? {
        if let Some(schedule) = table.str("schedule")? {
            check_schedule(&table, schedule)?;
            config.daemon.schedule = schedule.into();
        }
        config.daemon.listen = listen(&table)?;
        table.finish()?;
    }
    if let Some(table) = top.table("metrics")? {
        config.metrics.textfile = textfile(&table)?;
        table.finish()?;
    }
    config.path = Some(source.path.to_owned());
    top.finish()?;
    Ok(config)
}

/// An address that nobody beyond this host can reach: what is told there is for its own collectors, and nobody is asked who
/// they are.
/// `renew.lead`, within what the way of renewing allows.
fn read_lead(table: &Table, mode: RenewMode) -> Result<Ms, ConfigError> {
    let allowed = lead(match mode {
        RenewMode::Direct => Way::Direct,
        RenewMode::Delegate | RenewMode::Off => Way::Delegate,
    });
    match table.duration("lead")? {
        None => Ok(allowed.usual),
        Some(span) if (allowed.least..=allowed.most).contains(&span) => Ok(span),
        Some(_) => Err(table.error(
            "lead",
            "is out of range",
            "use `1m` to `4m`, with `mode = \"direct\"` up to `1h`: Claude Code renews nothing earlier than that",
        )),
    }
}

fn listen(table: &Table<'_>) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(text) = table.str("listen")? else {
        return Ok(None);
    };
    match text.parse::<SocketAddr>() {
        Ok(at) if at.ip().is_loopback() => Ok(Some(at)),
        Ok(_) => Err(table.error(
            "listen",
            format!("is `{text}`, which other hosts can reach"),
            "write `127.0.0.1:9817`, and let a reverse proxy or an ssh tunnel lead there",
        )),
        Err(_) => Err(table.error(
            "listen",
            format!("is `{text}`, no address with a port"),
            "write `127.0.0.1:9817` or `[::1]:9817`",
        )),
    }
}

/// node_exporter reads `*.prom` and nothing else.
fn textfile(table: &Table<'_>) -> Result<Option<PathBuf>, ConfigError> {
    match table.path("textfile")? {
        Some(path) if path.extension().is_none_or(|extension| extension != "prom") => Err(table.error(
            "textfile",
            format!("is `{}`, whose name does not end in `.prom`", path.display()),
            "write `/var/lib/prometheus/node-exporter/nolapse.prom`, say",
        )),
        path => Ok(path),
    }
}

/// A schedule has a next time, and leaves a pass room to do its work.
fn check_schedule(table: &Table<'_>, schedule: &str) -> Result<(), ConfigError> {
    const REMEDY: &str = "write `0 */4 * * * *` for every four minutes";
    let wrong = |why: String| Err(table.error("schedule", why, REMEDY));
    match crate::edge::schedule::next(schedule) {
        Err(why) => wrong(format!("is not valid: {why}")),
        Ok(None) => wrong(format!("is never due: `{schedule}`")),
        Ok(Some(_)) if crowded(schedule) => wrong(format!("is due more often than every 10 s: `{schedule}`")),
        Ok(Some(_)) => Ok(()),
    }
}

/// Whether the seconds of a cron expression name two moments that are nearer than [`keys::BETWEEN_PASSES`].
fn crowded(schedule: &str) -> bool {
    let field = schedule.split_whitespace().next().unwrap_or_default();
    let mut seconds: Vec<u32> = Vec::new();
    for part in field.split(',') {
        let (span, step) = part.split_once('/').unwrap_or((part, "1"));
        let (from, to) = match span.split_once('-') {
            Some((from, to)) => (from.parse().unwrap_or(0), to.parse().unwrap_or(59)),
            // with a step a number is where it begins
            None if span == "*" || part.contains('/') => (span.parse().unwrap_or(0), 59),
            None => span.parse().map_or((0, 59), |second| (second, second)),
        };
        seconds.extend((from..=to.min(59)).step_by(step.parse().unwrap_or(1).max(1)));
    }
    seconds.sort_unstable();
    seconds.dedup();
    let least = (keys::BETWEEN_PASSES / SECOND) as u32;
    // the last of a minute and the first of the next one too
    let round = seconds.first().map(|first| first + 60);
    let mut next = seconds.iter().copied().skip(1).chain(round);
    seconds
        .iter()
        .any(|second| next.next().is_some_and(|next| next - second < least))
}

fn read_sync(table: &Table<'_>, sync: &mut SyncConfig) -> Result<(), ConfigError> {
    sync.enabled = table.bool("enabled")?.unwrap_or(sync.enabled);
    sync.share = table
        .word("share", &[("access", Share::Access), ("full", Share::Full)])?
        .unwrap_or(sync.share);
    let create = [
        ("as-agents-do", Create::AsAgentsDo),
        ("always", Create::Always),
        ("never", Create::Never),
    ];
    sync.create = table.word("create", &create)?.unwrap_or(sync.create);
    if let Some(id) = table.str("profile")? {
        sync.profile = profile_id(table, "profile", id)?;
    }
    sync.exclude_agents = globs(table, "exclude_agents")?.unwrap_or_default();
    Ok(())
}

fn read_renew(table: &Table<'_>, renew: &mut RenewConfig) -> Result<(), ConfigError> {
    let modes = [
        ("delegate", RenewMode::Delegate),
        ("direct", RenewMode::Direct),
        ("off", RenewMode::Off),
    ];
    renew.mode = table.word("mode", &modes)?.unwrap_or(renew.mode);
    renew.always = table.bool("always")?.unwrap_or(renew.always);
    renew.lead = read_lead(table, renew.mode)?;
    match table.filled("claude")? {
        // a bare name is looked for on the `PATH`
        Some(name) if !name.contains('/') => renew.claude = name.into(),
        Some(_) => renew.claude = table.path("claude")?.unwrap_or_default(),
        None => {}
    }
    let span = |key| Ok(table.duration(key)?.map(|ms| Duration::from_millis(ms.unsigned_abs())));
    renew.patience = span("patience")?.unwrap_or(renew.patience);
    if let Some(url) = table.url("token_url", true)? {
        table.not_in_the_clear("token_url", &url, "tokens")?;
        renew.token_url = url;
    }
    if let Some(id) = table.filled("client_id")? {
        renew.client_id = id.into();
    }
    renew.timeout = span("timeout")?.unwrap_or(renew.timeout);
    Ok(())
}

fn profile_id(table: &Table<'_>, key: &str, id: &str) -> Result<String, ConfigError> {
    if id.trim() != id || !id.starts_with("anthropic:") || id == "anthropic:" {
        return Err(table.error(
            key,
            format!("is `{id}`, no profile id of Anthropic's"),
            "write `anthropic:NAME`",
        ));
    }
    Ok(id.into())
}
