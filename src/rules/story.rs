//! The history as a story: what belongs to one cause reads together, in plain sentences.
//!
//! An alert and who was notified of it are one scene, and so are a renewal and the stores it reached. Times stay in order.

use super::wording::span;
use crate::layout::list;
use crate::rules::memory::Entry;
use crate::types::{MINUTE, Moment, Ms, Severity};

/// What happened at one moment, with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scene {
    /// When it began.
    pub(crate) at: Moment,
    /// What kind of thing.
    pub(crate) mark: Mark,
    /// One sentence, of foreign words too.
    pub(crate) text: String,
    /// What belongs to it, a sentence each.
    pub(crate) below: Vec<String>,
}

/// What kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Something stopped.
    Lapsed,
    /// Something will stop, or could not be done.
    Trouble,
    /// Something works again.
    Fine,
    /// Work that went well.
    Done,
    /// Somebody was notified of something that had happened earlier.
    Told,
    /// A person did something.
    Hand,
}

/// What follows an alert or a renewal so closely belongs to it.
const TOGETHER: Ms = 5 * MINUTE;

/// How many agents are named.
const NAMED: usize = 3;

/// A scene in the making.
struct Draft<'e> {
    scene: Scene,
    head: &'e Entry,
    told: Vec<String>,
    late: Vec<String>,
    refused: Vec<String>,
}

/// The story, in the order of the entries. `when` shows a moment in the user's time zone.
pub(crate) fn story(entries: &[Entry], when: &dyn Fn(Moment) -> String) -> Vec<Scene> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    for entry in entries {
        let close = |draft: &&mut Draft<'_>| (0..=TOGETHER).contains(&(entry.at - draft.head.at));
        match entry.what.as_ref() {
            "delivered" | "not_delivered" | "given_up" if entry.alert.is_some() => {
                let same = |head: &Entry| match head.event.is_some() {
                    true => head.event == entry.event,
                    false => head.alert == entry.alert && head.what != "acked",
                };
                let at = match drafts
                    .iter_mut()
                    .rev()
                    .take_while(close)
                    .position(|draft| same(draft.head))
                {
                    Some(back) => drafts.len() - 1 - back,
                    None => {
                        drafts.push(draft(entry, Mark::Told, entry.text.clone()));
                        drafts.len() - 1
                    }
                };
                deliver(&mut drafts[at], entry);
            }
            "sync" if entry.login.is_some() => {
                let cause = drafts.iter_mut().rev().take_while(close).find(|draft| {
                    draft.head.login == entry.login
                        && matches!(draft.head.what.as_ref(), "renewed" | "heal" | "reauth" | "sync")
                });
                match cause {
                    Some(draft) if draft.head.what != "sync" => draft.scene.below.push(sentence(entry, when)),
                    _ => drafts.push(draft(entry, Mark::Done, sentence(entry, when))),
                }
            }
            _ => {
                let mut new = draft(entry, mark(entry), sentence(entry, when));
                new.scene.below.extend(more(entry));
                drafts.push(new);
            }
        }
    }
    drafts.into_iter().map(finish).collect()
}

fn draft(entry: &Entry, mark: Mark, text: String) -> Draft<'_> {
    Draft {
        scene: Scene {
            at: entry.at,
            mark,
            text,
            below: Vec::new(),
        },
        head: entry,
        told: Vec::new(),
        late: Vec::new(),
        refused: Vec::new(),
    }
}

fn deliver(draft: &mut Draft<'_>, entry: &Entry) {
    let channel = entry.channel.as_deref().unwrap_or(&entry.whom);
    let waited = entry.since.map_or(0, |since| entry.at - since);
    let why = entry.detail.as_deref().unwrap_or("it is not known why");
    match entry.what.as_ref() {
        "delivered" if waited > TOGETHER => draft.late.push(format!("notified {channel}, {} late", span(waited))),
        "delivered" => draft.told.push(channel.to_owned()),
        "given_up" => draft.refused.push(format!("{channel} was never notified: {why}")),
        _ => draft
            .refused
            .push(format!("{channel} could not be notified yet: {why}")),
    }
}

fn finish(draft: Draft<'_>) -> Scene {
    let mut scene = draft.scene;
    if !draft.told.is_empty() {
        scene
            .below
            .push(format!("notified {}", list(&draft.told, usize::MAX, 0)));
    }
    scene.below.extend(draft.late);
    scene.below.extend(draft.refused);
    scene
}

fn mark(entry: &Entry) -> Mark {
    match entry.what.as_ref() {
        "lapsed" if entry.severity == Some(Severity::Info) => Mark::Trouble,
        "lapsed" => Mark::Lapsed,
        "ahead" | "eased" | "failed" | "not_renewed" | "not_delivered" | "given_up" => Mark::Trouble,
        "recovered" | "averted" => Mark::Fine,
        "sync" | "heal" | "renewed" => Mark::Done,
        "delivered" => Mark::Told,
        _ => Mark::Hand,
    }
}

fn sentence(entry: &Entry, when: &dyn Fn(Moment) -> String) -> String {
    let (whom, text) = (&entry.whom, &entry.text);
    let lasted = entry.since.map(|since| span((entry.at - since).max(0)));
    match (entry.what.as_ref(), lasted) {
        ("sync", _) if !entry.agents.is_empty() => {
            let agents = list(&entry.agents, NAMED, entry.more);
            match &entry.login {
                Some(login) => format!("brought {agents} up to date from `{login}`"),
                None => format!("brought {agents} up to date"),
            }
        }
        ("renewed", _) => match entry.until {
            Some(until) => format!("`{whom}` was {text}, good until {}", when(until)),
            None => format!("`{whom}` was {text}"),
        },
        ("heal", _) => format!("`{whom}` was {text}"),
        ("not_renewed", _) => format!("`{whom}` was not renewed: {text}"),
        ("recovered", Some(lasted)) => format!("{text}; it was out for {lasted}"),
        ("averted", _) => format!("{text}, before it lapsed"),
        ("ahead" | "lapsed" | "eased" | "recovered", _) => text.clone(),
        ("acked", _) => format!("`{whom}` was {text}"),
        ("silenced" | "unsilenced", _) => match whom.as_str() {
            "--all" => text.clone(),
            whom => format!("{whom}: {text}"),
        },
        ("reauth", _) => match entry.until {
            Some(until) => format!("{text}, good until {}", when(until)),
            None => format!("`{whom}`: {text}"),
        },
        ("tested", _) => match &entry.detail {
            Some(detail) => format!("{whom}: {text}: {detail}"),
            None => format!("{whom}: {text}"),
        },
        ("delivered", _) => format!("notified {whom}: {text}"),
        ("not_delivered", _) => format!("{whom} could not be notified: {text}"),
        _ => format!("{whom}: {text}"),
    }
}

/// What a sentence leaves out.
fn more(entry: &Entry) -> Option<String> {
    match entry.what.as_ref() {
        "lapsed" | "ahead" => {
            let affected =
                (!entry.agents.is_empty()).then(|| format!("affected: {}", list(&entry.agents, NAMED, entry.more)));
            let before = entry.since.map_or(0, |since| entry.at - since);
            let unseen = (entry.what == "lapsed" && before > TOGETHER)
                .then(|| format!("it had happened {} before it was seen", span(before)));
            match (affected, unseen) {
                (Some(a), Some(b)) => Some(format!("{a}; {b}")),
                (a, b) => a.or(b),
            }
        }
        "eased" => Some("it had lapsed, and works again for now".into()),
        _ => None,
    }
}

/// How often what happened, in a few words: `21 renewals, 12 syncs, 1 lapse`; empty for nothing.
pub(crate) fn counted(entries: &[Entry]) -> String {
    const KINDS: [(&str, &str, &str); 6] = [
        ("lapsed", "lapse", "lapses"),
        ("recovered", "recovery", "recoveries"),
        ("renewed", "renewal", "renewals"),
        ("not_renewed", "failed renewal", "failed renewals"),
        ("sync", "sync", "syncs"),
        ("delivered", "message delivered", "messages delivered"),
    ];
    let count = |(what, one, many): (&str, &str, &str)| match entries.iter().filter(|e| e.what == what).count() {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    KINDS.into_iter().filter_map(count).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::HOUR;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn entry(at: Moment, what: &'static str, whom: &str, text: &str) -> Entry {
        Entry {
            at,
            what: what.into(),
            whom: whom.into(),
            text: text.into(),
            ..Entry::default()
        }
    }

    fn told(at: Moment, what: &'static str, channel: &str, event: &str, since: Option<Moment>) -> Entry {
        Entry {
            channel: Some(channel.into()),
            alert: Some("login:claude".into()),
            event: Some(event.into()),
            detail: Some("answered 404".into()),
            since,
            ..entry(at, what, channel, "Claude login `claude` has ended on gw")
        }
    }

    fn alert(at: Moment, what: &'static str, text: &str, since: Option<Moment>) -> Entry {
        Entry {
            alert: Some("login:claude".into()),
            agents: vec!["clawdbot/main".into(), "clawdbot/work".into()],
            since,
            severity: Some(Severity::Critical),
            ..entry(at, what, "login:claude", text)
        }
    }

    fn lines(entries: &[Entry]) -> Vec<String> {
        let scenes = story(entries, &|at| format!("+{}h", (at - NOW) / HOUR));
        let line = |scene: &Scene| {
            let mut line = format!("{:?} {}", scene.mark, scene.text);
            for below in &scene.below {
                line += &format!(" | {below}");
            }
            line
        };
        scenes.iter().map(line).collect()
    }

    #[test]
    fn a_lapse_its_alert_who_was_told_and_the_recovery_read_together() {
        let got = lines(&[
            alert(NOW, "lapsed", "Claude login `claude` has ended on gw", Some(NOW - HOUR)),
            told(NOW + 1, "delivered", "phone", "m1", None),
            told(NOW + 2, "delivered", "desk", "m1", None),
            told(NOW + 3, "not_delivered", "mail", "m1", None),
            told(NOW + HOUR, "delivered", "mail", "m1", Some(NOW)),
            told(NOW + HOUR + 1, "delivered", "phone", "m2", None),
            alert(
                NOW + 3 * HOUR,
                "recovered",
                "Claude login `claude` on gw is fine again",
                Some(NOW - 12 * MINUTE),
            ),
            told(NOW + 3 * HOUR, "delivered", "phone", "m3", None),
        ]);
        assert_eq!(
            got,
            [
                "Lapsed Claude login `claude` has ended on gw | affected: clawdbot/main and clawdbot/work; it had happened \
                 1 h before it was seen | notified phone and desk | mail could not be notified yet: answered 404",
                "Told Claude login `claude` has ended on gw | notified mail, 1 h late",
                "Told Claude login `claude` has ended on gw | notified phone",
                "Fine Claude login `claude` on gw is fine again; it was out for 3 h 12 min | notified phone",
            ]
        );
    }

    #[test]
    fn a_renewal_and_the_stores_it_reached_are_one_scene() {
        let sync = |at: Moment, login: Option<&str>| Entry {
            login: login.map(Into::into),
            agents: (0..5).map(|n| format!("clawdbot/a{n}")).collect(),
            more: 40,
            ..entry(at, "sync", "clawdbot/a0", "brought up to date: anthropic:claude-cli")
        };
        let renewed = Entry {
            login: Some("claude".into()),
            until: Some(NOW + 8 * HOUR),
            ..entry(NOW, "renewed", "claude", "renewed by Claude Code")
        };
        let got = lines(&[
            renewed,
            sync(NOW, Some("claude")),
            sync(NOW, Some("other")),
            sync(NOW + 1, Some("other")),
            sync(NOW + HOUR, None),
        ]);
        let stores = "brought clawdbot/a0, clawdbot/a1, clawdbot/a2 and 42 more up to date";
        assert_eq!(
            got,
            [
                format!("Done `claude` was renewed by Claude Code, good until +8h | {stores} from `claude`"),
                format!("Done {stores} from `other`"),
                format!("Done {stores} from `other`"),
                format!("Done {stores}"),
            ]
        );
    }

    #[test]
    fn each_entry_has_its_mark_and_its_sentence() {
        let one = |what| entry(NOW, what, "claude", "so");
        let until = |what| Entry {
            until: Some(NOW + 8 * HOUR),
            ..one(what)
        };
        let since = |what, ago| Entry {
            since: Some(NOW - ago),
            ..one(what)
        };
        for (entry, wanted) in [
            (one("lapsed"), "Lapsed so"),
            (
                Entry {
                    severity: Some(Severity::Info),
                    ..one("lapsed")
                },
                "Trouble so",
            ),
            (since("lapsed", TOGETHER), "Lapsed so"),
            (
                since("lapsed", TOGETHER + MINUTE),
                "Lapsed so | it had happened 6 min before it was seen",
            ),
            (since("ahead", HOUR), "Trouble so"),
            (
                Entry {
                    agents: vec!["a".into()],
                    more: 2,
                    ..since("ahead", HOUR)
                },
                "Trouble so | affected: a and 2 more",
            ),
            (one("eased"), "Trouble so | it had lapsed, and works again for now"),
            (one("failed"), "Trouble claude: so"),
            (one("not_renewed"), "Trouble `claude` was not renewed: so"),
            (one("not_delivered"), "Trouble claude could not be notified: so"),
            (one("given_up"), "Trouble claude: so"),
            (one("recovered"), "Fine so"),
            (since("recovered", HOUR), "Fine so; it was out for 1 h"),
            (one("averted"), "Fine so, before it lapsed"),
            (one("heal"), "Done `claude` was so"),
            (one("renewed"), "Done `claude` was so"),
            (until("renewed"), "Done `claude` was so, good until +8h"),
            (one("delivered"), "Told notified claude: so"),
            (one("acked"), "Hand `claude` was so"),
            (one("silenced"), "Hand claude: so"),
            (entry(NOW, "unsilenced", "--all", "so"), "Hand so"),
            (one("reauth"), "Hand `claude`: so"),
            (until("reauth"), "Hand so, good until +8h"),
            (one("tested"), "Hand claude: so"),
            (
                Entry {
                    detail: Some("why".into()),
                    ..one("tested")
                },
                "Hand claude: so: why",
            ),
            (
                told(NOW, "given_up", "mail", "m", None),
                "Told Claude login `claude` has ended on gw | mail was never notified: answered 404",
            ),
            (
                told(NOW, "delivered", "mail", "m", Some(NOW - TOGETHER)),
                "Told Claude login `claude` has ended on gw | notified mail",
            ),
        ] {
            assert_eq!(lines(std::slice::from_ref(&entry)), [wanted], "{entry:?}");
        }
    }

    #[test]
    fn what_happened_is_counted_by_kind() {
        let of = |whats: &[&'static str]| -> Vec<Entry> {
            whats.iter().map(|what| entry(NOW, what, "claude", "so")).collect()
        };
        for (whats, wanted) in [
            (&[][..], ""),
            (&["acked"], ""),
            (&["sync", "lapsed", "sync"], "1 lapse, 2 syncs"),
            (
                &["recovered", "renewed", "not_renewed", "delivered"],
                "1 recovery, 1 renewal, 1 failed renewal, 1 message delivered",
            ),
        ] {
            assert_eq!(counted(&of(whats)), wanted);
        }
    }

    #[test]
    fn lines_of_older_and_newer_versions_are_told_as_they_are() {
        let got = lines(&[
            entry(NOW, "sync", "clawdbot/main", "brought up to date: anthropic:claude-cli"),
            entry(
                NOW,
                "delivered",
                "phone",
                "Claude login `claude` has ended on gw: answered 200",
            ),
            entry(NOW, "recorded", "clawdbot/main", "recorded anthropic:manual"),
            entry(NOW, "frobbed", "x", "whatever"),
        ]);
        assert_eq!(
            got,
            [
                "Done clawdbot/main: brought up to date: anthropic:claude-cli",
                "Told notified phone: Claude login `claude` has ended on gw: answered 200",
                "Hand clawdbot/main: recorded anthropic:manual",
                "Hand x: whatever",
            ]
        );
    }

    #[test]
    fn who_was_told_of_what_goes_by_the_alert_where_no_event_is_known() {
        let other = |at, what, text| Entry {
            alert: Some("login:other".into()),
            ..alert(at, what, text, None)
        };
        let got = lines(&[
            alert(NOW, "lapsed", "`claude` has ended", None),
            other(NOW + 1, "lapsed", "`other` has ended"),
            Entry {
                alert: Some("login:claude".into()),
                ..entry(NOW + 2, "acked", "login:claude", "acknowledged")
            },
            told(NOW + 3, "delivered", "phone", "m1", None),
        ]);
        let of_claude = got.iter().find(|line| line.contains("`claude` has ended"));
        assert!(
            of_claude.is_some_and(|line| line.ends_with("notified phone")),
            "{got:?}"
        );
        assert_eq!(
            got.iter().filter(|line| line.contains("notified")).count(),
            1,
            "{got:?}"
        );
    }

    #[test]
    fn a_sync_belongs_to_what_was_renewed_only_where_it_says_so() {
        for (login, scenes) in [(Some("claude"), 1), (None, 2)] {
            let of = |at, what, whom| Entry {
                login: login.map(str::to_owned),
                ..entry(at, what, whom, "renewed")
            };
            let got = lines(&[of(NOW, "renewed", "claude"), of(NOW + 1, "sync", "clawdbot/main")]);
            assert_eq!(got.len(), scenes, "{got:?}");
        }
    }
}
