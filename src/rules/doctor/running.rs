//! Who runs nolapse, and with which `claude`.

use super::super::memory::Upgrade;
use super::super::wording::{operand, span};
use super::{Facts, Finding, Group, Level, Spot, changes, counted, helped};
use crate::types::{DAY, HOUR, MINUTE, Moment, Ms, Problem};

/// Who runs nolapse.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningFact {
    /// The ways in which it is installed.
    pub(crate) ways: Vec<Way>,
    /// That was not looked at, since a service would not look at this home.
    pub(crate) elsewhere: bool,
    /// Daemons that run on this home now.
    pub(crate) daemons: Vec<u32>,
    /// When the last whole pass ended.
    pub(crate) last_pass: Option<Moment>,
    /// And the last one that could do its work and deliver its alerts.
    pub(crate) last_good: Option<Moment>,
    /// The last upgrade, where there was one.
    pub(crate) upgrade: Option<Upgrade>,
    /// For how long there may be none.
    pub(crate) patience: Ms,
    /// This program.
    pub(crate) exe: Option<Spot>,
    /// systemd keeps the user's services after logout.
    pub(crate) linger: Option<bool>,
    /// The user's name.
    pub(crate) user: String,
    /// The platform to install for here.
    pub(crate) platform: &'static str,
    /// Termux:API, where this is Termux.
    pub(crate) termux_api: Option<TermuxApi>,
    /// Whether Termux may come to the front by itself ("Display over other apps"), where this is Termux and it could be asked.
    pub(crate) overlay: Option<bool>,
    /// Which `claude` renews, where one is to, or why it cannot.
    pub(crate) cli: Option<Result<String, Problem>>,
}

/// Whether Termux:API works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TermuxApi {
    /// It answers.
    Answers,
    /// Its commands are not installed.
    Missing,
    /// Its commands never end: the app is missing or was never opened.
    Silent,
    /// They cannot: the environment lacks what Android's `am` starts with.
    NoClassPath,
}

/// One way in which it is installed.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The word after `nolapse install`.
    pub(crate) platform: &'static str,
    /// In words: `the systemd timer`.
    pub(crate) name: String,
    /// The resident form.
    pub(crate) daemon: bool,
    /// The program that it runs, and whether that is there.
    pub(crate) program: Option<(Spot, bool)>,
    /// Files of it that are gone.
    pub(crate) gone: usize,
    /// Whether it is switched on.
    pub(crate) on: On,
}

/// Whether something is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nothing was asked, but a file says so.
    Likely,
    /// It could not be told, and why.
    Untold(String),
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let running = &facts.running;
    let mut found = Vec::new();
    found.extend(nobody(running, facts.now));
    for way in &running.ways {
        found.extend(program_gone(way));
        found.extend(incomplete(way));
        found.extend(off(way));
    }
    found.extend(old(running, facts.now));
    found.extend(job_held_back(running, facts.now));
    found.extend(failing(running, facts.now));
    found.extend(linger_off(running));
    found.extend(two_installs(running));
    found.extend(two_programs(running));
    found.extend(termux_api(running));
    found.extend(overlay(running));
    found.extend(no_claude(running));
    found.extend(changes::judge(facts));
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    let running = &facts.running;
    let mut how: Vec<String> = running.ways.iter().map(|way| way.name.clone()).collect();
    how.extend(running.last_pass.map(|at| match facts.now - at {
        ago if ago < MINUTE => "last pass just now".to_owned(),
        ago => format!("last pass {} ago", span(ago)),
    }));
    how.extend(changes::said(facts));
    if running.linger == Some(true) {
        how.push("linger on".into());
    }
    if running.termux_api == Some(TermuxApi::Answers) {
        how.push("Termux:API answers".into());
    }
    Some(how.join(", "))
}

/// Passes by a timer or the daemon are at most this far apart; Android runs its jobs when it likes.
pub(crate) fn patience(termux: bool) -> Ms {
    if termux { 6 * HOUR } else { 2 * HOUR }
}

/// Whether passes are made without a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Runs {
    /// Something makes them.
    #[default]
    Alone,
    /// Nothing does: the last one was made by hand.
    ByHand,
    /// It could not be told from here.
    Unknown,
}

/// Who makes passes, by what the platform and the process table say. That one was made just now says nothing: a person can make
/// it.
pub(crate) fn runs(ways: &[Way], daemons: &[u32]) -> Runs {
    let on = |way: &Way| matches!(way.on, On::Yes | On::Likely);
    if !daemons.is_empty() || ways.iter().any(on) {
        Runs::Alone
    } else if ways.iter().any(|way| matches!(way.on, On::Untold(_))) {
        Runs::Unknown
    } else {
        Runs::ByHand
    }
}

impl RunningFact {
    /// How long ago the last pass was; `None` where there was none, or it is ahead of a clock that was set back.
    fn idle(&self, now: Moment) -> Option<Ms> {
        self.last_pass.map(|at| now - at).filter(|idle| *idle >= 0)
    }

    /// Passes are made.
    fn recent(&self, now: Moment) -> bool {
        self.last_pass.is_some() && self.idle(now).is_none_or(|idle| idle <= self.patience)
    }
}

impl Way {
    /// The command that installs it again.
    fn again(&self) -> String {
        let daemon = if self.daemon { " --daemon" } else { "" };
        format!("nolapse install {}{daemon}", self.platform)
    }
}

fn finding(kind: &str, level: Level, what: impl Into<String>, why: impl Into<String>) -> Finding {
    Finding::new(kind, Group::Running, level, what, why)
}

fn nobody(running: &RunningFact, now: Moment) -> Option<Finding> {
    if running.elsewhere {
        let found = finding(
            "not_looked",
            Level::Note,
            "what runs nolapse for this home was not checked",
            "services check their own user's home, and this is another one",
        );
        return Some(found.advice("run it as that user, without `--home`"));
    }
    // one that is off or unknown has a finding of its own
    if !running.ways.is_empty() || runs(&running.ways, &running.daemons) != Runs::ByHand {
        return None;
    }
    let last = match running.idle(now) {
        None => "there was no pass yet".to_owned(),
        Some(idle) if idle < MINUTE => "the last pass was just now, by hand".to_owned(),
        Some(idle) => format!("the last pass was {} ago, by hand", span(idle)),
    };
    let found = finding(
        "not_installed",
        Level::Warning,
        format!("nothing runs nolapse automatically; {last}"),
        "you will notice that a login ended only when you look",
    );
    Some(found.run(format!("nolapse install {}", running.platform)))
}

fn program_gone(way: &Way) -> Option<Finding> {
    let (program, false) = way.program.as_ref()? else {
        return None;
    };
    let what = format!("{} runs `{}`, which is not there", way.name, program.shown);
    Some(
        finding("program_gone", Level::Broken, what, "nobody is watching")
            .at(&program.path)
            .run(way.again()),
    )
}

fn incomplete(way: &Way) -> Option<Finding> {
    (way.gone > 0).then(|| {
        finding(
            "install_incomplete",
            Level::Broken,
            format!("{} of {} are gone", counted(way.gone, "file"), way.name),
            "it does not run as it was installed",
        )
        .run(way.again())
    })
}

fn off(way: &Way) -> Option<Finding> {
    match &way.on {
        On::Yes | On::Likely => None,
        On::No => Some(
            finding(
                "not_running",
                Level::Broken,
                format!("{} is not running", way.name),
                "nobody is watching",
            )
            .run(way.again()),
        ),
        On::Untold(why) => Some(
            finding(
                "not_told",
                Level::Unknown,
                format!("cannot tell whether {} is running: {why}", way.name),
                "it may not be running",
            )
            .advice("run this again in a session of its user"),
        ),
    }
}

fn old(running: &RunningFact, now: Moment) -> Option<Finding> {
    let on = running.ways.iter().any(|way| matches!(way.on, On::Yes | On::Likely));
    let idle = running.idle(now).filter(|idle| on && *idle > running.patience)?;
    let found = finding(
        "last_pass_old",
        if idle > DAY { Level::Broken } else { Level::Warning },
        format!("the last pass was {} ago, although nolapse is installed", span(idle)),
        "nobody has watched since; the host may have been asleep, or passes fail before they begin",
    );
    Some(found.run("nolapse run"))
}

/// Android's standby buckets let a job of an app that is not exempt from battery optimisation run at most 10 times in 2 h, 8 in 8 h or
/// 3 in 24 h (AOSP `QuotaController`); a job every 15 minutes that is an hour late is held back by one.
fn job_held_back(running: &RunningFact, now: Moment) -> Option<Finding> {
    let job = |way: &Way| way.platform == "termux" && matches!(way.on, On::Yes | On::Likely);
    let job = running.daemons.is_empty() && running.ways.iter().any(job);
    let idle = running
        .idle(now)
        .filter(|idle| job && *idle > HOUR && *idle <= running.patience)?;
    let found = finding(
        "job_held_back",
        Level::Warning,
        format!(
            "the last pass was {} ago, and the job is due every 15 minutes",
            span(idle)
        ),
        "Android holds back the jobs of Termux:API, probably by battery optimisation: alerts come late",
    );
    Some(found.advice("switch battery optimisation off for Termux:API and for Termux, in Android's settings"))
}

fn overlay(running: &RunningFact) -> Option<Finding> {
    (running.overlay == Some(false)).then(|| {
        finding(
            "overlay_off",
            Level::Note,
            "Termux may not display over other apps",
            "a terminal opened by an alert waits until you open Termux; signing in from the notification needs no terminal",
        )
        .advice("allow it in Android's settings for Termux, if you want terminals to open by themselves")
    })
}

fn failing(running: &RunningFact, now: Moment) -> Option<Finding> {
    let what = match (running.last_pass, running.last_good) {
        (Some(_), Some(good)) => format!("passes run, but none has succeeded for {}", span(now - good)),
        (Some(_), None) => "passes run, but none has succeeded yet".to_owned(),
        _ => return None,
    };
    let long = running.last_good.is_none_or(|good| now - good > running.patience);
    (running.recent(now) && long).then(|| {
        finding(
            "passes_fail",
            Level::Warning,
            what,
            "they could not do their work, or could not deliver an alert",
        )
        .run("nolapse run")
    })
}

fn linger_off(running: &RunningFact) -> Option<Finding> {
    let systemd = running.ways.iter().any(|way| way.platform == "systemd");
    (running.linger == Some(false) && systemd).then(|| {
        finding(
            "linger_off",
            Level::Warning,
            format!("linger is off for `{}`", running.user),
            "systemd stops the timer when the last session ends",
        )
        .run(format!("loginctl enable-linger {}", operand(&running.user)))
    })
}

fn two_installs(running: &RunningFact) -> Option<Finding> {
    let mut names: Vec<String> = running.ways.iter().map(|way| way.name.clone()).collect();
    // an installed daemon is the process that runs
    let expected = running.ways.iter().filter(|way| way.daemon).count();
    for pid in running.daemons.iter().skip(expected) {
        names.push(format!("a daemon (process {pid})"));
    }
    if names.len() < 2 {
        return None;
    }
    let found = finding(
        "two_installs",
        Level::Warning,
        format!("nolapse is run by {}", names.join(" and ")),
        "they wait for each other, and with two state directories every alert is sent twice",
    );
    Some(match running.ways.last().filter(|_| running.ways.len() > 1) {
        Some(way) => found.run(format!("nolapse uninstall {}", way.platform)),
        None => match running.daemons.last() {
            Some(pid) => found.run(format!("kill {pid}")),
            None => found,
        },
    })
}

fn two_programs(running: &RunningFact) -> Option<Finding> {
    let ways = running.ways.iter().filter_map(|way| way.program.as_ref());
    let mut programs: Vec<&Spot> = ways.map(|(spot, _)| spot).collect();
    programs.dedup_by_key(|spot| &spot.path);
    if let [first, .., last] = programs[..]
        && first.path != last.path
    {
        let found = finding(
            "two_programs",
            Level::Warning,
            format!("two programs are installed: `{}` and `{}`", first.shown, last.shown),
            "an older one may follow other rules",
        );
        return Some(found.advice("remove one of them, then `nolapse install` again"));
    }
    let (own, [installed]) = (running.exe.as_ref()?, &programs[..]) else {
        return None;
    };
    (own.path != installed.path).then(|| {
        finding(
            "two_programs",
            Level::Note,
            format!(
                "this is `{}`, but what runs automatically is `{}`",
                own.shown, installed.shown
            ),
            "what you see here may differ from what that one does",
        )
        .advice("fine if both are the same version")
    })
}

fn termux_api(running: &RunningFact) -> Option<Finding> {
    match running.termux_api? {
        TermuxApi::Missing => Some(
            finding(
                "termux_api_missing",
                Level::Broken,
                "the commands of Termux:API are not installed",
                "no notification can be shown, and no job can be scheduled",
            )
            .run("pkg install termux-api"),
        ),
        TermuxApi::Silent => Some(
            finding(
                "termux_api_silent",
                Level::Broken,
                "Termux:API does not answer",
                "without its app its commands hang, and no notification is shown",
            )
            .advice("install the app Termux:API from where Termux came from, and open it once"),
        ),
        TermuxApi::NoClassPath => Some(
            finding(
                "termux_no_class_path",
                Level::Broken,
                "`BOOTCLASSPATH` is not set here, so no command of Termux:API can start",
                "nothing started from here can show a notification or schedule a job",
            )
            .advice("start it from Termux itself, or keep BOOTCLASSPATH in the environment of what starts it"),
        ),
        TermuxApi::Answers => None,
    }
}

fn no_claude(running: &RunningFact) -> Option<Finding> {
    let problem = running.cli.as_ref()?.as_ref().err()?;
    let mut found = finding(
        problem.kind,
        Level::Warning,
        &problem.message,
        "only using Claude Code renews the login; otherwise agents stop working within 8 h",
    );
    found.path = problem.path.clone();
    Some(helped(found, &problem.hint))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn who_runs_it_is_judged() {
        let way = |platform, daemon, on| Way {
            platform,
            name: format!("the {platform}"),
            daemon,
            program: None,
            gone: 0,
            on,
        };
        let of = |ways: Vec<Way>, daemons: Vec<u32>, idle: Option<Ms>| {
            let running = RunningFact {
                ways,
                daemons,
                last_pass: idle.map(|idle| NOW - idle),
                last_good: idle.map(|idle| NOW - idle),
                ..facts().running
            };
            let found = kinds(&Facts { running, ..facts() });
            found
                .into_iter()
                .map(|(kind, level)| format!("{kind} {level}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let timer = || way("systemd", false, On::Yes);
        for (found, wanted) in [
            (of(vec![], vec![], None), "not_installed warning"),
            (of(vec![], vec![], Some(3 * HOUR)), "not_installed warning"),
            // a pass made by hand is not a timer
            (of(vec![], vec![], Some(0)), "not_installed warning"),
            (of(vec![], vec![], Some(-HOUR)), "not_installed warning"),
            (of(vec![], vec![7], None), ""),
            (of(vec![timer()], vec![], Some(HOUR)), ""),
            (of(vec![timer()], vec![], Some(3 * HOUR)), "last_pass_old warning"),
            (of(vec![timer()], vec![], Some(2 * HOUR)), ""),
            (of(vec![timer()], vec![], Some(DAY)), "last_pass_old warning"),
            (of(vec![timer()], vec![], Some(DAY + 1)), "last_pass_old broken"),
            (
                of(vec![way("systemd", false, On::No)], vec![], Some(3 * DAY)),
                "not_running broken",
            ),
            (of(vec![way("systemd", true, On::Yes)], vec![7], Some(0)), ""),
            (
                of(vec![way("systemd", true, On::Yes)], vec![7, 8], Some(0)),
                "two_installs warning",
            ),
            (of(vec![timer()], vec![7], Some(0)), "two_installs warning"),
            (
                of(vec![timer(), way("cron", false, On::Yes)], vec![], Some(0)),
                "two_installs warning",
            ),
            (
                of(vec![way("cron", false, On::Untold("x".into()))], vec![], Some(0)),
                "not_told unknown",
            ),
        ] {
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn a_phone_whose_jobs_are_held_back_is_told_of() {
        let job = |on| Way {
            platform: "termux",
            name: "the job".into(),
            daemon: false,
            program: None,
            gone: 0,
            on,
        };
        for (ways, daemons, idle, wanted) in [
            (vec![job(On::Yes)], vec![], HOUR, vec![]),
            (vec![job(On::Yes)], vec![], HOUR + 1, vec!["job_held_back"]),
            (vec![job(On::Yes)], vec![], 6 * HOUR, vec!["job_held_back"]),
            (vec![job(On::Yes)], vec![], 9 * HOUR, vec!["last_pass_old"]),
            (vec![job(On::Yes)], vec![7], 2 * HOUR, vec!["two_installs"]),
        ] {
            let running = RunningFact {
                ways,
                daemons,
                last_pass: Some(NOW - idle),
                last_good: Some(NOW - idle),
                patience: patience(true),
                ..facts().running
            };
            let found = kinds(&Facts { running, ..facts() });
            let found: Vec<String> = found.into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(found, wanted);
        }
        for (api, overlay, wanted) in [
            (TermuxApi::Answers, Some(true), vec![]),
            (TermuxApi::Answers, Some(false), vec!["overlay_off"]),
            (TermuxApi::NoClassPath, None, vec!["termux_no_class_path"]),
        ] {
            let running = RunningFact {
                termux_api: Some(api),
                overlay,
                ..facts().running
            };
            let found = kinds(&Facts { running, ..facts() });
            let found: Vec<String> = found.into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn when_the_last_pass_was_is_said() {
        for (idle, words) in [
            (MINUTE - 1, "the last pass was just now, by hand"),
            (MINUTE, "the last pass was 1 min ago, by hand"),
        ] {
            let mut facts = facts();
            facts.running.ways.clear();
            facts.running.last_pass = Some(NOW - idle);
            let found = super::super::examine(&facts);
            assert!(found[0].what.ends_with(words), "{found:?}");
        }
    }

    #[test]
    fn only_what_runs_by_itself_counts() {
        let way = |on| Way {
            platform: "systemd",
            name: "the timer".into(),
            daemon: false,
            program: None,
            gone: 0,
            on,
        };
        let untold = || On::Untold("x".into());
        for (ways, daemons, wanted) in [
            (vec![], vec![], Runs::ByHand),
            (vec![], vec![7], Runs::Alone),
            (vec![way(On::Yes)], vec![], Runs::Alone),
            (vec![way(On::Likely)], vec![], Runs::Alone),
            (vec![way(On::No)], vec![], Runs::ByHand),
            (vec![way(On::No), way(untold())], vec![], Runs::Unknown),
            (vec![way(untold()), way(On::Yes)], vec![], Runs::Alone),
            (vec![way(untold())], vec![7], Runs::Alone),
        ] {
            assert_eq!(runs(&ways, &daemons), wanted, "{ways:?} {daemons:?}");
        }
    }

    #[test]
    fn passes_that_fail_for_long_are_told() {
        for (good, wanted) in [
            (Some(NOW - MINUTE), vec![]),
            (Some(NOW - patience(false)), vec![]),
            (
                Some(NOW - patience(false) - 1),
                vec![("passes_fail".to_owned(), Level::Warning)],
            ),
            (None, vec![("passes_fail".to_owned(), Level::Warning)]),
        ] {
            let mut facts = facts();
            facts.running.last_good = good;
            assert_eq!(kinds(&facts), wanted, "{good:?}");
        }
    }

    fn way(platform: &'static str) -> Way {
        Way {
            platform,
            name: format!("the {platform} job"),
            daemon: false,
            program: None,
            gone: 0,
            on: On::Yes,
        }
    }

    const WORLDS: &[World] = &[
        (
            |facts| facts.running.elsewhere = true,
            r#"
not_looked note -
what runs nolapse for this home was not checked
services check their own user's home, and this is another one
run it as that user, without `--home`"#,
        ),
        (
            |facts| {
                facts.running.ways.clear();
                facts.running.last_pass = Some(NOW - 3 * HOUR);
            },
            r#"
not_installed warning -
nothing runs nolapse automatically; the last pass was 3 h ago, by hand
you will notice that a login ended only when you look
$ nolapse install systemd"#,
        ),
        (
            |facts| facts.running.ways[0].program = Some((spot("~/bin/nolapse"), false)),
            r#"
program_gone broken /h/bin/nolapse
the systemd timer runs `~/bin/nolapse`, which is not there
nobody is watching
$ nolapse install systemd"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![Way {
                    gone: 2,
                    daemon: true,
                    ..way("runit")
                }]
            },
            r#"
install_incomplete broken -
2 files of the runit job are gone
it does not run as it was installed
$ nolapse install runit --daemon"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![Way {
                    on: On::No,
                    daemon: true,
                    ..way("runit")
                }]
            },
            r#"
not_running broken -
the runit job is not running
nobody is watching
$ nolapse install runit --daemon"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![Way {
                    on: On::Untold("no bus".into()),
                    ..way("systemd")
                }]
            },
            r#"
not_told unknown -
cannot tell whether the systemd job is running: no bus
it may not be running
run this again in a session of its user"#,
        ),
        (
            |facts| facts.running.last_pass = Some(NOW - 3 * DAY),
            r#"
last_pass_old broken -
the last pass was 3 d ago, although nolapse is installed
nobody has watched since; the host may have been asleep, or passes fail before they begin
$ nolapse run"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![way("termux")];
                facts.running.patience = patience(true);
                facts.running.last_pass = Some(NOW - 2 * HOUR);
            },
            r#"
job_held_back warning -
the last pass was 2 h ago, and the job is due every 15 minutes
Android holds back the jobs of Termux:API, probably by battery optimisation: alerts come late
switch battery optimisation off for Termux:API and for Termux, in Android's settings"#,
        ),
        // another platform's timer is not Android's to hold back
        (
            |facts| {
                facts.running.patience = patience(true);
                facts.running.last_pass = Some(NOW - 2 * HOUR);
            },
            "",
        ),
        (
            |facts| facts.running.last_good = Some(NOW - 3 * HOUR),
            r#"
passes_fail warning -
passes run, but none has succeeded for 3 h
they could not do their work, or could not deliver an alert
$ nolapse run"#,
        ),
        (
            |facts| facts.running.last_good = None,
            r#"
passes_fail warning -
passes run, but none has succeeded yet
they could not do their work, or could not deliver an alert
$ nolapse run"#,
        ),
        // nor do they run
        (
            |facts| {
                facts.running.last_pass = None;
                facts.running.last_good = Some(NOW - 3 * HOUR);
            },
            "",
        ),
        (
            |facts| {
                facts.running.last_pass = Some(NOW - 4 * HOUR);
                facts.running.last_good = Some(NOW - 5 * HOUR);
            },
            r#"
last_pass_old warning -
the last pass was 4 h ago, although nolapse is installed
nobody has watched since; the host may have been asleep, or passes fail before they begin
$ nolapse run"#,
        ),
        // the clock was set back
        (
            |facts| {
                facts.running.last_pass = Some(NOW + HOUR);
                facts.running.last_good = Some(NOW - 5 * HOUR);
            },
            r#"
passes_fail warning -
passes run, but none has succeeded for 5 h
they could not do their work, or could not deliver an alert
$ nolapse run"#,
        ),
        (
            |facts| {
                facts.running.user = "-u x".into();
                facts.running.linger = Some(false);
            },
            r#"
linger_off warning -
linger is off for `-u x`
systemd stops the timer when the last session ends
$ loginctl enable-linger -- '-u x'"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![way("cron")];
                facts.running.linger = Some(false);
            },
            "",
        ),
        (
            |facts| facts.running.ways = vec![way("systemd"), way("cron")],
            r#"
two_installs warning -
nolapse is run by the systemd job and the cron job
they wait for each other, and with two state directories every alert is sent twice
$ nolapse uninstall cron"#,
        ),
        (
            |facts| facts.running.daemons = vec![7],
            r#"
two_installs warning -
nolapse is run by the systemd timer and a daemon (process 7)
they wait for each other, and with two state directories every alert is sent twice
$ kill 7"#,
        ),
        (
            |facts| {
                facts.running.ways.clear();
                facts.running.daemons = vec![7, 8];
            },
            r#"
two_installs warning -
nolapse is run by a daemon (process 7) and a daemon (process 8)
they wait for each other, and with two state directories every alert is sent twice
$ kill 8"#,
        ),
        (
            |facts| {
                facts.running.ways = vec![Way {
                    daemon: true,
                    ..way("systemd")
                }];
                facts.running.daemons = vec![7];
            },
            "",
        ),
        (
            |facts| {
                for name in ["~/a", "~/b"] {
                    facts.running.ways.push(Way {
                        program: Some((spot(name), true)),
                        ..way("cron")
                    });
                }
                facts.running.ways.remove(0);
            },
            r#"
two_installs warning -
nolapse is run by the cron job and the cron job
they wait for each other, and with two state directories every alert is sent twice
$ nolapse uninstall cron
two_programs warning -
two programs are installed: `~/a` and `~/b`
an older one may follow other rules
remove one of them, then `nolapse install` again"#,
        ),
        (
            |facts| {
                facts.running.exe = Some(spot("~/a"));
                facts.running.ways[0].program = Some((spot("~/b"), true));
            },
            r#"
two_programs note -
this is `~/a`, but what runs automatically is `~/b`
what you see here may differ from what that one does
fine if both are the same version"#,
        ),
        (
            |facts| {
                facts.running.exe = Some(spot("~/b"));
                facts.running.ways[0].program = Some((spot("~/b"), true));
            },
            "",
        ),
        (
            |facts| facts.running.termux_api = Some(TermuxApi::Missing),
            r#"
termux_api_missing broken -
the commands of Termux:API are not installed
no notification can be shown, and no job can be scheduled
$ pkg install termux-api"#,
        ),
        (
            |facts| facts.running.termux_api = Some(TermuxApi::Silent),
            r#"
termux_api_silent broken -
Termux:API does not answer
without its app its commands hang, and no notification is shown
install the app Termux:API from where Termux came from, and open it once"#,
        ),
        (
            |facts| facts.running.termux_api = Some(TermuxApi::NoClassPath),
            r#"
termux_no_class_path broken -
`BOOTCLASSPATH` is not set here, so no command of Termux:API can start
nothing started from here can show a notification or schedule a job
start it from Termux itself, or keep BOOTCLASSPATH in the environment of what starts it"#,
        ),
        (
            |facts| {
                facts.running.termux_api = Some(TermuxApi::Answers);
                facts.running.overlay = Some(false);
            },
            r#"
overlay_off note -
Termux may not display over other apps
a terminal opened by an alert waits until you open Termux; signing in from the notification needs no terminal
allow it in Android's settings for Termux, if you want terminals to open by themselves"#,
        ),
        (
            |facts| {
                facts.running.overlay = Some(true);
                facts.running.cli = Some(Ok("2.1.330".into()));
            },
            "",
        ),
        (
            |facts| {
                facts.running.cli = Some(Err(Problem::at(
                    "cli_missing",
                    "/h/bin",
                    "no `claude` is there",
                    "run `npm i -g x`",
                )))
            },
            r#"
cli_missing warning /h/bin
no `claude` is there
only using Claude Code renews the login; otherwise agents stop working within 8 h
$ npm i -g x"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
