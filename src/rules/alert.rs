//! An alert, and whether to send it to a channel now. What a channel was told is remembered per channel, and `decide` names its
//! reason.

use crate::cause::Cause;
use crate::types::{Affected, DAY, EventLogin, HOUR, Moment, Ms, Reason, Severity, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a human is needed for, as of now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// The root cause, the same from its first warning to its recovery.
    pub(crate) id: Cause,
    /// A [`Reason`] word or a problem's kind.
    pub(crate) kind: String,
    /// How loud.
    pub(crate) severity: Severity,
    /// It has happened, rather than being about to.
    pub(crate) lapsed: bool,
    /// When it will happen or has happened, where that is known.
    pub(crate) ends: Option<Moment>,
    /// The login concerned.
    pub(crate) login: Option<EventLogin>,
    /// Who hangs on it.
    #[serde(deserialize_with = "mostly_one")]
    pub(crate) affected: Vec<Affected>,
    /// The file concerned, `~` for the home.
    pub(crate) path: Option<String>,
    /// The cause in words, where the kind does not say it all.
    pub(crate) detail: Option<String>,
    /// What of it decides the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) obstacle: Option<Obstacle>,
    /// The command that helps, where the kind alone does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

/// Reads a list that has mostly one item, of which there may be thousands: room for four, given back later, would leave holes.
fn mostly_one<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Affected>, D::Error> {
    struct Items;
    impl<'de> serde::de::Visitor<'de> for Items {
        type Value = Vec<Affected>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of profiles")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Affected>, A::Error> {
            let mut all = Vec::with_capacity(1);
            while let Some(item) = items.next_element()? {
                all.push(item);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_seq(Items)
}

impl Alert {
    /// Since when it has been so, if it was first seen at `since`: since it happened, where that is known.
    pub(crate) fn begun(&self, since: Moment, now: Moment) -> Moment {
        self.ends.filter(|ends| self.lapsed && *ends <= now).unwrap_or(since)
    }

    /// A copy that a sync would bring up to date.
    pub(crate) fn is_stale_copy(&self) -> bool {
        let stale = self.kind == Reason::CopyStale.word() && matches!(self.id, Cause::Copies(_));
        stale && self.obstacle.is_none() && self.fix.is_none()
    }

    /// One that has happened, with nothing more known of it.
    pub(crate) fn new(id: impl Into<Cause>, kind: &str, severity: Severity) -> Self {
        Self {
            id: id.into(),
            kind: kind.to_owned(),
            severity,
            lapsed: true,
            ends: None,
            login: None,
            affected: Vec::new(),
            path: None,
            detail: None,
            obstacle: None,
            fix: None,
        }
    }
}

/// The worst first.
pub(crate) fn sort(alerts: &mut [Alert]) {
    // in place: there may be thousands, and no two have the same id
    alerts.sort_unstable_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
}

/// What of an alert's cause decides its remedy, beside its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The login of a copy, or the grant of its own, could not be renewed.
    NotRenewed,
    /// The login's own access token has ended as well, and nobody renews it.
    NobodyRenews,
    /// The provider wants to be paid.
    Billing,
    /// All that the store holds stands outside `profiles`.
    OutsideProfiles,
}

/// What a channel was told last of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Firing, or that it is over.
    pub(crate) status: Status,
    /// How loud it was.
    pub(crate) severity: Severity,
    /// What it was.
    pub(crate) kind: String,
    /// Whether it had happened.
    pub lapsed: bool,
    /// How many steps before the end had been passed.
    pub(crate) step: usize,
    /// How many reminders were given since it happened.
    pub reminders: u32,
    /// When it was decided.
    pub(crate) at: Moment,
    /// What the channel calls its message, where it can be replaced.
    #[serde(default)]
    pub(crate) handle: Option<String>,
}

/// Why a channel is notified now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Why {
    /// For the first time.
    First,
    /// It got worse: louder, or it has happened.
    Worse,
    /// It was repaired in part: it had happened, and now it is ahead again.
    Changed,
    /// A step nearer to its end.
    Step,
    /// It has happened and nobody repaired it yet.
    Reminder,
    /// It is over.
    Recovered,
}

/// How many of the steps before its end an alert has passed.
pub(crate) fn steps_passed(alert: &Alert, steps: &[Ms], now: Moment) -> usize {
    match alert.ends {
        Some(ends) if !alert.lapsed => steps.iter().filter(|step| ends - now <= **step).count(),
        _ => steps.len(),
    }
}

/// After how long the `n`th reminder follows what was told before it: 1 h, 6 h, 1 d, then doubling, [`Ms`].
pub fn reminder_gap(n: u32) -> Ms {
    match n {
        0 => HOUR,
        1 => 6 * HOUR,
        _ => DAY << (n - 2).min(5),
    }
}

/// What a person has said of an alert: "I know". It holds until the alert changes for the worse or in kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ack {
    /// When.
    pub(crate) at: Moment,
    /// How loud it was then.
    pub(crate) severity: Severity,
    /// What it was then.
    pub(crate) kind: String,
    /// Whether it had happened then.
    pub(crate) lapsed: bool,
}

impl Ack {
    /// The alert as it is now is known.
    pub(crate) fn of(alert: &Alert, now: Moment) -> Self {
        Self {
            at: now,
            severity: alert.severity,
            kind: alert.kind.clone(),
            lapsed: alert.lapsed,
        }
    }

    /// Whether the alert is still what was acknowledged: nothing louder, nothing else, and happened or ahead as then.
    pub(crate) fn holds(&self, alert: &Alert) -> bool {
        alert.severity <= self.severity && alert.kind == self.kind && alert.lapsed == self.lapsed
    }
}

/// What a person does not want to hear of for a while, however bad it gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    /// Of what.
    pub(crate) scope: Scope,
    /// For how long.
    pub(crate) until: Until,
    /// Since when.
    pub(crate) since: Moment,
}

/// Of what a silence is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "of", content = "id")]
pub(crate) enum Scope {
    /// Everything.
    All,
    /// One login and its copies, by its id.
    Login(String),
    /// One agent, `family/agent`.
    Agent(String),
}

/// How long a silence lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "until", content = "at")]
pub(crate) enum Until {
    /// To this moment.
    Time(Moment),
    /// Until nothing of its scope fires any more.
    Recovered,
}

impl Silence {
    /// Whether it still counts. One from the future was made under a clock that was wrong: rather ring.
    pub(crate) fn active(&self, now: Moment) -> bool {
        match self.until {
            _ if self.since > now + HOUR => false,
            Until::Time(at) => now < at,
            Until::Recovered => true,
        }
    }

    /// Whether the alert has to do with its scope.
    pub(crate) fn touches(&self, alert: &Alert) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Login(id) => alert.login.as_ref().is_some_and(|login| login.id == *id),
            Scope::Agent(label) => alert.agents().any(|agent| agent == *label),
        }
    }
}

impl Alert {
    /// The agents that it is about, by label. A login is more than its agents: people work with it too.
    fn agents(&self) -> impl Iterator<Item = String> {
        let of_login = match self.id {
            Cause::Login(_) => true,
            Cause::Renewal(_) => self.login.is_some(),
            _ => false,
        };
        let affected = self.affected.iter().filter(move |_| !of_login);
        let store = match &self.id {
            Cause::Store(label) => Some(label.clone()),
            _ => None,
        };
        affected.map(Affected::label).chain(store)
    }
}

/// Why nobody is notified of a firing alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mute {
    /// Somebody asked for silence.
    Silenced,
    /// Somebody knows, and it has not changed since.
    Acked,
}

/// Whether an alert is muted. Silences of agents add up: an alert about two agents is muted once both are silenced.
pub(crate) fn mute(alert: &Alert, ack: Option<&Ack>, silences: &[Silence], now: Moment) -> Option<Mute> {
    let active = || silences.iter().filter(|silence| silence.active(now));
    if active().any(|silence| !matches!(silence.scope, Scope::Agent(_)) && silence.touches(alert)) {
        return Some(Mute::Silenced);
    }
    let silenced = |agent: &String| active().any(|s| matches!(&s.scope, Scope::Agent(label) if label == agent));
    let mut agents = alert.agents().peekable();
    if agents.peek().is_some() && agents.all(|agent| silenced(&agent)) {
        return Some(Mute::Silenced);
    }
    if ack.is_some_and(|ack| ack.holds(alert)) {
        return Some(Mute::Acked);
    }
    None
}

/// What to do about one alert and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Tell it, for this reason.
    Tell(Why),
    /// It would be told, were it not muted.
    Muted(Why, Mute),
    /// It was told what there is to tell.
    Settled,
}

/// Whether to notify a channel of a firing alert.
pub(crate) fn decide(alert: &Alert, told: Option<&Told>, mute: Option<Mute>, steps: &[Ms], now: Moment) -> Decision {
    match (due(alert, told, steps, now), mute) {
        (None, _) => Decision::Settled,
        (Some(why), None) => Decision::Tell(why),
        (Some(why), Some(mute)) => Decision::Muted(why, mute),
    }
}

/// What there is to tell. Early returns, each with its reason.
fn due(alert: &Alert, told: Option<&Told>, steps: &[Ms], now: Moment) -> Option<Why> {
    let Some(told) = told.filter(|told| told.status == Status::Firing) else {
        return Some(Why::First);
    };
    if alert.severity > told.severity || alert.lapsed && !told.lapsed {
        return Some(Why::Worse);
    }
    if told.lapsed && !alert.lapsed {
        return Some(Why::Changed);
    }
    if !alert.lapsed && steps_passed(alert, steps, now) > told.step {
        return Some(Why::Step);
    }
    // a clock that was set back makes nothing due; `set_back` sees to it that it holds nothing up either
    if alert.lapsed && now - told.at >= reminder_gap(told.reminders) {
        return Some(Why::Reminder);
    }
    None
}

/// How the last deliveries to a channel went, as long as they fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When the first of them failed.
    pub(crate) since: Moment,
    /// How many passes in a row could not deliver.
    pub(crate) failures: u32,
    /// The receiver refused for good: only a person can change that.
    pub(crate) refused: bool,
    /// Why the last one failed; no secrets.
    pub(crate) why: String,
    /// The channel's configuration then, see [`crate::notify::Channel::mark`].
    pub(crate) mark: u16,
}

/// From this many failures in a row on, a channel is no longer taken to be in passing trouble.
const FAILURES: u32 = 3;

impl Trouble {
    /// Whether a person has to look after the channel.
    pub(crate) fn lasting(&self) -> bool {
        self.refused || self.failures >= FAILURES
    }
}

/// An alert for every channel that keeps failing; it goes through the others.
pub fn channel_alerts(troubles: &BTreeMap<String, Trouble>) -> Vec<Alert> {
    let lasting = troubles.iter().filter(|(_, trouble)| trouble.lasting());
    let alert = |(name, trouble): (&String, &Trouble)| Alert {
        ends: Some(trouble.since),
        detail: Some(trouble.why.clone()),
        ..Alert::new(
            Cause::Channel(name.clone()),
            if trouble.refused {
                "channel_refused"
            } else {
                "channel_failing"
            },
            Severity::Warning,
        )
    };
    lasting.map(alert).collect()
}

/// An alert where the heartbeat's service keeps failing: nobody would notice that nolapse itself has stopped.
pub(crate) fn heartbeat_alert(trouble: Option<&Trouble>) -> Option<Alert> {
    let trouble = trouble.filter(|trouble| trouble.lasting())?;
    Some(Alert {
        ends: Some(trouble.since),
        detail: Some(trouble.why.clone()),
        ..Alert::new(
            Cause::Heartbeat,
            if trouble.refused {
                "heartbeat_refused"
            } else {
                "heartbeat_failing"
            },
            Severity::Warning,
        )
    })
}

/// An alert where passes go on with the last valid configuration.
pub(crate) fn config_alert(broken: Option<&str>) -> Option<Alert> {
    Some(Alert {
        detail: Some(broken?.to_owned()),
        ..Alert::new(Cause::Config, "config_broken", Severity::Warning)
    })
}

/// What will be remembered once a channel was told.
pub(crate) fn told(alert: &Alert, before: Option<&Told>, why: Why, steps: &[Ms], now: Moment) -> Told {
    Told {
        status: Status::Firing,
        severity: alert.severity,
        kind: alert.kind.clone(),
        lapsed: alert.lapsed,
        step: steps_passed(alert, steps, now),
        reminders: match (why, before) {
            (Why::Reminder, Some(before)) => before.reminders + 1,
            _ => 0,
        },
        at: now,
        handle: before.and_then(|told| told.handle.clone()),
    }
}

/// What will be remembered once a channel was told that it is over.
pub(crate) fn told_resolved(before: &Told, now: Moment) -> Told {
    Told {
        status: Status::Resolved,
        at: now,
        ..before.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::causes::urgency;
    use crate::rules::policy::AlertsConfig;
    use crate::types::{Family, Health};
    use proptest::prelude::*;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn alert(severity: Severity, lapsed: bool, ends: Moment) -> Alert {
        Alert {
            lapsed,
            ends: Some(ends),
            ..Alert::new("login:claude", "k", severity)
        }
    }

    #[test]
    fn a_stale_copy_is_that_and_nothing_more() {
        let stale = Alert::new(Cause::Copies("claude".into()), "copy_stale", Severity::Warning);
        assert!(stale.is_stale_copy());
        for other in [
            Alert {
                kind: "expired".into(),
                ..stale.clone()
            },
            Alert {
                id: Cause::Login("claude".into()),
                ..stale.clone()
            },
            Alert {
                obstacle: Some(Obstacle::NotRenewed),
                ..stale.clone()
            },
            Alert {
                fix: Some("true".into()),
                ..stale.clone()
            },
        ] {
            assert!(!other.is_stale_copy(), "{other:?}");
        }
    }

    #[test]
    fn it_is_so_since_it_happened_where_that_is_known() {
        let first = NOW - HOUR;
        for (lapsed, ends, since) in [
            (true, NOW - DAY, NOW - DAY),
            (true, NOW, NOW),
            (true, NOW + 1, first),
            (false, NOW - DAY, first),
        ] {
            assert_eq!(alert(Severity::Warning, lapsed, ends).begun(first, NOW), since);
        }
        assert_eq!(
            Alert::new("login:claude", "k", Severity::Warning).begun(first, NOW),
            first
        );
    }

    #[test]
    fn the_worst_comes_first_and_then_the_name() {
        let one = |id: &str, severity| Alert::new(id, "k", severity);
        let mut alerts = [
            one("login:b", Severity::Info),
            one("login:c", Severity::Critical),
            one("login:a", Severity::Critical),
            one("login:d", Severity::Warning),
        ];
        sort(&mut alerts);
        let order: Vec<String> = alerts.iter().map(|alert| alert.id.to_string()).collect();
        assert_eq!(order, ["login:a", "login:c", "login:d", "login:b"]);
    }

    #[test]
    fn what_has_happened_has_passed_all_steps_whenever_that_was() {
        let steps = [3 * DAY, DAY, HOUR];
        for (lapsed, ends, passed) in [
            (true, NOW + 9 * DAY, 3),
            (false, NOW + 9 * DAY, 0),
            (false, NOW + 3 * DAY, 1),
            (false, NOW + DAY + 1, 1),
            (false, NOW - DAY, 3),
        ] {
            assert_eq!(
                steps_passed(&alert(Severity::Warning, lapsed, ends), &steps, NOW),
                passed
            );
        }
    }

    #[test]
    fn a_silence_from_the_future_is_none() {
        let silence = |since| Silence {
            scope: Scope::All,
            until: Until::Recovered,
            since,
        };
        assert!(silence(NOW + HOUR).active(NOW) && !silence(NOW + HOUR + 1).active(NOW));
    }

    #[test]
    fn what_does_not_get_through_is_said_with_its_beginning_and_the_cause() {
        let trouble = |refused, failures| Trouble {
            since: NOW - HOUR,
            failures,
            refused,
            why: "503".into(),
            mark: 0,
        };
        for (refused, failures, word) in [
            (false, 2, None),
            (false, 3, Some("failing")),
            (true, 1, Some("refused")),
        ] {
            let trouble = trouble(refused, failures);
            let of_channel = channel_alerts(&BTreeMap::from([("phone".to_owned(), trouble.clone())])).pop();
            let of_heartbeat = heartbeat_alert(Some(&trouble));
            for (what, alert) in [("channel", of_channel), ("heartbeat", of_heartbeat)] {
                assert_eq!(alert.is_some(), word.is_some());
                if let (Some(alert), Some(word)) = (alert, word) {
                    assert_eq!(alert.kind, format!("{what}_{word}"));
                    assert_eq!((alert.ends, alert.detail.as_deref()), (Some(NOW - HOUR), Some("503")));
                }
            }
        }
        assert_eq!((heartbeat_alert(None), config_alert(None)), (None, None));
        let broken = config_alert(Some("line 3")).unwrap();
        assert_eq!(
            (broken.kind.as_str(), broken.detail.as_deref()),
            ("config_broken", Some("line 3"))
        );
    }

    #[test]
    fn what_was_told_of_its_end_bears_that_moment() {
        let over = alert(Severity::Critical, true, NOW);
        let firing = told(&over, None, Why::First, &[], NOW - HOUR);
        let resolved = told_resolved(&firing, NOW);
        assert_eq!((resolved.status, resolved.at), (Status::Resolved, NOW));
        assert_eq!(
            Told {
                status: Status::Firing,
                at: firing.at,
                ..resolved
            },
            firing
        );
    }

    /// Walks through time in steps of a minute, telling whatever is due, and returns when and why.
    fn walk(ends: Moment, until: Moment) -> Vec<(Ms, Why)> {
        let steps = AlertsConfig::default().steps;
        let mut told_last: Option<Told> = None;
        let mut rang = Vec::new();
        let mut now = NOW;
        while now < until {
            let left = ends - now;
            let alert = match left {
                ..=0 => alert(Severity::Critical, true, ends),
                _ => alert(urgency(Some(ends), now), false, ends),
            };
            if left <= steps[0]
                && let Some(why) = due(&alert, told_last.as_ref(), &steps, now)
            {
                rang.push((now - ends, why));
                told_last = Some(told(&alert, told_last.as_ref(), why, &steps, now));
            }
            now = now + 60_000;
        }
        rang
    }

    #[test]
    fn the_ladder_is_seven_three_one_day_six_hours_the_lapse_and_ever_rarer_reminders() {
        let ends = NOW + 10 * DAY;
        let got = walk(ends, ends + 17 * DAY);
        let want = [
            (-7 * DAY, Why::First),
            (-3 * DAY, Why::Step),
            (-DAY, Why::Step),
            (-6 * HOUR, Why::Worse),
            (0, Why::Worse),
            (HOUR, Why::Reminder),
            (7 * HOUR, Why::Reminder),
            (DAY + 7 * HOUR, Why::Reminder),
            (3 * DAY + 7 * HOUR, Why::Reminder),
            (7 * DAY + 7 * HOUR, Why::Reminder),
            (15 * DAY + 7 * HOUR, Why::Reminder),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_pass_that_slept_through_the_steps_rings_once() {
        let steps = AlertsConfig::default().steps;
        let week = alert(Severity::Warning, false, NOW + 7 * DAY);
        let first = told(&week, None, Why::First, &steps, NOW);
        let late = NOW + 6 * DAY + 12 * HOUR;
        assert_eq!(due(&week, Some(&first), &steps, late), Some(Why::Step));
        let again = told(&week, Some(&first), Why::Step, &steps, late);
        assert_eq!(due(&week, Some(&again), &steps, late + 60_000), None);
    }

    #[test]
    fn worse_rings_at_once_and_a_half_repair_is_told() {
        let steps = AlertsConfig::default().steps;
        let soon = alert(Severity::Warning, false, NOW + DAY);
        let lapsed = alert(Severity::Critical, true, NOW);
        let told_soon = told(&soon, None, Why::First, &steps, NOW);
        assert_eq!(due(&lapsed, Some(&told_soon), &steps, NOW + 1), Some(Why::Worse));
        let told_lapsed = told(&lapsed, Some(&told_soon), Why::Worse, &steps, NOW + 1);
        assert_eq!(due(&lapsed, Some(&told_lapsed), &steps, NOW + 2), None);
        assert_eq!(due(&soon, Some(&told_lapsed), &steps, NOW + 2), Some(Why::Changed));
        let over = told_resolved(&told_lapsed, NOW + 3);
        assert_eq!(due(&lapsed, Some(&over), &steps, NOW + 4), Some(Why::First));
    }

    fn silence(scope: Scope, until: Until) -> Silence {
        Silence {
            scope,
            until,
            since: NOW,
        }
    }

    fn with_agents(id: &str, agents: &[&str]) -> Alert {
        let affected = |agent: &&str| Affected {
            family: Family::Clawdbot,
            named: None,
            agent: (*agent).into(),
            profile: "anthropic:claude-cli".into(),
            health: Health::Expired,
            expires_at: None,
        };
        Alert {
            id: id.into(),
            affected: agents.iter().map(affected).collect(),
            login: Some(EventLogin {
                id: "claude".into(),
                dir: "~/.claude".into(),
                health: Health::Expired,
                reason: None,
                access_expires_at: None,
                login_ends_at: None,
            }),
            ..alert(Severity::Critical, true, NOW)
        }
    }

    #[test]
    fn an_ack_holds_until_it_gets_worse_or_something_else() {
        let steps = AlertsConfig::default().steps;
        let soon = alert(Severity::Warning, false, NOW + 7 * DAY);
        let ack = Ack::of(&soon, NOW);
        let first = told(&soon, None, Why::First, &steps, NOW);
        let later =
            |alert: &Alert, at: Moment| decide(alert, Some(&first), mute(alert, Some(&ack), &[], at), &steps, at);
        let step = NOW + 4 * DAY;
        assert_eq!(later(&soon, step), Decision::Muted(Why::Step, Mute::Acked));
        let loud = alert(Severity::Critical, false, NOW + 7 * DAY);
        assert_eq!(later(&loud, step), Decision::Tell(Why::Worse));
        let lapsed = alert(Severity::Warning, true, NOW + 7 * DAY);
        assert_eq!(later(&lapsed, NOW + 8 * DAY), Decision::Tell(Why::Worse));
        let other = Alert {
            kind: "rejected".into(),
            ..soon.clone()
        };
        assert_eq!(later(&other, step), Decision::Tell(Why::Step));
        // an ack of the lapse itself ends the reminders
        let ack = Ack::of(&lapsed, NOW);
        assert_eq!(mute(&lapsed, Some(&ack), &[], NOW + 90 * DAY), Some(Mute::Acked));
    }

    #[test]
    fn an_agent_of_a_named_profile_is_silenced_by_its_own_label_alone() {
        let mut copies = with_agents("copies:claude", &["main"]);
        copies.affected[0].named = Some("work".into());
        let of = |label: &str| [silence(Scope::Agent(label.into()), Until::Time(NOW + HOUR))];
        assert_eq!(mute(&copies, None, &of("clawdbot/main"), NOW), None);
        assert_eq!(
            mute(&copies, None, &of("clawdbot-work/main"), NOW),
            Some(Mute::Silenced)
        );
    }

    #[test]
    fn a_silence_is_about_what_is_in_its_scope() {
        let store = Alert {
            login: None,
            ..with_agents("store:clawdbot/main", &[])
        };
        let of_store = Alert {
            login: None,
            ..with_agents("renew:clawdbot/main#p", &["main"])
        };
        for (alert, of_login, of_agent) in [
            // a login is more than its agents
            (with_agents("login:claude", &["main"]), true, false),
            (with_agents("renew:claude", &["main"]), true, false),
            (with_agents("copies:claude", &["work", "main"]), true, true),
            (with_agents("copies:claude", &["work"]), true, false),
            (of_store, false, true),
            (store, false, true),
        ] {
            for (scope, wanted) in [
                (Scope::All, true),
                (Scope::Login("claude".into()), of_login),
                (Scope::Login("other".into()), false),
                (Scope::Agent("clawdbot/main".into()), of_agent),
                (Scope::Agent("clawdbot/other".into()), false),
            ] {
                let silence = silence(scope, Until::Recovered);
                assert_eq!(silence.touches(&alert), wanted, "{:?} {}", silence.scope, alert.id);
            }
        }
    }

    #[test]
    fn a_silence_mutes_also_what_is_worse_by_scope_and_time() {
        let login = with_agents("login:claude", &["main"]);
        let copies = with_agents("copies:claude", &["main", "work"]);
        let store = Alert {
            id: "store:clawdbot/main".into(),
            login: None,
            ..with_agents("", &[])
        };
        let (agent, hour) = (
            |name: &str| Scope::Agent(format!("clawdbot/{name}")),
            Until::Time(NOW + HOUR),
        );
        let both = [silence(agent("main"), hour), silence(agent("work"), hour)];
        for (silences, alert, at, muted) in [
            (&[silence(Scope::All, hour)][..], &login, NOW, true),
            (&[silence(Scope::All, hour)], &login, NOW + HOUR, false),
            (&[silence(Scope::All, Until::Recovered)], &login, NOW + 90 * DAY, true),
            (&[silence(Scope::Login("claude".into()), hour)], &copies, NOW, true),
            (&[silence(Scope::Login("claude".into()), hour)], &store, NOW, false),
            // a login is more than its agents
            (&[silence(agent("main"), hour)], &login, NOW, false),
            (&[silence(agent("main"), hour)], &copies, NOW, false),
            (&both, &copies, NOW, true),
            (&[silence(agent("main"), hour)], &store, NOW, true),
            // made under a clock that was a day ahead
            (&[silence(Scope::All, hour)], &login, NOW - DAY, false),
        ] {
            let got = mute(alert, None, silences, at);
            assert_eq!(got, muted.then_some(Mute::Silenced), "{silences:?} {}", alert.id);
        }
    }

    #[test]
    fn a_channel_is_an_alert_once_it_is_more_than_a_hiccup() {
        let trouble = |failures, refused| Trouble {
            since: NOW,
            failures,
            refused,
            why: "answered 500".into(),
            mark: 0,
        };
        for (failures, refused, kind) in [
            (1, false, None),
            (2, false, None),
            (3, false, Some("channel_failing")),
            (1, true, Some("channel_refused")),
        ] {
            let alerts = channel_alerts(&BTreeMap::from([("phone".to_owned(), trouble(failures, refused))]));
            assert_eq!(alerts.first().map(|alert| alert.kind.as_str()), kind);
        }
    }

    proptest! {
        /// Whatever the clock does, telling settles it for that moment.
        #[test]
        fn telling_settles_it(left in -40 * DAY..40 * DAY, earlier in -DAY..DAY, lapsed in any::<bool>()) {
            let steps = AlertsConfig::default().steps;
            let one = alert(Severity::Critical, lapsed, NOW + left);
            let before = told(&one, None, Why::First, &steps, NOW + earlier);
            if let Some(why) = due(&one, Some(&before), &steps, NOW) {
                let after = told(&one, Some(&before), why, &steps, NOW);
                prop_assert_eq!(due(&one, Some(&after), &steps, NOW), None);
            }
        }
    }
}
