//! A clock that was ahead for a while and was set back leaves moments in the ledger that have not come yet. Taken at their word
//! they would hold up a retry, a question or a reminder for as long as the clock was wrong.

use super::renew::Stage;
use crate::rules::memory::Ledger;
use crate::types::Moment;

/// Brings what is remembered as past, and is ahead of `now`, to `now`. What waits for its next try keeps how long it was to wait.
/// What is truly of the future (an end, a silence's end) is left; silences judge their own beginning.
pub(crate) fn settle(ledger: &mut Ledger, now: Moment) {
    let past = |at: &mut Moment| *at = (*at).min(now);
    for memory in ledger.alerts.values_mut() {
        past(&mut memory.since);
        memory.channels.values_mut().for_each(|told| past(&mut told.at));
        memory.unsure.values_mut().for_each(|unsure| past(&mut unsure.until));
        if let Some(ack) = &mut memory.ack {
            past(&mut ack.at);
        }
    }
    for out in &mut ledger.outbox {
        past(&mut out.queued_at);
        past(&mut out.told.at);
        if out.tried_at > now {
            out.next_at = out.next_at - (out.tried_at - now);
            out.tried_at = now;
        } else if out.attempts == 0 {
            past(&mut out.next_at);
        }
    }
    ledger
        .troubles
        .values_mut()
        .for_each(|trouble| past(&mut trouble.since));
    for remote in ledger.remotes.values_mut() {
        past(&mut remote.asked_at);
        if let Some(since) = &mut remote.silent_since {
            past(since);
        }
    }
    for record in ledger.renewals.values_mut() {
        if let Some(last) = &mut record.last
            && last.at > now
        {
            record.next_at = record.next_at - (last.at - now);
            last.at = now;
        }
        match &mut record.stage {
            Stage::Idle => {}
            Stage::Running { at, .. }
            | Stage::Sent { at, .. }
            | Stage::Unknown { at, .. }
            | Stage::Rescued { at, .. } => past(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::alert::{self, Alert, Decision, Told, Trouble, Why};
    use crate::rules::memory::{AlertMemory, Outgoing};
    use crate::rules::remote::RemoteMemory;
    use crate::rules::renew::Record;
    use crate::secret::Secret;
    use crate::types::{DAY, Event, HOUR, MINUTE, Severity, Status};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn alert() -> Alert {
        Alert::new("store:clawdbot/main", "store_malformed", Severity::Critical)
    }

    fn told(at: Moment) -> Told {
        alert::told(&alert(), None, Why::First, &[], at)
    }

    /// What a pass at `at` leaves: an alert that was told, an event that failed a minute before its next try, and so on.
    fn ledger(at: Moment) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.alerts.insert(
            "store:clawdbot/main".into(),
            Box::new(AlertMemory {
                since: at,
                last: alert(),
                channels: [("phone", told(at))].into_iter().collect(),
                unsure: Default::default(),
                ack: Some(alert::Ack::of(&alert(), at)),
            }),
        );
        ledger.outbox.push(Outgoing {
            channel: "mail".into(),
            event: Event {
                event_id: "msg_1".into(),
                alert_id: "store:clawdbot/main".into(),
                status: Status::Firing,
                severity: Severity::Critical,
                kind: "store_malformed".into(),
                title: "t".into(),
                message: "m".into(),
                commands: Vec::new(),
                login: None,
                affected: Vec::new(),
                host: "h".into(),
                at,
            },
            told: told(at),
            queued_at: at,
            attempts: 1,
            tried_at: at,
            next_at: at + MINUTE,
            last_error: Some("down".into()),
            unsure: 0,
            brief: false,
            only: Vec::new(),
            covers: Vec::new(),
        });
        ledger.troubles.insert(
            "mail".into(),
            Trouble {
                since: at,
                failures: 1,
                refused: false,
                why: "down".into(),
                mark: 0,
            },
        );
        ledger.remotes.insert(
            "gateway".into(),
            RemoteMemory {
                asked_at: at,
                silent_since: Some(at),
                ..RemoteMemory::default()
            },
        );
        let mut record = Record::new(Secret::new("r").fingerprint());
        record.failed("endpoint_blocked", "w", Some(2 * HOUR), at);
        record.stage = Stage::Running {
            pid: 1,
            start: None,
            boot: None,
            at,
        };
        ledger.renewals.insert("claude".into(), record);
        ledger
    }

    #[test]
    fn what_a_clock_that_was_ahead_left_is_as_if_it_were_of_now() {
        for ahead in [1, MINUTE, DAY, 400 * DAY] {
            let mut settled = ledger(NOW + ahead);
            settle(&mut settled, NOW);
            let mut expected = ledger(NOW);
            // when it happened by the clock of then is what the receiver was told
            expected.outbox[0].event.at = NOW + ahead;
            assert_eq!(settled, expected, "{ahead}");
            let told = settled.alerts[&"store:clawdbot/main".into()].channels.get("phone");
            let reminded = alert::decide(&alert(), told, None, &[], NOW + HOUR);
            assert_eq!(reminded, Decision::Tell(Why::Reminder), "an hour later, not a day");
            let early = alert::decide(&alert(), told, None, &[], NOW + HOUR - 1);
            assert_eq!(early, Decision::Settled);
        }
    }

    #[test]
    fn what_is_past_stays_and_so_does_what_waits() {
        for ago in [0, 1, HOUR, 30 * DAY] {
            let mut settled = ledger(NOW - ago);
            settle(&mut settled, NOW);
            assert_eq!(settled, ledger(NOW - ago), "{ago}");
        }
    }

    #[test]
    fn what_was_never_tried_is_tried_now() {
        for tried_at in [Moment::EPOCH, NOW] {
            let mut settled = ledger(NOW + DAY);
            settled.outbox[0].attempts = 0;
            settled.outbox[0].tried_at = tried_at;
            settle(&mut settled, NOW);
            assert_eq!(settled.outbox[0].next_at, NOW);
        }
    }
}
