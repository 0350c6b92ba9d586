//! What an upgrade changed that even people who skip the changelog must know. A test wants every release of the changelog here.

use super::super::memory::{Upgrade, release};
use super::super::wording::span;
use super::{Facts, Finding, Group, Level};
use crate::types::{DAY, Ms};

/// How long it is news.
const NEWS: Ms = 14 * DAY;

/// A release that could be upgraded to.
struct Release {
    version: &'static str,
    changes: &'static [Change],
}

/// One thing that it does differently, where a person may have relied on the old way.
struct Change {
    what: &'static str,
    hint: &'static str,
}

/// Newest first, as in CHANGELOG.md. Without changes where nobody needs to know any.
const RELEASES: &[Release] = &[Release {
    version: "0.2.0",
    changes: &[
        Change {
            what: "`run` exits with 3 while an alert has reached nobody or the state cannot be saved",
            hint: "if your own script runs it, treat 3 as a failure",
        },
        Change {
            what: "a profile that is missing from a store is created only where the agent would create it itself",
            hint: "`nolapse sync --create` creates the others once, `sync.create = \"always\"` at every pass",
        },
        Change {
            what: "numbers and durations in the configuration have bounds, and control characters, `~bob/x` and `$HOME/x` are refused",
            hint: "run `nolapse config check`; until that is fixed, passes use the last valid configuration",
        },
        Change {
            what: "direct renewal begins 15 min before the access token ends, no longer 4 min",
            hint: "`renew.lead` sets another span",
        },
        Change {
            what: "a desktop without a notification server, or a log that nobody reads, no longer counts as notifying you",
            hint: "add a channel with `nolapse channel add`",
        },
    ],
}];

/// The upgrade, while it is news.
fn news(facts: &Facts) -> Option<&Upgrade> {
    let upgrade = facts.running.upgrade.as_ref()?;
    (facts.now - upgrade.at < NEWS).then_some(upgrade)
}

fn from(upgrade: &Upgrade) -> &str {
    upgrade.from.as_deref().unwrap_or("an earlier version")
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let Some(upgrade) = news(facts) else {
        return Vec::new();
    };
    // a version that is not known is older than all that are noted
    let before = upgrade.from.as_deref().and_then(release);
    let to = release(&upgrade.to);
    let passed = RELEASES.iter().filter(|one| {
        let version = release(one.version);
        version > before && version <= to
    });
    passed
        .flat_map(|one| one.changes.iter().map(move |change| (one.version, change)))
        .map(|(version, change)| {
            let why = format!("this is new in {version}; {} ran here before", from(upgrade));
            Finding::new("upgraded", Group::Running, Level::Note, change.what, why).advice(change.hint)
        })
        .collect()
}

/// `upgraded to 0.2.0 3 h ago`, for as long as its changes are told.
pub(super) fn said(facts: &Facts) -> Option<String> {
    let upgrade = news(facts)?;
    let ago = match facts.now - upgrade.at {
        ago if ago < crate::types::MINUTE => "just now".to_owned(),
        ago => format!("{} ago", span(ago)),
    };
    Some(format!("upgraded from {} to {} {ago}", from(upgrade), upgrade.to))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::HOUR;

    #[test]
    fn every_release_of_the_changelog_says_what_to_know_or_that_there_is_nothing() {
        let changelog = include_str!("../../../CHANGELOG.md");
        let headings = changelog.lines().filter_map(|line| line.strip_prefix("## ["));
        let of_it: Vec<&str> = headings
            .filter_map(|rest| rest.split(']').next())
            .filter(|version| *version != "Unreleased")
            .collect();
        let here: Vec<&str> = RELEASES.iter().map(|one| one.version).collect();
        assert_eq!(here, of_it);
    }

    #[test]
    fn how_long_ago_it_was_is_said() {
        for (ago, words) in [(0, "just now"), (59_999, "just now"), (60_000, "1 min ago")] {
            let mut facts = facts();
            facts.running.upgrade = Some(Upgrade {
                from: None,
                to: "0.2.0".into(),
                at: NOW - ago,
            });
            let wanted = format!("upgraded from an earlier version to 0.2.0 {words}");
            assert_eq!(said(&facts), Some(wanted));
        }
    }

    #[test]
    fn an_upgrade_is_told_for_a_while_and_only_what_it_brought() {
        let of = |from: Option<&str>, to: &str, ago| {
            let mut facts = facts();
            facts.running.upgrade = Some(Upgrade {
                from: from.map(str::to_owned),
                to: to.into(),
                at: NOW - ago,
            });
            let told = kinds(&facts);
            assert!(told.iter().all(|one| *one == ("upgraded".to_owned(), Level::Note)));
            (told.len(), said(&facts).is_some())
        };
        let all = RELEASES[0].changes.len();
        assert_eq!(of(Some("0.1.0"), "0.2.0", HOUR), (all, true));
        assert_eq!(of(None, "0.2.0", HOUR), (all, true));
        assert_eq!(of(Some("0.1.0"), "0.2.1-rc.1", HOUR), (all, true));
        assert_eq!(of(Some("0.1.0"), "0.1.9", HOUR), (0, true));
        assert_eq!(of(Some("0.2.0"), "0.2.1", HOUR), (0, true));
        assert_eq!(of(Some("0.1.0"), "0.2.0", NEWS), (0, false));
    }
}
