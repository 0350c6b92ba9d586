//! What another host reported, or that it did not -> alerts. Its words are foreign: bounded, and stripped of controls.

use super::alert::Alert;
use crate::cause::Cause;
use crate::types::{Affected, EventLogin, Family, HOUR, Health, Moment, Ms, Reason, Severity};
use serde::{Deserialize, Serialize};

/// The part of `nolapse.status/1` that is judged here. Further keys are let pass, a missing one is not.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HostStatus {
    schema: String,
    logins: Vec<Login>,
    agents: Vec<Agent>,
    #[serde(default)]
    problems: Vec<Trouble>,
}

#[derive(Clone, Debug, Deserialize)]
struct Trouble {
    kind: String,
    #[serde(default)]
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Login {
    id: String,
    dir: Option<String>,
    source: String,
    health: Health,
    reason: Option<String>,
    access_expires_at: Option<Moment>,
    login_ends_at: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
struct Agent {
    family: String,
    named: Option<String>,
    agent: String,
    profiles: Vec<Profile>,
}

#[derive(Clone, Debug, Deserialize)]
struct Profile {
    id: String,
    health: Health,
    reason: Option<String>,
    expires_at: Option<Moment>,
    login: Option<String>,
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Silence {
    /// It could not be reached.
    Unreachable,
    /// Its host key is not known.
    HostKey,
    /// Its host key has changed.
    HostKeyChanged,
    /// It is reached, and its nolapse says that its own configuration is broken.
    ConfigBroken,
    /// It does not let us in.
    Refused,
    /// There is no such command there.
    NoCommand,
    /// It took too long.
    TimedOut,
    /// What it said is no `nolapse.status/1`.
    Nonsense,
    /// There is no `ssh` here.
    NoSsh,
}

impl Silence {
    /// In words, with what to do.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "it cannot be reached",
            Self::HostKey => "its host key is unknown here; log in once by hand",
            Self::HostKeyChanged => {
                "its host key has changed; if that is expected (it was reinstalled), remove the old one and log in once by hand"
            }
            Self::ConfigBroken => "its configuration is broken; what was wrong there before still counts",
            Self::Refused => "it does not accept a login without a password; add a key",
            Self::NoCommand => "there is no `nolapse` there; install it, or name it with `command`",
            Self::TimedOut => "it took too long",
            Self::Nonsense => "its answer is not a `nolapse.status/1`",
            Self::NoSsh => "there is no `ssh` here",
        }
    }

    /// What the ssh client's end means (OpenSSH 9: 255 is its own failure, any other code the command's).
    pub(crate) fn of(code: i32, stderr: &str) -> Self {
        match code {
            255 if stderr.contains("HOST IDENTIFICATION HAS CHANGED") => Self::HostKeyChanged,
            255 if stderr.contains("Host key verification failed") => Self::HostKey,
            // nolapse's own: a broken configuration, or words it does not understand
            3 => Self::ConfigBroken,
            255 if stderr.contains("Permission denied") => Self::Refused,
            255 => Self::Unreachable,
            126 | 127 => Self::NoCommand,
            _ => Self::Nonsense,
        }
    }
}

/// Why there was no answer, and in whose words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) silence: Silence,
    /// The first line of what ssh or the command there complained, and for a changed host key the name it is kept under.
    pub(crate) said: Option<String>,
}

impl From<Silence> for Failed {
    fn from(silence: Silence) -> Self {
        Self { silence, said: None }
    }
}

impl Failed {
    /// What the client's end and its complaint mean.
    pub(crate) fn of(code: i32, stderr: &str) -> Self {
        let silence = Silence::of(code, stderr);
        let known_as = || {
            let (_, rest) = stderr.split_once("Host key for ")?;
            let (name, _) = rest.split_once(" has changed")?;
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-:[]@%".contains(c);
            (!name.is_empty() && name.chars().all(plain)).then(|| text(name))
        };
        let said = match silence {
            Silence::HostKeyChanged => known_as(),
            _ => stderr
                .lines()
                .find(|line| line.chars().any(char::is_alphanumeric))
                .map(|line| text(line.trim())),
        };
        Self { silence, said }
    }
}

/// What is remembered of a remote between passes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteMemory {
    /// When it was last asked.
    pub(crate) asked_at: Moment,
    /// Since when it has not answered.
    pub(crate) silent_since: Option<Moment>,
    /// Why not.
    pub(crate) silence: Option<Silence>,
    /// As `Failed::said`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) said: Option<String>,
    /// What needs a human there, by its last answer.
    #[serde(default)]
    pub(crate) alerts: Vec<Alert>,
}

/// Reads an answer. What a login shell says before it (a greeting of `.bashrc`) and after it is passed over.
///
/// # Errors
/// It is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<HostStatus, Silence> {
    let mut rest = bytes;
    loop {
        if rest.trim_ascii_start().starts_with(b"{") {
            let first = serde_json::Deserializer::from_slice(rest)
                .into_iter::<HostStatus>()
                .next();
            match first {
                Some(Ok(answer)) if answer.schema == "nolapse.status/1" => return Ok(answer),
                // a whole one of another kind, or cut off: the lines within it are no answers
                Some(Ok(_)) => return Err(Silence::Nonsense),
                Some(Err(error)) if error.is_eof() || error.is_data() => return Err(Silence::Nonsense),
                _ => {}
            }
        }
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => rest = &rest[end + 1..],
            None => return Err(Silence::Nonsense),
        }
    }
}

/// Remembers what was heard.
pub(crate) fn note(memory: &mut RemoteMemory, name: &str, heard: Result<HostStatus, Failed>, now: Moment) {
    memory.asked_at = now;
    match heard {
        Ok(answer) => {
            memory.silent_since = None;
            memory.silence = None;
            memory.said = None;
            memory.alerts = judge(name, &answer, now);
        }
        Err(Failed { silence, said }) => {
            memory.silent_since = Some(memory.silent_since.map_or(now, |since| since.min(now)));
            memory.silence = Some(silence);
            memory.said = said;
        }
    }
}

/// How a remote is asked, as configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way<'a> {
    pub(crate) name: &'a str,
    pub(crate) ssh: &'a str,
    pub(crate) command: &'a str,
    /// How long it may be silent before that is an alert, [`Ms`].
    pub(crate) grace: Ms,
}

/// What needs a human there now. What a silent host said last still holds; that it is silent counts after its grace, and a broken
/// configuration at once.
pub(crate) fn alerts(way: Way<'_>, memory: &RemoteMemory, now: Moment) -> Vec<Alert> {
    let mut alerts = memory.alerts.clone();
    let name = way.name;
    let (Some(since), Some(silence)) = (memory.silent_since, memory.silence) else {
        return alerts;
    };
    let said = memory.said.as_deref();
    let detail = match said.filter(|_| silence != Silence::HostKeyChanged) {
        Some(said) => format!("{}: {said}", silence.words()),
        None => silence.words().to_owned(),
    };
    if silence == Silence::ConfigBroken {
        alerts.retain(|alert| alert.id != Cause::Config.on(name));
        alerts.push(config_broken(name, detail));
    } else if now - since >= way.grace {
        let (kind, path) = match silence {
            // the name as it stands in `known_hosts`
            Silence::HostKeyChanged => {
                let host = way.ssh.rsplit_once('@').map_or(way.ssh, |(_, host)| host);
                (KEY_CHANGED, said.unwrap_or(host).to_owned())
            }
            _ => ("silent", format!("{} {}", way.ssh, way.command)),
        };
        alerts.push(Alert {
            ends: Some(since),
            path: Some(path),
            detail: Some(detail),
            ..Alert::new(Cause::Host.on(name), kind, Severity::Critical)
        });
    }
    alerts
}

/// The kind of an alert about a changed host key.
pub(crate) const KEY_CHANGED: &str = "host_key_changed";

fn config_broken(name: &str, detail: String) -> Alert {
    Alert {
        detail: Some(detail),
        ..Alert::new(Cause::Config.on(name), "config_broken", Severity::Warning)
    }
}

/// No host has more than this many things to say.
const MOST: usize = 20;

fn judge(name: &str, answer: &HostStatus, now: Moment) -> Vec<Alert> {
    let mut alerts = Vec::new();
    let known = |id: &str| answer.logins.iter().any(|login| login.id == id && !login.health.fine());
    let ill = |login: &&Login| !login.health.fine() && login.source != "env";
    for login in answer.logins.iter().filter(ill) {
        let id = text(&login.id);
        let reason = reason(login.reason.as_deref());
        let lapsed = login.health != Health::Expiring;
        let ends = if lapsed { None } else { login.login_ends_at };
        alerts.push(Alert {
            lapsed,
            ends,
            login: Some(EventLogin {
                id: id.clone(),
                dir: directory(login.dir.as_deref()),
                health: login.health,
                reason,
                access_expires_at: login.access_expires_at,
                login_ends_at: login.login_ends_at,
            }),
            affected: affected(answer, |profile| profile.login.as_deref() == Some(&login.id)),
            ..Alert::new(
                Cause::Login(id).on(name),
                reason.map_or("missing", Reason::word),
                severity(lapsed, ends, now),
            )
        });
    }
    for agent in &answer.agents {
        for profile in &agent.profiles {
            let reason = reason(profile.reason.as_deref());
            let of_login = profile.login.as_deref().is_some_and(known);
            if profile.health.fine() || reason == Some(Reason::StoreRetired) || of_login {
                continue;
            }
            let lapsed = profile.health != Health::Expiring;
            let label = [&agent.family, &agent.agent, &profile.id]
                .map(|word| text(word))
                .join("/");
            alerts.push(Alert {
                lapsed,
                ends: profile.expires_at,
                affected: affected(answer, |other| std::ptr::eq(other, profile)),
                ..Alert::new(
                    Cause::Profile(label).on(name),
                    reason.map_or("missing", Reason::word),
                    severity(lapsed, profile.expires_at, now),
                )
            });
        }
    }
    let broken = answer.problems.iter().find(|problem| problem.kind == "config_broken");
    alerts.extend(broken.map(|problem| config_broken(name, text(&problem.message))));
    bounded(name, alerts)
}

/// The worst, and one alert that counts the rest.
fn bounded(name: &str, mut alerts: Vec<Alert>) -> Vec<Alert> {
    if alerts.len() <= MOST {
        return alerts;
    }
    alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
    let rest = alerts.split_off(MOST - 1);
    let worst = rest.iter().map(|alert| alert.severity).max();
    let worst = worst.unwrap_or(Severity::Warning);
    alerts.push(Alert {
        lapsed: rest.iter().any(|alert| alert.lapsed),
        detail: Some(format!("{} more alerts there", rest.len())),
        ..Alert::new(Cause::Other("rest".into()).on(name), "more", worst)
    });
    alerts
}

fn affected(answer: &HostStatus, which: impl Fn(&Profile) -> bool) -> Vec<Affected> {
    let mut list = Vec::new();
    for agent in &answer.agents {
        // a product that this version does not know has no word here
        let Ok(family) = serde_json::from_value::<Family>(agent.family.clone().into()) else {
            continue;
        };
        for profile in agent.profiles.iter().filter(|profile| which(profile)).take(MOST) {
            list.push(Affected {
                family,
                named: agent.named.as_deref().map(text),
                agent: text(&agent.agent),
                profile: text(&profile.id),
                health: profile.health,
                expires_at: profile.expires_at,
            });
        }
    }
    list
}

fn severity(lapsed: bool, ends: Option<Moment>, now: Moment) -> Severity {
    match ends {
        Some(ends) if !lapsed && ends - now > 6 * HOUR => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn reason(word: Option<&str>) -> Option<Reason> {
    serde_json::from_value(word?.into()).ok()
}

/// Foreign text in one short line.
fn text(foreign: &str) -> String {
    crate::visible::line(foreign).chars().take(100).collect()
}

/// A directory of Claude Code's, as that host's own alerts name it: the usual one needs no naming.
fn directory(dir: Option<&str>) -> String {
    match dir {
        Some(dir) if !dir.ends_with("/.claude") => text(dir),
        _ => "~/.claude".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{DAY, MINUTE};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn way(grace: Ms) -> Way<'static> {
        Way {
            name: "gw",
            ssh: "u@gw",
            command: "nolapse status --json",
            grace,
        }
    }

    fn answer(health: &str, reason: &str) -> Result<HostStatus, Failed> {
        let text = body(health, reason);
        Ok(parse(text.as_bytes())?)
    }

    fn body(health: &str, reason: &str) -> String {
        format!(
            r#"{{"schema": "nolapse.status/1", "more": 1, "logins": [{{"id": "claude", "dir": "/home/u/.claude",
                "source": "file", "health": "{health}", "reason": "{reason}", "access_expires_at": 5,
                "login_ends_at": {}}}], "agents": [{{"family": "clawdbot", "agent": "main", "profiles": [{{"id":
                "anthropic:claude-cli", "health": "{health}", "reason": null, "expires_at": 5, "login": "claude"}}]}}],
                "problems": []}}"#,
            NOW + 2 * DAY
        )
    }

    #[test]
    fn what_an_answer_says_is_one_alert_for_each_root_cause() {
        let mut memory = RemoteMemory::default();
        note(&mut memory, "gw", answer("expiring", "login_ends_soon"), NOW);
        let now = alerts(way(30 * MINUTE), &memory, NOW);
        assert_eq!(now.len(), 1);
        assert_eq!(
            (now[0].id.to_string().as_str(), now[0].severity),
            ("remote:gw:login:claude", Severity::Warning)
        );
        assert_eq!((now[0].lapsed, now[0].ends), (false, Some(NOW + 2 * DAY)));
        assert_eq!(now[0].affected.len(), 1);
        let login = now[0].login.as_ref().unwrap();
        assert_eq!((login.id.as_str(), login.health), ("claude", Health::Expiring));
        note(&mut memory, "gw", answer("ok", "renews_itself"), NOW);
        assert_eq!(alerts(way(30 * MINUTE), &memory, NOW), []);
    }

    #[test]
    fn profiles_that_hang_on_nothing_are_alerts_of_their_own_and_a_flood_is_one() {
        let profile = |id: &str, health: &str, reason: &str, left: Ms| {
            format!(
                r#"{{"id": "{id}", "health": "{health}", "reason": "{reason}", "expires_at": {}, "login": null}}"#,
                NOW + left
            )
        };
        let said = |profiles: &[String]| {
            let body = body("ok", "renews_itself");
            let (before, rest) = body.split_once(r#""profiles": ["#).unwrap();
            let (_, after) = rest.split_once(']').unwrap();
            let text = format!(r#"{before}"profiles": [{}]{after}"#, profiles.join(","));
            let mut memory = RemoteMemory::default();
            note(&mut memory, "gw", Ok(parse(text.as_bytes()).unwrap()), NOW);
            memory.alerts
        };
        for (health, reason, left, wanted) in [
            (
                "expiring",
                "no_refresh_token",
                6 * HOUR + 1,
                Some((false, Severity::Warning)),
            ),
            (
                "expiring",
                "no_refresh_token",
                6 * HOUR,
                Some((false, Severity::Critical)),
            ),
            (
                "expired",
                "no_refresh_token",
                9 * HOUR,
                Some((true, Severity::Critical)),
            ),
            ("expired", "store_retired", -HOUR, None),
            ("static", "issue_date_unknown", -HOUR, None),
        ] {
            let alerts = said(&[profile("p:q", health, reason, left)]);
            let got = alerts.first().map(|alert| (alert.lapsed, alert.severity));
            assert_eq!(
                (got, alerts.len()),
                (wanted, usize::from(wanted.is_some())),
                "{health} {reason}"
            );
            for alert in alerts {
                assert_eq!(alert.id.to_string(), "remote:gw:profile:clawdbot/main/p:q");
                assert_eq!((alert.kind.as_str(), alert.ends), (reason, Some(NOW + left)));
                assert_eq!((alert.affected.len(), alert.affected[0].profile.as_str()), (1, "p:q"));
            }
        }
        let many = |count: usize, health: &str| -> Vec<String> {
            (0..count)
                .map(|n| profile(&format!("p:{n}"), health, "no_refresh_token", DAY))
                .collect()
        };
        assert_eq!(said(&many(MOST, "expired")).len(), MOST);
        for (health, lapsed) in [("expired", true), ("expiring", false)] {
            let alerts = said(&many(MOST + 1, health));
            let rest = alerts.last().unwrap();
            assert_eq!((alerts.len(), rest.id.to_string().as_str()), (MOST, "remote:gw:rest"));
            assert_eq!(
                (rest.lapsed, rest.detail.as_deref()),
                (lapsed, Some("2 more alerts there"))
            );
        }
    }

    #[test]
    fn silence_counts_after_its_grace_and_takes_nothing_back() {
        let mut memory = RemoteMemory::default();
        note(&mut memory, "gw", answer("expired", "login_ended"), NOW);
        note(&mut memory, "gw", Err(Silence::HostKey.into()), NOW + MINUTE);
        note(&mut memory, "gw", Err(Silence::Refused.into()), NOW + 20 * MINUTE);
        let ids = |at| -> Vec<String> {
            let alerts = alerts(way(30 * MINUTE), &memory, at);
            alerts.into_iter().map(|alert| alert.id.to_string()).collect()
        };
        assert_eq!(ids(NOW + 30 * MINUTE), ["remote:gw:login:claude"]);
        assert_eq!(ids(NOW + 31 * MINUTE), ["remote:gw:login:claude", "remote:gw:host"]);
        note(&mut memory, "gw", answer("ok", "renews_itself"), NOW + 40 * MINUTE);
        assert_eq!(alerts(way(0), &memory, NOW + 99 * MINUTE), []);
    }

    #[test]
    fn what_is_no_answer_is_none_and_foreign_words_are_tamed() {
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"schema": "nolapse.status/2", "logins": [], "agents": []}"#,
        ] {
            assert_eq!(parse(bad.as_bytes()).err(), Some(Silence::Nonsense), "{bad}");
        }
        assert_eq!(text("a\n\u{1b}[31mb").as_str(), r"a\u000a\u001b[31mb");
        assert_eq!(text(&"x".repeat(5000)).len(), 100);
        assert_eq!(directory(Some("/srv/a; rm -rf ~")), "/srv/a; rm -rf ~");
        assert_eq!(directory(Some("/home/u/.claude")), "~/.claude");
        for (code, stderr, silence) in [
            (255, "Host key verification failed.", Silence::HostKey),
            (255, "u@gw: Permission denied (publickey).", Silence::Refused),
            (
                255,
                "ssh: connect to host gw port 22: Connection refused",
                Silence::Unreachable,
            ),
            (127, "sh: nolapse: not found", Silence::NoCommand),
            (3, "nolapse: wrong", Silence::ConfigBroken),
            (2, "nolapse: wrong", Silence::Nonsense),
            (
                255,
                "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
                Silence::HostKeyChanged,
            ),
        ] {
            assert_eq!(Silence::of(code, stderr), silence);
        }
    }

    #[test]
    fn a_greeting_before_the_answer_is_passed_over() {
        let body = body("expired", "login_ended");
        for (text, is) in [
            (format!("Welcome!\n {{not json\n{body}"), true),
            (format!("motd\r\n\n{body}\nbye\n"), true),
            (format!("hello {body}"), false),
            (body[..body.len() - 5].to_owned(), false),
            (body.replace("status/1", "status/2"), false),
        ] {
            assert_eq!(parse(text.as_bytes()).is_ok(), is, "{text}");
        }
    }

    #[test]
    fn a_broken_configuration_there_counts_at_once_and_takes_nothing_back() {
        let mut memory = RemoteMemory::default();
        note(&mut memory, "gw", answer("expired", "login_ended"), NOW);
        note(
            &mut memory,
            "gw",
            Err(Failed::of(3, "nolapse: config.toml:2: no\n")),
            NOW + 1,
        );
        let now = alerts(way(30 * MINUTE), &memory, NOW + 1);
        let ids: Vec<String> = now.iter().map(|alert| alert.id.to_string()).collect();
        assert_eq!(ids, ["remote:gw:login:claude", "remote:gw:config"]);
        assert!(
            now[1]
                .detail
                .as_ref()
                .unwrap()
                .ends_with(": nolapse: config.toml:2: no"),
            "{now:?}"
        );
        // one that goes on with its last valid configuration says so in its answer
        let text = body("ok", "renews_itself").replace(
            r#""problems": []"#,
            r#""problems": [{"kind": "config_broken", "message": "m", "hint": "h", "path": null}]"#,
        );
        note(&mut memory, "gw", Ok(parse(text.as_bytes()).unwrap()), NOW + 2);
        let now = alerts(way(0), &memory, NOW + 2);
        assert_eq!((now.len(), now[0].kind.as_str()), (1, "config_broken"));
    }

    #[test]
    fn a_changed_host_key_is_named_as_known_hosts_has_it() {
        let stderr = "@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in /h/known_hosts:3\n\
            Host key for [gw.lan]:2222 has changed and you have requested strict checking.\nHost key verification failed.\n";
        for (stderr, host) in [
            (stderr.to_owned(), "[gw.lan]:2222"),
            (stderr.replace("[gw.lan]:2222", "$(x)"), "gw"),
        ] {
            let mut memory = RemoteMemory::default();
            note(&mut memory, "gw", Err(Failed::of(255, &stderr)), NOW);
            let now = alerts(way(0), &memory, NOW);
            assert_eq!(
                (now[0].kind.as_str(), now[0].path.as_deref()),
                (KEY_CHANGED, Some(host))
            );
        }
        let failed = Failed::of(255, "@@@\n  ssh: connect to host gw port 22: Connection refused\r\n");
        assert_eq!(
            failed.said.as_deref(),
            Some("ssh: connect to host gw port 22: Connection refused")
        );
    }

    #[test]
    fn what_stands_within_something_else_is_no_answer() {
        let body = body("expired", "login_ended").replace('\n', " ");
        for (before, after, is) in [
            ("{ not json\n", "", true),
            (
                r#"{"schema": "other", "logins": [], "agents": [], "of": [
"#,
                "\n]}",
                false,
            ),
            (
                r#"{"schema": "other", "of": [
"#,
                "",
                false,
            ),
            (
                r#"{"schema": 5, "of": [
"#,
                "\n]}",
                false,
            ),
        ] {
            let text = format!("{before}{body}{after}");
            assert_eq!(parse(text.as_bytes()).is_ok(), is, "{text}");
        }
    }

    #[test]
    fn a_profile_is_an_alert_of_its_own_unless_its_own_login_is_one() {
        let other = r#""logins": [{"id": "other", "dir": null, "source": "file", "health": "expired", "reason": "login_ended",
            "access_expires_at": 5, "login_ends_at": 5}, "#;
        let text = body("ok", "renews_itself").replace(r#""logins": ["#, other).replace(
            r#""health": "ok", "reason": null"#,
            r#""health": "expired", "reason": "copy_stale""#,
        );
        let mut memory = RemoteMemory::default();
        note(&mut memory, "gw", Ok(parse(text.as_bytes()).unwrap()), NOW);
        let ids: Vec<String> = memory.alerts.iter().map(|alert| alert.id.to_string()).collect();
        assert_eq!(
            ids,
            [
                "remote:gw:login:other",
                "remote:gw:profile:clawdbot/main/anthropic:claude-cli"
            ]
        );
    }

    #[test]
    fn a_silent_host_has_been_so_since_it_first_was() {
        for silence in [Silence::Refused, Silence::HostKeyChanged] {
            let mut memory = RemoteMemory::default();
            note(&mut memory, "gw", Err(silence.into()), NOW);
            note(&mut memory, "gw", Err(silence.into()), NOW + HOUR);
            let silent = alerts(way(MINUTE), &memory, NOW + HOUR);
            assert_eq!((silent.len(), silent[0].ends), (1, Some(NOW)));
        }
    }
}
