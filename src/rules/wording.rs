//! The words of an alert, for a person half asleep: what stopped or will stop, when, who is affected, the one command.

use super::alert::{Alert, Obstacle, Why};
use super::causes::{
    BYTE_ORDER_MARK, DIRECTORY, FOREIGN_OWNER, HEALED, LOGIN_OVER, NO_ACCESS, NO_KEY, NO_SCOPES, NOT_A_FILE,
    NOT_CONFIGURED, NOT_HEALED, NOT_READABLE, SECONDS,
};
use super::link::{RELOAD_FAILED, RELOAD_WARNINGS, RESTART_GATEWAY};
use super::remote::KEY_CHANGED;
use crate::cause::Cause;
use crate::layout::upper;
use crate::rules::text::{self, Count, clean, clip};
use crate::types::{Affected, DAY, Family, HOUR, Health, MINUTE, Moment, Ms};

/// The kind of every alert; docs/alerts.md lists them, and `tests/it/remedies.rs` runs a remedy of each of that list.
const KINDS: [&str; 47] = [
    "login_ends_soon",
    "login_ended",
    "race_logout",
    "blanked",
    "rejected",
    "older_state",
    "no_refresh_token",
    "copy_stale",
    "copy_diverged",
    "abandoned_refresh",
    "not_renewed",
    "unreadable",
    "no_token",
    "profile_retired",
    "missing",
    "unknown_outcome",
    "rescue",
    "store_malformed",
    "not_in_order",
    "mode_refused",
    "key_refused",
    "other_provider",
    "held_back",
    "entries_ignored",
    "config_broken",
    "channel_failing",
    "channel_refused",
    "heartbeat_failing",
    "heartbeat_refused",
    "silent",
    "more",
    KEY_CHANGED,
    RELOAD_FAILED,
    RELOAD_WARNINGS,
    RESTART_GATEWAY,
    HEALED,
    NOT_HEALED,
    DIRECTORY,
    NOT_A_FILE,
    NOT_CONFIGURED,
    BYTE_ORDER_MARK,
    FOREIGN_OWNER,
    SECONDS,
    NO_KEY,
    NOT_READABLE,
    NO_SCOPES,
    NO_ACCESS,
];

/// The words of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// One line.
    pub(crate) title: String,
    /// Lines parted by `\n`.
    pub(crate) message: String,
    /// The commands that help, the first one first.
    pub(crate) commands: Vec<String>,
}

/// Where and when an alert is worded.
#[derive(Clone, Copy)]
pub(crate) struct Here<'a> {
    /// This host.
    pub(crate) host: &'a str,
    /// As of when it is worded.
    pub(crate) now: Moment,
    /// Shows a moment in the user's time zone.
    pub(crate) when: fn(Moment) -> String,
}

/// Puts an alert that fires since `since` into words.
pub(crate) fn words(alert: &Alert, why: Why, since: Moment, here: Here<'_>) -> Words {
    let Here { host, now, when } = here;
    // what is the matter on another host is worded as there
    if let Cause::Remote { host, cause } = &alert.id {
        let there = Alert {
            id: (**cause).clone(),
            ..alert.clone()
        };
        return words(&there, why, since, Here { host, ..here });
    }
    debug_assert!(
        KINDS.contains(&alert.kind.as_str()),
        "{} is no kind of alert",
        alert.kind
    );
    let subject = subject(alert);
    let begun = alert.begun(since, now);
    if why == Why::Recovered {
        let lasted = span(now - begun);
        let mut lines = vec![format!("it works again after {lasted}; nothing more to do")];
        if !alert.affected.is_empty() {
            lines.push(format!("was affected: {}", who(alert)));
        }
        return Words {
            title: upper(&format!(
                "{subject} on {host} {}",
                agreed(alert, "is fine again".into())
            )),
            message: lines.join("\n"),
            commands: Vec::new(),
        };
    }
    let says = format!("{subject} {} on {host}", agreed(alert, headline(alert, now)));
    let title = match why {
        Why::Reminder => format!("still, for {}: {says}", span(now - begun)),
        _ => says,
    };
    let mut lines = vec![cause(alert)];
    match alert.ends {
        Some(ends) if ends > now && alert.kind == "held_back" => {
            lines.push(format!("until: {} (in {})", when(ends), span(ends - now)));
        }
        Some(ends) if ends > now && !alert.lapsed => {
            lines.push(format!("ends: {} (in {})", when(ends), span(ends - now)));
        }
        _ if alert.lapsed || begun < now => {
            lines.push(format!("since: {} ({} ago)", when(begun), span(now - begun)));
        }
        _ => {}
    }
    if !alert.affected.is_empty() {
        lines.push(format!("affected: {}", who(alert)));
    }
    let remedy = remedy(alert);
    // a command stands on a line of its own, by which every channel knows it for one
    lines.push(match alert.id {
        Cause::Host => "to see why, run here:".to_owned(),
        _ if alert.kind == "held_back" => format!("to see how it goes on, run on {host}:"),
        _ if alert.kind == HEALED => format!("to see what happened, run on {host}:"),
        _ => format!("to fix it, run on {host}:"),
    });
    lines.push(remedy.first.clone());
    for (what, command) in &remedy.others {
        lines.push(format!("{what}:"));
        lines.push(command.clone());
    }
    let others = remedy.others.into_iter().map(|(_, command)| command);
    Words {
        title: upper(&title),
        message: lines.join("\n"),
        commands: std::iter::once(remedy.first).chain(others).collect(),
    }
}

/// Foreign text in a line of ours: no line breaks, no direction marks, no endless names.
fn name(text: &str) -> String {
    clip(&clean(text, false), 64, Count::Chars, text::as_is)
}

/// A word for a POSIX shell or fish, quoted only where that is needed; a leading `~/` still means the home. fish reads a backslash
/// within single quotes (<https://fishshell.com/docs/current/language.html#quotes>), a POSIX shell does not: quotes and backslashes
/// stand outside, where both read them alike.
pub(crate) fn quote(word: &str) -> String {
    let (home, rest) = match word.strip_prefix("~/") {
        Some(rest) => ("~/", rest),
        None => ("", word),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@+,".contains(c);
    if !rest.is_empty() && rest.chars().all(plain) {
        return word.to_owned();
    }
    let mut out = format!("{home}'");
    for c in rest.chars() {
        match c {
            '\'' => out.push_str(r"'\''"),
            '\\' => out.push_str(r"'\\'"),
            c => out.push(c),
        }
    }
    out + "'"
}

/// An option and its value: a value that begins with `-` would be one itself if it stood alone.
pub(crate) fn option(name: &str, value: &str) -> String {
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", quote(value))
}

/// The command that takes a profile out of an agent's store.
pub(crate) fn remove_token(profile: &str, agent: &str) -> String {
    match profile.starts_with('-') {
        true => format!("nolapse token remove {} {}", option("--agent", agent), operand(profile)),
        false => format!("nolapse token remove {} {}", quote(profile), option("--agent", agent)),
    }
}

/// A word that is no option even where it begins with `-`; nothing but further such words may come after it.
pub(crate) fn operand(word: &str) -> String {
    match word.starts_with('-') {
        true => format!("-- {}", quote(word)),
        false => quote(word),
    }
}

fn subject(alert: &Alert) -> String {
    let login = name(alert.login.as_ref().map_or("?", |login| login.id.as_str()));
    match &alert.id {
        Cause::Login(_) if outside(alert) && login == "env" => "the token in `CLAUDE_CODE_OAUTH_TOKEN`".into(),
        Cause::Login(_) if outside(alert) => format!("the setup token in `{login}`"),
        Cause::Login(_) => format!("Claude login `{login}`"),
        Cause::Renewal(_) | Cause::Healed(_) | Cause::Heal(_) if alert.login.is_some() => {
            format!("Claude login `{login}`")
        }
        Cause::Copies(_) => match agents(alert) {
            1 => format!("an agent's copy of Claude login `{login}`"),
            n => format!("{n} agents' copies of Claude login `{login}`"),
        },
        Cause::Reload(dir) => format!("the OpenClaw gateway in {}", name(alert.path.as_deref().unwrap_or(dir))),
        Cause::Store(agent) => format!("the auth store of {}", name(agent)),
        Cause::Agent { agent, provider } => format!("{} for {}", name(agent), name(provider)),
        Cause::Host => "nolapse".into(),
        Cause::Channel(channel) => format!("the alert channel `{}`", name(channel)),
        Cause::Heartbeat => "the heartbeat".into(),
        Cause::Config => "nolapse's configuration".into(),
        id => match alert.affected.first() {
            Some(one) => format!("`{}` of {}", name(&one.profile), label(one)),
            None => name(&id.to_string()),
        },
    }
}

/// Whether it is about a token that lies in no Claude Code directory: in the environment, or in a file of its own.
fn outside(alert: &Alert) -> bool {
    alert.login.as_ref().is_some_and(|login| login.dir.is_empty())
}

fn headline(alert: &Alert, now: Moment) -> String {
    match (alert.kind.as_str(), alert.ends) {
        ("race_logout" | "blanked", _) if alert.lapsed => "was logged out".into(),
        ("silent" | KEY_CHANGED, _) => "does not answer".into(),
        ("older_state", _) => "was set back to an older state".into(),
        (HEALED, _) => "was updated from an agent's copy".into(),
        ("more", _) => "has more alerts than can be listed".into(),
        ("rejected", _) => "was refused by the server".into(),
        (NOT_HEALED, _) => "could not be updated".into(),
        (SECONDS, _) => "looks as if it had ended".into(),
        (NO_SCOPES | NO_ACCESS, _) => "does not count as signed in".into(),
        ("unreadable" | DIRECTORY | NOT_A_FILE | FOREIGN_OWNER | BYTE_ORDER_MARK, _) => "cannot be read".into(),
        ("store_malformed" | "config_broken", _) => "is broken".into(),
        (NOT_READABLE, _) => "cannot be read".into(),
        ("no_token", _) => "holds no token".into(),
        (NO_KEY, _) => "holds no API key".into(),
        ("not_in_order" | "mode_refused" | "key_refused" | "other_provider" | "entries_ignored", _) => {
            "has no usable credential".into()
        }
        ("profile_retired", _) => "is refused by OpenClaw".into(),
        (RELOAD_FAILED, _) => "did not get a login's new token".into(),
        (RELOAD_WARNINGS, _) => "has had warnings since it got a login's new token".into(),
        (RESTART_GATEWAY, _) => "must be restarted once to use a login's new token".into(),
        ("held_back", _) => "is waiting: all its credentials are held back".into(),
        ("channel_failing" | "channel_refused" | "heartbeat_failing" | "heartbeat_refused", _) => {
            "does not get through".into()
        }
        ("unknown_outcome", _) => "may have been lost in a renewal".into(),
        ("not_renewed", _) => "was not renewed".into(),
        ("rescue", _) => "was renewed, and its new tokens could not be saved".into(),
        ("missing", _) if matches!(alert.id, Cause::Login(_)) => "is signed out".into(),
        (_, Some(ends)) if !alert.lapsed && ends > now => format!("ends in {}", span(ends - now)),
        _ if !alert.lapsed => "may end any moment now".into(),
        _ if matches!(alert.id, Cause::Copies(_)) => "has expired".into(),
        _ => "has ended".into(),
    }
}

/// What is said of one thing, or of several agents' copies.
fn agreed(alert: &Alert, says: String) -> String {
    if !matches!(alert.id, Cause::Copies(_)) || agents(alert) == 1 {
        return says;
    }
    let (verb, rest) = says.split_once(' ').unwrap_or((&says, ""));
    let verb = match verb {
        "is" => "are",
        "has" => "have",
        "was" => "were",
        "does" => "do",
        "holds" => "hold",
        "ends" => "end",
        "looks" => "look",
        other => other,
    };
    format!("{verb} {rest}")
}

fn cause(alert: &Alert) -> String {
    let detail = |text: &str| match &alert.detail {
        Some(detail) => format!("{text}: {}", clean(detail, false)),
        None => text.to_owned(),
    };
    match alert.kind.as_str() {
        "login_ends_soon" => "a login lasts about a month; only signing in again renews it".into(),
        "login_ended" => "the login reached its time limit; agents that use it stop as their tokens run out".into(),
        "race_logout" => {
            "Claude Code was logged out long before the deadline: probably a second program refreshed the same single-use \
             token, or you signed out elsewhere"
                .into()
        }
        "blanked" => "the server refused its refresh token, and Claude Code wiped the login".into(),
        "rejected" => "the server permanently refused the refresh token".into(),
        "older_state" => "an older file was put back (by a backup or a sync tool), or another login's was copied. Its refresh token has been used up since and is not sent again; restore the newer file, or sign in again".into(),
        HEALED => format!(
            "{} had renewed it; if that agent is not signed in to the account you mean, sign in again",
            alert.detail.as_deref().map_or_else(|| "an agent".into(), name)
        ),
        "silent" | KEY_CHANGED => detail("the state of its logins is unknown"),
        SECONDS => "its `expires` is in seconds; its agent reads milliseconds, so it looks long expired".into(),
        NOT_HEALED => detail("an agent renewed it, but Claude Code's own file still holds the used-up token, and using that may log Claude Code out"),
        "no_refresh_token" => "nothing can renew this token".into(),
        "not_renewed" => detail("its access token has expired and nothing has renewed it"),
        "abandoned_refresh" => "a renewal began and was never saved; its single-use token is probably used up".into(),
        "unknown_outcome" => {
            detail("its single-use token was sent and no answer came, so it is not sent again")
        }
        "rescue" => detail("the new tokens are kept aside, and the next pass that can will save them; do not use the login before that"),
        "copy_stale" | "copy_diverged" if alert.obstacle == Some(Obstacle::NobodyRenews) => LOGIN_OVER.into(),
        "copy_diverged" if alert.obstacle == Some(Obstacle::NotRenewed) => detail("the login's access token has expired as well"),
        "copy_stale" if !matches!(alert.id, Cause::Copies(_)) => detail("its own token was not renewed"),
        "copy_stale" => detail("the login is fine, but its copy was not updated"),
        "copy_diverged" => detail("the login is fine, but this profile has its own token, and that has expired"),
        RELOAD_FAILED | RESTART_GATEWAY => detail("it keeps using the old token until that expires"),
        RELOAD_WARNINGS => detail("it may keep using the old token until that expires"),
        "no_token" | NO_KEY => match &alert.detail {
            Some(detail) => format!("this is not a usable token or key; it is {}", clean(detail, false)),
            None => "this is not a usable token or key".into(),
        },
        "profile_retired" => "OpenClaw no longer accepts this profile id (since 2026.8): its agents cannot run, whatever it holds".into(),
        "not_in_order" => detail("a working credential is skipped, because the order does not name it"),
        "mode_refused" | "key_refused" => {
            detail("a working credential is refused because of its mode in the agents' config")
        }
        "other_provider" => detail("a working credential is assigned to another provider in the agents' config"),
        "held_back" if alert.obstacle == Some(Obstacle::Billing) => detail(
            "its provider refused it for lack of payment: pay or raise the limit there; the agent still waits until then",
        ),
        "held_back" => detail("the agent will try again then, even if it gets a fresh token before"),
        "entries_ignored" => detail("its store"),
        "store_malformed" => detail("the agent treats it as empty and will overwrite it, with all its keys"),
        DIRECTORY | NOT_A_FILE if matches!(alert.id, Cause::Store(_)) => {
            detail("its agent can neither read nor save it")
        }
        DIRECTORY | NOT_A_FILE => {
            detail("signing in now seems to work but saves nothing, since its file cannot be written")
        }
        NOT_CONFIGURED => {
            detail("it holds the tokens of a login that is not configured, so nothing keeps them fresh; that login")
        }
        NO_SCOPES => "it has no `scopes`, so Claude Code treats it as signed out".into(),
        NO_ACCESS => "it has a refresh token and no access token".into(),
        FOREIGN_OWNER => detail("it belongs to another user"),
        BYTE_ORDER_MARK => detail("it is intact except for its first three bytes"),
        "unreadable" | NOT_READABLE => detail("it exists but cannot be read"),
        "channel_failing" => detail("its alerts do not arrive; they are kept for 7 days and retried"),
        "channel_refused" => detail("its receiver refuses the alerts; fix its configuration"),
        "config_broken" => detail("the last valid one is used until it is fixed"),
        "heartbeat_failing" => detail("its service may think that nolapse has stopped, or not notice when it has"),
        "heartbeat_refused" => detail("its service does not know the URL, so nobody will notice if nolapse stops: fix `[heartbeat] url`"),
        "missing" if matches!(alert.id, Cause::Login(_)) => "there was a login here, and it is gone".into(),
        "missing" => "the profile holds nothing usable".into(),
        other => detail(&other.replace('_', " ")),
    }
}

/// What a person can run.
struct Remedy {
    first: String,
    /// Further ones, each with what it is for.
    others: Vec<(&'static str, String)>,
}

impl From<String> for Remedy {
    fn from(first: String) -> Self {
        Self {
            first,
            others: Vec::new(),
        }
    }
}

/// Asks a remote by hand, by its host and the command that is configured.
fn by_ssh(way: &str) -> String {
    let (host, command) = way.split_once(' ').unwrap_or((way, "nolapse status"));
    // a `~` is for the shell there
    let plain = command
        .split(' ')
        .all(|word| quote(word) == word && !word.starts_with('~'));
    let command = match plain {
        true => command.to_owned(),
        false => format!("'{}'", command.replace('\'', "'\\''")),
    };
    format!("ssh {} {command}", quote(host))
}

fn remedy(alert: &Alert) -> Remedy {
    if let Some(fix) = &alert.fix {
        return fix.clone().into();
    }
    let place = alert.path.as_deref().unwrap_or("it");
    let path = quote(place);
    match (&alert.id, alert.kind.as_str()) {
        (_, NOT_CONFIGURED) => configure(alert).into(),
        (_, SECONDS) => {
            let seconds = alert.affected.first().and_then(|one| one.expires_at);
            in_milliseconds(place, seconds.unwrap_or_default()).into()
        }
        (_, BYTE_ORDER_MARK) => strip_mark(place).into(),
        (_, FOREIGN_OWNER) => take_over(place).into(),
        (_, NOT_READABLE) => let_owner_in(place).into(),
        (_, NO_KEY) => match alert.affected.first() {
            Some(one) => token_add(one, " --type api_key").into(),
            None => "nolapse status".to_owned().into(),
        },
        (Cause::Store(_), "store_malformed" | DIRECTORY | NOT_A_FILE) => aside(place).into(),
        (Cause::Store(_), _) => format!("ls -l {path}").into(),
        (Cause::Agent { agent, provider }, kind) => {
            let (agent, provider) = (quote(agent), quote(provider));
            match kind {
                "not_in_order" => order(alert, &agent, &provider).into(),
                "mode_refused" => configured(alert, "mode", "oauth").into(),
                "key_refused" => configured(alert, "mode", "api_key").into(),
                "other_provider" => configured(alert, "provider", &provider).into(),
                "entries_ignored" => record_anew(alert, &provider, &agent),
                _ => "nolapse status".to_owned().into(),
            }
        }
        (_, RELOAD_FAILED) => "openclaw secrets reload".to_owned().into(),
        (_, RELOAD_WARNINGS) => "openclaw secrets audit".to_owned().into(),
        (_, RESTART_GATEWAY) => "openclaw gateway restart".to_owned().into(),
        (_, "silent") => by_ssh(alert.path.as_deref().unwrap_or_default()).into(),
        (_, KEY_CHANGED) => format!("ssh-keygen -R {path}").into(),
        (_, HEALED) => "nolapse history".to_owned().into(),
        (_, "rescue") => "nolapse refresh".to_owned().into(),
        (_, "not_renewed") => refresh(alert).into(),
        // a pass has left it as it is, since it may be worth something
        (Cause::Copies(_), "no_token") if !alert.affected.is_empty() => own(&alert.affected[0]),
        (Cause::Copies(_), _) => copies_remedy(alert).into(),
        (Cause::Heartbeat, _) => "nolapse doctor".to_owned().into(),
        (Cause::Config, _) => "nolapse config check".to_owned().into(),
        (Cause::Channel(name), _) => format!("nolapse alert test {}", operand(name)).into(),
        (Cause::Login(_), "unreadable") if !alert.lapsed => format!("ls -l {path}").into(),
        (Cause::Login(_), DIRECTORY) => before_sign_in(alert, format!("rmdir {path}")),
        (Cause::Login(_), NOT_A_FILE) => before_sign_in(alert, format!("mv {path} {path}.old")),
        // a token in the environment or in a file of its own: only a new one helps
        (Cause::Login(_), _) if outside(alert) => "nolapse reauth --setup-token".to_owned().into(),
        (Cause::Login(_) | Cause::Renewal(_), _) if alert.login.is_some() => Remedy {
            first: match &alert.login {
                Some(login) => format!("nolapse login {}", option("--login", &login.id)),
                None => "nolapse login".into(),
            },
            others: vec![
                ("or without nolapse", sign_in_anew(alert)),
                ("for an unattended year", "claude setup-token".into()),
            ],
        },
        _ => match alert.affected.first() {
            Some(one) => own(one),
            None => "nolapse status".to_owned().into(),
        },
    }
}

/// The command that renews a login although it failed just now: without `--force` it waits as long as a pass does.
fn refresh(alert: &Alert) -> String {
    match &alert.login {
        Some(login) => format!("nolapse refresh {} --force", option("--login", &login.id)),
        None => "nolapse refresh".into(),
    }
}

fn copies_remedy(alert: &Alert) -> String {
    match alert.obstacle {
        Some(Obstacle::NobodyRenews) => use_once(alert),
        Some(Obstacle::NotRenewed) => refresh(alert),
        _ => "nolapse sync".to_owned(),
    }
}

fn before_sign_in(alert: &Alert, first: String) -> Remedy {
    Remedy {
        first,
        others: vec![("and then", sign_in_anew(alert))],
    }
}

/// The one form in which Claude Code renews a login and asks no model (2.1.181 and later).
fn use_once(alert: &Alert) -> String {
    let renew = "claude -p /cost --safe-mode --no-session-persistence";
    sign_in_anew(alert).replace("claude auth login", renew)
}

/// Where all that a store holds stands outside `profiles`, nothing is written into it: it is moved away first.
fn record_anew(alert: &Alert, provider: &str, agent: &str) -> Remedy {
    let add = format!("nolapse token add --provider {provider} --agent {agent}");
    let outside = alert.obstacle == Some(Obstacle::OutsideProfiles);
    match (&alert.path, outside && alert.affected.is_empty()) {
        (Some(path), true) => Remedy {
            first: format!("mv {0} {0}.ignored", quote(path)),
            others: vec![("and then", add)],
        },
        _ => add.into(),
    }
}

/// The order that names what works first, in the store, which counts before the config.
fn order(alert: &Alert, agent: &str, provider: &str) -> String {
    let works = |one: &&Affected| !matches!(one.health, Health::Expired | Health::Missing);
    let first = alert.affected.iter().filter(works);
    let rest = alert.affected.iter().filter(|one| !works(one));
    let ids: Vec<String> = first.chain(rest).map(|one| quote(&one.profile)).collect();
    if ids.is_empty() {
        return format!("nolapse order get --provider {provider} --agent {agent}");
    }
    format!(
        "nolapse order set --provider {provider} --agent {agent} {}",
        ids.join(" ")
    )
}

/// What the agents' config is to say of the profile that works.
fn configured(alert: &Alert, key: &str, value: &str) -> String {
    match alert.affected.first() {
        Some(one) => {
            let path = format!("auth.profiles[{}].{key}", clean(&one.profile, false));
            format!("{} config set {} {value}", one.family, quote(&path))
        }
        None => "nolapse status".into(),
    }
}

/// The command that adds a login to the configuration for the agents that hold its tokens.
fn configure(alert: &Alert) -> String {
    let dir = alert.detail.as_deref().unwrap_or_default();
    let toml = |text: &str| format!("\"{}\"", clean(text, false).replace('\\', "\\\\").replace('"', "\\\""));
    let mut agents: Vec<String> = alert.affected.iter().map(|one| toml(&one.label())).collect();
    agents.sort();
    agents.dedup();
    let block = format!("[[login]]\\ndir = {}\\nagents = [{}]\\n", toml(dir), agents.join(", "));
    format!("printf %b {} >> \"$(nolapse config path)\"", quote(&block))
}

/// The command that moves what is in a store's place away.
pub(crate) fn aside(path: &str) -> String {
    format!("mv {0} {0}.broken", quote(path))
}

/// The command that lets a key of `[sync]` be such that a store is written, and writes it.
pub(crate) fn sync_again(key: &str, value: &str) -> String {
    format!("nolapse config set sync.{key} {} && nolapse sync", quote(value))
}

/// The command that makes milliseconds of seconds, in this one place.
fn in_milliseconds(path: &str, seconds: Moment) -> String {
    format!(r#"sed -i 's/"expires": *{seconds}\b/&000/' {}"#, quote(path))
}

/// The command that gives a file, or a directory with all in it, to whoever runs it.
pub(crate) fn take_over(path: &str) -> String {
    format!("sudo chown -R \"$(id -un)\" {}", quote(path))
}

/// The command that lets the owner of a file read it.
pub(crate) fn let_owner_in(path: &str) -> String {
    format!("chmod u+rw {}", quote(path))
}

/// The command that takes a byte order mark away, and nothing else.
pub(crate) fn strip_mark(path: &str) -> String {
    format!(r"sed -i '1s/^\xef\xbb\xbf//' {}", quote(path))
}

/// The command that signs in again, for the login of this directory.
pub(crate) fn sign_in(dir: Option<&str>) -> String {
    match dir {
        None | Some("~/.claude") => "claude auth login".into(),
        Some(dir) => format!("CLAUDE_CONFIG_DIR={} claude auth login", quote(dir)),
    }
}

fn sign_in_anew(alert: &Alert) -> String {
    sign_in(alert.login.as_ref().map(|login| login.dir.as_str()))
}

/// A credential that a store owns alone: the agents' own commands set it anew.
fn own(one: &Affected) -> Remedy {
    let provider = one.profile.split(':').next().unwrap_or_default();
    if provider != "anthropic" {
        return format!("{} models auth login {}", one.family, option("--provider", provider)).into();
    }
    // the agents' own command writes to the main agent of the usual state directory
    let usual = one.agent == "main" && one.named.is_none();
    let paste = match one.family {
        // it puts `--agent` where each version wants it, and verifies; newer versions refuse the id of the older agents
        Family::Openclaw => format!(
            "nolapse token add {} {}",
            option("--agent", &one.label()),
            option(
                "--profile",
                match one.profile.as_str() {
                    "anthropic:claude-cli" => "anthropic:nolapse",
                    id => id,
                }
            )
        ),
        _ if !usual => token_add(one, " --replace"),
        _ => format!(
            "{} models auth paste-token --provider anthropic {}",
            one.family,
            option("--profile-id", &one.profile)
        ),
    };
    Remedy {
        first: "claude setup-token".into(),
        others: vec![("then give its token to", paste)],
    }
}

/// The command that records a credential in one agent's store.
fn token_add(one: &Affected, more: &str) -> String {
    let provider = one.profile.split(':').next().unwrap_or_default();
    format!(
        "nolapse token add {} {} {}{more}",
        option("--provider", provider),
        option("--profile", &one.profile),
        option("--agent", &one.label())
    )
}

fn agents(alert: &Alert) -> usize {
    let mut names: Vec<_> = alert
        .affected
        .iter()
        .map(|one| (one.family, &one.named, &one.agent))
        .collect();
    names.sort();
    names.dedup();
    names.len()
}

fn label(one: &Affected) -> String {
    name(&one.label())
}

/// Who is affected, a few by name.
fn who(alert: &Alert) -> String {
    const NAMED: usize = 6;
    let mut names: Vec<String> = alert.affected.iter().map(label).collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => names.join(", "),
        n => format!("{} and {n} more", names.join(", ")),
    }
}

/// A span in its two largest units that matter: `3 d 4 h`, `6 h`, `12 min`.
pub(crate) fn span(ms: Ms) -> String {
    let minutes = (ms.max(0) + MINUTE / 2) / MINUTE;
    let (d, h, m) = (minutes * MINUTE / DAY, minutes * MINUTE % DAY / HOUR, minutes % 60);
    match (d, h, m) {
        (0, 0, 0) => "under a minute".into(),
        (0, 0, m) => format!("{m} min"),
        (0, h, 0) => format!("{h} h"),
        (0, h, m) if h < 6 => format!("{h} h {m} min"),
        (0, h, _) => format!("{h} h"),
        (d, 0, _) => format!("{d} d"),
        (d, h, _) if d < 7 => format!("{d} d {h} h"),
        (d, _, _) => format!("{d} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Affected, EventLogin, Health, Reason, Severity};

    fn here(host: &str, now: Ms) -> Here<'_> {
        let (now, when) = (Moment::EPOCH + now, |_| "Thu 01:00".to_owned());
        Here { host, now, when }
    }

    fn affected(agent: &str) -> Affected {
        Affected {
            family: Family::Clawdbot,
            named: None,
            agent: agent.into(),
            profile: "anthropic:claude-cli".into(),
            health: Health::Expiring,
            expires_at: None,
        }
    }

    fn ended() -> Alert {
        Alert {
            ends: Some(Moment::EPOCH),
            login: Some(EventLogin {
                id: "claude".into(),
                dir: "~/.claude".into(),
                health: Health::Expired,
                reason: Some(Reason::LoginEnded),
                access_expires_at: None,
                login_ends_at: None,
            }),
            affected: vec![affected("main"), affected("work")],
            ..Alert::new("login:claude", "login_ended", Severity::Critical)
        }
    }

    #[test]
    fn every_kind_is_documented() {
        let docs = include_str!("../../docs/alerts.md");
        let table = docs
            .split("\n## Kinds\n")
            .nth(1)
            .and_then(|rest| rest.split("\n## ").next());
        let table = table.expect("a list of kinds");
        for kind in KINDS {
            assert!(table.contains(&format!("`{kind}`")), "{kind}");
        }
    }

    #[test]
    fn an_alert_says_what_when_who_and_the_one_command() {
        let words = words(&ended(), Why::First, Moment::EPOCH, here("gateway", HOUR));
        assert_eq!(words.title, "Claude login `claude` has ended on gateway");
        assert_eq!(
            words.message,
            "the login reached its time limit; agents that use it stop as their tokens run out\n\
             since: Thu 01:00 (1 h ago)\n\
             affected: clawdbot/main, clawdbot/work\n\
             to fix it, run on gateway:\n\
             nolapse login --login claude\n\
             or without nolapse:\n\
             claude auth login\n\
             for an unattended year:\n\
             claude setup-token"
        );
        let commands = [
            "nolapse login --login claude",
            "claude auth login",
            "claude setup-token",
        ];
        assert_eq!(words.commands, commands);
    }

    #[test]
    fn every_stage_has_its_title() {
        let soon = Alert {
            kind: "login_ends_soon".into(),
            lapsed: false,
            ends: Some(Moment::at(5 * DAY)),
            ..ended()
        };
        let copies = Alert {
            id: "copies:claude".into(),
            kind: "copy_stale".into(),
            ..ended()
        };
        let one_copy = Alert {
            affected: vec![affected("main")],
            ..copies.clone()
        };
        let store = Alert {
            id: "store:clawdbot/main".into(),
            kind: "store_malformed".into(),
            ends: None,
            ..ended()
        };
        for (alert, why, title) in [
            (
                ended(),
                Why::Reminder,
                "Still, for 2 d: Claude login `claude` has ended on h",
            ),
            (ended(), Why::Recovered, "Claude login `claude` on h is fine again"),
            (soon, Why::Step, "Claude login `claude` ends in 3 d on h"),
            (
                Alert {
                    kind: "race_logout".into(),
                    ..ended()
                },
                Why::First,
                "Claude login `claude` was logged out on h",
            ),
            (
                copies.clone(),
                Why::Recovered,
                "2 agents' copies of Claude login `claude` on h are fine again",
            ),
            (
                copies,
                Why::First,
                "2 agents' copies of Claude login `claude` have expired on h",
            ),
            (
                one_copy,
                Why::Reminder,
                "Still, for 2 d: an agent's copy of Claude login `claude` has expired on h",
            ),
            (store, Why::First, "The auth store of clawdbot/main is broken on h"),
        ] {
            assert_eq!(words(&alert, why, Moment::EPOCH, here("h", 2 * DAY)).title, title);
        }
    }

    /// Id, kind, title, how the cause begins, first command.
    const SAID: &str = r#"
login:claude | race_logout | Claude login `claude` was logged out | Claude Code was logged out long before | nolapse login --login claude
login:claude | rejected | Claude login `claude` was refused by the server | the server permanently refused | nolapse login --login claude
login:claude | older_state | Claude login `claude` was set back to an older state | an older file was put back | nolapse login --login claude
login:claude | missing | Claude login `claude` is signed out | there was a login here | nolapse login --login claude
login:claude | blanked | Claude login `claude` was logged out | the server refused its refresh token | nolapse login --login claude
login:claude | no_scopes | Claude login `claude` does not count as signed in | it has no `scopes` | nolapse login --login claude
login:claude | no_access_token | Claude login `claude` does not count as signed in | it has a refresh token and no access token | nolapse login --login claude
login:claude | unreadable | Claude login `claude` cannot be read | it exists but cannot be read: why | nolapse login --login claude
login:claude | directory_in_place | Claude login `claude` cannot be read | signing in now seems to work but saves nothing | rmdir ~/'a b'
login:claude | not_a_file | Claude login `claude` cannot be read | signing in now seems to work but saves nothing | mv ~/'a b' ~/'a b'.old
login:claude | foreign_owner | Claude login `claude` cannot be read | it belongs to another user: why | sudo chown -R "$(id -un)" ~/'a b'
login:claude | byte_order_mark | Claude login `claude` cannot be read | it is intact except for its first three bytes: why | sed -i '1s/^\xef\xbb\xbf//' ~/'a b'
login:claude | not_readable | Claude login `claude` cannot be read | it exists but cannot be read: why | chmod u+rw ~/'a b'
login:claude | no_token | Claude login `claude` holds no token | this is not a usable token or key; it is why | nolapse login --login claude
login:claude | not_renewed | Claude login `claude` was not renewed | its access token has expired and nothing has renewed it: why | nolapse refresh --login claude --force
login:claude | abandoned_refresh | Claude login `claude` has ended | a renewal began and was never saved | nolapse login --login claude
renew:claude | unknown_outcome | Claude login `claude` may have been lost in a renewal | its single-use token was sent and no answer came | nolapse login --login claude
renew:claude | rescue | Claude login `claude` was renewed, and its new tokens could not be saved | the new tokens are kept aside | nolapse refresh
healed:claude | healed | Claude login `claude` was updated from an agent's copy | why had renewed it | nolapse history
heal:claude | not_healed | Claude login `claude` could not be updated | an agent renewed it | claude setup-token
copies:claude | copy_stale | 2 agents' copies of Claude login `claude` have expired | the login is fine, but its copy was not updated: why | nolapse sync
copies:claude | copy_diverged | 2 agents' copies of Claude login `claude` have expired | the login is fine, but this profile has its own token | nolapse sync
copies:claude | no_token | 2 agents' copies of Claude login `claude` hold no token | this is not a usable token or key; it is why | claude setup-token
copies:claude | missing | 2 agents' copies of Claude login `claude` have expired | the profile holds nothing usable | nolapse sync
copies:claude | profile_retired | 2 agents' copies of Claude login `claude` are refused by OpenClaw | OpenClaw no longer accepts this profile id | nolapse sync
grant:0 | copy_stale | `anthropic:claude-cli` of clawdbot/main has ended | its own token was not renewed: why | claude setup-token
token:0 | no_refresh_token | `anthropic:claude-cli` of clawdbot/main has ended | nothing can renew this token | claude setup-token
profile:a | missing | `anthropic:claude-cli` of clawdbot/main has ended | the profile holds nothing usable | claude setup-token
profile:a | no_key | `anthropic:claude-cli` of clawdbot/main holds no API key | this is not a usable token or key; it is why | nolapse token add --provider anthropic --profile anthropic:claude-cli --agent clawdbot/main --type api_key
profile:a | login_not_configured | `anthropic:claude-cli` of clawdbot/main has ended | it holds the tokens of a login that is not configured | printf %b '[[login]]'\\'ndir = "why"'\\'nagents = ["clawdbot/main", "clawdbot/work"]'\\'n' >> "$(nolapse config path)"
profile:a | expires_in_seconds | `anthropic:claude-cli` of clawdbot/main looks as if it had ended | its `expires` is in seconds | sed -i 's/"expires": *1769000000\b/&000/' ~/'a b'
store:clawdbot/main | store_malformed | The auth store of clawdbot/main is broken | the agent treats it as empty | mv ~/'a b' ~/'a b'.broken
store:clawdbot/main | directory_in_place | The auth store of clawdbot/main cannot be read | its agent can neither read nor save it: why | mv ~/'a b' ~/'a b'.broken
store:clawdbot/main | unreadable | The auth store of clawdbot/main cannot be read | it exists but cannot be read: why | ls -l ~/'a b'
agent:clawdbot/main#p | not_in_order | Clawdbot/main for p has no usable credential | a working credential is skipped | nolapse order set --provider p --agent clawdbot/main anthropic:claude-cli anthropic:claude-cli
agent:clawdbot/main#p | mode_refused | Clawdbot/main for p has no usable credential | a working credential is refused because of its mode | clawdbot config set 'auth.profiles[anthropic:claude-cli].mode' oauth
agent:clawdbot/main#p | key_refused | Clawdbot/main for p has no usable credential | a working credential is refused because of its mode | clawdbot config set 'auth.profiles[anthropic:claude-cli].mode' api_key
agent:clawdbot/main#p | other_provider | Clawdbot/main for p has no usable credential | a working credential is assigned to another provider | clawdbot config set 'auth.profiles[anthropic:claude-cli].provider' p
agent:clawdbot/main#p | held_back | Clawdbot/main for p is waiting: all its credentials are held back | the agent will try again then | nolapse status
agent:clawdbot/main#p | entries_ignored | Clawdbot/main for p has no usable credential | its store: why | nolapse token add --provider p --agent clawdbot/main
reload:d | reload_failed | The OpenClaw gateway in ~/a b did not get a login's new token | it keeps using the old token until that expires: why | openclaw secrets reload
reload:d | reload_warnings | The OpenClaw gateway in ~/a b has had warnings since it got a login's new token | it may keep using the old token | openclaw secrets audit
reload:d | restart_gateway | The OpenClaw gateway in ~/a b must be restarted once to use a login's new token | it keeps using the old token | openclaw gateway restart
channel:phone | channel_failing | The alert channel `phone` does not get through | its alerts do not arrive | nolapse alert test phone
channel:phone | channel_refused | The alert channel `phone` does not get through | its receiver refuses the alerts | nolapse alert test phone
heartbeat | heartbeat_failing | The heartbeat does not get through | its service may think that nolapse has stopped | nolapse doctor
heartbeat | heartbeat_refused | The heartbeat does not get through | its service does not know the URL | nolapse doctor
config | config_broken | Nolapse's configuration is broken | the last valid one is used until it is fixed: why | nolapse config check
host | silent | Nolapse does not answer | the state of its logins is unknown: why | ssh ~/a b
host | host_key_changed | Nolapse does not answer | the state of its logins is unknown: why | ssh-keygen -R ~/'a b'
rest | more | `anthropic:claude-cli` of clawdbot/main has more alerts than can be listed | more: why | claude setup-token
"#;

    #[test]
    fn every_kind_has_its_title_its_cause_and_its_command() {
        let mut rows = 0;
        for row in SAID.trim().lines() {
            let [id, kind, title, cause, command] = row.split(" | ").collect::<Vec<_>>()[..] else {
                panic!("{row}")
            };
            let mut alert = Alert {
                id: id.into(),
                kind: kind.into(),
                path: Some("~/a b".into()),
                detail: Some("why".into()),
                ..ended()
            };
            alert.affected[0].expires_at = Some(Moment::at(1_769_000_000));
            let words = words(&alert, Why::First, Moment::EPOCH, here("h", HOUR));
            assert_eq!(words.title, format!("{title} on h"), "{row}");
            assert!(words.message.starts_with(cause), "{row}: {}", words.message);
            assert_eq!(words.commands[0], command, "{row}");
            let asks = [
                "to fix it",
                "to see how it goes on",
                "to see what happened",
                "to see why",
            ];
            let ask = match (id, kind) {
                ("host", _) => 3,
                (_, HEALED) => 2,
                (_, "held_back") => 1,
                _ => 0,
            };
            assert!(words.message.contains(asks[ask]), "{row}: {}", words.message);
            rows += 1;
        }
        assert!(rows > 50);
    }

    #[test]
    fn what_is_known_beside_the_kind_is_said_and_decides_the_command() {
        let of = |id: &str, kind: &str| Alert {
            id: id.into(),
            kind: kind.into(),
            path: Some("~/a".into()),
            ..ended()
        };
        let with = |alert: Alert, obstacle| Alert {
            obstacle: Some(obstacle),
            ..alert
        };
        let ahead = |alert: Alert, left: Ms| Alert {
            lapsed: false,
            ends: Some(Moment::at(HOUR + left)),
            ..alert
        };
        let alone = |alert: Alert| Alert {
            affected: vec![affected("main")],
            ..alert
        };
        let nobody = |alert: Alert| Alert {
            affected: Vec::new(),
            ..alert
        };
        let nameless = |alert: Alert| Alert { login: None, ..alert };
        let outside = |id: &str| {
            let mut alert = of("login:env", "login_ended");
            let login = alert.login.as_mut().unwrap();
            (login.id, login.dir) = (id.into(), String::new());
            alert
        };
        let ssh = |way: &str| Alert {
            path: Some(way.into()),
            ..of("host", "silent")
        };
        let mut order = of("agent:clawdbot/main#p", "not_in_order");
        order.affected[0].health = Health::Expired;
        order.affected[1].profile = "p:b c".into();
        let fixed = Alert {
            fix: Some("true".into()),
            ..ended()
        };
        for (alert, said, command) in [
            (fixed, "has ended", "true"),
            (
                alone(of("copies:claude", "copy_stale")),
                "An agent's copy of Claude login `claude` has expired",
                "nolapse sync",
            ),
            (
                with(of("copies:claude", "copy_stale"), Obstacle::NobodyRenews),
                LOGIN_OVER,
                "claude -p /cost --safe-mode --no-session-persistence",
            ),
            (
                with(of("copies:claude", "copy_diverged"), Obstacle::NobodyRenews),
                LOGIN_OVER,
                "claude -p /cost --safe-mode --no-session-persistence",
            ),
            (
                with(of("copies:claude", "copy_diverged"), Obstacle::NotRenewed),
                "the login's access token has expired as well",
                "nolapse refresh --login claude --force",
            ),
            (
                nameless(with(of("copies:claude", "copy_stale"), Obstacle::NotRenewed)),
                "of Claude login `?`",
                "nolapse refresh",
            ),
            (
                nobody(of("copies:claude", "no_token")),
                "0 agents' copies",
                "nolapse sync",
            ),
            (
                with(of("agent:a#p", "held_back"), Obstacle::Billing),
                "for lack of payment",
                "nolapse status",
            ),
            (
                ahead(of("agent:a#p", "held_back"), 2 * HOUR),
                "until: Thu 01:00 (in 2 h)",
                "nolapse status",
            ),
            (
                nobody(with(of("agent:a#p", "entries_ignored"), Obstacle::OutsideProfiles)),
                "its store",
                "mv ~/a ~/a.ignored",
            ),
            (
                with(of("agent:a#p", "entries_ignored"), Obstacle::OutsideProfiles),
                "its store",
                "nolapse token add --provider p --agent a",
            ),
            (
                nobody(of("agent:a#p", "entries_ignored")),
                "its store",
                "nolapse token add --provider p --agent a",
            ),
            (
                order,
                "order does not name it",
                "nolapse order set --provider p --agent clawdbot/main 'p:b c' anthropic:claude-cli",
            ),
            (
                nobody(of("agent:a#p", "not_in_order")),
                "order does not name it",
                "nolapse order get --provider p --agent a",
            ),
            (
                nobody(of("agent:a#p", "mode_refused")),
                "because of its mode",
                "nolapse status",
            ),
            (
                nobody(of("profile:a", "no_key")),
                "Profile:a holds no API key",
                "nolapse status",
            ),
            (
                of("profile:a", "no_key"),
                "not a usable token or key\n",
                "nolapse token add --provider anthropic --profile anthropic:claude-cli --agent clawdbot/main --type api_key",
            ),
            (
                nobody(of("profile:a", "missing")),
                "Profile:a has ended",
                "nolapse status",
            ),
            (
                outside("env"),
                "The token in `CLAUDE_CODE_OAUTH_TOKEN` has ended",
                "nolapse reauth --setup-token",
            ),
            (
                outside("mine"),
                "The setup token in `mine` has ended",
                "nolapse reauth --setup-token",
            ),
            (
                nameless(of("renew:a", "unknown_outcome")),
                "`anthropic:claude-cli` of clawdbot/main may have been lost",
                "claude setup-token",
            ),
            (
                ahead(of("login:claude", "unreadable"), 0),
                "cannot be read",
                "ls -l ~/a",
            ),
            (
                ahead(of("login:claude", "login_ends_soon"), 0),
                "may end any moment now",
                "nolapse login --login claude",
            ),
            (
                ahead(of("login:claude", "login_ends_soon"), HOUR),
                "ends in 1 h",
                "nolapse login --login claude",
            ),
            (
                ahead(of("login:claude", "login_ends_soon"), HOUR),
                "ends: Thu 01:00 (in 1 h)",
                "nolapse login --login claude",
            ),
            (
                of("healed:claude", HEALED),
                "an agent had renewed it",
                "nolapse history",
            ),
            (of("rest", "more"), "more\n", "claude setup-token"),
            (
                ssh("u@gw nolapse status --json"),
                "does not answer",
                "ssh u@gw nolapse status --json",
            ),
            (ssh("u@gw"), "does not answer", "ssh u@gw nolapse status"),
            (
                ssh("u@gw ~/bin/nolapse status"),
                "does not answer",
                "ssh u@gw '~/bin/nolapse status'",
            ),
            (ssh("u@gw it's"), "does not answer", r"ssh u@gw 'it'\''s'"),
        ] {
            let words = words(&alert, Why::First, Moment::EPOCH, here("h", HOUR));
            let text = format!("{}\n{}", words.title, words.message);
            assert!(text.contains(said), "{said}: {text}");
            assert_eq!(words.commands[0], command, "{text}");
        }
        assert_eq!(
            sync_again("exclude_agents", "a b"),
            "nolapse config set sync.exclude_agents 'a b' && nolapse sync"
        );
        let begun = |alert: &Alert, since| words(alert, Why::First, Moment::at(since), here("h", HOUR)).message;
        let quiet = Alert {
            lapsed: false,
            ends: None,
            ..ended()
        };
        assert!(begun(&quiet, 0).contains("since: ") && !begun(&quiet, HOUR).contains("since: "));
        let seven = Alert {
            affected: (0..8).map(|n| affected(&format!("a{}", n % 7))).collect(),
            ..ended()
        };
        assert!(begun(&seven, 0).contains("a5 and 1 more\n"));
    }

    #[test]
    fn a_credential_of_its_own_is_set_anew_by_its_agents_command() {
        let of = |family, agent: &str, profile: &str, named: Option<&str>| {
            let one = Affected {
                family,
                named: named.map(str::to_owned),
                profile: profile.into(),
                ..affected(agent)
            };
            let remedy = own(&one);
            remedy
                .others
                .last()
                .map_or(remedy.first, |(_, command)| command.clone())
        };
        use Family::{Clawdbot, Openclaw};
        for (family, agent, profile, named, wanted) in [
            (
                Clawdbot,
                "main",
                "anthropic:a",
                None,
                "clawdbot models auth paste-token --provider anthropic --profile-id anthropic:a",
            ),
            (
                Clawdbot,
                "work",
                "anthropic:a",
                None,
                "nolapse token add --provider anthropic --profile anthropic:a --agent clawdbot/work --replace",
            ),
            (
                Clawdbot,
                "main",
                "anthropic:a",
                Some("n"),
                "nolapse token add --provider anthropic --profile anthropic:a --agent clawdbot-n/main --replace",
            ),
            (
                Openclaw,
                "work",
                "anthropic:a",
                None,
                "nolapse token add --agent openclaw/work --profile anthropic:a",
            ),
            (
                Openclaw,
                "work",
                "anthropic:claude-cli",
                None,
                "nolapse token add --agent openclaw/work --profile anthropic:nolapse",
            ),
            (
                Openclaw,
                "work",
                "openai:a",
                None,
                "openclaw models auth login --provider openai",
            ),
        ] {
            assert_eq!(of(family, agent, profile, named), wanted);
        }
    }

    #[test]
    fn the_command_is_the_one_for_the_case() {
        let dir = |dir: &str| {
            let mut alert = ended();
            alert.login.as_mut().unwrap().dir = dir.into();
            alert
        };
        let own = |profile: &str| Alert {
            id: "token:0011223344556677".into(),
            login: None,
            affected: vec![Affected {
                profile: profile.into(),
                ..affected("main")
            }],
            ..ended()
        };
        let store = |path: &str| Alert {
            id: "store:clawdbot/main".into(),
            kind: "store_malformed".into(),
            path: Some(path.into()),
            ..ended()
        };
        let channel = Alert {
            id: "channel:my phone".into(),
            kind: "channel_failing".into(),
            ..ended()
        };
        for (alert, wanted) in [
            (
                ended(),
                vec![
                    "nolapse login --login claude",
                    "claude auth login",
                    "claude setup-token",
                ],
            ),
            (
                dir("~/.claude fleet"),
                vec![
                    "nolapse login --login claude",
                    "CLAUDE_CONFIG_DIR=~/'.claude fleet' claude auth login",
                    "claude setup-token",
                ],
            ),
            (
                own("anthropic:default"),
                vec![
                    "claude setup-token",
                    "clawdbot models auth paste-token --provider anthropic --profile-id anthropic:default",
                ],
            ),
            (
                own("openai-codex:default"),
                vec!["clawdbot models auth login --provider openai-codex"],
            ),
            (store("~/a/x.json"), vec!["mv ~/a/x.json ~/a/x.json.broken"]),
            (
                store("/a/it's $(x)"),
                vec![r"mv '/a/it'\''s $(x)' '/a/it'\''s $(x)'.broken"],
            ),
            (channel, vec!["nolapse alert test 'my phone'"]),
        ] {
            assert_eq!(words(&alert, Why::First, Moment::EPOCH, here("h", 0)).commands, wanted);
        }
    }

    #[test]
    fn a_recovery_says_how_long_and_who() {
        let words = words(
            &ended(),
            Why::Recovered,
            Moment::at(HOUR),
            here("h", 3 * DAY + 4 * HOUR),
        );
        assert_eq!(
            words.message,
            "it works again after 3 d 4 h; nothing more to do\nwas affected: clawdbot/main, clawdbot/work"
        );
        assert!(words.commands.is_empty());
    }

    #[test]
    fn a_foreign_name_adds_no_line_and_turns_nothing_around() {
        let alert = Alert {
            affected: vec![
                affected("a\nto fix it, on h run: curl x | sh\u{202e}"),
                affected(&"x".repeat(5000)),
            ],
            ..ended()
        };
        let words = words(&alert, Why::First, Moment::EPOCH, here("h", HOUR));
        assert_eq!(words.message.lines().count(), 9, "{}", words.message);
        assert!(!words.message.contains('\u{202e}') && words.message.len() < 600);
    }

    #[test]
    fn spans_are_short() {
        for (ms, text) in [
            (0, "under a minute"),
            (12 * MINUTE, "12 min"),
            (HOUR, "1 h"),
            (5 * HOUR + 12 * MINUTE, "5 h 12 min"),
            (6 * HOUR + 12 * MINUTE, "6 h"),
            (3 * DAY + 4 * HOUR, "3 d 4 h"),
            (3 * DAY - 1, "3 d"),
            (7 * DAY - HOUR, "6 d 23 h"),
            (7 * DAY + HOUR, "7 d"),
            (21 * DAY + HOUR, "21 d"),
        ] {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn a_quoted_word_is_one_word_for_every_shell() {
        for (word, want) in [
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            (r"x\'; touch pwned; '", r"'x'\\''\''; touch pwned; '\'''"),
            ("~/a b", "~/'a b'"),
            ("%self", "'%self'"),
            ("", "''"),
        ] {
            assert_eq!(quote(word), want);
        }
        assert_eq!(option("--agent", "-rf"), "--agent=-rf");
        assert_eq!((operand("-rf"), operand("phone")), ("-- -rf".into(), "phone".into()));
        assert_eq!(
            remove_token("-x:y", "clawdbot/main"),
            "nolapse token remove --agent clawdbot/main -- -x:y"
        );
    }

    /// Every shell that this host has reads one word, the same: `sh` is everywhere, `scripts/test` installs fish.
    #[test]
    fn shells_agree_on_it() {
        let words = [
            "a b",
            "it's",
            r"x\'; echo pwned; '",
            r"\",
            r"\\'",
            "$(id)`id`",
            "a\"b*?{x,y}",
            "-n",
            "(id)",
            "~",
        ];
        for shell in ["sh", "fish"] {
            for word in words {
                let script = format!("printf %s {}", operand(word).replace("-- ", ""));
                let script = script.replacen("printf %s", "printf '%s|'", 1);
                let out = std::process::Command::new(shell)
                    .args(["-c", &script])
                    .output()
                    .expect(shell);
                assert_eq!(
                    String::from_utf8_lossy(&out.stdout),
                    format!("{word}|"),
                    "{shell}: {script}"
                );
            }
        }
    }

    #[test]
    fn an_end_is_said_as_one_to_come_only_while_it_is() {
        let line = |kind: &str, lapsed, left: Ms| {
            let alert = Alert {
                kind: kind.into(),
                lapsed,
                ends: Some(Moment::EPOCH + DAY + left),
                ..ended()
            };
            let words = words(&alert, Why::First, Moment::EPOCH, here("h", DAY));
            let when = ["until:", "ends:", "since:"];
            let mut lines = words.message.lines();
            lines.find_map(|line| when.into_iter().find(|when| line.starts_with(when)))
        };
        for (kind, lapsed, left, said) in [
            ("held_back", false, MINUTE, "until:"),
            ("held_back", false, 0, "since:"),
            ("held_back", true, MINUTE, "until:"),
            ("login_ends_soon", false, MINUTE, "ends:"),
            ("login_ends_soon", false, 0, "since:"),
            ("login_ends_soon", false, -MINUTE, "since:"),
            ("login_ended", true, MINUTE, "since:"),
            ("login_ended", true, -MINUTE, "since:"),
        ] {
            assert_eq!(line(kind, lapsed, left), Some(said), "{kind} {lapsed} {left}");
        }
    }

    #[test]
    fn only_what_has_lapsed_was_logged_out() {
        for kind in ["race_logout", "blanked"] {
            for lapsed in [true, false] {
                let alert = Alert {
                    kind: kind.into(),
                    lapsed,
                    ends: Some(Moment::EPOCH + HOUR),
                    ..ended()
                };
                let said = headline(&alert, Moment::EPOCH);
                assert_eq!(said, if lapsed { "was logged out" } else { "ends in 1 h" }, "{kind}");
            }
        }
    }
}
