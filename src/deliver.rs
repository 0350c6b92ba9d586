//! Decide, deliver, record: three steps with the ledger saved between them.
//!
//! [`queue`] decides per channel and puts events into the outbox; [`due`] leases what is to be tried now; delivery happens with
//! no lock held; [`record`] writes down what each channel accepted. A process that dies in between leaves its leases to run
//! out: the same event with the same id is then sent again, at most one duplicate.

use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::note;

use crate::notify::{Channel, Receipt, SendError};
use crate::rules::alert::{self, Alert, Decision, Scope, Silence, Told, Trouble, Until, Why};
use crate::rules::backoff::gap;
use crate::rules::memory::{AlertMemory, Entry, Ledger, Outgoing, Unsure};
use crate::rules::{digest, wording};
use crate::types::{DAY, Event, HOUR, MINUTE, Moment, Ms, Problem, Severity, Status};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How long a lease on a delivery lasts: longer than twice the longest timeout that a channel may have, and than a mail server
/// may take for its answer beside that.
const LEASE: Ms = 7 * MINUTE;

/// The same in the daemon, where a mail server may take ten minutes.
const LEASE_AT_LEISURE: Ms = 15 * MINUTE;

/// An event that no channel accepted for this long is given up; what still fires is then sent as if for the first time.
const GIVE_UP: Ms = 7 * DAY;

/// Decides what to send each channel about these alerts and those that have ended, and puts it into the outbox.
pub fn queue(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], alerts: &[Alert], now: Moment) {
    fire_all(ctx, ledger, channels, alerts, now);
    let fires: BTreeSet<&Cause> = alerts.iter().map(|alert| &alert.id).collect();
    let over: Vec<Cause> = ledger
        .alerts
        .keys()
        .filter(|id| !fires.contains(*id))
        .cloned()
        .collect();
    for id in over {
        recover(ctx, ledger, channels, &id, now);
    }
    ledger.silences.retain(|silence| match silence.until {
        Until::Time(_) => silence.active(now),
        Until::Recovered => alerts.iter().any(|alert| silence.touches(alert)),
    });
    let known = |name: &str| channels.iter().any(|channel| channel.name == name);
    ledger.troubles.retain(|name, _| known(name));
    ledger.counts.deliveries.retain(|name, _| known(name));
    ledger
        .outbox
        .retain(|out| known(&out.channel) && now - out.queued_at < GIVE_UP);
    shorten_all(ledger, channels);
}

/// The same for some of the alerts that fire: of the others, and of what is over, nothing is decided yet.
pub(crate) fn queue_ahead(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], alerts: &[Alert], now: Moment) {
    fire_all(ctx, ledger, channels, alerts, now);
    shorten_all(ledger, channels);
}

fn fire_all(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], alerts: &[Alert], now: Moment) {
    for (n, alert) in alerts.iter().enumerate() {
        fire(ctx, ledger, channels, alert, now);
        // what will go into a digest need not be kept whole until then
        if n % 64 == 63 {
            shorten_all(ledger, channels);
        }
    }
}

/// What [`queue`] is about to give up: nobody took it for a week.
pub(crate) fn given_up(ledger: &Ledger, now: Moment) -> Vec<Entry> {
    let old = ledger.outbox.iter().filter(|out| now - out.queued_at >= GIVE_UP);
    old.map(|out| note::of_outgoing("given_up", out, out.last_error.clone(), now))
        .collect()
}

fn fire(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], alert: &Alert, now: Moment) {
    let steps = &ctx.config.alerts.steps;
    let memory = ledger.alerts.entry(alert.id.clone()).or_insert_with(|| {
        Box::new(AlertMemory {
            since: now,
            last: alert.clone(),
            channels: Default::default(),
            unsure: Default::default(),
            ack: None,
        })
    });
    memory.last = alert.clone();
    // an ack that was outgrown does not come back when things get milder again
    memory.ack.take_if(|ack| !ack.holds(alert));
    let memory = memory.clone();
    let mute = alert::mute(alert, memory.ack.as_ref(), &ledger.silences, now);
    if mute.is_some() {
        ledger
            .outbox
            .retain(|out| out.event.alert_id != alert.id || out.event.status == Status::Resolved);
    }
    for channel in channels {
        if alert.id == Cause::Channel(channel.name.clone()) {
            continue;
        }
        let queued = ledger
            .outbox
            .iter()
            .find(|out| out.channel == channel.name && out.event.alert_id == alert.id);
        let told = queued
            .map(|out| &out.told)
            .or_else(|| memory.channels.get(&channel.name));
        let why = match alert::decide(alert, told, mute, steps, now) {
            Decision::Tell(why) => why,
            Decision::Muted(why, mute) => {
                tracing::debug!(alert = %alert.id, channel = %channel.name, ?why, ?mute, "muted");
                continue;
            }
            Decision::Settled => continue,
        };
        let told = alert::told(alert, told, why, steps, now);
        let event = event(ctx, ledger, &memory, why, now);
        if channel.wants(&event) {
            put(ledger, channel, event, told, now);
        }
    }
}

/// Forgets an alert, and sends its recovery to everybody who was, or may have been, notified of it; muted or not: it
/// closes what was opened.
fn recover(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], id: &Cause, now: Moment) {
    let Some(mut memory) = ledger.alerts.remove(id) else {
        return;
    };
    // what was queued and never heard need not be heard any more
    let of_it = |out: &mut Outgoing| out.event.alert_id == *id;
    let waiting: Vec<Outgoing> = ledger.outbox.extract_if(.., of_it).collect();
    waiting.iter().for_each(|out| still_open(&mut memory, out));
    for channel in channels.iter().filter(|channel| channel.resolved) {
        let told = memory.channels.get(&channel.name);
        let told = told.filter(|told| told.status == Status::Firing);
        let unsure = memory.unsure.get(&channel.name);
        if told.is_some() || unsure.is_some() {
            let heard = told.is_some() || unsure.is_some_and(|unsure| unsure.open);
            let waits = waiting.iter().find(|out| out.channel == channel.name);
            let told = told.or(waits.map(|out| &out.told)).cloned();
            let first = || alert::told(&memory.last, None, Why::First, &ctx.config.alerts.steps, now);
            let told = alert::told_resolved(&told.unwrap_or_else(first), now);
            let event = event(ctx, ledger, &memory, Why::Recovered, now);
            put(ledger, channel, event, told, now);
            // what is under way arrives first, or what is over would seem to have begun
            if let (Some(unsure), Some(over)) = (unsure, ledger.outbox.last_mut()) {
                over.next_at = unsure.until.max(now);
                over.unsure = if heard { 0 } else { unsure.messages };
            }
        }
    }
}

/// Whom the end of what was before did not reach for certain was told that it began, or may have been.
fn still_open(memory: &mut AlertMemory, out: &Outgoing) {
    if out.event.status == Status::Resolved {
        let soon = out.next_at - out.tried_at.max(out.queued_at) <= LEASE_AT_LEISURE;
        let until = if soon { out.next_at } else { out.queued_at };
        let before = memory.unsure.get(&out.channel).copied().unwrap_or_default();
        let unsure = Unsure {
            messages: before.messages + out.unsure,
            until: before.until.max(until),
            open: before.open || out.unsure == 0,
        };
        memory.unsure.insert(&out.channel, unsure);
    }
}

fn put(ledger: &mut Ledger, channel: &Channel, event: Event, told: Told, now: Moment) {
    // nobody wants "ends in 3 days" after "ended"
    let before = |out: &mut Outgoing| out.channel == channel.name && out.event.alert_id == event.alert_id;
    for out in ledger.outbox.extract_if(.., before) {
        if let Some(memory) = ledger.alerts.get_mut(&event.alert_id) {
            still_open(memory, &out);
        }
    }
    ledger.outbox.push(Outgoing {
        channel: channel.name.clone(),
        event,
        told,
        queued_at: now,
        attempts: 0,
        tried_at: Moment::EPOCH,
        next_at: now,
        last_error: None,
        unsure: 0,
        brief: false,
        only: Vec::new(),
        covers: Vec::new(),
    });
}

/// If there is more than a channel may still get in this pass, the rest goes into a digest and is kept short.
fn shorten<'o>(of_it: impl Iterator<Item = &'o mut Outgoing>, most: usize) {
    let (brief, mut full): (Vec<_>, Vec<_>) = of_it.partition(|out| out.brief);
    if full.len() + usize::from(!brief.is_empty()) <= most {
        return;
    }
    full.sort_by_key(|out| digest::rank(&out.event));
    for out in full.into_iter().skip(most.saturating_sub(1)) {
        out.brief = true;
        digest::strip(&mut out.event);
    }
}

fn shorten_all(ledger: &mut Ledger, channels: &[Channel]) {
    for channel in channels.iter().filter(|channel| !channel.keeps_open()) {
        let of_it = ledger.outbox.iter_mut().filter(|out| out.channel == channel.name);
        shorten(of_it, digest::MOST);
    }
}

/// The memory of what a message says to have begun.
fn began<'l>(alerts: &'l mut BTreeMap<Cause, Box<AlertMemory>>, out: &Outgoing) -> Option<&'l mut AlertMemory> {
    let memory = alerts.get_mut(&out.event.alert_id)?;
    (out.event.status == Status::Firing).then_some(memory)
}

/// Leases what stands at these places of the outbox. What is sent of it: all, but one digest for a channel of all that is brief.
fn bundle(host: &str, ledger: &mut Ledger, chosen: &[usize], lease: Ms, now: Moment) -> Vec<Outgoing> {
    for index in chosen {
        let out = &mut ledger.outbox[*index];
        out.next_at = now + lease;
        out.tried_at = now;
        out.attempts += 1;
        if let Some(memory) = began(&mut ledger.alerts, out) {
            memory.sent(&out.channel, out.next_at);
        }
    }
    let chosen = chosen.iter().map(|index| &ledger.outbox[*index]);
    let (mut brief, full): (Vec<&Outgoing>, Vec<&Outgoing>) = chosen.partition(|out| out.brief);
    let mut sent: Vec<Outgoing> = full.into_iter().cloned().collect();
    // what is left for some recipients is none of the others' business
    let whom = |out: &Outgoing| (out.channel.clone(), out.only.clone());
    brief.sort_by_key(|out| (whom(out), digest::rank(&out.event)));
    for of_channel in brief.chunk_by(|a, b| whom(a) == whom(b)) {
        let events: Vec<&Event> = of_channel.iter().map(|out| &out.event).collect();
        sent.push(Outgoing {
            event: digest::digest(&events, host, now),
            covers: of_channel.iter().map(|out| out.event.event_id.clone()).collect(),
            ..of_channel[0].clone()
        });
    }
    sent
}

/// One event per alert and reason in a pass: every channel gets the same id.
fn event(ctx: &Ctx, ledger: &mut Ledger, memory: &AlertMemory, why: Why, now: Moment) -> Event {
    let host = &ctx.host.name;
    let alert = &memory.last;
    let words = wording::words(alert, why, memory.since, ctx.here(now));
    let status = if why == Why::Recovered {
        Status::Resolved
    } else {
        Status::Firing
    };
    // a reminder of what no receiver accepted is that event once more: one that took it without a word knows it by its id
    let unheard = why == Why::Reminder && memory.channels.is_empty();
    let same = ledger.outbox.iter().find(|out| {
        out.event.alert_id == alert.id
            && out.event.status == status
            && (unheard || out.event.at == now && out.event.title == words.title)
    });
    let event_id = match same {
        Some(out) => out.event.event_id.clone(),
        None => {
            ledger.events += 1;
            let mut hash = Sha256::new();
            for part in [
                host.as_str(),
                &alert.id.to_string(),
                &now.to_string(),
                &ledger.events.to_string(),
            ] {
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

/// How many messages of one pass each channel was given: `digest::MOST` at most. What is found here leaves at once, what the pass does
/// not change before the rest; of what other hosts say, the rest waits for the last of them and is one digest then. For each that is
/// still to come one message is kept.
#[derive(Debug, Default)]
pub struct Room {
    given: BTreeMap<String, usize>,
    /// The channels that were given what is found here.
    begun: BTreeSet<String>,
    /// Of these alone, and the rest of what is found here follows.
    pub(crate) ahead: Option<BTreeSet<Cause>>,
    /// Other hosts have not answered yet.
    pub(crate) asking: bool,
    /// Receivers may take all the time they are due.
    pub(crate) at_leisure: bool,
}

impl Room {
    /// Of a pass; `at_leisure` where nobody waits for its end.
    pub(crate) fn new(at_leisure: bool) -> Self {
        Self {
            at_leisure,
            ..Self::default()
        }
    }
}

/// Takes what is due now, and leases it: other passes do not touch it meanwhile.
pub fn due(ctx: &Ctx, ledger: &mut Ledger, channels: &[Channel], room: &mut Room, now: Moment) -> Vec<Outgoing> {
    let minute = ctx.minute_of_day(now);
    let mut leased = Vec::new();
    for channel in channels {
        let first = room.ahead.is_some() || room.begun.insert(channel.name.clone());
        let given = room.given.entry(channel.name.clone()).or_default();
        let kept = usize::from(room.asking) + usize::from(room.ahead.is_some());
        let left = (digest::MOST - kept).saturating_sub(*given);
        // a changed configuration is a new chance
        let changed = ledger
            .troubles
            .get(&channel.name)
            .is_some_and(|trouble| trouble.mark != channel.mark());
        if changed {
            ledger.troubles.remove(&channel.name);
        }
        let quiet_now = channel.quiet_hours.is_some_and(|hours| hours.contains(minute));
        let mut chosen = Vec::new();
        for (index, out) in ledger.outbox.iter_mut().enumerate() {
            if out.channel != channel.name {
                continue;
            }
            let loud = out.event.severity == Severity::Critical && out.event.status == Status::Firing;
            if changed {
                out.next_at = now;
            }
            // a clock that was set back must not hold an event for ever
            if quiet_now && !loud || out.next_at > now && out.next_at - now < GIVE_UP {
                continue;
            }
            let ahead = |only: &BTreeSet<Cause>| only.contains(&out.event.alert_id);
            if room.ahead.as_ref().is_none_or(ahead) {
                chosen.push(index);
            }
        }
        // a receiver that closes what it opened by name gets each, and the rest at the next pass
        if !channel.keeps_open() && left > 0 && (first || !room.asking) {
            let all = ledger.outbox.iter_mut().enumerate();
            let of_it = all.filter(|(index, _)| chosen.binary_search(index).is_ok());
            shorten(of_it.map(|(_, out)| out), left);
        } else {
            chosen.retain(|index| !ledger.outbox[*index].brief);
            chosen.sort_by_key(|index| digest::rank(&ledger.outbox[*index].event));
            chosen.truncate(left);
        }
        let lease = if room.at_leisure { LEASE_AT_LEISURE } else { LEASE };
        let sent = bundle(&ctx.host.name, ledger, &chosen, lease, now);
        *given += sent.len();
        leased.extend(sent);
    }
    leased
}

/// Takes back a lease of which nothing was sent.
pub(crate) fn give_back(ledger: &mut Ledger, leased: &[Outgoing], now: Moment) {
    let sent = |out: &Outgoing| {
        let of_it = |sent: &&Outgoing| {
            sent.channel == out.channel
                && (sent.event.event_id == out.event.event_id || sent.covers.contains(&out.event.event_id))
        };
        leased.iter().any(|lease| of_it(&lease))
    };
    for out in ledger.outbox.iter_mut().filter(|out| out.tried_at == now && sent(out)) {
        out.next_at = now;
        out.attempts -= 1;
        if let Some(memory) = began(&mut ledger.alerts, out) {
            memory.known(&out.channel);
        }
    }
}

/// Leases what `which` chooses, whenever it was to be tried again and whatever the hour: a person asked for it.
pub(crate) fn lease(host: &str, ledger: &mut Ledger, which: impl Fn(&Outgoing) -> bool, now: Moment) -> Vec<Outgoing> {
    let outbox = ledger.outbox.iter().enumerate();
    let chosen: Vec<usize> = outbox.filter(|(_, out)| which(out)).map(|(index, _)| index).collect();
    bundle(host, ledger, &chosen, LEASE, now)
}

/// A channel works again: what failed before is tried at the next pass.
pub(crate) fn hurry(ledger: &mut Ledger, channel: &str, now: Moment) {
    for out in &mut ledger.outbox {
        if out.channel == channel && out.last_error.is_some() {
            out.next_at = now;
        }
    }
}

/// A refusal that only a change of the configuration ends is tried again this seldom, in case that was made.
const REFUSED_GAP: Ms = 6 * HOUR;

/// What may have been delivered is sent again this late: a copy more is better than none, and not every minute.
const LOST_GAP: Ms = 2 * HOUR;

/// Writes down how deliveries went. How a digest fared is how each that it covers fared: once it was accepted, its channel was told
/// of all of them; the receipt is the digest's own, and no handle for one of them.
pub fn record(
    ledger: &mut Ledger,
    channels: &[Channel],
    tried: &[(Outgoing, Result<Receipt, SendError>)],
    now: Moment,
) {
    for (sent, result) in tried {
        let digest = !sent.covers.is_empty();
        let ids: BTreeSet<&str> = match digest {
            true => sent.covers.iter().map(String::as_str).collect(),
            false => BTreeSet::from([sent.event.event_id.as_str()]),
        };
        let counted = ledger.counts.deliveries.entry(sent.channel.clone()).or_default();
        let alerts = &mut ledger.alerts;
        let mut went = |of: &Outgoing| {
            if let Some(memory) = began(alerts, of).filter(|_| !matches!(result, Err(SendError::Lost { .. }))) {
                memory.known(&sent.channel);
            }
            // an alert that is over has no memory any more
            if let (Ok(receipt), Some(memory)) = (result, alerts.get_mut(&of.event.alert_id)) {
                let mut told = of.told.clone();
                told.handle = receipt.handle.clone().filter(|_| !digest).or(told.handle);
                memory.channels.insert(&sent.channel, told);
            }
        };
        if !digest {
            counted.delivered += u64::from(result.is_ok());
            went(sent);
            over_of_it(&mut ledger.outbox, sent, result);
        }
        ledger.outbox.retain_mut(|out| {
            if out.channel != sent.channel || !ids.contains(out.event.event_id.as_str()) {
                return true;
            }
            if digest {
                counted.delivered += u64::from(result.is_ok());
                went(out);
            }
            match result {
                Ok(_) => {}
                // the others have it, with the server's words
                Err(SendError::Permanent { .. }) if !out.only.is_empty() => {
                    counted.failed += 1;
                    return false;
                }
                Err(error) => {
                    counted.failed += 1;
                    again(out, error, now);
                }
            }
            match result {
                Ok(receipt) if receipt.deferred.is_empty() => false,
                Ok(receipt) => {
                    defer(out, receipt, now);
                    true
                }
                Err(_) => true,
            }
        });
        if ledger.outbox.is_empty() {
            ledger.outbox = Vec::new();
        }
    }
    for channel in channels {
        // that one of several recipients is not reached is no trouble of the channel's
        let results = tried
            .iter()
            .filter(|(sent, result)| sent.channel == channel.name && (sent.only.is_empty() || result.is_ok()));
        fared(ledger, channel, results.map(|(_, result)| result), now);
    }
}

/// A message was under way when what it says was over: its recovery is owed to whom it reached, and to nobody else.
fn over_of_it(outbox: &mut Vec<Outgoing>, sent: &Outgoing, result: &Result<Receipt, SendError>) {
    if sent.event.status != Status::Firing || matches!(result, Err(SendError::Lost { .. })) {
        return;
    }
    outbox.retain_mut(|out| {
        let over = out.event.status == Status::Resolved && out.event.alert_id == sent.event.alert_id;
        if !over || out.channel != sent.channel || out.unsure == 0 {
            return true;
        }
        out.unsure = if result.is_ok() { 0 } else { out.unsure - 1 };
        result.is_ok() || out.unsure > 0
    });
}

/// What is left of a message that the others have: the same one, for these recipients alone.
fn defer(out: &mut Outgoing, receipt: &Receipt, now: Moment) {
    let later = SendError::Passing {
        why: receipt.detail.clone(),
        retry_after: None,
    };
    again(out, &later, now);
    out.only.clone_from(&receipt.deferred);
}

/// When what failed is tried again, and why it failed.
fn again(out: &mut Outgoing, error: &SendError, now: Moment) {
    let gap = match error {
        SendError::Permanent { .. } => REFUSED_GAP,
        SendError::Lost { .. } => LOST_GAP,
        SendError::Passing { retry_after, .. } => {
            // spread over a tenth, so that many hosts do not come back in step
            let jitter = gap(out.attempts) / 100 * (now.ms().rem_euclid(11));
            (gap(out.attempts) + jitter).max(retry_after.unwrap_or(0)).min(DAY)
        }
    };
    out.next_at = now + gap;
    out.tried_at = now;
    // of a lost answer, nobody knows whether it was heard
    out.last_error = match error {
        SendError::Lost { .. } => None,
        _ => Some(error.why().to_owned()),
    };
}

/// Writes down how a channel fared: what it refused stays in mind, and any success ends passing trouble.
pub(crate) fn fared<'r>(
    ledger: &mut Ledger,
    channel: &Channel,
    results: impl Iterator<Item = &'r Result<Receipt, SendError>>,
    now: Moment,
) {
    let (mut delivered, mut failed) = (false, None);
    for result in results {
        match (result, &failed) {
            (Ok(_), _) => delivered = true,
            (Err(_), Some(SendError::Permanent { .. })) => {}
            (Err(error), _) => failed = Some(error.clone()),
        }
    }
    match failed {
        Some(error) if !delivered || matches!(error, SendError::Permanent { .. }) => {
            let trouble = ledger.troubles.entry(channel.name.clone()).or_insert_with(|| Trouble {
                since: now,
                failures: 0,
                refused: false,
                why: String::new(),
                mark: 0,
            });
            trouble.failures += 1;
            trouble.refused = matches!(error, SendError::Permanent { .. });
            trouble.why = error.why().to_owned();
            trouble.mark = channel.mark();
        }
        _ if delivered => drop(ledger.troubles.remove(&channel.name)),
        _ => {}
    }
}

/// What a person should know about delivery itself: channels that keep failing.
pub(crate) fn failing(ledger: &Ledger) -> Vec<Problem> {
    let lasting = ledger.troubles.iter().filter(|(_, trouble)| trouble.lasting());
    let problem = |(name, trouble): (&String, &Trouble)| Problem {
        kind: if trouble.refused {
            "channel_refused"
        } else {
            "channel_failing"
        },
        path: None,
        message: format!("the channel `{name}` does not get through: {}", trouble.why),
        hint: format!(
            "fix it in the configuration, then run `nolapse channel test {}`",
            wording::operand(name)
        ),
    };
    lasting.map(problem).collect()
}

/// What a person should not forget: that they asked for silence.
pub(crate) fn silenced(ctx: &Ctx, silences: &[Silence], now: Moment) -> Vec<Problem> {
    let active = silences.iter().filter(|silence| silence.active(now));
    let problem = |silence: &Silence| {
        let (what, option) = match &silence.scope {
            Scope::All => ("all alerts are".to_owned(), "--all".to_owned()),
            Scope::Login(id) => (
                format!("alerts of the login `{id}` are"),
                wording::option("--login", id),
            ),
            Scope::Agent(label) => (
                format!("alerts of the agent `{label}` are"),
                wording::option("--agent", label),
            ),
        };
        let until = match silence.until {
            Until::Time(at) => ctx.when(at),
            Until::Recovered => "they have recovered".to_owned(),
        };
        Problem {
            kind: "silenced",
            path: None,
            message: format!("{what} silenced until {until}"),
            hint: format!("to hear them again: `nolapse alert unsilence {option}`"),
        }
    };
    active.map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::host::{Clock, Host};
    use crate::edge::http::Http;
    use crate::notify::testing::{Answer, Server, channels, host};
    use crate::pass::{self, Scope as Whole};
    use std::path::Path;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn ctx(home: &Path, text: &str) -> Ctx {
        let mut config = crate::config::Config::default();
        config.renew.mode = crate::rules::policy::RenewMode::Off;
        config.channels = channels(text).unwrap();
        Ctx {
            host: Host {
                home: home.to_owned(),
                cwd: home.to_owned(),
                ..host(&[])
            },
            clock: Clock::Fixed(NOW),
            config,
            state_dir: home.join("state"),
            http: Http::new(&BTreeMap::new()),
        }
    }

    fn store(home: &Path, agent: &str, text: &str) {
        let dir = home.join(format!(".clawdbot/agents/{agent}/agent"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("auth-profiles.json"), text).unwrap();
    }

    /// Event id, alert id and whether it fires, of what was accepted.
    fn heard(server: &Server, refused: std::ops::Range<usize>) -> Vec<(String, String, bool)> {
        let event = |seen: &crate::notify::testing::Seen| serde_json::from_value::<Event>(seen.json()).unwrap();
        let words = |event: Event| {
            (
                event.event_id,
                event.alert_id.to_string(),
                event.status == Status::Firing,
            )
        };
        let mut seen = server.seen();
        seen.drain(refused);
        seen.iter().map(|seen| words(event(seen))).collect()
    }

    #[tokio::test]
    async fn a_receiver_that_is_down_for_72_hours_loses_nothing_and_hears_each_event_once() {
        const FINE: &str = r#"{"version":1,"profiles":{"k:k":{"type":"api_key","provider":"k","key":"K"}}}"#;
        let home = tempfile::tempdir().unwrap();
        let (phone, mail) = (
            Server::start(vec![Answer::status(200)]).await,
            Server::start(vec![Answer::status(200)]).await,
        );
        let one = |name: &str, server: &Server| {
            let url = server.url("/");
            format!(
                "[[channel]]\ntype = \"webhook\"\nname = \"{name}\"\nurl = \"{}\"\n",
                url.expose()
            )
        };
        let mut ctx = ctx(home.path(), &(one("phone", &phone) + &one("mail", &mail)));
        for agent in ["before", "early", "late", "brief", "fine"] {
            store(home.path(), agent, FINE);
        }
        let (mut waiting, mut refused) = (0, 0..0);
        for minute in (-60..=76 * 60).step_by(15).map(Ms::from) {
            for (at, agent, text) in [
                (-60, "before", "{"),
                (0, "early", "{"),
                (20 * 60, "brief", "{"),
                (30 * 60, "brief", FINE),
                (50 * 60, "before", FINE),
                (60 * 60, "late", "{"),
                (74 * 60, "late", FINE),
            ] {
                if at == minute {
                    store(home.path(), agent, text);
                }
            }
            if minute == 0 {
                refused.start = phone.seen().len();
                phone.now(Answer::status(503));
            } else if minute == 72 * 60 {
                refused.end = phone.seen().len();
                phone.now(Answer::status(200));
            }
            ctx.clock = Clock::Fixed(NOW + minute * MINUTE);
            let report = pass::run(&ctx, Whole::Whole).await;
            let ledger = crate::ledger::load(&ctx.state_dir).ledger;
            waiting = waiting.max(ledger.outbox.len());
            assert!(
                ledger.outbox.len() <= 4,
                "superseded ones are dropped: {:?}",
                ledger.outbox
            );
            assert!(
                report.problems.iter().all(|problem| problem.kind == "channel_failing"),
                "{:?}",
                report.problems
            );
        }
        assert_eq!(waiting, 3, "one event per alert waits");
        let (phone, mail) = (heard(&phone, refused), heard(&mail, 0..0));
        for (heard, wanted) in [
            (&phone, vec![("before", 2), ("early", 1), ("late", 2)]),
            (&mail, vec![("before", 2), ("brief", 2), ("early", 1), ("late", 2)]),
        ] {
            let mut ids: Vec<&String> = heard.iter().map(|(id, ..)| id).collect();
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), heard.len(), "an event came twice");
            for (agent, least) in &wanted {
                let of_it: Vec<bool> = heard
                    .iter()
                    .filter(|(_, alert, _)| *alert == format!("store:clawdbot/{agent}"))
                    .map(|(.., firing)| *firing)
                    .collect();
                assert!(of_it.len() >= *least, "{agent}: {heard:?}");
                assert_eq!(
                    *of_it.last().unwrap(),
                    *agent == "early",
                    "{agent} ends as it is: {of_it:?}"
                );
            }
            let agents: std::collections::BTreeSet<&str> = heard.iter().map(|(_, alert, _)| alert.as_str()).collect();
            let others = agents.iter().filter(|id| id.starts_with("channel:")).count();
            assert_eq!(agents.len() - others, wanted.len(), "{agents:?}");
        }
        assert!(!phone.iter().any(|(_, alert, _)| alert.starts_with("channel:")));
        let told: Vec<bool> = mail
            .into_iter()
            .filter(|(_, alert, _)| alert == "channel:phone")
            .map(|(.., firing)| firing)
            .collect();
        assert_eq!((told.first(), told.last()), (Some(&true), Some(&false)), "{told:?}");
    }

    fn alert(severity: Severity, lapsed: bool, ends: Moment) -> Alert {
        Alert {
            lapsed,
            ends: Some(ends),
            ..Alert::new("login:claude", "login_ends_soon", severity)
        }
    }

    #[test]
    fn nobody_wants_ends_in_three_days_after_ended() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let ends = NOW + 7 * DAY;
        queue(
            &ctx,
            &mut ledger,
            &channels,
            &[alert(Severity::Warning, false, ends)],
            NOW,
        );
        let first = ledger.outbox[0].event.event_id.clone();
        queue(
            &ctx,
            &mut ledger,
            &channels,
            &[alert(Severity::Warning, false, ends)],
            NOW + 4 * DAY,
        );
        assert_eq!(ledger.outbox.len(), 1);
        assert_ne!(ledger.outbox[0].event.event_id, first);
        queue(
            &ctx,
            &mut ledger,
            &channels,
            &[alert(Severity::Critical, true, ends)],
            ends,
        );
        assert_eq!(
            (ledger.outbox.len(), ledger.outbox[0].event.severity),
            (1, Severity::Critical)
        );
        // over before anybody heard: nobody needs to hear of it
        queue(&ctx, &mut ledger, &channels, &[], ends + HOUR);
        assert_eq!(ledger.outbox, []);
    }

    #[test]
    fn what_may_have_been_heard_is_closed() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(
            &ctx,
            &mut ledger,
            &channels,
            &[alert(Severity::Critical, true, NOW)],
            NOW,
        );
        assert_eq!(due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).len(), 1);
        // the process died before it could write down whether it was delivered
        queue(&ctx, &mut ledger, &channels, &[], NOW + HOUR);
        assert_eq!(ledger.outbox[0].event.status, Status::Resolved);
    }

    fn warned(severity: Severity) -> Alert {
        alert(severity, false, NOW + DAY)
    }

    fn of(host: &str, n: usize) -> Alert {
        Alert {
            id: Cause::Token(n.to_string()).on(host),
            ..alert(Severity::Critical, true, NOW)
        }
    }

    #[test]
    fn a_pass_gives_a_channel_twenty_messages_whatever_comes_and_when() {
        let home = tempfile::tempdir().unwrap();
        for (what, each) in [
            ("type = \"log\"", false),
            ("type = \"webhook\"\nurl = \"http://127.0.0.1:9/\"", false),
            ("type = \"command\"\ncommand = [\"true\"]", false),
            ("type = \"pagerduty\"\nrouting_key = \"R\"", true),
            ("type = \"alertmanager\"\nurl = \"http://127.0.0.1:9/\"", true),
        ] {
            let ctx = ctx(home.path(), &format!("[[channel]]\nname = \"c\"\n{what}\n"));
            let channels = ctx.channels();
            let mut ledger = Ledger::default();
            let mut alerts = Vec::new();
            let mut room = Room {
                asking: true,
                ..Room::default()
            };
            let mut covered = 0;
            // what is found here, then what one host after another says, then the last of them
            let mut next = |ledger: &mut Ledger, room: &mut Room, host: &str, more: usize| {
                alerts.extend((0..more).map(|n| of(host, n)));
                queue(&ctx, ledger, &channels, &alerts, NOW);
                let sent = due(&ctx, ledger, &channels, room, NOW);
                covered += sent.iter().map(|out| out.covers.len().max(1)).sum::<usize>();
                let digests = sent.iter().filter(|out| !out.covers.is_empty()).count();
                (sent.len(), digests)
            };
            assert_eq!(next(&mut ledger, &mut room, "here", 5), (5, 0), "{what}");
            assert_eq!(next(&mut ledger, &mut room, "one", 10), (10, 0), "{what}");
            assert_eq!(next(&mut ledger, &mut room, "two", 100), (4, 0), "{what}");
            assert_eq!(next(&mut ledger, &mut room, "three", 3), (0, 0), "{what}");
            room.asking = false;
            assert_eq!(
                next(&mut ledger, &mut room, "four", 2),
                (1, usize::from(!each)),
                "{what}"
            );
            // a flood that is found here waits for no host
            let (mut ledger, mut room) = (
                Ledger::default(),
                Room {
                    asking: true,
                    ..Room::default()
                },
            );
            let local = next(&mut ledger, &mut room, "five", 200);
            assert_eq!(local, (19, usize::from(!each)), "{what}");
            room.asking = false;
            assert_eq!(
                next(&mut ledger, &mut room, "six", 30),
                (1, usize::from(!each)),
                "{what}"
            );
            // what such a receiver was not given goes with the next passes
            let rest = next(&mut ledger, &mut Room::default(), "seven", 0).0;
            assert_eq!(rest, if each { 20 } else { 0 }, "{what}");
            assert_eq!(covered, if each { 60 } else { 470 }, "{what}");
        }
    }

    #[test]
    fn what_leaves_ahead_counts_into_the_twenty() {
        let home = tempfile::tempdir().unwrap();
        for (what, each) in [
            ("type = \"log\"", false),
            ("type = \"command\"\ncommand = [\"true\"]", false),
            ("type = \"pagerduty\"\nrouting_key = \"R\"", true),
        ] {
            for (ahead, here, there, asking) in [
                (3, 4, 5, true),
                (40, 1, 0, false),
                (40, 30, 0, false),
                (40, 30, 30, true),
                (19, 1, 1, true),
                (0, 40, 1, true),
            ] {
                let ctx = ctx(home.path(), &format!("[[channel]]\nname = \"c\"\n{what}\n"));
                let channels = ctx.channels();
                let (mut ledger, mut room) = (Ledger::default(), Room::default());
                room.asking = asking;
                let mut alerts: Vec<Alert> = (0..ahead).map(|n| of("a", n)).collect();
                let mut sent = Vec::new();
                let mut take = |ledger: &mut Ledger, room: &mut Room| {
                    let leased = due(&ctx, ledger, &channels, room, NOW);
                    sent.extend(leased.iter().map(|out| out.covers.len().max(1)));
                    leased.len()
                };
                // what waits from before and is no part of it stays
                let others: Vec<Alert> = (0..2).map(|n| of("z", n)).collect();
                queue_ahead(&ctx, &mut ledger, &channels, &others, NOW);
                queue_ahead(&ctx, &mut ledger, &channels, &alerts, NOW);
                room.ahead = Some(alerts.iter().map(|alert| alert.id.clone()).collect());
                let first = take(&mut ledger, &mut room);
                let most = digest::MOST - 1 - usize::from(asking);
                // what waits may be among those that are told in full
                assert!(
                    (ahead.min(most - 2)..=ahead.min(most)).contains(&first),
                    "{what} {ahead}: {first}"
                );
                room.ahead = None;
                alerts.extend(others);
                alerts.extend((0..here).map(|n| of("b", n)));
                queue(&ctx, &mut ledger, &channels, &alerts, NOW);
                assert!(
                    take(&mut ledger, &mut room) > 0,
                    "{what} {ahead} {here}: for what is found here one is kept"
                );
                if asking {
                    room.asking = false;
                    alerts.extend((0..there).map(|n| of("c", n)));
                    queue(&ctx, &mut ledger, &channels, &alerts, NOW);
                    assert!(
                        take(&mut ledger, &mut room) > 0,
                        "{what} {ahead} {here} {there}: and one for the others"
                    );
                }
                let all = ahead + 2 + here + there;
                assert!(sent.len() <= digest::MOST, "{what}: {sent:?}");
                if !each {
                    assert_eq!(
                        sent.iter().sum::<usize>(),
                        all,
                        "{what}: told in full or in a digest: {sent:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_could_not_be_sent_after_all_is_due_as_before() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let alerts: Vec<Alert> = (0..40).map(|n| of("a", n)).collect();
        queue_ahead(&ctx, &mut ledger, &channels, &alerts, NOW);
        let before = ledger.clone();
        let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
        assert_eq!(leased.len(), 20);
        give_back(&mut ledger, &leased, NOW);
        assert_eq!(due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).len(), 20);
        give_back(&mut ledger, &leased, NOW);
        assert!(ledger.outbox.iter().all(|out| out.attempts == 0 && out.next_at == NOW));
        assert_eq!(ledger.outbox.len(), before.outbox.len());
    }

    #[test]
    fn what_waits_and_what_is_new_are_twenty_together() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let mut alerts: Vec<Alert> = (0..300).map(|n| of("a", n)).collect();
        for more in [0, 1] {
            alerts.extend((0..more).map(|n| of("b", n)));
            queue(&ctx, &mut ledger, &channels, &alerts, NOW);
            // nobody took any of it
            ledger.outbox.iter_mut().for_each(|out| out.next_at = NOW);
            assert_eq!(due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).len(), 20);
        }
    }

    const PHONE: &str = "[[channel]]\ntype = \"command\"\nname = \"phone\"\ncommand = [\"true\"]\n";

    #[test]
    fn what_may_have_been_taken_is_sent_again_late_and_its_end_is_told() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path(), PHONE);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW);
        let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
        let lost = SendError::Lost { why: "silent".into() };
        record(&mut ledger, &channels, &[(leased[0].clone(), Err(lost))], NOW);
        assert_eq!(ledger.outbox[0].next_at - NOW, 2 * HOUR);
        // another success does not hasten it
        hurry(&mut ledger, "phone", NOW);
        assert_eq!(ledger.outbox[0].next_at - NOW, 2 * HOUR);
        queue(&ctx, &mut ledger, &channels, &[], NOW + HOUR);
        assert_eq!(ledger.outbox[0].event.status, Status::Resolved);
    }

    #[test]
    fn an_end_that_nobody_heard_yet_replaces_the_message_of_its_own_channel() {
        let text = PHONE.to_owned() + &PHONE.replace("phone", "desk");
        let ctx = ctx(Path::new("/h"), &text);
        let (channels, mut ledger) = (ctx.channels(), Ledger::default());
        let handle = |out: &Outgoing| format!("of {}", out.channel);
        let fires = [warned(Severity::Critical)];
        for (n, alerts, arrives) in [
            (0, &fires[..], true),
            (1, &[], false),
            (2, &fires, false),
            (3, &[], false),
        ] {
            let now = NOW + n * HOUR;
            queue(&ctx, &mut ledger, &channels, alerts, now);
            let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), now);
            assert_eq!(leased.len(), 2);
            assert!(
                leased.iter().all(|out| n == 0 || out.told.handle == Some(handle(out))),
                "{n}"
            );
            let tried = leased.into_iter().map(|out| {
                let handle = Some(handle(&out));
                let down = SendError::Passing {
                    why: "down".into(),
                    retry_after: None,
                };
                let receipt = Receipt {
                    handle,
                    ..Receipt::of("ok")
                };
                (out, if arrives { Ok(receipt) } else { Err(down) })
            });
            record(&mut ledger, &channels, &tried.collect::<Vec<_>>(), now);
        }
    }

    #[test]
    fn what_is_left_for_one_recipient_is_told_later_and_harms_nobody_else() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path(), PHONE);
        let channels = ctx.channels();
        let over = alert(Severity::Critical, true, NOW);
        let deferred = || Receipt {
            deferred: vec!["full@h".into()],
            ..Receipt::of("accepted; later `full@h`: 452")
        };
        let refused = || SendError::Permanent { why: "550".into() };
        let passing = || SendError::Passing {
            why: "452".into(),
            retry_after: None,
        };
        let lease = |ledger: &mut Ledger, now| due(&ctx, ledger, &channels, &mut Room::default(), now);
        let begin = || {
            let mut ledger = Ledger::default();
            queue(&ctx, &mut ledger, &channels, std::slice::from_ref(&over), NOW);
            let sent = lease(&mut ledger, NOW).remove(0);
            assert_eq!(sent.only, [""; 0]);
            record(&mut ledger, &channels, &[(sent.clone(), Ok(deferred()))], NOW);
            assert!(
                ledger.alerts[&over.id].channels.get("phone").is_some(),
                "the others have heard"
            );
            (ledger, sent)
        };
        let (mut ledger, first) = begin();
        assert_eq!(lease(&mut ledger, NOW), []);
        let again = lease(&mut ledger, NOW + 10 * MINUTE).remove(0);
        assert_eq!((&again.only, &again.event), (&vec!["full@h".to_owned()], &first.event));
        for (result, left, why) in [
            (Ok(Receipt::of("ok")), 0, "taken"),
            (Ok(deferred()), 1, "put off once more"),
            (Err(passing()), 1, "not reached"),
            (Err(refused()), 0, "refused for good: the others have the words"),
        ] {
            let mut ledger = ledger.clone();
            record(&mut ledger, &channels, &[(again.clone(), result)], NOW + 10 * MINUTE);
            assert_eq!((ledger.outbox.len(), ledger.troubles.len()), (left, 0), "{why}");
            assert!(ledger.outbox.iter().all(|out| out.only == ["full@h"]), "{why}");
        }
        // what is new goes to all of them
        let worse = Alert {
            kind: "rejected".into(),
            ..over.clone()
        };
        let far = NOW + 10 * HOUR;
        queue(&ctx, &mut ledger, &channels, &[worse], far);
        let all = lease(&mut ledger, far);
        assert!(all.len() == 1 && all[0].only.is_empty(), "{all:?}");
        // nor is a digest of theirs mixed with one for everybody
        let (mut ledger, _) = begin();
        let more: Vec<Alert> = (0..40).map(|n| of("a", n)).collect();
        queue(&ctx, &mut ledger, &channels, &[vec![over.clone()], more].concat(), NOW);
        ledger
            .outbox
            .iter_mut()
            .for_each(|out| (out.next_at, out.brief) = (NOW, true));
        let whom: Vec<(usize, usize)> = lease(&mut ledger, NOW)
            .iter()
            .map(|out| (out.covers.len(), out.only.len()))
            .collect();
        assert_eq!(whom, [(40, 0), (1, 1)]);
    }

    const TWO: &str = "[[channel]]\ntype = \"log\"\nname = \"a\"\n[[channel]]\ntype = \"log\"\nname = \"b\"\n";

    #[test]
    fn two_events_of_one_moment_have_their_own_ids() {
        let ctx = ctx(Path::new("/h"), TWO);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let ids = |ledger: &Ledger| -> BTreeSet<String> {
            let outbox = ledger.outbox.iter();
            outbox.map(|out| out.event.event_id.clone()).collect()
        };
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW);
        let first = ids(&ledger);
        queue(
            &ctx,
            &mut ledger,
            &channels,
            &[alert(Severity::Critical, true, NOW)],
            NOW,
        );
        let second = ids(&ledger);
        assert_eq!((first.len(), second.len()), (1, 1), "one id for all channels");
        assert_ne!(first, second);
    }

    #[test]
    fn what_goes_into_a_digest_waits_without_its_words_and_of_such_a_channel_alone() {
        let two = "[[channel]]\ntype = \"log\"\n[[channel]]\ntype = \"pagerduty\"\nrouting_key = \"R\"\n";
        let ctx = ctx(Path::new("/h"), two);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let alerts: Vec<Alert> = (0..40).map(|n| of("h", n)).collect();
        queue(&ctx, &mut ledger, &channels, &alerts, NOW);
        let brief = |channel: &str| {
            let of_it = ledger.outbox.iter().filter(|out| out.channel == channel);
            of_it.filter(|out| out.brief && out.event.message.is_empty()).count()
        };
        assert_eq!((brief("log"), brief("pagerduty")), (40 - (digest::MOST - 1), 0));
    }

    #[test]
    fn a_reminder_that_nobody_heard_has_the_id_of_its_own_event_alone() {
        let ctx = ctx(Path::new("/h"), TWO);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[of("h", 1), of("h", 2)], NOW);
        let later = NOW + HOUR;
        for alert in [of("h", 1), of("h", 2)] {
            let mut memory = ledger.alerts[&alert.id].as_ref().clone();
            let outbox = ledger.outbox.iter();
            let first = outbox.rev().find(|out| out.event.alert_id == alert.id).unwrap();
            let (first, told) = (first.event.event_id.clone(), first.told.clone());
            // an end that somebody is still to hear of is another event
            ledger.outbox[0].event.event_id = "over".into();
            ledger.outbox[0].event.status = Status::Resolved;
            for (why, heard, same) in [
                (Why::Reminder, false, true),
                (Why::Worse, false, false),
                (Why::Recovered, false, false),
                (Why::Reminder, true, false),
            ] {
                if heard {
                    memory.channels.insert("a", told.clone());
                }
                let event = event(&ctx, &mut ledger, &memory, why, later);
                assert_eq!(event.event_id == first, same, "{why:?} of {}", alert.id);
            }
        }
    }

    #[test]
    fn a_recipient_who_is_refused_for_good_counts_as_one_that_failed() {
        let ctx = ctx(Path::new("/h"), PHONE);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
        ledger.outbox[0].only = vec!["full@h".into()];
        let sent = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).remove(0);
        let refused = SendError::Permanent { why: "550".into() };
        record(&mut ledger, &channels, &[(sent, Err(refused))], NOW);
        assert_eq!((ledger.outbox.len(), ledger.counts.deliveries["phone"].failed), (0, 1));
    }

    #[test]
    fn only_what_was_leased_for_nothing_is_given_back() {
        let ctx = ctx(Path::new("/h"), TWO);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[of("h", 1), of("h", 2)], NOW);
        let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
        assert_eq!(leased.len(), 4);
        // another pass leased them since
        let whole = ledger.clone();
        give_back(&mut ledger, &leased, NOW + 1);
        assert_eq!(ledger.outbox, whole.outbox);
        give_back(&mut ledger, &leased[..1], NOW);
        let free = |out: &Outgoing| (out.attempts, out.next_at) == (0, NOW);
        for out in &ledger.outbox {
            let given = (&out.channel, &out.event.event_id) == (&leased[0].channel, &leased[0].event.event_id);
            assert_eq!(free(out), given, "{out:?}");
        }
    }

    #[test]
    fn a_channel_that_works_again_hastens_its_own_alone() {
        let ctx = ctx(Path::new("/h"), TWO);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
        for out in &mut ledger.outbox {
            (out.next_at, out.last_error) = (NOW + HOUR, Some("503".into()));
        }
        hurry(&mut ledger, "a", NOW);
        let next = |name: &str| {
            ledger
                .outbox
                .iter()
                .find(|out| out.channel == name)
                .map(|out| out.next_at)
        };
        assert_eq!((next("a"), next("b")), (Some(NOW), Some(NOW + HOUR)));
    }

    #[test]
    fn each_delivery_is_counted_and_a_digest_is_as_many_as_it_covers() {
        let ctx = ctx(Path::new("/h"), TWO);
        let channels = ctx.channels();
        let alerts: Vec<Alert> = (0..40).map(|n| of("h", n)).collect();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &alerts, NOW);
        let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
        let to_a = |result: Result<Receipt, SendError>| -> Vec<_> {
            let of_it = leased.iter().filter(|out| out.channel == "a");
            of_it.map(|out| (out.clone(), result.clone())).collect()
        };
        let counted = |ledger: &Ledger| {
            let count = &ledger.counts.deliveries["a"];
            (count.delivered, count.failed)
        };
        let passing = SendError::Passing {
            why: "503".into(),
            retry_after: None,
        };
        record(&mut ledger, &channels, &to_a(Err(passing)), NOW);
        assert_eq!((counted(&ledger), ledger.outbox.len()), ((0, 40), 80));
        let receipt = Receipt {
            handle: Some("thread".into()),
            ..Receipt::of("ok")
        };
        record(&mut ledger, &channels, &to_a(Ok(receipt)), NOW);
        assert_eq!(counted(&ledger), (40, 40));
        // what the other channel is to get is its own
        assert_eq!(ledger.outbox.iter().filter(|out| out.channel == "b").count(), 40);
        assert_eq!(ledger.outbox.len(), 40);
        // the receipt of a digest is the digest's own
        let told = ledger.alerts.values().filter_map(|memory| memory.channels.get("a"));
        let handles: Vec<bool> = told.map(|told| told.handle.is_some()).collect();
        assert_eq!((handles.len(), handles.iter().filter(|has| **has).count()), (40, 19));
    }

    #[test]
    fn how_a_channel_fared_is_what_it_did_last() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channel = &ctx.channels()[0];
        let passing = || {
            Err(SendError::Passing {
                why: "503".into(),
                retry_after: None,
            })
        };
        let refused = || Err(SendError::Permanent { why: "401".into() });
        let taken = || Ok(Receipt::of("ok"));
        let mut ledger = Ledger::default();
        for (results, failures, is_refused) in [
            (vec![passing(), passing()], Some(1), false),
            (vec![passing()], Some(2), false),
            (vec![], Some(2), false),
            (vec![passing(), taken()], None, false),
            (vec![taken(), passing()], None, false),
            (vec![taken(), refused()], Some(1), true),
            (vec![refused(), passing()], Some(2), true),
            (vec![taken()], None, false),
        ] {
            fared(&mut ledger, channel, results.iter(), NOW);
            let trouble = ledger.troubles.get("log");
            assert_eq!(
                (
                    trouble.map(|trouble| trouble.failures),
                    trouble.is_some_and(|trouble| trouble.refused)
                ),
                (failures, is_refused),
                "{results:?}"
            );
        }
    }

    #[test]
    fn retries_are_spread_over_a_tenth() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
        let mut out = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).remove(0);
        let error = SendError::Passing {
            why: "503".into(),
            retry_after: None,
        };
        let least = gap(out.attempts);
        let mut gaps: Vec<Ms> = (0..11)
            .map(|n| {
                again(&mut out, &error, NOW + n);
                out.next_at - (NOW + n)
            })
            .collect();
        gaps.sort_unstable();
        gaps.dedup();
        assert_eq!(gaps.len(), 11, "{gaps:?}");
        assert_eq!((gaps[0], gaps[10]), (least, least + least / 10));
    }

    #[test]
    fn a_week_is_the_end_of_an_event_and_of_a_wait() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let begin = || {
            let mut ledger = Ledger::default();
            queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
            ledger
        };
        for (wait, taken) in [(0, 1), (1, 0), (GIVE_UP - 1, 0), (GIVE_UP, 1)] {
            let mut ledger = begin();
            // ahead by more than any wait: the clock was set back
            ledger.outbox[0].next_at = NOW + wait;
            assert_eq!(
                due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).len(),
                taken,
                "{wait}"
            );
        }
        for (age, gone) in [(GIVE_UP - 1, 0), (GIVE_UP, 1)] {
            let mut ledger = begin();
            assert_eq!(given_up(&ledger, NOW + age).len(), gone, "{age}");
            // nothing new is said of it
            ledger.alerts.clear();
            queue(&ctx, &mut ledger, &channels, &[], NOW + age);
            assert_eq!(ledger.outbox.len(), 1 - gone, "{age}");
        }
    }

    #[test]
    fn a_channel_that_had_its_twenty_gets_nothing_more_in_that_pass() {
        let ctx = ctx(Path::new("/h"), "[[channel]]\ntype = \"log\"\n");
        let channels = ctx.channels();
        let (mut ledger, mut room) = (Ledger::default(), Room::default());
        let mut alerts: Vec<Alert> = (0..25).map(|n| of("a", n)).collect();
        for wanted in [20, 0] {
            queue(&ctx, &mut ledger, &channels, &alerts, NOW);
            assert_eq!(due(&ctx, &mut ledger, &channels, &mut room, NOW).len(), wanted);
            alerts.extend((0..5).map(|n| of("b", n)));
        }
    }

    #[test]
    fn an_event_keeps_its_id_until_a_receiver_accepted_it() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path(), PHONE);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        let over = Alert {
            lapsed: true,
            ends: Some(NOW - HOUR),
            ..warned(Severity::Critical)
        };
        queue(&ctx, &mut ledger, &channels, std::slice::from_ref(&over), NOW);
        let first = ledger.outbox[0].event.event_id.clone();
        let mut now = NOW;
        let mut remind = |ledger: &mut Ledger| {
            for _ in 0..24 * 7 {
                now = now + HOUR;
                queue(&ctx, ledger, &channels, std::slice::from_ref(&over), now);
                let last = ledger.outbox.first().map(|out| out.event.clone());
                if let Some(event) = last.filter(|event| event.at == now) {
                    return event;
                }
            }
            panic!("no reminder in a week")
        };
        let again = remind(&mut ledger);
        assert_eq!(
            (&again.event_id, again.title.starts_with("Still")),
            (&first, true),
            "{again:?}"
        );
        let sent = ledger.outbox[0].clone();
        let receipt = Receipt::of("ok");
        record(&mut ledger, &channels, &[(sent, Ok(receipt))], again.at);
        assert_ne!(remind(&mut ledger).event_id, first);
    }

    #[test]
    fn a_receiver_is_not_asked_before_it_wants_to_be() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path(), PHONE);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW);
        let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
        let wants = |retry_after| {
            let error = SendError::Passing {
                why: "later".into(),
                retry_after,
            };
            let mut ledger = ledger.clone();
            record(&mut ledger, &channels, &[(leased[0].clone(), Err(error))], NOW);
            ledger.outbox[0].next_at - NOW
        };
        assert!(wants(None) < 3 * MINUTE);
        assert_eq!(wants(Some(2 * HOUR)), 2 * HOUR);
        // what it asks for is bounded, and never hastens a retry
        assert_eq!(wants(Some(90 * DAY)), DAY);
        assert!(wants(Some(1)) >= MINUTE);
    }

    #[test]
    fn what_was_queued_before_a_silence_is_not_sent_and_an_outgrown_ack_stays_gone() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path(), PHONE);
        let channels = ctx.channels();
        let mut ledger = Ledger::default();
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW);
        assert_eq!(ledger.outbox.len(), 1);
        ledger.silences.push(Silence {
            scope: Scope::All,
            until: Until::Time(NOW + HOUR),
            since: NOW,
        });
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW + 1);
        assert!(ledger.outbox.is_empty(), "{:?}", ledger.outbox);
        ledger.silences.clear();

        let ack = |ledger: &Ledger| ledger.alerts[&"login:claude".into()].ack.is_some();
        let memory = ledger.alerts.get_mut(&"login:claude".into()).unwrap();
        memory.ack = Some(alert::Ack::of(&warned(Severity::Warning), NOW));
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW + 2);
        assert!(ack(&ledger) && ledger.outbox.is_empty());
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Critical)], NOW + 3);
        assert!(!ack(&ledger) && ledger.outbox.len() == 1);
        queue(&ctx, &mut ledger, &channels, &[warned(Severity::Warning)], NOW + 4);
        assert!(!ack(&ledger), "milder again, and still not what was acknowledged");
    }

    #[test]
    fn in_quiet_hours_only_what_is_critical_and_fires_leaves() {
        for (hours, severity, status, leaves) in [
            ("00:00-23:59", Severity::Critical, Status::Firing, true),
            ("00:00-23:59", Severity::Critical, Status::Resolved, false),
            ("00:00-23:59", Severity::Warning, Status::Firing, false),
            ("00:00-23:59", Severity::Warning, Status::Resolved, false),
            ("23:58-23:59", Severity::Warning, Status::Resolved, true),
        ] {
            let text = format!("[[channel]]\ntype = \"log\"\nquiet_hours = \"{hours}\"\n");
            let ctx = ctx(Path::new("/h"), &text);
            let channels = ctx.channels();
            let mut ledger = Ledger::default();
            queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
            let event = &mut ledger.outbox[0].event;
            (event.severity, event.status) = (severity, status);
            let leased = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW);
            assert_eq!(!leased.is_empty(), leaves, "{hours} {severity:?} {status:?}");
        }
    }

    #[test]
    fn a_message_that_fails_is_trouble_of_its_channel_and_one_for_a_few_of_its_recipients_is_not() {
        let ctx = ctx(Path::new("/h"), PHONE);
        let channels = ctx.channels();
        let passing = || SendError::Passing {
            why: "452".into(),
            retry_after: None,
        };
        for (only, before, result, after) in [
            (false, false, Err(passing()), true),
            (false, true, Ok(Receipt::of("ok")), false),
            (true, false, Err(passing()), false),
            (true, true, Ok(Receipt::of("ok")), false),
        ] {
            let mut ledger = Ledger::default();
            queue(&ctx, &mut ledger, &channels, &[of("h", 1)], NOW);
            if before {
                fared(&mut ledger, &channels[0], [Err(passing())].iter(), NOW);
            }
            if only {
                ledger.outbox[0].only = vec!["full@h".into()];
            }
            let sent = due(&ctx, &mut ledger, &channels, &mut Room::default(), NOW).remove(0);
            record(&mut ledger, &channels, &[(sent, result)], NOW);
            assert_eq!(!ledger.troubles.is_empty(), after, "{only} {before}");
        }
    }

    #[test]
    fn what_keeps_failing_or_is_silenced_is_a_problem() {
        let ctx = ctx(Path::new("/h"), PHONE);
        let mut ledger = Ledger::default();
        for (name, failures, refused) in [("once", 1, false), ("-often", 99, false), ("refused", 1, true)] {
            let trouble = Trouble {
                since: NOW,
                failures,
                refused,
                why: "down".into(),
                mark: 0,
            };
            ledger.troubles.insert(name.into(), trouble);
        }
        let told: Vec<_> = failing(&ledger)
            .into_iter()
            .map(|problem| (problem.kind, problem.hint))
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        for (name, kind) in [("-- -often", "channel_failing"), ("refused", "channel_refused")] {
            let of_it = |(is, hint): &(&str, String)| *is == kind && hint.contains(&format!("channel test {name}`"));
            assert!(told.iter().any(of_it), "{told:?}");
        }
        for (scope, until, option) in [
            (Scope::All, Until::Recovered, Some("--all")),
            (Scope::All, Until::Time(NOW), None),
            (
                Scope::Login("claude".into()),
                Until::Time(NOW + 1),
                Some("--login claude"),
            ),
            (
                Scope::Agent("clawdbot/main".into()),
                Until::Recovered,
                Some("--agent clawdbot/main"),
            ),
        ] {
            let silence = Silence {
                scope,
                until,
                since: NOW,
            };
            let told = silenced(&ctx, std::slice::from_ref(&silence), NOW);
            assert_eq!(told.len(), usize::from(option.is_some()), "{silence:?}");
            if let (Some(problem), Some(option)) = (told.first(), option) {
                let hint = format!("to hear them again: `nolapse alert unsilence {option}`");
                assert_eq!((problem.kind, &problem.hint), ("silenced", &hint));
            }
        }
    }
}
