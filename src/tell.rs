//! Decide, deliver, record: three steps with the ledger saved between them.
//!
//! [`queue`] decides per channel and puts events into the outbox; [`due`] leases what is to be tried now; delivery happens with
//! no lock held; [`record`] writes down what each channel accepted. A process that dies in between leaves its leases to run
//! out: the same event with the same id is then sent again, at most one duplicate.

use crate::ctx::Ctx;
use crate::ledger::{AlertMemory, Ledger, Outgoing};
use crate::notify::{Channel, Receipt, SendError};
use crate::rules::alert::{self, Alert, Told, Why};
use crate::rules::wording;
use crate::types::{DAY, Event, HOUR, MINUTE, Ms, Severity, Status};
use sha2::{Digest, Sha256};

/// How long a leased delivery is left alone: longer than any channel's timeout twice over.
const LEASE: Ms = 2 * MINUTE;

/// An event that no channel accepted for this long is given up.
const GIVE_UP: Ms = 7 * DAY;

/// What is said of an alert that goes away: what is needed to word its recovery is kept with its memory.
pub fn queue(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], alerts: &[Alert], now: Ms) {
    for alert in alerts {
        let memory = ledger.alerts.entry(alert.id.clone()).or_insert_with(|| AlertMemory {
            since: now,
            last: alert.clone(),
            channels: Default::default(),
        });
        memory.last = alert.clone();
        let memory = memory.clone();
        for channel in channels {
            let queued = ledger
                .outbox
                .iter()
                .find(|out| out.channel == channel.name && out.event.alert_id == alert.id);
            let told = queued
                .map(|out| &out.told)
                .or_else(|| memory.channels.get(&channel.name));
            let Some(why) = alert::decide(alert, told, &ctx.config.alerts.steps, now) else {
                continue;
            };
            let told = alert::told(alert, told, why, &ctx.config.alerts.steps, now);
            let event = event(ctx, ledger, alert, why, now);
            if channel.wants(&event) {
                put(ledger, channel, event, told, now);
            }
        }
    }
    let over: Vec<String> = ledger
        .alerts
        .keys()
        .filter(|id| !alerts.iter().any(|alert| alert.id == **id))
        .cloned()
        .collect();
    for id in over {
        let Some(memory) = ledger.alerts.remove(&id) else {
            continue;
        };
        // what was queued and never heard need not be heard any more
        ledger.outbox.retain(|out| out.event.alert_id != id);
        for channel in channels {
            let Some(told) = memory
                .channels
                .get(&channel.name)
                .filter(|told| told.status == Status::Firing)
            else {
                continue;
            };
            if channel.resolved {
                let event = event(ctx, ledger, &memory.last, Why::Recovered, now);
                put(ledger, channel, event, alert::told_resolved(told, now), now);
            }
        }
    }
    ledger
        .outbox
        .retain(|out| channels.iter().any(|channel| channel.name == out.channel) && now - out.queued_at < GIVE_UP);
}

fn put(ledger: &mut Ledger, channel: &Channel, event: Event, told: Told, now: Ms) {
    // nobody wants "ends in 3 days" after "ended"
    ledger
        .outbox
        .retain(|out| !(out.channel == channel.name && out.event.alert_id == event.alert_id));
    ledger.outbox.push(Outgoing {
        channel: channel.name.clone(),
        event,
        told,
        queued_at: now,
        attempts: 0,
        next_at: now,
        last_error: None,
    });
}

/// One event per alert and reason in a pass: every channel gets the same id.
fn event(ctx: &Ctx, ledger: &mut Ledger, alert: &Alert, why: Why, now: Ms) -> Event {
    let host = &ctx.host.name;
    let words = wording::words(alert, why, host, now, &|at| ctx.when(at));
    let status = if why == Why::Recovered {
        Status::Resolved
    } else {
        Status::Firing
    };
    let same = ledger.outbox.iter().find(|out| {
        out.event.alert_id == alert.id
            && out.event.at == now
            && out.event.title == words.title
            && out.event.status == status
    });
    let event_id = match same {
        Some(out) => out.event.event_id.clone(),
        None => {
            ledger.events += 1;
            let mut hash = Sha256::new();
            for part in [host.as_str(), &alert.id, &now.to_string(), &ledger.events.to_string()] {
                hash.update(part.as_bytes());
                hash.update([0]);
            }
            let hex: String = hash
                .finalize()
                .iter()
                .take(12)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            format!("msg_{hex}")
        }
    };
    Event {
        event_id,
        alert_id: alert.id.clone(),
        status,
        severity: alert.severity,
        kind: alert.kind.clone(),
        title: words.title,
        message: words.message,
        commands: words.commands,
        login: alert.login.clone(),
        affected: alert.affected.clone(),
        host: host.clone(),
        at: now,
    }
}

/// Takes what is to be tried now, and leases it: other passes leave it alone meanwhile.
pub fn due(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], now: Ms) -> Vec<Outgoing> {
    let minute = ctx.minute_of_day(now);
    let mut due = Vec::new();
    for out in &mut ledger.outbox {
        let quiet = channels
            .iter()
            .find(|channel| channel.name == out.channel)
            .is_some_and(|channel| {
                out.event.severity < Severity::Critical
                    && channel.quiet_hours.is_some_and(|hours| hours.contains(minute))
            });
        // a clock that was set back must not hold an event for ever
        if quiet || out.next_at > now && out.next_at - now < GIVE_UP {
            continue;
        }
        out.next_at = now + LEASE;
        out.attempts += 1;
        due.push(out.clone());
    }
    due
}

/// When a delivery that failed for the `n`th time is tried again: 1, 2, 5, 10, 30, 60 min, then hourly, [`Ms`].
pub fn retry_gap(attempts: u32) -> Ms {
    match attempts {
        0 | 1 => MINUTE,
        2 => 2 * MINUTE,
        3 => 5 * MINUTE,
        4 => 10 * MINUTE,
        5 => 30 * MINUTE,
        _ => HOUR,
    }
}

/// A refusal that only a change of the configuration ends is tried again this seldom, in case that was made.
const REFUSED_GAP: Ms = 6 * HOUR;

/// Writes down how deliveries went.
pub fn record(ledger: &mut Ledger, tried: &[(Outgoing, Result<Receipt, SendError>)], now: Ms) {
    for (sent, result) in tried {
        let same = |out: &Outgoing| out.channel == sent.channel && out.event.event_id == sent.event.event_id;
        match result {
            Ok(receipt) => {
                ledger.outbox.retain(|out| !same(out));
                // an alert that is over has no memory any more
                if let Some(memory) = ledger.alerts.get_mut(&sent.event.alert_id) {
                    let mut told = sent.told.clone();
                    told.handle = receipt.handle.clone().or(told.handle);
                    memory.channels.insert(sent.channel.clone(), told);
                }
            }
            Err(error) => {
                let Some(out) = ledger.outbox.iter_mut().find(|out| same(out)) else {
                    continue;
                };
                let gap = match error {
                    SendError::Permanent { .. } => REFUSED_GAP,
                    SendError::Passing { retry_after, .. } => {
                        // spread over a tenth, so that many hosts do not come back in step
                        let jitter = retry_gap(out.attempts) / 100 * (now.rem_euclid(11));
                        (retry_gap(out.attempts) + jitter)
                            .max(retry_after.unwrap_or(0))
                            .min(DAY)
                    }
                };
                out.next_at = now + gap;
                out.last_error = Some(error.why().to_owned());
            }
        }
    }
}
