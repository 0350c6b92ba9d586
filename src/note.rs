//! What a pass did, as lines of the history and as counts.

use crate::cause::Cause;
use crate::notify::{Receipt, SendError};
use crate::outcome::{Done, Outcome, Seen, What};
use crate::rules::alert::{Alert, Why};
use crate::rules::memory::{AlertMemory, Counts, Entry, Ledger, Outgoing};
use crate::rules::view::View;
use crate::rules::wording::{self, Here};
use crate::types::Moment;
use std::collections::{BTreeMap, BTreeSet};

/// The most agents that one entry names.
const AGENTS: usize = 12;

/// What was done to stores and logins: what went well, and apart from it what did not and was not noted before. Only the
/// first may be written where the ledger could not be saved: the other would be said at every pass.
pub(crate) fn of_done(
    ledger: &mut Ledger,
    view: &View,
    done: &[Done],
    renewals: &[Seen],
    now: Moment,
) -> (Vec<Entry>, Vec<Entry>) {
    let mut well: Vec<Entry> = Vec::new();
    let mut ill = Vec::new();
    let mut failing = BTreeSet::new();
    for one in done {
        let entry = |what: &'static str, text: String| Entry {
            at: now,
            what: what.into(),
            whom: one.whom.clone(),
            text,
            ..Entry::default()
        };
        let login = || {
            let mut logins = view.logins.iter().map(|login| login.id());
            logins.find(|id| *id == one.whom).map(str::to_owned)
        };
        match &one.outcome {
            Outcome::Written(ids) => {
                let fresh = Entry {
                    login: login_of(view, &one.whom, ids),
                    agents: vec![one.whom.clone()],
                    ..entry("sync", format!("brought up to date: {}", ids.join(", ")))
                };
                // a thousand agents of one login are one line
                let like = |old: &&mut Entry| old.what == "sync" && old.login == fresh.login && old.text == fresh.text;
                match well.iter_mut().find(like) {
                    Some(old) if old.agents.len() < AGENTS => old.agents.extend(fresh.agents),
                    Some(old) => old.more += 1,
                    None => well.push(fresh),
                }
            }
            Outcome::Healed(from) => well.push(Entry {
                login: login(),
                agents: vec![from.clone()],
                ..entry("heal", format!("healed from the newer copy of {from}"))
            }),
            Outcome::Renewed(how) => {
                ledger.stuck.remove(&format!("not_renewed {}", one.whom));
                let until = renewals.iter().find_map(|seen| match &seen.what {
                    What::Renewed { expires, .. } if seen.whom == one.whom => Some(*expires),
                    _ => None,
                });
                well.push(Entry {
                    login: login(),
                    until,
                    ..entry("renewed", format!("renewed {how}"))
                });
            }
            Outcome::Failed(problem) | Outcome::NotRenewed(problem) => {
                let failed = matches!(one.outcome, Outcome::Failed(_));
                let what = if failed { "failed" } else { "not_renewed" };
                let key = format!("{what} {}", one.whom);
                let why = format!("{}: {}", problem.kind, problem.message);
                if ledger.stuck.get(&key) != Some(&why) {
                    ledger.stuck.insert(key.clone(), why);
                    ill.push(Entry {
                        login: login(),
                        kind: Some(problem.kind.into()),
                        ..entry(what, problem.message.clone())
                    });
                }
                failing.insert(key);
            }
            Outcome::WouldWrite(_) | Outcome::WouldHeal(_) | Outcome::WouldRenew(_) => {}
        }
    }
    forget_stuck(ledger, &failing);
    (well, ill)
}

/// A renewal is tried now and then, everything else at every pass.
fn forget_stuck(ledger: &mut Ledger, failing: &BTreeSet<String>) {
    let renewing = &ledger.renewals;
    ledger.stuck.retain(|key, _| {
        let waits = key
            .strip_prefix("not_renewed ")
            .is_some_and(|whom| renewing.contains_key(whom));
        waits || failing.contains(key)
    });
}

/// The login that these profiles of an agent hang on.
fn login_of(view: &View, label: &str, ids: &[String]) -> Option<String> {
    let agent = view.agents.iter().find(|agent| agent.label() == label)?;
    let mut profiles = agent.profiles.iter().filter(|one| ids.contains(&one.profile.id));
    let login = profiles.find_map(|profile| profile.login)?;
    Some(view.logins[login].id().to_owned())
}

/// What becomes of what is remembered that does not fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It is over.
    Over,
    /// It was not asked for.
    Unknown,
}

/// What becomes of alerts, of those that are remembered and those that fire now: begun, lapsed, eased, over. Asked before they are
/// remembered in their turn.
pub(crate) fn of_alerts(
    before: &BTreeMap<Cause, Box<AlertMemory>>,
    firing: &[Alert],
    rest: Rest,
    here: Here<'_>,
) -> Vec<Entry> {
    let now = here.now;
    let entry = |what: &'static str, alert: &Alert, since: Moment, why: Why| Entry {
        at: now,
        what: what.into(),
        whom: alert.id.to_string(),
        text: wording::words(alert, why, since, here).title,
        login: alert.login.as_ref().map(|login| login.id.clone()),
        alert: Some(alert.id.to_string()),
        kind: Some(alert.kind.clone()),
        severity: Some(alert.severity),
        ..named(alert)
    };
    let mut firing: Vec<&Alert> = firing.iter().collect();
    firing.sort_unstable_by_key(|alert| &alert.id);
    // the alert, since when it is remembered, and since when that is so which is noted
    type Changed<'a> = (&'a Alert, Moment, Option<Moment>);
    let mut became: BTreeMap<&'static str, Vec<Changed<'_>>> = BTreeMap::new();
    let fires = |id: &Cause| firing.binary_search_by_key(&id, |alert| &alert.id).is_ok();
    for (_, memory) in before.iter().filter(|(id, _)| rest == Rest::Over && !fires(id)) {
        let what = match memory.last.lapsed {
            true => "recovered",
            false => "averted",
        };
        let of_it = became.entry(what).or_default();
        of_it.push((&memory.last, memory.since, Some(memory.begun(now))));
    }
    for alert in &firing {
        let memory = before.get(&alert.id);
        let what = match (memory.map(|memory| memory.last.lapsed), alert.lapsed) {
            (None | Some(false), true) => "lapsed",
            (None, false) => "ahead",
            (Some(true), false) => "eased",
            _ => continue,
        };
        let first_seen = memory.map_or(now, |memory| memory.since);
        let since = (what == "lapsed")
            .then(|| alert.begun(first_seen, now))
            .filter(|at| *at < now);
        became.entry(what).or_default().push((alert, first_seen, since));
    }
    let mut entries = Vec::new();
    // what is over before what began
    for what in ["recovered", "averted", "ahead", "lapsed", "eased"] {
        let all = became.remove(what).unwrap_or_default();
        let why = match what {
            "recovered" | "averted" => Why::Recovered,
            _ => Why::First,
        };
        let noted = all.iter().take(NOTED);
        entries.extend(noted.map(|(alert, first_seen, since)| Entry {
            since: *since,
            ..entry(what, alert, *first_seen, why)
        }));
        if all.len() > NOTED {
            entries.push(Entry {
                at: now,
                what: what.into(),
                whom: here.host.to_owned(),
                text: format!("{} more alerts {what}", all.len() - NOTED),
                severity: all[NOTED..].iter().map(|(alert, ..)| alert.severity).max(),
                ..Entry::default()
            });
        }
    }
    entries
}

/// How many alerts that fared alike in one pass have a line each: a flood must not push out all that happened before it.
const NOTED: usize = 100;

/// Who hangs on an alert, by label as far as it is known here.
fn named(alert: &Alert) -> Entry {
    let mut agents: Vec<String> = alert.affected.iter().map(crate::types::Affected::label).collect();
    agents.sort();
    agents.dedup();
    let more = agents.len().saturating_sub(AGENTS);
    agents.truncate(AGENTS);
    Entry {
        agents,
        more,
        ..Entry::default()
    }
}

/// How deliveries went. A failure that is the same as at the last try is not said again.
pub(crate) fn of_deliveries(told: &[(Outgoing, Result<Receipt, SendError>)], now: Moment) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (out, result) in told {
        let (what, detail) = match result {
            Ok(receipt) => ("delivered", receipt.detail.as_str()),
            Err(error) if out.last_error.as_deref() == Some(error.why()) => continue,
            Err(error) => ("not_delivered", error.why()),
        };
        entries.push(of_outgoing(what, out, Some(detail.to_owned()), now));
    }
    entries
}

/// Something about an event on its way to a channel.
pub(crate) fn of_outgoing(what: &'static str, out: &Outgoing, detail: Option<String>, now: Moment) -> Entry {
    Entry {
        at: now,
        what: what.into(),
        whom: out.channel.clone(),
        text: out.event.title.clone(),
        login: out.event.login.as_ref().map(|login| login.id.clone()),
        channel: Some(out.channel.clone()),
        alert: Some(out.event.alert_id.to_string()),
        event: Some(out.event.event_id.clone()),
        severity: Some(out.event.severity),
        since: (out.queued_at < now).then_some(out.queued_at),
        detail,
        ..Entry::default()
    }
}

/// Counts what was done.
pub(crate) fn count(counts: &mut Counts, done: &[Done]) {
    for one in done {
        match one.outcome {
            Outcome::Written(_) => counts.stores_written += 1,
            Outcome::Healed(_) => counts.logins_healed += 1,
            Outcome::Failed(_) => counts.writes_failed += 1,
            Outcome::Renewed(_) => counts.renewed += 1,
            Outcome::NotRenewed(_) => counts.not_renewed += 1,
            Outcome::WouldWrite(_) | Outcome::WouldHeal(_) | Outcome::WouldRenew(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MINUTE, Problem, Severity};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn empty_view() -> View {
        View {
            now: NOW,
            logins: Vec::new(),
            agents: Vec::new(),
            state_dirs: Vec::new(),
            problems: Vec::new(),
            looked_at: Vec::new(),
        }
    }

    #[test]
    fn what_fails_at_every_pass_is_noted_when_it_begins_and_when_it_changes() {
        let mut ledger = Ledger::default();
        let view = empty_view();
        let failed = |message: &str| Done {
            whom: "clawdbot/main".into(),
            path: "/x".into(),
            outcome: Outcome::Failed(Problem::at("store_not_written", "/x", message, "h")),
        };
        let mut noted = |done: &[Done]| {
            let (well, ill) = of_done(&mut ledger, &view, done, &[], NOW);
            assert_eq!(well, []);
            ill.len()
        };
        assert_eq!(noted(&[failed("read-only")]), 1);
        assert_eq!(noted(&[failed("read-only")]), 0);
        assert_eq!(noted(&[failed("no space")]), 1);
        assert_eq!(noted(&[]), 0);
        assert_eq!(noted(&[failed("no space")]), 1);
    }

    #[test]
    fn a_thousand_stores_of_one_login_are_one_line() {
        let done: Vec<Done> = (0..1000)
            .map(|n| Done {
                whom: format!("clawdbot/a{n}"),
                path: "/x".into(),
                outcome: Outcome::Written(vec!["anthropic:claude-cli".into()]),
            })
            .collect();
        let (well, ill) = of_done(&mut Ledger::default(), &empty_view(), &done, &[], NOW);
        assert_eq!((well.len(), ill.len()), (1, 0));
        assert_eq!((well[0].agents.len(), well[0].more), (AGENTS, 1000 - AGENTS));
    }

    const HERE: Here<'static> = Here {
        host: "gw",
        now: NOW,
        when: |_| String::new(),
    };

    fn alert(lapsed: bool, ends: Moment) -> AlertMemory {
        AlertMemory {
            since: NOW - 10 * MINUTE,
            last: Alert {
                lapsed,
                ends: Some(ends),
                ..Alert::new("login:claude", "login_ended", Severity::Critical)
            },
            channels: Default::default(),
            ack: None,
        }
    }

    #[test]
    fn an_alert_begins_lapses_eases_and_is_over() {
        let one = |memory: AlertMemory| BTreeMap::from([(memory.last.id.clone(), Box::new(memory))]);
        let none = BTreeMap::new();
        let (soon, gone) = (one(alert(false, NOW + 1)), one(alert(true, NOW - MINUTE)));
        for (before, after, what, since) in [
            (&none, &soon, Some("ahead"), None),
            (&none, &gone, Some("lapsed"), Some(NOW - MINUTE)),
            (&soon, &gone, Some("lapsed"), Some(NOW - MINUTE)),
            (&gone, &gone, None, None),
            (&soon, &soon, None, None),
            (&gone, &soon, Some("eased"), None),
            (&gone, &none, Some("recovered"), Some(NOW - MINUTE)),
            (&soon, &none, Some("averted"), Some(NOW - 10 * MINUTE)),
        ] {
            let alerts: Vec<Alert> = after.values().map(|memory| memory.last.clone()).collect();
            let got = of_alerts(before, &alerts, Rest::Over, HERE);
            let got = got.first().map(|entry| (entry.what.as_ref(), entry.since));
            assert_eq!(got, what.map(|what| (what, since)));
        }
    }

    #[test]
    fn a_flood_leaves_room_for_what_happened_before_it() {
        let one = |n: i64| {
            let mut memory = alert(true, NOW - MINUTE);
            memory.last.id = Cause::Token(n.to_string());
            (memory.last.id.clone(), Box::new(memory))
        };
        let (none, all): (BTreeMap<_, _>, BTreeMap<_, _>) = (BTreeMap::new(), (0..5000).map(one).collect());
        for (before, after, words) in [
            (&none, &all, "4900 more alerts lapsed"),
            (&all, &none, "4900 more alerts recovered"),
        ] {
            let alerts: Vec<Alert> = after.values().map(|memory| memory.last.clone()).collect();
            let got = of_alerts(before, &alerts, Rest::Over, HERE);
            assert_eq!((got.len(), got[100].text.as_str()), (101, words));
        }
    }
}
