//! A world in which nothing is wrong, for the tests of each group.

use super::*;
use crate::rules::alert::Alert;
use crate::rules::wording::Words;
use crate::types::{MINUTE, Severity};

pub(super) const NOW: Moment = Moment::at(1_769_000_000_000);

pub(super) fn spot(text: &str) -> Spot {
    Spot {
        path: text.replace('~', "/h").into(),
        shown: text.into(),
    }
}

pub(super) fn facts() -> Facts {
    Facts {
        now: NOW,
        grants: Grants {
            share_access: true,
            ..Grants::default()
        },
        running: RunningFact {
            last_pass: Some(NOW - MINUTE),
            last_good: Some(NOW - MINUTE),
            patience: patience(false),
            platform: "systemd",
            user: "u".into(),
            ways: vec![Way {
                platform: "systemd",
                name: "the systemd timer".into(),
                daemon: false,
                program: None,
                gone: 0,
                on: On::Yes,
            }],
            ..RunningFact::default()
        },
        ..Facts::default()
    }
}

pub(super) fn with_login(login: LoginFact) -> Facts {
    let logins = Logins {
        all: vec![login],
        ..Logins::default()
    };
    Facts { logins, ..facts() }
}

/// What is found, each with something to read.
pub(super) fn kinds(facts: &Facts) -> Vec<(String, Level)> {
    let found = examine(facts);
    assert!(
        found.iter().all(|one| !one.what.is_empty() && !one.why.is_empty()),
        "{found:?}"
    );
    found.into_iter().map(|one| (one.kind, one.level)).collect()
}

pub(super) fn login(id: &str) -> LoginFact {
    LoginFact {
        id: id.into(),
        file: spot("~/.claude/.credentials.json"),
        dir: spot("~/.claude"),
        shadowed_by: Vec::new(),
        shadow_known: false,
        ended: false,
        abandoned: false,
        abandoned_by: None,
        no_end: None,
        link: None,
        left_behind: None,
        not_writable: None,
        open: None,
    }
}

fn said(facts: &Facts) -> String {
    let lines = examine(facts).into_iter().map(|one| {
        let helps = match one.remedy {
            Remedy::Run(command) => format!("$ {command}"),
            Remedy::Do(text) => text,
        };
        let (path, fix) = (one.path.map_or("-".into(), |path| path.display().to_string()), one.fix);
        let fix = fix.map_or(String::new(), |fix| format!(" | fix {}", fix.path().display()));
        format!(
            "{} {} {path}\n{}\n{}\n{helps}{fix}\n",
            one.kind, one.level, one.what, one.why
        )
    });
    lines.collect()
}

/// What makes the world wrong, and what is said then.
pub(super) type World = (fn(&mut Facts), &'static str);

pub(super) fn each(worlds: &[World]) {
    let mut wrong = String::new();
    for (n, (make, wanted)) in worlds.iter().enumerate() {
        let mut facts = facts();
        make(&mut facts);
        let said = said(&facts);
        if said.trim() != wanted.trim() {
            wrong.push_str(&format!("{n}\n{said}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

pub(super) fn fires(facts: &mut Facts, id: &str, kind: &str, severity: Severity) {
    let words = Words {
        title: "title".into(),
        message: "cause\naffected: a".into(),
        commands: Vec::new(),
    };
    facts.judged.alerts.push((Alert::new(id, kind, severity), words));
}

pub(super) fn a_login(facts: &mut Facts, change: impl FnOnce(&mut LoginFact)) {
    let mut one = login("claude");
    change(&mut one);
    facts.logins.all.push(one);
}

pub(super) fn agent(not_written: Option<(&str, Option<&str>)>) -> AgentFact {
    AgentFact {
        label: "clawdbot/main".into(),
        store: spot("~/.clawdbot/auth-profiles.json"),
        not_written: not_written.map(|(why, fix)| (why.to_owned(), fix.map(str::to_owned))),
        retired: false,
    }
}
