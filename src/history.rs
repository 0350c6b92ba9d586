//! What happened: an object a line in `history.jsonl`, with the file before it kept as `history.1.jsonl`.
//!
//! A pass in which nothing happened adds nothing, and what fails over and over is noted once, when it begins and when it
//! changes. Holds ids, fingerprints and the words of alerts, and never a token.

use crate::edge::files;
use crate::ledger::{AlertMemory, Ledger, Outgoing};
use crate::look::View;
use crate::notify::{Receipt, SendError};
use crate::pass::{Done, Outcome};
use crate::renew::{self, What};
use crate::rules::alert::{Alert, Why};
use crate::rules::wording;
use crate::types::{Ms, Severity};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A line of the history. Other programs read it: keys are never taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// [`Ms`].
    pub at: Ms,
    /// What, one of [`WORDS`]; another one was written by another version.
    pub what: Cow<'static, str>,
    /// Whom: a login id, an agent's label, a channel, an alert id.
    #[serde(default)]
    pub whom: String,
    /// In words.
    #[serde(default)]
    pub text: String,
    /// The login concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    /// The agents concerned, [`AGENTS`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// How many agents more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
    /// The channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The alert's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<String>,
    /// The event's id, as the channel was sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// A reason or a problem's kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How loud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Since when that lasted which is over now, [`Ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Ms>,
    /// Until when it is good now, [`Ms`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Ms>,
    /// What the receiver said, or why it was not delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Every word of [`Entry::what`]: stores and logins, alerts, deliveries, and what a person did.
pub const WORDS: [&str; 21] = [
    "sync",
    "heal",
    "renewed",
    "not_renewed",
    "failed",
    "ahead",
    "lapsed",
    "eased",
    "recovered",
    "averted",
    "delivered",
    "not_delivered",
    "given_up",
    "tested",
    "acked",
    "silenced",
    "unsilenced",
    "reauth",
    "recorded",
    "removed",
    "repaired",
];

/// The most agents that one entry names.
pub const AGENTS: usize = 12;

/// The history is begun anew at this size in bytes, and one old one is kept.
const LIMIT: u64 = 1 << 20;

/// Where it lies, the older file first.
pub fn paths(state_dir: &Path) -> [PathBuf; 2] {
    [state_dir.join("history.1.jsonl"), state_dir.join("history.jsonl")]
}

/// Appends.
///
/// # Errors
/// What the system refuses.
pub fn append(state_dir: &Path, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let [old, path] = paths(state_dir);
    let size = files::stat(&path).map_or(0, |meta| meta.size);
    if size > LIMIT {
        files::rename(&path, &old)?;
    }
    let mut lines = Vec::new();
    // a line that was torn by a full disk must not take the next one with it
    if size > 0 && size <= LIMIT && files::read_tail(&path, 1).is_ok_and(|tail| tail.bytes != b"\n") {
        lines.push(b'\n');
    }
    for entry in entries {
        serde_json::to_writer(&mut lines, entry).map_err(io::Error::other)?;
        lines.push(b'\n');
    }
    files::append(&path, &lines)
}

/// [`append`]; that it could not be done is said in the log and stops nothing.
pub fn note(state_dir: &Path, entries: &[Entry]) {
    if let Err(error) = append(state_dir, entries) {
        tracing::warn!("history: {}", files::io_words(&error));
    }
}

/// The history as it was found.
#[derive(Debug, Default)]
pub struct Read {
    /// The oldest first, as they were written.
    pub entries: Vec<Entry>,
    /// Lines that are none of ours.
    pub skipped: usize,
}

/// Reads what happened at `since` or later. However large the files are, 4 MiB are read at most.
///
/// # Errors
/// What the system refuses, in words; that there is no file is none.
pub fn read(state_dir: &Path, since: Ms) -> Result<Read, String> {
    let mut read = Read::default();
    for path in paths(state_dir) {
        let tail = match files::read_tail(&path, 2 * LIMIT) {
            Ok(tail) => tail,
            Err(files::ReadError::Absent) => continue,
            Err(error) => return Err(format!("`{}`: {error}", path.display())),
        };
        let mut lines = tail.bytes.split(|byte| *byte == b'\n');
        if !tail.whole {
            lines.next();
        }
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) if entry.at >= since => read.entries.push(entry),
                Ok(_) => {}
                Err(_) => read.skipped += 1,
            }
        }
    }
    Ok(read)
}

/// What was done to stores and logins: what went well, and apart from it what did not and was not noted before. Only the
/// first may be written where the ledger could not be saved: the other would be said at every pass.
pub fn of_done(
    ledger: &mut Ledger,
    view: &View,
    done: &[Done],
    renewals: &[renew::Seen],
    now: Ms,
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
        let is_login = view.logins.iter().any(|login| login.id() == one.whom);
        let login = || is_login.then(|| one.whom.clone());
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
                let what = match &one.outcome {
                    Outcome::Failed(_) => "failed",
                    _ => "not_renewed",
                };
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
    // a renewal is tried now and then, everything else at every pass
    let renewing = &ledger.renewals;
    ledger.stuck.retain(|key, _| {
        let waits = key
            .strip_prefix("not_renewed ")
            .is_some_and(|whom| renewing.contains_key(whom));
        waits || failing.contains(key)
    });
    (well, ill)
}

/// The login that these profiles of an agent hang on.
fn login_of(view: &View, label: &str, ids: &[String]) -> Option<String> {
    let agent = view.agents.iter().find(|agent| agent.agent.agent.label() == label)?;
    let mut profiles = agent.profiles.iter().filter(|one| ids.contains(&one.profile.id));
    let login = profiles.find_map(|profile| profile.login)?;
    Some(view.logins[login].id().to_owned())
}

/// What became of alerts between two moments: begun, lapsed, eased, over.
pub fn of_alerts(
    before: &BTreeMap<String, AlertMemory>,
    after: &BTreeMap<String, AlertMemory>,
    host: &str,
    now: Ms,
    when: &dyn Fn(Ms) -> String,
) -> Vec<Entry> {
    let entry = |what: &'static str, memory: &AlertMemory, why: Why| {
        let alert = &memory.last;
        Entry {
            at: now,
            what: what.into(),
            whom: alert.id.clone(),
            text: wording::words(alert, why, host, memory.since, now, when).title,
            login: alert.login.as_ref().map(|login| login.id.clone()),
            alert: Some(alert.id.clone()),
            kind: Some(alert.kind.clone()),
            severity: Some(alert.severity),
            ..named(alert)
        }
    };
    let mut entries = Vec::new();
    for (id, memory) in before.iter().filter(|(id, _)| !after.contains_key(*id)) {
        debug_assert_eq!(*id, memory.last.id);
        let what = match memory.last.lapsed {
            true => "recovered",
            false => "averted",
        };
        entries.push(Entry {
            since: Some(memory.begun(now)),
            ..entry(what, memory, Why::Recovered)
        });
    }
    for (id, memory) in after {
        let what = match (before.get(id).map(|old| old.last.lapsed), memory.last.lapsed) {
            (None | Some(false), true) => "lapsed",
            (None, false) => "ahead",
            (Some(true), false) => "eased",
            (Some(was), is) if was == is => continue,
            _ => continue,
        };
        let since = (what == "lapsed").then(|| memory.begun(now)).filter(|at| *at < now);
        entries.push(Entry {
            since,
            ..entry(what, memory, Why::First)
        });
    }
    entries
}

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
pub fn of_deliveries(told: &[(Outgoing, Result<Receipt, SendError>)], now: Ms) -> Vec<Entry> {
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
pub fn of_outgoing(what: &'static str, out: &Outgoing, detail: Option<String>, now: Ms) -> Entry {
    Entry {
        at: now,
        what: what.into(),
        whom: out.channel.clone(),
        text: out.event.title.clone(),
        login: out.event.login.as_ref().map(|login| login.id.clone()),
        channel: Some(out.channel.clone()),
        alert: Some(out.event.alert_id.clone()),
        event: Some(out.event.event_id.clone()),
        severity: Some(out.event.severity),
        since: (out.queued_at < now).then_some(out.queued_at),
        detail,
        ..Entry::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{MINUTE, Problem};

    const NOW: Ms = 1_769_000_000_000;

    fn entry(at: Ms, what: &'static str) -> Entry {
        Entry {
            at,
            what: what.into(),
            whom: "clawdbot/main".into(),
            text: "t".into(),
            ..Entry::default()
        }
    }

    #[test]
    fn the_history_is_rotated_and_an_entry_has_only_the_keys_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        files::append(&dir.path().join("history.jsonl"), &vec![b'x'; LIMIT as usize + 1]).unwrap();
        append(dir.path(), &[entry(1, "sync")]).unwrap();
        assert_eq!(files::list(dir.path()), ["history.1.jsonl", "history.jsonl"]);
        let line = files::read(&dir.path().join("history.jsonl")).unwrap().bytes;
        assert_eq!(
            line,
            b"{\"at\":1,\"what\":\"sync\",\"whom\":\"clawdbot/main\",\"text\":\"t\"}\n"
        );
    }

    #[test]
    fn old_lines_torn_lines_and_garbage_are_read_past_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let [old, path] = paths(dir.path());
        files::append(
            &old,
            b"{\"at\":1,\"what\":\"sync\",\"whom\":\"a\",\"text\":\"t\"}\nnonsense\n",
        )
        .unwrap();
        files::append(
            &path,
            b"{\"at\":2,\"what\":\"later\",\"new\":[1]}\n\n\xff\xfe\n{\"at\":\"x\"}\n{\"at\":3,\"what\":\"sy",
        )
        .unwrap();
        let whats = |read: &Read| read.entries.iter().map(|entry| entry.at).collect::<Vec<_>>();
        let all = read(dir.path(), 0).unwrap();
        assert_eq!((whats(&all), all.skipped), (vec![1, 2], 4));
        // what is appended after a torn line is whole
        append(dir.path(), &[entry(4, "sync"), entry(5, "heal")]).unwrap();
        let all = read(dir.path(), 3).unwrap();
        assert_eq!((whats(&all), all.skipped), (vec![4, 5], 4));
        assert_eq!(whats(&read(Path::new("/nowhere"), 0).unwrap()), Vec::<Ms>::new());
    }

    #[test]
    fn of_a_file_that_grew_without_end_only_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let [_, path] = paths(dir.path());
        let line = serde_json::to_string(&entry(7, "sync")).unwrap() + "\n";
        let text = line.repeat(3 * LIMIT as usize / line.len());
        files::append(&path, text.as_bytes()).unwrap();
        let all = read(dir.path(), 0).unwrap();
        assert_eq!(all.skipped, 0);
        assert!((all.entries.len() * line.len()) as u64 <= 2 * LIMIT);
        assert!((all.entries.len() * line.len()) as u64 > 2 * LIMIT - 2 * line.len() as u64);
    }

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

    fn alert(lapsed: bool, ends: Ms) -> AlertMemory {
        AlertMemory {
            since: NOW - 10 * MINUTE,
            last: Alert {
                id: "login:claude".into(),
                kind: "login_ended".into(),
                severity: Severity::Critical,
                lapsed,
                ends: Some(ends),
                login: None,
                affected: Vec::new(),
                path: None,
                detail: None,
            },
            channels: BTreeMap::new(),
            ack: None,
        }
    }

    #[test]
    fn an_alert_begins_lapses_eases_and_is_over() {
        let one = |memory: AlertMemory| BTreeMap::from([(memory.last.id.clone(), memory)]);
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
            let got = of_alerts(before, after, "gw", NOW, &|_| "then".into());
            let got = got.first().map(|entry| (entry.what.as_ref(), entry.since));
            assert_eq!(got, what.map(|what| (what, since)));
        }
    }
}
