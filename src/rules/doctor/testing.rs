//! A world in which nothing is wrong, for the tests of each group.

use super::*;
use crate::types::MINUTE;

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
