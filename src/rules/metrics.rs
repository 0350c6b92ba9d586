//! The judged world as Prometheus reads it: the text exposition format 0.0.4.
//!
//! Times are moments, not ages, so that a page that was made at the last pass is still true. Series are bounded: what no
//! clock ends is counted and not listed, and of profiles at most [`PROFILES`] are listed, the worst first.

use super::alert::{self, Alert};
use super::health;
use crate::rules::memory::{Deliveries, Ledger, Passes};
use crate::rules::view::View;
use crate::types::{Health, Moment, Ms, Problem, Reason, Severity};
use crate::visible;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};

/// So many profiles are listed one by one.
pub(crate) const PROFILES: usize = 500;

/// Foreign names are cut to so many characters.
const NAME: usize = 120;

const HEALTHS: [Health; 5] = [
    Health::Ok,
    Health::Static,
    Health::Expiring,
    Health::Expired,
    Health::Missing,
];

/// What the page reports.
pub(crate) struct Facts<'a> {
    /// Our version.
    pub(crate) version: &'a str,
    /// The judged world.
    pub(crate) view: &'a View,
    /// What is remembered.
    pub(crate) ledger: &'a Ledger,
    /// How passes went.
    pub(crate) passes: &'a Passes,
    /// What needs a human.
    pub(crate) alerts: &'a [Alert],
    /// What went wrong beside the view's own problems.
    pub(crate) problems: &'a [&'a Problem],
    /// The names of the channels in use.
    pub(crate) channels: &'a [&'a str],
    /// The names of the remotes.
    pub(crate) remotes: &'a [&'a str],
    /// The exit code of `check`.
    pub(crate) exit: u8,
}

/// The page.
pub(crate) fn text(facts: &Facts<'_>) -> String {
    let mut page = Page::default();
    page.family("build_info", "The version that made this page.");
    page.sample(&[("version", facts.version)], 1);
    page.family("look_timestamp_seconds", "When the files were read.");
    page.sample(&[], seconds(facts.view.now.ms()));
    page.family(
        "check_exit_code",
        "What `nolapse check` exits with: 0 fine, 1 expired or missing, 2 expiring, 3 unknown.",
    );
    page.sample(&[], facts.exit);
    logins(&mut page, facts);
    profiles(&mut page, facts.view);
    alerts(&mut page, facts);
    work(&mut page, facts);
    channels(&mut page, facts);
    remotes(&mut page, facts);
    page.text
}

fn logins(page: &mut Page, facts: &Facts<'_>) {
    let view = facts.view;
    // of two that look alike the worse one counts
    let mut logins = BTreeMap::new();
    for login in &view.logins {
        let name = name(login.id());
        let badness = login.verdict.health.badness();
        let worse = |seen: &&crate::rules::view::LoginView| badness > seen.verdict.health.badness();
        if logins.get(&name).is_none_or(worse) {
            logins.insert(name, login);
        }
    }
    page.family("login_health", "1 for the health that a login has, 0 for the others.");
    for (id, login) in &logins {
        page.states(&[("login", id)], login.verdict.health);
    }
    page.family("login_reason", "Why a login has its health.");
    for (id, login) in &logins {
        if let Some(reason) = login.verdict.reason {
            page.sample(&[("login", id), ("reason", reason.word())], 1);
        }
    }
    page.family(
        "login_renews",
        "1 where a login's access token is renewed without a human.",
    );
    for (id, login) in &logins {
        page.sample(&[("login", id)], u8::from(login.renews()));
    }
    page.family(
        "login_access_expiry_timestamp_seconds",
        "When a login's access token ends, which renews itself.",
    );
    for (id, login) in &logins {
        let end = login.login.grant().and_then(|grant| grant.expires);
        page.moment(&[("login", id)], end);
    }
    page.family(
        "login_deadline_timestamp_seconds",
        "When a login ends for good; the server may end it up to three days earlier.",
    );
    for (id, login) in &logins {
        let deadline = login
            .login
            .grant()
            .and_then(|grant| health::deadline(grant, view.now))
            .or(login.verdict.ends.filter(|_| !login.renews()));
        page.moment(&[("login", id)], deadline);
    }
    page.family(
        "login_renewal_failures",
        "How often in a row the renewal of a login's present token has failed.",
    );
    for (id, login) in &logins {
        let failures = login.renewal.as_ref().map_or(0, |renewal| renewal.failures);
        page.sample(&[("login", id)], failures);
    }
}

/// A profile as it is listed.
struct Listed {
    names: [String; 3],
    health: Health,
    reason: Option<Reason>,
    expires: Option<Moment>,
}

impl Listed {
    fn labels(&self) -> [(&'static str, &str); 3] {
        let [family, agent, profile] = &self.names;
        [("family", family), ("agent", agent), ("profile", profile)]
    }
}

fn profiles(page: &mut Page, view: &View) {
    let (counts, listed, omitted) = profiles_of(view);
    page.family("agents", "Agents found.");
    page.sample(&[], view.agents.len());
    page.family(
        "profiles",
        "Profiles in all agents' stores, by health; those without an end are counted here alone.",
    );
    for health in HEALTHS {
        let count = counts.get(&health.badness()).copied().unwrap_or(0);
        page.sample(&[("health", &health.to_string())], count);
    }
    page.family(
        "profiles_omitted",
        "Profiles that are left out of the lists below, the best ones, where there are too many.",
    );
    page.sample(&[], omitted);
    page.family(
        "profile_health",
        "1 for the health that a profile has, 0 for the others.",
    );
    for one in &listed {
        page.states(&one.labels(), one.health);
    }
    page.family("profile_reason", "Why a profile has its health.");
    for one in &listed {
        if let Some(reason) = one.reason {
            let [family, agent, profile] = one.labels();
            page.sample(&[family, agent, profile, ("reason", reason.word())], 1);
        }
    }
    page.family(
        "profile_expiry_timestamp_seconds",
        "When a profile's credential ends by the clock.",
    );
    for one in &listed {
        page.moment(&one.labels(), one.expires);
    }
}

/// How many profiles there are of each health, those that are listed, and how many more there would be.
fn profiles_of(view: &View) -> (BTreeMap<u8, u64>, Vec<Listed>, usize) {
    let mut counts: BTreeMap<u8, u64> = BTreeMap::new();
    let mut listed: Vec<Listed> = Vec::new();
    for agent in &view.agents {
        let label = agent.label();
        let (family, id) = label.split_once('/').unwrap_or((&label, ""));
        for profile in &agent.profiles {
            let (health, expires) = (profile.verdict.health, profile.profile.credential.expires());
            *counts.entry(health.badness()).or_default() += 1;
            if health == Health::Static && profile.verdict.reason.is_none() {
                continue;
            }
            listed.push(Listed {
                names: [name(family), name(id), name(&profile.profile.id)],
                health,
                reason: profile.verdict.reason,
                expires,
            });
        }
    }
    // by name, of two that look alike the worse one; then the worst of all, as many as there is room for
    listed.sort_by(|a, b| (&a.names, b.health.badness()).cmp(&(&b.names, a.health.badness())));
    listed.dedup_by(|a, b| a.names == b.names);
    let total = listed.len();
    if total > PROFILES {
        listed.sort_by_key(|one| (u8::MAX - one.health.badness(), one.expires.unwrap_or(Moment::MAX)));
        listed.truncate(PROFILES);
        listed.sort_by(|a, b| a.names.cmp(&b.names));
    }
    let omitted = total - listed.len();
    (counts, listed, omitted)
}

fn alerts(page: &mut Page, facts: &Facts<'_>) {
    page.family("alerts_firing", "What needs a human, muted or not, by severity.");
    for severity in [Severity::Info, Severity::Warning, Severity::Critical] {
        let count = facts.alerts.iter().filter(|alert| alert.severity == severity).count();
        page.sample(&[("severity", severity.word())], count);
    }
    page.family("alerts_muted", "Those of them that somebody acknowledged or silenced.");
    let muted = |alert: &&Alert| {
        let memory = facts.ledger.alerts.get(&alert.id);
        let ack = memory.and_then(|memory| memory.ack.as_ref());
        alert::mute(alert, ack, &facts.ledger.silences, facts.view.now).is_some()
    };
    page.sample(&[], facts.alerts.iter().filter(muted).count());
    page.family("problems", "Problems and notes, by kind.");
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for problem in facts.view.problems.iter().chain(facts.problems.iter().copied()) {
        *kinds.entry(problem.kind).or_default() += 1;
    }
    for (kind, count) in kinds {
        page.sample(&[("kind", kind)], count);
    }
}

fn work(page: &mut Page, facts: &Facts<'_>) {
    let (passes, counts) = (facts.passes, &facts.ledger.counts);
    page.family("last_pass_timestamp_seconds", "When the last whole pass ended.");
    page.moment(&[], passes.last_at);
    page.family(
        "last_good_pass_timestamp_seconds",
        "When the last pass ended that did its work and delivered its alerts.",
    );
    page.moment(&[], passes.last_good_at);
    page.family("last_pass_duration_seconds", "How long the last whole pass took.");
    if passes.last_at.is_some() {
        page.sample(&[], seconds(passes.last_took));
    }
    page.family("passes_total", "Whole passes, by whether they could do their work.");
    page.sample(&[("result", "good")], passes.good);
    page.sample(&[("result", "bad")], passes.bad);
    page.family("renewals_total", "Renewals that were due, by how they went.");
    page.sample(&[("outcome", "renewed")], counts.renewed);
    page.sample(&[("outcome", "failed")], counts.not_renewed);
    page.family("writes_total", "Writes of stores and logins, by what was done.");
    page.sample(&[("outcome", "store_written")], counts.stores_written);
    page.sample(&[("outcome", "login_healed")], counts.logins_healed);
    page.sample(&[("outcome", "failed")], counts.writes_failed);
}

fn channels(page: &mut Page, facts: &Facts<'_>) {
    let mut channels: BTreeMap<String, (Deliveries, bool)> = BTreeMap::new();
    for channel in facts.channels {
        let counts = facts.ledger.counts.deliveries.get(*channel);
        let counts = counts.copied().unwrap_or_default();
        let failing = facts.ledger.troubles.get(*channel).is_some_and(alert::Trouble::lasting);
        let known = channels.entry(name(channel)).or_default();
        known.0.delivered += counts.delivered;
        known.0.failed += counts.failed;
        known.1 |= failing;
    }
    page.family("deliveries_total", "Attempts to notify a channel, by result.");
    for (channel, (counts, _)) in &channels {
        for (result, count) in [("delivered", counts.delivered), ("failed", counts.failed)] {
            page.sample(&[("channel", channel), ("result", result)], count);
        }
    }
    page.family("channel_failing", "1 where a channel does not get through any more.");
    for (channel, (_, failing)) in &channels {
        page.sample(&[("channel", channel)], u8::from(*failing));
    }
    let outbox = &facts.ledger.outbox;
    page.family("outbox_events", "Events that wait to be delivered.");
    page.sample(&[], outbox.len());
    page.family(
        "outbox_oldest_timestamp_seconds",
        "Since when the oldest of them waits; not there while nothing waits.",
    );
    page.moment(&[], outbox.iter().map(|out| out.queued_at).min());
}

fn remotes(page: &mut Page, facts: &Facts<'_>) {
    let memories = || {
        facts.remotes.iter().filter_map(|remote| {
            let memory = facts.ledger.remotes.get(*remote)?;
            Some((*remote, memory))
        })
    };
    page.family(
        "remote_silent",
        "1 where another host did not answer when it was last asked.",
    );
    for (remote, memory) in memories() {
        let silent = u8::from(memory.silent_since.is_some());
        page.sample(&[("remote", remote)], silent);
    }
    page.family("remote_asked_timestamp_seconds", "When another host was last asked.");
    for (remote, memory) in memories() {
        page.moment(&[("remote", remote)], Some(memory.asked_at));
    }
    page.family(
        "remote_alerts_firing",
        "What needs a human on another host, by its last answer.",
    );
    for (remote, memory) in memories() {
        page.sample(&[("remote", remote)], memory.alerts.len());
    }
}

/// A page, and the family whose samples come next.
#[derive(Default)]
struct Page {
    text: String,
    family: &'static str,
}

impl Page {
    /// What the samples that follow are, and mean. Printed even if there are none.
    fn family(&mut self, name: &'static str, help: &str) {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        let _ = writeln!(self.text, "# HELP nolapse_{name} {help}\n# TYPE nolapse_{name} {kind}");
        self.family = name;
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "nolapse_{}", self.family);
        for (i, (key, value)) in labels.iter().enumerate() {
            let _ = write!(
                self.text,
                "{}{key}=\"{}\"",
                if i == 0 { '{' } else { ',' },
                escape(value)
            );
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A moment; none where it is not known, or the file says 0.
    fn moment(&mut self, labels: &[(&str, &str)], at: Option<Moment>) {
        if let Some(at) = at.filter(|at| *at > Moment::EPOCH) {
            self.sample(labels, seconds(at.ms()));
        }
    }

    fn states(&mut self, labels: &[(&str, &str)], is: Health) {
        for health in HEALTHS {
            let word = health.to_string();
            let mut all = labels.to_vec();
            all.push(("health", &word));
            self.sample(&all, u8::from(health == is));
        }
    }
}

/// A foreign name: what cannot be seen is written out, and of a length that a database takes.
fn name(text: &str) -> String {
    match text.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", visible::line(&text[..end])),
        None => visible::line(text).into_owned(),
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Seconds to the millisecond, without the rounding of a float.
fn seconds(ms: Ms) -> String {
    let (whole, rest) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    let sign = if ms < 0 { "-" } else { "" };
    match rest {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{rest:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::alert::Trouble;
    use crate::rules::health::Verdict;
    use crate::rules::view::tests::{agent, profile};
    use crate::rules::view::{self, AgentView, ProfileView};

    const NOW: Moment = Moment::at(1_769_000_000_123);

    fn page(agents: Vec<AgentView>) -> String {
        page_of(Vec::new(), agents)
    }

    fn page_of(logins: Vec<crate::rules::view::LoginView>, agents: Vec<AgentView>) -> String {
        let view = view::tests::view(NOW, logins, agents);
        text(&Facts {
            version: "1",
            view: &view,
            ledger: &Ledger::default(),
            passes: &Passes::default(),
            alerts: &[],
            problems: &[],
            channels: &["a\"b\\c\nd", "log"],
            remotes: &[],
            exit: 3,
        })
    }

    #[test]
    fn of_two_logins_that_look_alike_the_worse_one_counts() {
        use crate::rules::login::{Login, Place, Source, State};
        use crate::rules::view::LoginView;
        let login = |end: &str, health| {
            let place = Place::new("x".repeat(NAME) + end, "/c", false);
            let (reason, ends) = (None, None);
            let verdict = Verdict { health, reason, ends };
            LoginView::new(Login::new(place, Source::File, State::Absent), verdict)
        };
        let (fine, soon, over) = (
            || login("a", Health::Ok),
            || login("b", Health::Expiring),
            || login("c", Health::Expired),
        );
        for (logins, worst) in [
            (vec![fine(), soon(), over()], "expired"),
            (vec![over(), soon(), fine()], "expired"),
            (vec![soon(), fine()], "expiring"),
        ] {
            let page = page_of(logins, Vec::new());
            no_series_twice(&page);
            let is = |line: &&str| line.contains("login_health{") && line.ends_with(" 1");
            let found: Vec<&str> = page.lines().filter(is).collect();
            assert!(
                found.len() == 1 && found[0].contains(&format!("\"{worst}\"")),
                "{found:?}"
            );
        }
        // of two that are as bad the first
        let alike = |one: LoginView, other: LoginView| page_of(vec![one, other], Vec::new());
        let mut late = over();
        late.verdict.reason = Some(Reason::LoginEnded);
        assert!(alike(late.clone(), over()).contains("login_ended") && !alike(over(), late).contains("login_ended"));
    }

    /// Every sample once: a collector refuses a page with two of one name.
    fn no_series_twice(page: &str) {
        let mut series: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        series
            .iter_mut()
            .for_each(|line| *line = line.rsplit_once(' ').unwrap().0);
        let all = series.len();
        series.sort_unstable();
        series.dedup();
        assert_eq!(series.len(), all);
    }

    #[test]
    fn moments_are_seconds_and_an_unknown_one_is_not_there() {
        for (ms, said) in [
            (0, "0"),
            (1, "0.001"),
            (NOW.ms(), "1769000000.123"),
            (60_000, "60"),
            (-1500, "-1.500"),
        ] {
            assert_eq!(seconds(ms), said);
        }
        let page = page(Vec::new());
        assert!(
            page.contains("nolapse_look_timestamp_seconds 1769000000.123\n"),
            "{page}"
        );
        assert!(
            page.contains("# TYPE nolapse_last_pass_timestamp_seconds gauge\n"),
            "{page}"
        );
        assert!(!page.contains("\nnolapse_last_pass_timestamp_seconds"), "{page}");
        assert!(page.contains("nolapse_check_exit_code 3\n"), "{page}");
    }

    #[test]
    fn foreign_names_are_escaped_and_cut() {
        let long = "ä".repeat(5000);
        let view = vec![agent(
            "main",
            vec![
                profile("x\u{1b}[31m\"\\\n", Health::Ok, Some(NOW)),
                profile(&long, Health::Ok, None),
            ],
        )];
        let page = page(view);
        assert!(page.contains(r#"profile="x\\u001b[31m\"\\\\u000a""#), "{page}");
        assert!(page.contains(r#"channel="a\"b\\c\\u000ad""#), "{page}");
        assert!(
            !page.contains('\u{1b}') && page.lines().all(|line| line.len() < 400),
            "{page}"
        );
        no_series_twice(&page);
    }

    #[test]
    fn of_profiles_that_look_alike_the_worst_counts_and_keys_are_counted_alone() {
        let view = vec![
            agent(
                "main",
                vec![profile("x", Health::Ok, Some(NOW)), profile("k", Health::Static, None)],
            ),
            agent("main", vec![profile("x", Health::Expired, Some(Moment::at(1000)))]),
            agent("main", vec![profile("x", Health::Ok, Some(NOW))]),
        ];
        let page = page(view);
        no_series_twice(&page);
        for said in [
            r#"nolapse_profiles{health="ok"} 2"#,
            r#"nolapse_profiles{health="static"} 1"#,
            r#"nolapse_profiles{health="expired"} 1"#,
            r#"nolapse_profile_health{family="clawdbot",agent="main",profile="x",health="expired"} 1"#,
            r#"nolapse_profile_health{family="clawdbot",agent="main",profile="x",health="ok"} 0"#,
            r#"nolapse_profile_reason{family="clawdbot",agent="main",profile="x",reason="copy_stale"} 1"#,
            r#"nolapse_profile_expiry_timestamp_seconds{family="clawdbot",agent="main",profile="x"} 1"#,
        ] {
            assert!(page.contains(&format!("{said}\n")), "{said}: {page}");
        }
        assert!(!page.contains(r#"profile="k""#), "{page}");
    }

    #[test]
    fn of_too_many_profiles_the_worst_are_listed() {
        let mut profiles: Vec<ProfileView> = (0..3 * PROFILES)
            .map(|i| profile(&format!("p{i}"), Health::Ok, Some(NOW + i as Ms)))
            .collect();
        profiles.push(profile("elsewhere", Health::Referenced, None));
        profiles.push(profile("bad", Health::Expired, Some(NOW)));
        let page = page(vec![agent("main", profiles)]);
        no_series_twice(&page);
        let listed = page
            .lines()
            .filter(|line| line.starts_with("nolapse_profile_expiry"))
            .count();
        assert_eq!(listed, PROFILES);
        assert!(
            page.contains(&format!("nolapse_profiles_omitted {}\n", 2 * PROFILES + 2)),
            "{page}"
        );
        assert!(page.contains(r#"profile="bad",health="expired"} 1"#), "{page}");
        assert!(
            page.contains(r#"profile="p0","#) && !page.contains(r#"profile="p1499""#),
            "{page}"
        );
        let total = format!(r#"nolapse_profiles{{health="ok"}} {}"#, 3 * PROFILES);
        assert!(page.contains(&total), "{page}");
    }

    #[test]
    fn the_verdicts_end_is_the_deadline_of_a_login_that_does_not_renew_itself() {
        use crate::rules::login::{Grant, Login, Place, Refresh, Source, State};
        use crate::rules::view::LoginView;
        use crate::secret::Secret;
        let end = Moment::at(1_770_000_000_000);
        for (refresh, said) in [(Refresh::None, true), (Refresh::Token(Secret::new("R")), false)] {
            for expires in [Moment::EPOCH, Moment::at(5000)] {
                let grant = Grant::new(Secret::new("A"), refresh.clone(), Some(expires));
                let login = Login::new(Place::new("x", "/c", false), Source::File, State::SignedIn(grant));
                let verdict = Verdict {
                    health: Health::Ok,
                    reason: None,
                    ends: Some(end),
                };
                let page = page_of(vec![LoginView::new(login, verdict)], Vec::new());
                let deadline = "nolapse_login_deadline_timestamp_seconds{login=\"x\"} 1770000000\n";
                assert_eq!(page.contains(deadline), said, "{page}");
                // an end of 0 is none
                let ends = page.contains("nolapse_login_access_expiry_timestamp_seconds{");
                assert_eq!(ends, expires > Moment::EPOCH, "{page}");
            }
        }
    }

    #[test]
    fn problems_are_counted_by_kind_and_a_channel_that_keeps_failing_is_one_whatever_looks_like_it() {
        let problem = |kind| Problem {
            kind,
            path: None,
            message: String::new(),
            hint: String::new(),
        };
        let (one, two) = (problem("silenced"), problem("config_broken"));
        let view = View {
            now: NOW,
            logins: Vec::new(),
            agents: Vec::new(),
            state_dirs: Vec::new(),
            problems: vec![one.clone(), two.clone()],
            looked_at: Vec::new(),
        };
        let trouble = |refused| Trouble {
            since: NOW,
            failures: 1,
            refused,
            why: "down".into(),
            mark: 0,
        };
        let long = |end: &str| "x".repeat(NAME) + end;
        let (first, last) = (long("a"), long("b"));
        for failing in [&first, &last] {
            let mut ledger = Ledger::default();
            ledger.troubles.insert(failing.clone(), trouble(true));
            ledger.troubles.insert("log".into(), trouble(false));
            let page = text(&Facts {
                version: "1",
                view: &view,
                ledger: &ledger,
                passes: &Passes::default(),
                alerts: &[],
                problems: &[&two],
                channels: &[&first, &last, "log"],
                remotes: &[],
                exit: 0,
            });
            no_series_twice(&page);
            for said in [
                r#"nolapse_problems{kind="silenced"} 1"#.to_owned(),
                r#"nolapse_problems{kind="config_broken"} 2"#.to_owned(),
                format!(r#"nolapse_channel_failing{{channel="{}"}} 1"#, name(failing)),
                r#"nolapse_channel_failing{channel="log"} 0"#.to_owned(),
            ] {
                assert!(page.contains(&format!("{said}\n")), "{said}: {page}");
            }
        }
    }
}
