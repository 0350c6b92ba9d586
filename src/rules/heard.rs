//! Who has heard of an alert that fires. An alert counts as heard once a channel that reaches people accepted it as it is now, or a
//! person muted it; the log reaches nobody by itself.

use super::alert::{Alert, Mute, Told};
use super::by_channel::ByChannel;
use super::memory::Ledger;
use crate::types::{DAY, Moment, Severity, Status};
use serde::Serialize;

/// The kind of a `Problem` that says so.
pub(crate) const UNHEARD: &str = "unheard";

/// A channel whose filters let an alert through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taker {
    /// Its name.
    pub(crate) name: String,
    /// Whom it reaches.
    pub(crate) reach: Reach,
    /// Whether its quiet hours hold this alert back now.
    pub(crate) holds_back: HoldsBack,
}

/// Whom a channel reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Somebody gets a message.
    People,
    /// It is written down, and found by who looks.
    Log,
}

/// Whether quiet hours delay an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldsBack {
    /// It is sent when it is due.
    No,
    /// It waits until they end.
    Quiet,
}

/// How an alert that fires stands with the people it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// These channels accepted it as it is now.
    Heard(Vec<String>),
    /// A person asked not to hear of it.
    Muted(Mute),
    /// It is no more than a note: nobody has to hear of it.
    Mild,
    /// Quiet hours hold it back, and not for longer than a day so far.
    Quiet,
    /// Nobody has heard of it.
    Unheard(Unheard),
}

/// Why nobody has heard of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unheard {
    /// No channel is configured for it: filters, severities, or no channel at all.
    NoTaker,
    /// Nothing but the log takes it.
    LogAlone,
    /// Channels take it, and none has accepted it yet.
    Undelivered,
}

/// What is remembered of one alert.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// What each channel was told last.
    pub(crate) told: &'a ByChannel,
    /// Whether it is muted, and by what.
    pub(crate) mute: Option<Mute>,
    /// When it was first seen.
    pub(crate) since: Moment,
}

/// How an alert stands. `takers` are the channels whose filters let it through.
pub(crate) fn standing(alert: &Alert, known: Known<'_>, takers: &[Taker], now: Moment) -> Standing {
    if alert.severity < Severity::Warning {
        return Standing::Mild;
    }
    let people = || takers.iter().filter(|taker| taker.reach == Reach::People);
    let covers = |told: &Told| {
        told.status == Status::Firing && told.severity >= alert.severity && (told.lapsed || !alert.lapsed)
    };
    let heard: Vec<String> = people()
        .filter(|taker| known.told.get(&taker.name).is_some_and(covers))
        .map(|taker| taker.name.clone())
        .collect();
    if !heard.is_empty() {
        return Standing::Heard(heard);
    }
    if let Some(mute) = known.mute {
        return Standing::Muted(mute);
    }
    if takers.is_empty() {
        return Standing::Unheard(Unheard::NoTaker);
    }
    if people().next().is_none() {
        return Standing::Unheard(Unheard::LogAlone);
    }
    // quiet hours that never end would hold it back for ever
    let all_quiet = people().all(|taker| taker.holds_back == HoldsBack::Quiet);
    if all_quiet && now - known.since < DAY {
        return Standing::Quiet;
    }
    Standing::Unheard(Unheard::Undelivered)
}

/// Each lapse that fires, with whether a pass takes it for unheard, by channels that reach people.
pub fn lapses(ledger: &Ledger, alerts: &[Alert], channels: &[String], now: Moment) -> Vec<(String, bool)> {
    let taker = |name: &String| Taker {
        name: name.clone(),
        reach: Reach::People,
        holds_back: HoldsBack::No,
    };
    let takers: Vec<Taker> = channels.iter().map(taker).collect();
    let lapsed = |alert: &&Alert| alert.lapsed && alert.severity >= Severity::Warning;
    let unheard = |alert: &Alert| {
        let memory = ledger.alerts.get(&alert.id)?;
        let known = Known {
            told: &memory.channels,
            mute: None,
            since: memory.since,
        };
        let standing = standing(alert, known, &takers, now);
        Some((alert.id.to_string(), matches!(standing, Standing::Unheard(_))))
    };
    alerts.iter().filter(lapsed).filter_map(unheard).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::HOUR;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn alert(severity: Severity, lapsed: bool) -> Alert {
        Alert {
            lapsed,
            ..Alert::new("login:claude", "login_ended", severity)
        }
    }

    fn told(severity: Severity, lapsed: bool, status: Status) -> Told {
        Told {
            status,
            severity,
            kind: "login_ended".into(),
            lapsed,
            step: 0,
            reminders: 0,
            at: NOW,
            handle: None,
        }
    }

    fn taker(name: &str, reach: Reach, holds_back: HoldsBack) -> Taker {
        Taker {
            name: name.into(),
            reach,
            holds_back,
        }
    }

    #[test]
    fn a_lapse_is_unheard_until_one_of_the_channels_told_it_as_it_is() {
        use crate::rules::memory::AlertMemory;
        let channels = ["phone".to_owned()];
        let ledger = |alert: &Alert, heard: Option<Told>| {
            let mut memory = AlertMemory {
                since: NOW - HOUR,
                last: alert.clone(),
                channels: Default::default(),
                unsure: Default::default(),
                ack: None,
            };
            if let Some(told) = heard {
                memory.channels.insert("phone", told);
            }
            Ledger {
                alerts: [(alert.id.clone(), Box::new(memory))].into(),
                ..Ledger::default()
            }
        };
        let over = alert(Severity::Critical, true);
        let said = |alert: &Alert, heard| lapses(&ledger(alert, heard), std::slice::from_ref(alert), &channels, NOW);
        let name = || "login:claude".to_owned();
        assert_eq!(said(&over, None), [(name(), true)]);
        let firing = told(Severity::Critical, true, Status::Firing);
        assert_eq!(said(&over, Some(firing)), [(name(), false)]);
        assert_eq!(said(&alert(Severity::Warning, true), None), [(name(), true)]);
        for other in [alert(Severity::Critical, false), alert(Severity::Info, true)] {
            assert_eq!(said(&other, None), []);
        }
        assert_eq!(lapses(&Ledger::default(), &[over], &channels, NOW), []);
    }

    #[test]
    fn an_alert_is_heard_once_people_were_told_of_it_as_it_is_now() {
        use Severity::{Critical, Info, Warning};
        let mail = || taker("mail", Reach::People, HoldsBack::No);
        let night = || taker("mail", Reach::People, HoldsBack::Quiet);
        let log = || taker("log", Reach::Log, HoldsBack::No);
        let heard = || Standing::Heard(vec!["mail".into()]);
        let now_told = |severity, lapsed| vec![("mail", told(severity, lapsed, Status::Firing))];
        let unheard = Standing::Unheard;
        for (name, severity, lapsed, known, mute, age, takers, wanted) in [
            (
                "told",
                Critical,
                true,
                now_told(Critical, true),
                None,
                0,
                vec![mail()],
                heard(),
            ),
            (
                "louder",
                Critical,
                false,
                now_told(Critical, true),
                None,
                0,
                vec![mail(), log()],
                heard(),
            ),
            (
                "milder then",
                Critical,
                true,
                now_told(Warning, true),
                None,
                0,
                vec![mail()],
                unheard(Unheard::Undelivered),
            ),
            (
                "ahead then",
                Critical,
                true,
                now_told(Critical, false),
                None,
                0,
                vec![mail()],
                unheard(Unheard::Undelivered),
            ),
            (
                "recovered then",
                Warning,
                true,
                vec![("mail", told(Critical, true, Status::Resolved))],
                None,
                0,
                vec![mail()],
                unheard(Unheard::Undelivered),
            ),
            (
                "log",
                Warning,
                false,
                vec![("log", told(Warning, false, Status::Firing))],
                None,
                0,
                vec![log()],
                unheard(Unheard::LogAlone),
            ),
            (
                "nobody",
                Warning,
                false,
                vec![],
                None,
                0,
                vec![],
                unheard(Unheard::NoTaker),
            ),
            (
                "removed channel",
                Warning,
                false,
                now_told(Warning, false),
                None,
                0,
                vec![],
                unheard(Unheard::NoTaker),
            ),
            ("a note", Info, true, vec![], None, 0, vec![], Standing::Mild),
            (
                "acked",
                Warning,
                false,
                vec![],
                Some(Mute::Acked),
                0,
                vec![],
                Standing::Muted(Mute::Acked),
            ),
            (
                "night",
                Warning,
                false,
                vec![],
                None,
                9 * HOUR,
                vec![night(), log()],
                Standing::Quiet,
            ),
            (
                "night without end",
                Warning,
                false,
                vec![],
                None,
                DAY,
                vec![night()],
                unheard(Unheard::Undelivered),
            ),
            (
                "another is awake",
                Warning,
                false,
                vec![],
                None,
                0,
                vec![night(), taker("x", Reach::People, HoldsBack::No)],
                unheard(Unheard::Undelivered),
            ),
        ] {
            let told: ByChannel = known.into_iter().collect();
            let known = Known {
                told: &told,
                mute,
                since: NOW - age,
            };
            assert_eq!(
                standing(&alert(severity, lapsed), known, &takers, NOW),
                wanted,
                "{name}"
            );
        }
    }
}
