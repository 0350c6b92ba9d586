//! Many alerts at once as one message: it counts them and names the worst, so that a flood neither drowns you nor goes unreported.

use crate::types::{Event, Moment, Severity, Status};
use sha2::{Digest as _, Sha256};
use std::cmp::Reverse;

/// The most messages that one channel is given in one pass, the digest among them.
pub(crate) const MOST: usize = 20;

/// How many are named in a digest.
const NAMED: usize = 10;

/// What goes first: what fires, the worse, what happened here rather than on a remote, the older.
pub(crate) fn rank(event: &Event) -> (bool, Reverse<Severity>, bool, Moment) {
    (
        event.status == Status::Resolved,
        Reverse(event.severity),
        event.alert_id.is_remote(),
        event.at,
    )
}

/// What is left of an event that will be told in a digest alone.
pub(crate) fn strip(event: &mut Event) {
    event.message = String::new();
    event.commands = Vec::new();
    event.affected = Vec::new();
    event.login = None;
}

/// One event for all of these, in their order. The same ones make the same id, so that a digest that is sent again is known as the same.
pub(crate) fn digest(events: &[&Event], host: &str, now: Moment) -> Event {
    let firing: Vec<&&Event> = events.iter().filter(|event| event.status == Status::Firing).collect();
    let over = events.len() - firing.len();
    let mut hash = Sha256::new();
    for event in events {
        hash.update(event.event_id.as_bytes());
        hash.update([0]);
    }
    let id: String = hash.finalize()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let title = match (firing.len(), over) {
        (n, 0) => format!("{n} more alerts on {host}"),
        (0, n) => format!("{n} more alerts on {host} recovered"),
        (n, over) => format!("{n} more alerts on {host}; {over} recovered"),
    };
    let mut lines: Vec<String> = Vec::new();
    for event in events.iter().take(NAMED) {
        lines.push(format!("- {}", event.title));
    }
    if events.len() > NAMED {
        lines.push(format!("and {} more", events.len() - NAMED));
    }
    lines.push(format!("to see all of them, on {host} run: nolapse alert list"));
    let severity = firing.iter().map(|event| event.severity).max();
    Event {
        event_id: format!("msg_{id}"),
        alert_id: "digest".into(),
        status: match firing.is_empty() {
            true => Status::Resolved,
            false => Status::Firing,
        },
        severity: severity.unwrap_or(Severity::Info),
        kind: "digest".into(),
        title,
        message: lines.join("\n"),
        commands: vec!["nolapse alert list".into()],
        login: None,
        affected: Vec::new(),
        host: host.to_owned(),
        at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: usize, status: Status, severity: Severity) -> Event {
        Event {
            event_id: format!("msg_{n}"),
            alert_id: format!("token:{n}").into(),
            status,
            severity,
            kind: "expired".into(),
            title: format!("Title {n}"),
            message: "m".into(),
            commands: vec!["c".into()],
            login: None,
            affected: Vec::new(),
            host: "h".into(),
            at: Moment::at(5),
        }
    }

    #[test]
    fn it_counts_and_names() {
        let mut events: Vec<Event> = (0..30).map(|n| event(n, Status::Firing, Severity::Warning)).collect();
        events[3].severity = Severity::Critical;
        events[4].status = Status::Resolved;
        events.sort_by_key(rank);
        let all: Vec<&Event> = events.iter().collect();
        let one = digest(&all, "h", Moment::at(9));
        assert_eq!(one.title, "29 more alerts on h; 1 recovered");
        assert!(
            one.message.starts_with("- Title 3\n") && one.message.contains("and 20 more"),
            "{}",
            one.message
        );
        assert_eq!((one.severity, one.status), (Severity::Critical, Status::Firing));
        assert!(!digest(&all[..NAMED], "h", Moment::at(9)).message.contains("more"));
        assert_eq!(events[29].event_id, "msg_4", "what is over goes last");
        assert_eq!(digest(&all, "h", Moment::at(10)).event_id, one.event_id);
        assert_ne!(digest(&all[1..], "h", Moment::at(9)).event_id, one.event_id);
        assert_eq!(digest(&all[29..], "h", Moment::at(9)).status, Status::Resolved);
    }
}
