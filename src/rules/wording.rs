//! The words of an alert, for a person half asleep: what stopped or will stop, when, who is affected, the one command.

use super::alert::{Alert, Why};
use crate::types::{DAY, HOUR, MINUTE, Ms};

/// The words of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub title: String,
    /// Lines parted by `\n`.
    pub message: String,
    /// The commands that help, the first one first.
    pub commands: Vec<String>,
}

/// Puts an alert into words. `when` shows a moment in the user's time zone.
pub fn words(alert: &Alert, why: Why, host: &str, now: Ms, when: &dyn Fn(Ms) -> String) -> Words {
    // what is the matter on another host is worded as there
    if let Some((name, id)) = alert.id.strip_prefix("remote:").and_then(|rest| rest.split_once(':')) {
        let there = Alert {
            id: id.to_owned(),
            ..alert.clone()
        };
        return words(&there, why, name, now, when);
    }
    let commands = commands(alert);
    let subject = subject(alert);
    let title = match why {
        Why::Recovered => format!("recovered: {subject} on {host}"),
        Why::Reminder => format!("still: {subject} {} on {host}", headline(alert, now)),
        _ => format!("{subject} {} on {host}", headline(alert, now)),
    };
    let mut lines = Vec::new();
    if why == Why::Recovered {
        lines.push(format!("{subject} is fine again; nothing more to do"));
    } else {
        lines.push(cause(alert));
        if let Some(ends) = alert.ends {
            lines.push(match ends > now {
                true => format!("ends: {} (in {})", when(ends), span(ends - now)),
                false => format!("since: {} ({} ago)", when(ends), span(now - ends)),
            });
        }
        if !alert.affected.is_empty() {
            lines.push(format!("affected: {}", who(alert)));
        }
        match commands.first() {
            Some(first) if alert.id == "host" => lines.push(format!("to see why, run here: {first}")),
            Some(first) => lines.push(format!("to fix it, on {host} run: {first}")),
            None => {}
        }
        if let Some(second) = commands.get(1) {
            lines.push(format!("for an unattended year: {second}"));
        }
    }
    Words {
        title: upper(title),
        message: lines.join("\n"),
        commands: if why == Why::Recovered { Vec::new() } else { commands },
    }
}

fn subject(alert: &Alert) -> String {
    let login = alert.login.as_ref().map_or("?", |login| login.id.as_str());
    let (scope, rest) = alert.id.split_once(':').unwrap_or(("", &alert.id));
    match scope {
        "login" => format!("Claude login `{login}`"),
        "copies" => match agents(alert) {
            1 => format!("an agent's copy of Claude login `{login}`"),
            n => format!("{n} agents' copies of Claude login `{login}`"),
        },
        "store" => format!("the auth store of {rest}"),
        _ if alert.id == "host" => "nolapse".into(),
        _ => match alert.affected.first() {
            Some(one) => format!("`{}` of {}/{}", one.profile, one.family, one.agent),
            None => alert.id.clone(),
        },
    }
}

fn headline(alert: &Alert, now: Ms) -> String {
    match (alert.kind.as_str(), alert.ends) {
        ("race_logout" | "blanked", _) if alert.lapsed => "was logged out".into(),
        ("silent", _) => "does not answer".into(),
        ("rejected", _) => "was refused by the server".into(),
        ("unreadable", _) => "cannot be read".into(),
        ("store_malformed", _) => "is broken".into(),
        ("missing", _) if alert.id.starts_with("login:") => "is signed out".into(),
        (_, Some(ends)) if !alert.lapsed && ends > now => format!("ends in {}", span(ends - now)),
        _ if !alert.lapsed => "may end any moment".into(),
        _ if alert.id.starts_with("copies:") => match agents(alert) {
            1 => "has expired".into(),
            _ => "have expired".into(),
        },
        _ => "has ended".into(),
    }
}

fn cause(alert: &Alert) -> String {
    let detail = |text: &str| match &alert.detail {
        Some(detail) => format!("{text}: {detail}"),
        None => text.to_owned(),
    };
    match alert.kind.as_str() {
        "login_ends_soon" => "a login lasts about a month; only signing in again renews it".into(),
        "login_ended" => "the login reached its time limit; agents that use it stop as their tokens run out".into(),
        "race_logout" => {
            "Claude Code logged out long before the deadline: two programs refreshed the same single-use token".into()
        }
        "blanked" => "Claude Code found its refresh token refused and wiped it".into(),
        "rejected" => "the server refused the refresh token for good".into(),
        "silent" => detail("nobody knows how the logins there fare"),
        "no_refresh_token" => "nothing can renew this token".into(),
        "abandoned_refresh" => "a refresh was begun and never saved; its single-use token is probably spent".into(),
        "copy_stale" => detail("the login is fine, its copy was not brought up to date"),
        "copy_diverged" => detail("the login is fine, this profile goes its own way and has run out"),
        "store_malformed" => detail("the agent takes it for empty and will replace it, keys and all"),
        "unreadable" => detail("it is there and cannot be read"),
        "missing" if alert.id.starts_with("login:") => "there is no login any more where one was".into(),
        "missing" => "the profile holds nothing usable".into(),
        other => detail(&other.replace('_', " ")),
    }
}

fn commands(alert: &Alert) -> Vec<String> {
    let path = alert.path.as_deref().unwrap_or("it");
    let scope = alert.id.split(':').next().unwrap_or_default();
    if scope == "host" {
        return vec![format!("ssh {path} nolapse status")];
    }
    if scope == "store" {
        return vec![match alert.kind.as_str() {
            "store_malformed" => format!("cp {path} {path}.bak"),
            _ => format!("ls -l {path}"),
        }];
    }
    if scope == "copies" {
        return vec!["nolapse sync".into()];
    }
    if scope == "login" {
        let login = alert.login.as_ref();
        let prefix = match login.map(|login| login.dir.as_str()) {
            None | Some("~/.claude") => String::new(),
            Some(dir) => format!("CLAUDE_CONFIG_DIR={dir} "),
        };
        if alert.kind == "unreadable" && !alert.lapsed {
            return vec![format!("ls -l {path}")];
        }
        return vec![format!("{prefix}claude auth login"), "claude setup-token".into()];
    }
    match alert.affected.first() {
        Some(one) if one.profile.starts_with("anthropic:") => vec!["claude setup-token".into()],
        Some(one) => vec![format!("{} models auth login", one.family)],
        None => vec!["nolapse status".into()],
    }
}

fn agents(alert: &Alert) -> usize {
    let mut names: Vec<_> = alert.affected.iter().map(|one| (one.family, &one.agent)).collect();
    names.sort();
    names.dedup();
    names.len()
}

/// Who is affected, a few by name.
fn who(alert: &Alert) -> String {
    const NAMED: usize = 6;
    let mut names: Vec<String> = alert
        .affected
        .iter()
        .map(|one| format!("{}/{}", one.family, one.agent))
        .collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => names.join(", "),
        n => format!("{} and {n} more", names.join(", ")),
    }
}

/// A span in its two largest units that matter: `3 d 4 h`, `6 h`, `12 min`.
pub fn span(ms: Ms) -> String {
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

fn upper(text: String) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Affected, EventLogin, Family, Health, Reason, Severity};

    fn affected(agent: &str) -> Affected {
        Affected {
            family: Family::Clawdbot,
            agent: agent.into(),
            profile: "anthropic:claude-cli".into(),
            health: Health::Expiring,
            expires_at: None,
        }
    }

    fn ended() -> Alert {
        Alert {
            id: "login:claude".into(),
            kind: "login_ended".into(),
            severity: Severity::Critical,
            lapsed: true,
            ends: Some(0),
            login: Some(EventLogin {
                id: "claude".into(),
                dir: "~/.claude".into(),
                health: Health::Expired,
                reason: Some(Reason::LoginEnded),
                access_expires_at: None,
                login_ends_at: None,
            }),
            affected: vec![affected("main"), affected("work")],
            path: None,
            detail: None,
        }
    }

    #[test]
    fn an_alert_says_what_when_who_and_the_one_command() {
        let words = words(&ended(), Why::First, "gateway", HOUR, &|_| "Thu 01:00".into());
        assert_eq!(words.title, "Claude login `claude` has ended on gateway");
        assert_eq!(
            words.message,
            "the login reached its time limit; agents that use it stop as their tokens run out\n\
             since: Thu 01:00 (1 h ago)\n\
             affected: clawdbot/main, clawdbot/work\n\
             to fix it, on gateway run: claude auth login\n\
             for an unattended year: claude setup-token"
        );
        assert_eq!(words.commands, ["claude auth login", "claude setup-token"]);
    }

    #[test]
    fn every_stage_has_its_title() {
        let soon = Alert {
            kind: "login_ends_soon".into(),
            lapsed: false,
            ends: Some(3 * DAY),
            ..ended()
        };
        let copies = Alert {
            id: "copies:claude".into(),
            kind: "copy_stale".into(),
            ..ended()
        };
        let store = Alert {
            id: "store:clawdbot/main".into(),
            kind: "store_malformed".into(),
            ends: None,
            ..ended()
        };
        for (alert, why, title) in [
            (ended(), Why::Reminder, "Still: Claude login `claude` has ended on h"),
            (ended(), Why::Recovered, "Recovered: Claude login `claude` on h"),
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
                copies,
                Why::First,
                "2 agents' copies of Claude login `claude` have expired on h",
            ),
            (store, Why::First, "The auth store of clawdbot/main is broken on h"),
        ] {
            assert_eq!(words(&alert, why, "h", 0, &|_| String::new()).title, title);
        }
    }

    #[test]
    fn another_directory_is_named_in_the_command() {
        let mut alert = ended();
        alert.login.as_mut().unwrap().dir = "~/.claude-fleet".into();
        assert_eq!(
            commands(&alert)[0],
            "CLAUDE_CONFIG_DIR=~/.claude-fleet claude auth login"
        );
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
            (21 * DAY + HOUR, "21 d"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
