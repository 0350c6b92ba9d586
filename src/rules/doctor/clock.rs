//! Whether the clock is right, as far as that shows without asking a server.

use super::super::wording::span;
use super::{Facts, Finding, Group, Level};
use crate::types::Moment;

/// No pass knows of a time before 2025.
const EARLIEST: Moment = Moment::at(1_735_689_600_000);

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    use Group::Clock as G;
    if facts.now < EARLIEST {
        return vec![
            Finding::new(
                "clock_wrong",
                G,
                Level::Broken,
                "the clock of this host is before 2025",
                "every end date is judged by it, and TLS connections fail",
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
            format!(
                "dated in the future, by up to {}: {}{more}",
                span(*most),
                names.join(", ")
            ),
            "the clock was set back, or is wrong now; every end date is judged by it",
        )
        .run("date"),
    ]
}

pub(super) fn checked(_facts: &Facts) -> Option<String> {
    Some("looks right (not checked against a time server)".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::{DAY, HOUR};

    #[test]
    fn what_is_before_its_time_or_ahead_of_it_is_told() {
        let one = |kind: &str, level| vec![(kind.to_owned(), level)];
        let mut early = facts();
        early.now = Moment::at(1000);
        early.running.last_pass = Some(Moment::EPOCH);
        early.running.last_good = Some(Moment::EPOCH);
        assert_eq!(kinds(&early), one("clock_wrong", Level::Broken));
        assert_eq!(judge(&Facts { now: EARLIEST, ..early }), []);
        let ahead = Facts {
            ahead: vec![("`a`".into(), HOUR), ("`b`".into(), DAY)],
            ..facts()
        };
        assert_eq!(kinds(&ahead), one("clock_skew", Level::Warning));
        let found = super::super::examine(&ahead);
        assert!(found[0].what.contains("up to 1 d: `a`, `b`"));
    }
}
