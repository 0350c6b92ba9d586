//! The one next step, for somebody who typed `nolapse` and nothing else.

use super::doctor::Runs;

/// How things stand, as far as the next step depends on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The logins (ids) that a person must sign in to again; the first one of all is the `None`.
    pub(crate) sign_in: Vec<Option<String>>,
    /// The commands that fix the worst alert, if anything fires.
    pub(crate) fix: Option<String>,
    /// Something fires.
    pub(crate) firing: bool,
    /// Whether somebody would be notified.
    pub(crate) reached: Reached,
    /// Whether something makes passes.
    pub(crate) runs: Runs,
}

/// Whether anybody would be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Reached {
    /// Somebody.
    #[default]
    Somebody,
    /// The log alone.
    Nobody,
}

/// What to do next: the reason, and the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Why.
    pub(crate) why: &'static str,
    /// The command.
    pub(crate) command: String,
}

/// The one next step; `None` where nothing is left to do.
pub(crate) fn next(standing: &Standing) -> Option<Next> {
    let step = |why, command: String| Some(Next { why, command });
    match standing.sign_in.first() {
        Some(Some(id)) => {
            let id = super::wording::quote(id);
            return step("sign in again", format!("nolapse login --login {id}"));
        }
        Some(None) => return step("sign in again", "nolapse login".into()),
        None => {}
    }
    match (standing.reached, standing.runs) {
        (Reached::Nobody, Runs::ByHand) => return step("set up alerts and automatic checks", "nolapse setup".into()),
        (Reached::Nobody, _) => return step("choose how you are notified", "nolapse setup".into()),
        (_, Runs::ByHand) => return step("run it automatically", "nolapse install".into()),
        _ => {}
    }
    match &standing.fix {
        Some(command) => step("fix what fires", command.clone()),
        None if standing.firing => step("see what fires", "nolapse alert list".into()),
        None => None,
    }
}

/// What people type and what they mean by it, where it is no slip of the fingers.
pub(crate) fn meant(word: &str) -> Option<&'static str> {
    const WORDS: &[(&[&str], &str)] = &[
        (
            &[
                "start",
                "enable",
                "up",
                "service",
                "autostart",
                "schedule",
                "cron",
                "systemd",
            ],
            "install",
        ),
        (&["stop", "disable", "down", "remove", "purge"], "uninstall"),
        (&["init", "configure", "onboard", "wizard", "begin"], "setup"),
        (&["signin", "sign-in", "auth", "relogin", "authenticate"], "login"),
        (&["channels", "notify", "notifier", "notifications"], "channel"),
        (&["renew", "rotate"], "refresh"),
        (&["log", "logs", "events", "journal"], "history"),
        (&["ls", "list", "show", "info", "state"], "status"),
        (&["diagnose", "repair", "fix"], "doctor"),
        (&["verify", "ping"], "check"),
        (&["watch", "top", "monitor"], "status --watch"),
        (&["serve", "agent"], "daemon"),
        (&["copy", "push", "update"], "sync"),
        (&["test"], "alert test"),
        (&["ack", "acknowledge"], "alert ack"),
        (&["silence", "mute", "snooze"], "alert silence"),
        (&["tokens", "key", "keys"], "token"),
        (&["get", "set", "edit", "settings"], "config"),
        (&["manual"], "man"),
    ];
    let found = WORDS.iter().find(|(words, _)| words.contains(&word));
    found.map(|(_, command)| *command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_is_what_is_most_urgent() {
        let base = Standing::default;
        for (standing, want) in [
            (base(), None),
            (
                Standing {
                    sign_in: vec![None],
                    reached: Reached::Nobody,
                    runs: Runs::ByHand,
                    ..base()
                },
                Some("nolapse login"),
            ),
            (
                Standing {
                    sign_in: vec![Some("a b".into())],
                    ..base()
                },
                Some("nolapse login --login 'a b'"),
            ),
            (
                Standing {
                    reached: Reached::Nobody,
                    firing: true,
                    ..base()
                },
                Some("nolapse setup"),
            ),
            (
                Standing {
                    runs: Runs::ByHand,
                    ..base()
                },
                Some("nolapse install"),
            ),
            (
                Standing {
                    firing: true,
                    fix: Some("x".into()),
                    ..base()
                },
                Some("x"),
            ),
            (Standing { firing: true, ..base() }, Some("nolapse alert list")),
        ] {
            let next = next(&standing);
            assert_eq!(next.as_ref().map(|next| next.command.as_str()), want, "{standing:?}");
        }
    }

    #[test]
    fn one_command_sets_up_what_is_missing_and_says_what_that_is() {
        for (reached, runs, want) in [
            (Reached::Nobody, Runs::ByHand, "set up alerts and automatic checks"),
            (Reached::Nobody, Runs::default(), "choose how you are notified"),
            (Reached::Somebody, Runs::ByHand, "run it automatically"),
        ] {
            let standing = Standing {
                reached,
                runs,
                ..Standing::default()
            };
            assert_eq!(next(&standing).map(|next| next.why), Some(want));
        }
    }
}
