//! Channels and the heartbeat: whether an alert would reach somebody.

use super::super::wording::operand;
use super::judged::alerted;
use super::{Facts, Finding, Group, Level, counted};
use crate::cause::Cause;

/// A channel, or the heartbeat.
#[derive(Clone, Debug)]
pub(crate) struct ChannelFact {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: &'static str,
    /// Why the last delivery failed, where it did.
    pub(crate) trouble: Option<String>,
    /// How many alerts wait for it.
    pub(crate) waiting: usize,
    /// Whether it was reached just now.
    pub(crate) probe: Probe,
}

/// Whether the other end is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Somebody listens.
    Reached,
    /// Nobody does, and why.
    Not(String),
    /// It was not tried, and why.
    Untried(&'static str),
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let told: Vec<&ChannelFact> = facts.channels.iter().filter(|one| one.kind != "heartbeat").collect();
    let nobody = !told.is_empty() && told.iter().all(|one| matches!(one.probe, Probe::Not(_)));
    let mut found = Vec::new();
    for channel in &facts.channels {
        let alerted = alerted(facts, &Cause::Channel(channel.name.clone()));
        found.extend(unreachable(
            channel,
            if nobody { Level::Broken } else { Level::Warning },
        ));
        found.extend(failed(channel).filter(|_| !alerted));
    }
    if !told.is_empty() && told.iter().all(|channel| channel.kind == "log") {
        found.push(log_only());
    }
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    let words = |channel: &ChannelFact| match &channel.probe {
        Probe::Reached if channel.kind == "desktop" => format!("{} has its notification server", channel.name),
        Probe::Reached => format!("{} reached", channel.name),
        Probe::Not(_) => format!("{} not reached", channel.name),
        Probe::Untried(why) => format!("{} ({why})", channel.name),
    };
    let channels: Vec<String> = facts.channels.iter().map(words).collect();
    Some(channels.join(", "))
}

fn finding(kind: &str, level: Level, what: impl Into<String>, why: impl Into<String>) -> Finding {
    Finding::new(kind, Group::Telling, level, what, why)
}

fn test(channel: &ChannelFact) -> String {
    format!("nolapse alert test {}", operand(&channel.name))
}

/// `Broken` where no channel is reached.
fn unreachable(channel: &ChannelFact, level: Level) -> Option<Finding> {
    let (Probe::Not(why), name) = (&channel.probe, &channel.name) else {
        return None;
    };
    let (kind, what) = match channel.kind {
        "desktop" => ("no_session_bus", format!("channel `{name}` finds no desktop: {why}")),
        "heartbeat" => (
            "heartbeat_unreachable",
            format!("the heartbeat cannot be reached: {why}"),
        ),
        "command" => (
            "channel_unreachable",
            format!("channel `{name}` does not find its command: {why}"),
        ),
        _ => (
            "channel_unreachable",
            format!("channel `{name}` cannot be reached: {why}"),
        ),
    };
    let (why, command) = match (channel.kind, level) {
        ("heartbeat", _) => (
            "whoever waits for its ping will think that nolapse has stopped",
            "nolapse run".to_owned(),
        ),
        (_, Level::Broken) => (
            "no alert reaches anybody now; they are kept for 7 days and retried",
            test(channel),
        ),
        _ => ("its alerts are kept for 7 days and retried", test(channel)),
    };
    Some(finding(kind, level, what, why).run(command))
}

/// It is there, and the last delivery failed.
fn failed(channel: &ChannelFact) -> Option<Finding> {
    let why = channel.trouble.as_ref()?;
    if matches!(channel.probe, Probe::Not(_)) {
        return None;
    }
    let found = finding(
        "delivery_failed",
        Level::Warning,
        format!("the last delivery by channel `{}` failed: {why}", channel.name),
        format!(
            "{} wait for it and are tried again by themselves",
            counted(channel.waiting, "alert")
        ),
    );
    Some(found.run(test(channel)))
}

fn log_only() -> Finding {
    finding(
        "log_only",
        Level::Warning,
        "nobody would be alerted: there is only the log",
        "you will see alerts only in the log",
    )
    .advice("run `nolapse channel add`")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::types::Severity;

    #[test]
    fn channels_that_are_not_reached_are_worse_where_no_other_is() {
        let channel = |name: &str, kind, probe| ChannelFact {
            name: name.into(),
            kind,
            trouble: None,
            waiting: 0,
            probe,
        };
        let not = || Probe::Not("refused".into());
        let of = |channels| kinds(&Facts { channels, ..facts() });
        let one = |kind: &str, level| vec![(kind.to_owned(), level)];
        let channels = vec![
            channel("desk", "desktop", Probe::Reached),
            channel("b", "ntfy", Probe::Reached),
            channel("c", "ntfy", not()),
            channel("d", "log", Probe::Untried("writes a line")),
        ];
        assert_eq!(
            checked(&Facts { channels, ..facts() }).as_deref(),
            Some("desk has its notification server, b reached, c not reached, d (writes a line)")
        );
        assert_eq!(
            of(vec![channel("a", "slack", not())]),
            one("channel_unreachable", Level::Broken)
        );
        assert_eq!(
            of(vec![channel("a", "slack", not()), channel("b", "ntfy", Probe::Reached)]),
            one("channel_unreachable", Level::Warning)
        );
        assert_eq!(
            of(vec![
                channel("b", "ntfy", Probe::Reached),
                channel("h", "heartbeat", not())
            ]),
            one("heartbeat_unreachable", Level::Warning)
        );
        assert_eq!(
            of(vec![channel("log", "log", Probe::Untried(""))]),
            one("log_only", Level::Warning)
        );
    }

    fn channel(facts: &mut Facts, name: &str, kind: &'static str, probe: Probe) {
        facts.channels.push(ChannelFact {
            name: name.into(),
            kind,
            trouble: None,
            waiting: 2,
            probe,
        });
    }

    const WORLDS: &[World] = &[
        (
            |facts| {
                for kind in ["desktop", "command", "ntfy", "heartbeat"] {
                    channel(facts, kind, kind, Probe::Not("why".into()));
                }
            },
            r#"
channel_unreachable broken -
channel `command` does not find its command: why
no alert reaches anybody now; they are kept for 7 days and retried
$ nolapse alert test command
channel_unreachable broken -
channel `ntfy` cannot be reached: why
no alert reaches anybody now; they are kept for 7 days and retried
$ nolapse alert test ntfy
heartbeat_unreachable broken -
the heartbeat cannot be reached: why
whoever waits for its ping will think that nolapse has stopped
$ nolapse run
no_session_bus broken -
channel `desktop` finds no desktop: why
no alert reaches anybody now; they are kept for 7 days and retried
$ nolapse alert test desktop"#,
        ),
        (
            |facts| {
                channel(facts, "desktop", "desktop", Probe::Reached);
                channel(facts, "-x y", "ntfy", Probe::Not("why".into()));
            },
            r#"
channel_unreachable warning -
channel `-x y` cannot be reached: why
its alerts are kept for 7 days and retried
$ nolapse alert test -- '-x y'"#,
        ),
        (
            |facts| {
                for (name, probe) in [
                    ("a", Probe::Reached),
                    ("b", Probe::Not("why".into())),
                    ("c", Probe::Untried("mail")),
                    ("d", Probe::Reached),
                ] {
                    channel(facts, name, "ntfy", probe);
                    facts.channels.last_mut().unwrap().trouble = Some("HTTP 500".into());
                }
                fires(facts, "channel:d", "channel_failing", Severity::Warning);
            },
            r#"
channel_failing broken -
title
cause; affected: a
nothing to do
channel_unreachable warning -
channel `b` cannot be reached: why
its alerts are kept for 7 days and retried
$ nolapse alert test b
delivery_failed warning -
the last delivery by channel `a` failed: HTTP 500
2 alerts wait for it and are tried again by themselves
$ nolapse alert test a
delivery_failed warning -
the last delivery by channel `c` failed: HTTP 500
2 alerts wait for it and are tried again by themselves
$ nolapse alert test c"#,
        ),
        (
            |facts| channel(facts, "log", "log", Probe::Untried("writes a line")),
            r#"
log_only warning -
nobody would be alerted: there is only the log
you will see alerts only in the log
run `nolapse channel add`"#,
        ),
        (
            |facts| {
                channel(facts, "log", "log", Probe::Untried("writes a line"));
                channel(facts, "a", "ntfy", Probe::Reached);
            },
            "",
        ),
        (|facts| channel(facts, "heartbeat", "heartbeat", Probe::Reached), ""),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
