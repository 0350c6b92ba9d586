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

    #[test]
    fn each_thing_that_was_done_is_a_line_with_all_that_is_known_of_it() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let login = r#"{"claudeAiOauth":{"accessToken":"A","refreshToken":"R","expiresAt":1,"scopes":["a"]}}"#;
        std::fs::write(home.path().join(".claude/.credentials.json"), login).unwrap();
        let copy = r#"{"type":"oauth","provider":"anthropic","access":"A","refresh":"R","expires":1}"#;
        let store = format!(
            r#"{{"profiles":{{"k:k":{{"type":"api_key","provider":"k","key":"K"}},"anthropic:claude-cli":{copy}}}}}"#
        );
        std::fs::write(dir.join("auth-profiles.json"), store).unwrap();
        let ctx = crate::act::tests::ctx(home.path());
        let mut ledger = Ledger::default();
        crate::look::remember(&crate::look::look(&ctx, &ledger), &mut ledger);
        let view = crate::look::look(&ctx, &ledger);
        let (main, of_claude) = ("clawdbot/main", Some("claude".to_owned()));
        let done = |whom: &str, outcome| Done {
            whom: whom.into(),
            path: "/x".into(),
            outcome,
        };
        let written = |ids: &[&str]| Outcome::Written(ids.iter().map(|id| (*id).to_owned()).collect());
        let problem = || Problem::at("kind", "/x", "message", "h");
        let seen = |whom: &str, expires| Seen {
            whom: whom.into(),
            path: "/x".into(),
            what: What::Renewed {
                expires,
                by: "directly",
            },
        };
        let entry = |what: &'static str, whom: &str, text: &str, login: &Option<String>| Entry {
            at: NOW,
            what: what.into(),
            whom: whom.into(),
            text: text.into(),
            login: login.clone(),
            ..Entry::default()
        };
        let with = |entry: Entry, agents: &[&str]| Entry {
            agents: agents.iter().map(|agent| (*agent).to_owned()).collect(),
            ..entry
        };
        let synced = "brought up to date: anthropic:claude-cli";
        for (outcomes, well, ill) in [
            (
                vec![done(main, written(&["anthropic:claude-cli"]))],
                vec![with(entry("sync", main, synced, &of_claude), &[main])],
                vec![],
            ),
            (
                vec![done(main, written(&["k:k"]))],
                vec![with(entry("sync", main, "brought up to date: k:k", &None), &[main])],
                vec![],
            ),
            // what differs in its login or its profiles is a line of its own
            (
                vec![
                    done(main, written(&["anthropic:claude-cli"])),
                    done("clawdbot/x", written(&["anthropic:claude-cli"])),
                    done("clawdbot/y", written(&["k:k"])),
                ],
                vec![
                    with(entry("sync", main, synced, &of_claude), &[main]),
                    with(entry("sync", "clawdbot/x", synced, &None), &["clawdbot/x"]),
                    with(
                        entry("sync", "clawdbot/y", "brought up to date: k:k", &None),
                        &["clawdbot/y"],
                    ),
                ],
                vec![],
            ),
            (
                vec![done("claude", Outcome::Healed(main.into()))],
                vec![with(
                    entry(
                        "heal",
                        "claude",
                        "healed from the newer copy of clawdbot/main",
                        &of_claude,
                    ),
                    &[main],
                )],
                vec![],
            ),
            (
                vec![done("claude", Outcome::Renewed("directly".into()))],
                vec![Entry {
                    until: Some(NOW + 2),
                    ..entry("renewed", "claude", "renewed directly", &of_claude)
                }],
                vec![],
            ),
            (
                vec![done("clawdbot/main#p", Outcome::Renewed("directly".into()))],
                vec![entry("renewed", "clawdbot/main#p", "renewed directly", &None)],
                vec![],
            ),
            (
                vec![
                    done("claude", Outcome::Failed(problem())),
                    done("claude", Outcome::NotRenewed(problem())),
                ],
                vec![],
                ["failed", "not_renewed"]
                    .map(|what| Entry {
                        kind: Some("kind".into()),
                        ..entry(what, "claude", "message", &of_claude)
                    })
                    .into(),
            ),
            (vec![done("claude", Outcome::WouldRenew(String::new()))], vec![], vec![]),
        ] {
            let renewals = [seen("other", NOW + 1), seen("claude", NOW + 2)];
            assert_eq!(
                of_done(&mut Ledger::default(), &view, &outcomes, &renewals, NOW),
                (well, ill)
            );
        }
        let mut counts = Counts::default();
        for (outcome, times) in [
            (written(&["k:k"]), 1),
            (Outcome::Healed(String::new()), 2),
            (Outcome::Failed(problem()), 3),
            (Outcome::Renewed(String::new()), 4),
            (Outcome::NotRenewed(problem()), 5),
            (Outcome::WouldWrite(String::new()), 6),
        ] {
            count(&mut counts, &vec![done(main, outcome); times]);
        }
        let counted = [
            counts.stores_written,
            counts.logins_healed,
            counts.writes_failed,
            counts.renewed,
            counts.not_renewed,
        ];
        assert_eq!(counted, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_delivery_is_a_line_unless_it_failed_as_before() {
        let event = crate::notify::testing::event();
        let told = alert(true, NOW).last;
        let out = |queued_at, last_error: Option<&str>| Outgoing {
            channel: "phone".into(),
            event: event.clone(),
            told: crate::rules::alert::told(&told, None, Why::First, &[], NOW),
            queued_at,
            attempts: 1,
            tried_at: NOW,
            next_at: NOW,
            last_error: last_error.map(str::to_owned),
            unsure: 0,
            brief: false,
            only: Vec::new(),
            covers: Vec::new(),
        };
        let entry = |what: &'static str, since, detail: &str| Entry {
            at: NOW,
            what: what.into(),
            whom: "phone".into(),
            text: event.title.clone(),
            login: Some("claude".into()),
            channel: Some("phone".into()),
            alert: Some("login:claude".into()),
            event: Some(event.event_id.clone()),
            severity: Some(Severity::Critical),
            since,
            detail: Some(detail.into()),
            ..Entry::default()
        };
        let refused = || Err(SendError::Permanent { why: "401".into() });
        for (out, result, wanted) in [
            (
                out(NOW, None),
                Ok(Receipt::of("200")),
                Some(entry("delivered", None, "200")),
            ),
            (
                out(NOW - 1, Some("401")),
                Ok(Receipt::of("200")),
                Some(entry("delivered", Some(NOW - 1), "200")),
            ),
            (out(NOW + 1, None), refused(), Some(entry("not_delivered", None, "401"))),
            (
                out(NOW, Some("503")),
                refused(),
                Some(entry("not_delivered", None, "401")),
            ),
            (out(NOW, Some("401")), refused(), None),
        ] {
            assert_eq!(of_deliveries(&[(out, result)], NOW), Vec::from_iter(wanted));
        }
    }

    #[test]
    fn an_alert_is_noted_with_all_that_hangs_on_it() {
        let event = crate::notify::testing::event();
        let mut memory = alert(true, NOW - MINUTE);
        memory.last.login.clone_from(&event.login);
        let affected = |n: usize| crate::types::Affected {
            agent: format!("a{n:02}"),
            ..event.affected[0].clone()
        };
        for (agents, named, more) in [(0, 0, 0), (AGENTS, AGENTS, 0), (AGENTS + 2, AGENTS, 2)] {
            // twice over, as with two profiles each
            memory.last.affected = (0..2 * agents).map(|n| affected(n % agents)).collect();
            let entry = |what: &'static str, title: &str| Entry {
                at: NOW,
                what: what.into(),
                whom: "login:claude".into(),
                text: title.into(),
                login: Some("claude".into()),
                alert: Some("login:claude".into()),
                kind: Some("login_ended".into()),
                severity: Some(Severity::Critical),
                since: Some(NOW - MINUTE),
                agents: (0..named).map(|n| affected(n).label()).collect(),
                more,
                ..Entry::default()
            };
            let (none, one) = (
                BTreeMap::new(),
                BTreeMap::from([(memory.last.id.clone(), Box::new(memory.clone()))]),
            );
            let alerts = std::slice::from_ref(&memory.last);
            let begun = of_alerts(&none, alerts, Rest::Over, HERE);
            assert_eq!(begun, [entry("lapsed", "Claude login `claude` has ended on gw")]);
            let over = of_alerts(&one, &[], Rest::Over, HERE);
            assert_eq!(over, [entry("recovered", "Claude login `claude` on gw is fine again")]);
            assert_eq!(of_alerts(&one, &[], Rest::Unknown, HERE), []);
        }
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
            unsure: Default::default(),
            ack: None,
        }
    }

    #[test]
    fn an_alert_begins_lapses_eases_and_is_over() {
        let one = |memory: AlertMemory| BTreeMap::from([(memory.last.id.clone(), Box::new(memory))]);
        let none = BTreeMap::new();
        let (soon, gone) = (one(alert(false, NOW + 1)), one(alert(true, NOW - MINUTE)));
        let now = one(alert(true, NOW));
        for (before, after, what, since) in [
            (&none, &soon, Some("ahead"), None),
            (&none, &gone, Some("lapsed"), Some(NOW - MINUTE)),
            (&soon, &gone, Some("lapsed"), Some(NOW - MINUTE)),
            (&none, &now, Some("lapsed"), None),
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
            let rest = &got[100];
            assert_eq!((rest.at, &rest.what, rest.whom.as_str()), (NOW, &got[0].what, "gw"));
            assert_eq!(rest.severity, Some(Severity::Critical));
        }
        let few: Vec<Alert> = all.values().take(NOTED).map(|memory| memory.last.clone()).collect();
        assert_eq!(of_alerts(&none, &few, Rest::Over, HERE).len(), NOTED);
    }
}
