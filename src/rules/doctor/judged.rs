//! What the look and the judgement of a pass found, put in its place and not judged again.

use super::super::alert::Alert;
use super::super::wording::Words;
use super::{Facts, Finding, Group, Level, helped};
use crate::cause::Cause;
use crate::types::{Problem, Severity};
use std::path::Path;

/// What a pass would say of the same moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// There is neither a login nor a profile nor a key.
    pub(crate) nothing: bool,
    /// What a look noted.
    pub(crate) problems: Vec<Problem>,
    /// What needs a human, in words.
    pub(crate) alerts: Vec<(Alert, Words)>,
    /// What somebody silenced.
    pub(crate) silenced: Vec<Problem>,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    if facts.judged.nothing {
        found.push(
            Finding::new(
                "nothing_found",
                Group::Logins,
                Level::Broken,
                match facts.agents.all.len() {
                    0 => "there is neither a Claude Code login nor an agent's store",
                    _ => "there is no Claude Code login, and no profile in the agents' stores",
                },
                "there is nothing to watch",
            )
            .run("claude auth login"),
        );
    }
    for problem in &facts.judged.problems {
        found.extend(of_problem(facts, problem));
    }
    for (alert, words) in &facts.judged.alerts {
        found.extend(of_alert(facts, alert, words));
    }
    for problem in &facts.judged.silenced {
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
    facts.logins.all.iter().any(|login| login.file.path == path)
}

fn of_problem(facts: &Facts, problem: &Problem) -> Option<Finding> {
    let path = problem.path.as_deref();
    let login = path.is_some_and(|path| is_login(facts, path));
    let (group, level, why) = match problem.kind {
        // looked at more closely, or with the alert that comes of it
        "dead_lock" | "wrong_owner" | "readable_by_others" => return None,
        "unreadable" | "no_scopes" | "foreign_owner" | "byte_order_mark" if login => return None,
        "literal_tilde" => (
            Group::Logins,
            Level::Warning,
            "Claude Code and nolapse look for the login in the wrong place",
        ),
        "entries_ignored" | "store_misplaced" | "state_dir_unread" => (
            Group::Agents,
            Level::Warning,
            "no agent uses what is there, and the agent's next write may delete it",
        ),
        "no_token" => (Group::Agents, Level::Warning, "an agent that tries it will be refused"),
        "byte_order_mark" | "foreign_owner" => (Group::Agents, Level::Broken, "its agent cannot use it"),
        "expires_in_seconds" => (
            Group::Logins,
            Level::Warning,
            "programs that compare it with the clock think that the login has ended",
        ),
        "shadowed_by_env" => (
            Group::Logins,
            Level::Warning,
            "when that expires, agents stop although the login is fine",
        ),
        "unreadable" => (Group::Agents, Level::Unknown, "its state is unknown"),
        "store_malformed" => (
            Group::Agents,
            Level::Broken,
            "the agent's next write will lose its content",
        ),
        "json_beside_sqlite" => (
            Group::Agents,
            Level::Warning,
            "openclaw 2026.6.5 and later fail because of it",
        ),
        "legacy_store" => (Group::Agents, Level::Warning, "until then the agent is not updated"),
        "agent_config_malformed" => (Group::Agents, Level::Warning, "an agent may be overlooked"),
        "ledger_corrupt" => (
            Group::Files,
            Level::Warning,
            "which alerts were sent, and when setup tokens end, is forgotten",
        ),
        _ => (Group::Files, Level::Warning, "it may keep a pass from doing its work"),
    };
    let mut finding = Finding::new(problem.kind, group, level, &problem.message, why);
    finding.path = problem.path.clone();
    Some(helped(finding, &problem.hint))
}

fn of_alert(facts: &Facts, alert: &Alert, words: &Words) -> Option<Finding> {
    let group = match &alert.id {
        // the problem of the same store says so already
        Cause::Store(_) => return None,
        // the problem of the same entries says so already
        Cause::Agent { .. } if alert.kind == "entries_ignored" => return None,
        Cause::Copies(_) | Cause::Profile(_) | Cause::Agent { .. } => Group::Agents,
        Cause::Channel(_) | Cause::Heartbeat | Cause::Config => Group::Telling,
        Cause::Remote { .. } => Group::Remotes,
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
    if let Cause::Login(id) = &alert.id
        && let Some(login) = facts.logins.all.iter().find(|login| login.id == *id)
    {
        path = Some(login.file.path.clone());
        let same = |problem: &&Problem| {
            problem.path.as_ref() == Some(&login.file.path) && matches!(problem.kind, "unreadable" | "no_scopes")
        };
        // the cause is clearer there
        if alert.kind == "unreadable"
            && let Some(problem) = facts.judged.problems.iter().find(same)
        {
            what.clone_from(&problem.message);
            why = "whether the login still works is unknown".into();
            if level == Level::Broken {
                why = "Claude Code treats it as signed out, and its agents stop as their tokens expire".into();
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

/// Whether such an alert fires, which says it better.
pub(super) fn alerted(facts: &Facts, cause: &Cause) -> bool {
    facts.judged.alerts.iter().any(|(alert, _)| alert.id == *cause)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const FILE: &str = "/h/.claude/.credentials.json";

    fn problem(kind: &'static str, path: &str) -> Problem {
        Problem::at(kind, Path::new(path), "message", "run `true`")
    }

    fn found(judged: Judged) -> Vec<Finding> {
        judge(&Facts {
            judged,
            ..with_login(login("claude"))
        })
    }

    #[test]
    fn each_problem_has_its_group_and_its_level() {
        use Group::{Agents, Files, Logins};
        use Level::{Broken, Unknown, Warning};
        for (kind, wanted) in [
            ("dead_lock", None),
            ("wrong_owner", None),
            ("readable_by_others", None),
            ("literal_tilde", Some((Logins, Warning))),
            ("entries_ignored", Some((Agents, Warning))),
            ("store_misplaced", Some((Agents, Warning))),
            ("state_dir_unread", Some((Agents, Warning))),
            ("no_token", Some((Agents, Warning))),
            ("byte_order_mark", Some((Agents, Broken))),
            ("foreign_owner", Some((Agents, Broken))),
            ("expires_in_seconds", Some((Logins, Warning))),
            ("shadowed_by_env", Some((Logins, Warning))),
            ("unreadable", Some((Agents, Unknown))),
            ("store_malformed", Some((Agents, Broken))),
            ("json_beside_sqlite", Some((Agents, Warning))),
            ("legacy_store", Some((Agents, Warning))),
            ("agent_config_malformed", Some((Agents, Warning))),
            ("ledger_corrupt", Some((Files, Warning))),
            ("pass_running", Some((Files, Warning))),
        ] {
            for path in ["/h/store.json", FILE] {
                // what is wrong with a login's file has its alert
                let alerted = matches!(kind, "unreadable" | "no_scopes" | "foreign_owner" | "byte_order_mark");
                let wanted = wanted.filter(|_| path != FILE || !alerted);
                let found = found(Judged {
                    problems: vec![problem(kind, path)],
                    ..Judged::default()
                });
                let got = found.first().map(|one| (one.group, one.level));
                assert_eq!(got, wanted, "{kind} of {path}");
                assert!(
                    found
                        .iter()
                        .all(|one| one.kind == kind && one.path.as_deref() == Some(Path::new(path)))
                );
                assert!(found.iter().all(|one| !one.why.is_empty()));
            }
        }
        let why = |kind| {
            let problems = vec![problem(kind, "/h/s")];
            let judged = Judged {
                problems,
                ..Judged::default()
            };
            found(judged)[0].why.clone()
        };
        assert_ne!(why("ledger_corrupt"), why("pass_running"));
    }

    #[test]
    fn each_alert_has_its_group_and_its_level() {
        use Group::{Agents, Logins, Remotes, Telling};
        use Level::{Broken, Note, Unknown, Warning};
        use Severity as S;
        for (id, kind, severity, lapsed, wanted) in [
            ("login:claude", "login_ended", S::Critical, true, Some((Logins, Broken))),
            (
                "login:claude",
                "login_ends_soon",
                S::Warning,
                false,
                Some((Logins, Warning)),
            ),
            ("login:claude", "login_ended", S::Warning, true, Some((Logins, Broken))),
            ("login:claude", "unreadable", S::Warning, true, Some((Logins, Unknown))),
            ("login:claude", "missing", S::Info, true, Some((Logins, Note))),
            ("renew:claude", "rescue", S::Critical, false, Some((Logins, Broken))),
            ("copies:claude", "copy_stale", S::Critical, true, Some((Agents, Broken))),
            ("profile:a", "missing", S::Critical, true, Some((Agents, Broken))),
            ("agent:a#p", "not_in_order", S::Critical, false, Some((Agents, Broken))),
            ("agent:a#p", "entries_ignored", S::Critical, false, None),
            ("store:a", "store_malformed", S::Critical, true, None),
            (
                "channel:a",
                "channel_failing",
                S::Warning,
                false,
                Some((Telling, Warning)),
            ),
            (
                "heartbeat",
                "heartbeat_failing",
                S::Warning,
                false,
                Some((Telling, Warning)),
            ),
            ("config", "config_broken", S::Warning, false, Some((Telling, Warning))),
            (
                "remote:gw:login:claude",
                "login_ended",
                S::Critical,
                true,
                Some((Remotes, Broken)),
            ),
        ] {
            let alert = Alert {
                lapsed,
                ..Alert::new(id, kind, severity)
            };
            let words = Words {
                title: "title".into(),
                message: "cause\naffected: a".into(),
                commands: vec!["true".into()],
            };
            let of = |problems| {
                found(Judged {
                    problems,
                    alerts: vec![(alert.clone(), words.clone())],
                    ..Judged::default()
                })
            };
            let found = of(Vec::new());
            assert_eq!(
                found.first().map(|one| (one.group, one.level)),
                wanted,
                "{kind} of {id}"
            );
            let is_login = id == "login:claude";
            for one in &found {
                assert_eq!(
                    (one.kind.as_str(), one.what.as_str(), one.why.as_str()),
                    (kind, "title", "cause; affected: a")
                );
                assert_eq!(one.path.as_deref(), is_login.then_some(Path::new(FILE)));
            }
            // the cause is clearer there, where it is of the same file
            let clearer = of(vec![problem("unreadable", FILE)]);
            if let Some(one) = clearer.first() {
                assert_eq!(
                    one.what == "message",
                    kind == "unreadable" && is_login,
                    "{kind} of {id}"
                );
            }
            let other = of(vec![problem("no_scopes", "/h/other")]);
            assert!(
                other.iter().all(|one| one.kind != kind || one.what == "title"),
                "{other:?}"
            );
        }
    }

    /// An alert about a login that cannot be read, and a problem of the file of `claude`.
    fn unreadable(facts: &mut Facts, problem_kind: &'static str, id: &str, severity: Severity) {
        a_login(facts, |_| ());
        facts.judged.problems = vec![problem(problem_kind, FILE)];
        fires(facts, id, "unreadable", severity);
    }

    const WORLDS: &[World] = &[
        (
            |facts| facts.judged.nothing = true,
            r#"
nothing_found broken -
there is neither a Claude Code login nor an agent's store
there is nothing to watch
$ claude auth login"#,
        ),
        (
            |facts| {
                facts.judged.nothing = true;
                facts.agents.all = vec![agent(None)];
            },
            r#"
nothing_found broken -
there is no Claude Code login, and no profile in the agents' stores
there is nothing to watch
$ claude auth login"#,
        ),
        (
            |facts| {
                facts.judged.silenced = vec![Problem::at(
                    "silenced",
                    "/h/state",
                    "`login:claude` is silenced",
                    "run `nolapse alert list`",
                )]
            },
            r#"
silenced note -
`login:claude` is silenced
somebody asked for it
$ nolapse alert list"#,
        ),
        (
            |facts| unreadable(facts, "unreadable", "login:claude", Severity::Critical),
            r#"
unreadable broken /h/.claude/.credentials.json
message
Claude Code treats it as signed out, and its agents stop as their tokens expire
nothing to do"#,
        ),
        (
            |facts| unreadable(facts, "no_scopes", "login:claude", Severity::Warning),
            r#"
unreadable unknown /h/.claude/.credentials.json
message
whether the login still works is unknown
nothing to do"#,
        ),
        // of another login's file, and another kind of the same
        (
            |facts| unreadable(facts, "foreign_owner", "login:other", Severity::Info),
            r#"
unreadable note -
title
cause; affected: a
nothing to do"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
