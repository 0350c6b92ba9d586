//! Schedule, file changes and signals -> one loop that owns the pass.
//!
//! One pass at a time, in this process and (by the pass lock) across processes. What arrives during a pass is looked at when it
//! is over, so a storm of nudges is one more pass. Between passes the process sleeps until the nearest of: the schedule, the
//! next moment at which a judgement can change, the outbox's next try, a changed file, a signal.

use crate::ctx::Ctx;
use crate::edge::listen::{Answer, Listener};
use crate::edge::wake::{Alarm, Asked, Signals, Watch, manager};
use crate::edge::{files, schedule};
use crate::ledger::{self, Ledger};
use crate::look::View;
use crate::metrics;
use crate::pass::{self, Outcome, Report, Scope};
use crate::report;
use crate::rules::due;
use crate::rules::wording::span;
use crate::types::{HOUR, MINUTE, Ms, SECOND};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

/// Files whose change is a reason to look: logins, stores, the agents' configuration, ours.
pub const NAMES: [&str; 9] = [
    ".credentials.json",
    "auth-profiles.json",
    "auth.json",
    "openclaw-agent.sqlite",
    "openclaw-agent.sqlite-wal",
    "clawdbot.json",
    "moltbot.json",
    "openclaw.json",
    "config.toml",
];

/// A change is followed by more: this long is waited for the rest of it.
const SETTLE: Duration = Duration::from_millis(300);

/// Passes that changes ask for are at least this far apart, [`Ms`]; the first one comes at once.
const CHANGE_GAP: Ms = 2 * SECOND;

/// With nothing due at all, a pass every hour all the same.
const AT_THE_LATEST: Ms = HOUR;

/// Why the loop woke.
#[derive(Debug, PartialEq, Eq)]
enum Woke {
    Due,
    Changed,
    Asked(Asked),
    SignOfLife,
}

/// Runs until it is told to stop. `load` reads the configuration again; what is wrong with it is said, and the old one kept.
///
/// # Errors
/// What the system refuses at the start, and a schedule that is none.
pub fn run(mut ctx: Ctx, load: &dyn Fn() -> Result<Ctx, String>) -> Result<(), String> {
    let words = |error: io::Error| files::io_words(&error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(words)?;
    // outside the runtime: the scheduler brings its own
    schedule::next(&ctx.config.daemon.schedule)?;
    let (mut signals, mut watch, alarm) = runtime
        .block_on(async { Ok((Signals::new()?, Watch::new()?, Alarm::new()?)) })
        .map_err(words)?;
    let mut trouble: Option<String> = None;
    let mut counter = Counter::default();
    manager::ready("first pass");
    tracing::info!(schedule = %ctx.config.daemon.schedule, "watching");
    loop {
        let begun = ctx.clock.now();
        let deaf = counter.open(&runtime, &ctx);
        let report = runtime.block_on(pass::run(&ctx, Scope::Whole));
        watch.set(&watched(&ctx, &report.view));
        let status = status(&ctx, &report, trouble.as_deref().or(deaf.as_deref()));
        tracing::debug!("{status}");
        manager::alive(&status);
        let ledger = ledger::load(&ctx.state_dir).ledger;
        let wake_at = wake_at(&ctx, &report, &ledger, begun);
        counter.lay_out(&ctx, &report, &ledger, wake_at);
        drop(ledger);
        drop(report);
        let mut pause_until: Option<Ms> = None;
        loop {
            let woke = runtime.block_on(wait(
                &mut signals,
                &mut watch,
                &alarm,
                wake_at,
                pause_until,
                ctx.clock.now(),
            ));
            match woke.map_err(words)? {
                Woke::SignOfLife => manager::alive(&status),
                Woke::Changed => {
                    runtime.block_on(async { tokio::time::sleep(SETTLE).await });
                    watch.forget();
                    let now = ctx.clock.now();
                    if now - begun >= CHANGE_GAP || now < begun {
                        break;
                    }
                    // looked at when the gap is over; what changes meanwhile is the same look
                    pause_until = Some(begun + CHANGE_GAP);
                }
                Woke::Due | Woke::Asked(Asked::Pass) => break,
                Woke::Asked(Asked::Stop) => {
                    manager::stopping();
                    tracing::info!("stopping");
                    return Ok(());
                }
                Woke::Asked(Asked::Reload) => {
                    trouble = reload(&mut ctx, load);
                    break;
                }
            }
        }
    }
}

fn reload(ctx: &mut Ctx, load: &dyn Fn() -> Result<Ctx, String>) -> Option<String> {
    let fresh = load().and_then(|fresh| schedule::next(&fresh.config.daemon.schedule).map(|_| fresh));
    match fresh {
        Ok(fresh) => {
            *ctx = fresh;
            tracing::info!("read the configuration again");
            None
        }
        Err(why) => {
            tracing::error!("the configuration is not valid, the old one stays: {why}");
            Some(format!("configuration not valid: {why}"))
        }
    }
}

/// Waits for the first thing that happens. A pause (after a change that came too soon) replaces the watching of files.
async fn wait(
    signals: &mut Signals,
    watch: &mut Watch,
    alarm: &Alarm,
    wake_at: Ms,
    pause_until: Option<Ms>,
    now: Ms,
) -> io::Result<Woke> {
    let wake_at = pause_until.map_or(wake_at, |pause| pause.min(wake_at));
    let changed = async {
        match pause_until {
            Some(_) => std::future::pending().await,
            None => watch.changed(&NAMES).await,
        }
    };
    let sign_of_life = async {
        match manager::watchdog() {
            Some(every) => tokio::time::sleep(every).await,
            None => std::future::pending().await,
        }
    };
    if wake_at <= now {
        return Ok(Woke::Due);
    }
    tokio::select! {
        biased;
        asked = signals.next() => Ok(Woke::Asked(asked)),
        due = alarm.until(wake_at) => due.map(|()| Woke::Due),
        changed = changed => changed.map(|()| Woke::Changed),
        () = sign_of_life => Ok(Woke::SignOfLife),
    }
}

/// The nearest of the schedule, the next change by the clock, and the outbox; never nearer than a second.
fn wake_at(ctx: &Ctx, report: &Report, ledger: &Ledger, begun: Ms) -> Ms {
    let now = ctx.clock.now();
    let scheduled = schedule::next(&ctx.config.daemon.schedule).ok().flatten();
    let clock = due::next(&report.view, &ctx.config.alerts);
    let outbox = ledger.outbox.iter().map(|out| out.next_at).filter(|at| *at > now).min();
    let nearest = [scheduled, clock, outbox]
        .into_iter()
        .flatten()
        .filter(|at| *at > begun)
        .min();
    nearest
        .unwrap_or(now + AT_THE_LATEST)
        .clamp(now + SECOND, now + AT_THE_LATEST.max(MINUTE))
}

/// The directories whose files matter, with those in which they would appear.
pub fn watched(ctx: &Ctx, view: &View) -> BTreeSet<PathBuf> {
    let mut dirs: BTreeSet<PathBuf> = view.logins.iter().map(|login| login.login.place.dir.clone()).collect();
    dirs.extend(
        view.looked_at
            .iter()
            .filter_map(|path| path.parent())
            .filter(|dir| dir.ends_with(".claude"))
            .map(Into::into),
    );
    dirs.extend(
        view.agents
            .iter()
            .filter_map(|agent| agent.path.parent())
            .map(Into::into),
    );
    for state_dir in &view.state_dirs {
        dirs.insert(state_dir.dir.clone());
        dirs.insert(state_dir.dir.join("agents"));
        dirs.extend(
            state_dir
                .config_path
                .as_ref()
                .and_then(|path| path.parent())
                .map(Into::into),
        );
    }
    dirs.extend(ctx.config.path.as_ref().and_then(|path| path.parent()).map(Into::into));
    dirs.retain(|dir| !dir.as_os_str().is_empty());
    dirs
}

fn status(ctx: &Ctx, report: &Report, trouble: Option<&str>) -> String {
    let mut status = format!(
        "{}; logins {}, agents {}, alerts {}",
        report::health(ctx, &report.view),
        report.view.logins.len(),
        report.view.agents.len(),
        report.alerts.len()
    );
    if let Some(why) = trouble {
        status.push_str("; ");
        status.push_str(why.lines().next().unwrap_or_default());
    }
    status
}

/// A pass that comes this much later than it was to come is late: it may have to wait for locks, remotes and receivers.
const LATE: Ms = 10 * MINUTE;

/// What the last pass left to be asked for.
#[derive(Clone, Debug, Default)]
struct LaidOut {
    /// `/metrics`.
    page: Arc<str>,
    /// When that pass ended, [`Ms`].
    at: Ms,
    /// When the next one is due, [`Ms`].
    due: Ms,
    /// Why it was no good one.
    bad: Option<String>,
}

/// Where others ask how things stand. What they get was made by the last pass: asking costs no look, and cannot hold one up.
#[derive(Debug, Default)]
struct Counter {
    laid_out: Arc<Mutex<Option<LaidOut>>>,
    serving: Option<(SocketAddr, JoinHandle<()>)>,
}

impl Counter {
    /// Listens where the configuration says, and nowhere else. Returns why that cannot be had; the next pass tries again.
    fn open(&mut self, runtime: &Runtime, ctx: &Ctx) -> Option<String> {
        let wanted = ctx.config.daemon.listen;
        if self.serving.as_ref().map(|(at, _)| *at) == wanted {
            return None;
        }
        if let Some((_, serving)) = self.serving.take() {
            serving.abort();
            // the port is free once it has ended
            let _ = runtime.block_on(serving);
        }
        let at = wanted?;
        match runtime.block_on(Listener::bind(at)) {
            Ok(listener) => {
                let bound = listener.address().unwrap_or(at);
                tracing::info!("listening on {bound}");
                let (laid_out, clock) = (self.laid_out.clone(), ctx.clock);
                let pages = move |path: &str| {
                    let laid_out = laid_out.lock().unwrap_or_else(PoisonError::into_inner);
                    answer(path, laid_out.as_ref(), clock.now())
                };
                self.serving = Some((at, runtime.spawn(listener.serve(clock, Arc::new(pages)))));
                None
            }
            Err(error) => {
                let why = format!("cannot listen on {at}: {}", files::io_words(&error));
                tracing::error!("{why}; the passes go on");
                Some(why)
            }
        }
    }

    fn lay_out(&self, ctx: &Ctx, report: &Report, ledger: &Ledger, due: Ms) {
        let laid_out = self.serving.as_ref().map(|_| LaidOut {
            page: metrics::of_pass(ctx, report, ledger, &ledger::passes(&ctx.state_dir)).into(),
            at: ctx.clock.now(),
            due,
            bad: bad(report),
        });
        *self.laid_out.lock().unwrap_or_else(PoisonError::into_inner) = laid_out;
    }
}

/// Why a pass was no good one, a line each.
fn bad(report: &Report) -> Option<String> {
    let failed = report.done.iter().filter_map(|done| match &done.outcome {
        Outcome::Failed(problem) => Some(problem),
        _ => None,
    });
    let lines: Vec<String> = report
        .problems
        .iter()
        .chain(failed)
        .map(|problem| report::one_line(&problem.message))
        .collect();
    (!report.good()).then(|| lines.join("\n"))
}

fn answer(path: &str, laid_out: Option<&LaidOut>, now: Ms) -> Option<Answer> {
    match (path, laid_out) {
        ("/metrics" | "/healthz", None) => Some(Answer::new(503, "no pass has ended yet\n")),
        ("/metrics", Some(laid_out)) => Some(Answer::new(200, laid_out.page.clone())),
        ("/healthz", Some(laid_out)) => Some(fitness(laid_out, now)),
        _ => None,
    }
}

/// Whether nolapse itself does its work. What it found is not asked here: a login that ended is no reason to restart it.
fn fitness(last: &LaidOut, now: Ms) -> Answer {
    let ago = span((now - last.at).max(0));
    match &last.bad {
        _ if now > last.due.saturating_add(LATE) => {
            let late = span(now - last.due);
            Answer::new(
                503,
                format!("the last pass ended {ago} ago, and the next one is {late} late\n"),
            )
        }
        Some(why) => Answer::new(
            503,
            format!("the last pass, {ago} ago, could not do its work:\n{why}\n"),
        ),
        None => Answer::new(200, format!("ok: the last pass ended {ago} ago\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_about_nolapse_itself() {
        const NOW: Ms = 1_769_000_000_000;
        let good = LaidOut {
            page: "page\n".into(),
            at: NOW - MINUTE,
            due: NOW + 3 * MINUTE,
            bad: None,
        };
        let failed = LaidOut {
            bad: Some("the disk is full".into()),
            ..good.clone()
        };
        for (path, laid_out, later, status, says) in [
            ("/healthz", None, 0, 503, "no pass"),
            ("/metrics", None, 0, 503, "no pass"),
            ("/metrics", Some(&good), 0, 200, "page"),
            ("/metrics", Some(&failed), DAYS, 200, "page"),
            ("/healthz", Some(&good), 0, 200, "1 min ago"),
            // a pass may take its time, and a clock may be set back
            ("/healthz", Some(&good), 12 * MINUTE, 200, "13 min ago"),
            ("/healthz", Some(&good), -DAYS, 200, "ok"),
            ("/healthz", Some(&good), 14 * MINUTE, 503, "11 min late"),
            ("/healthz", Some(&failed), 0, 503, "the disk is full"),
            ("/healthz", Some(&failed), DAYS, 503, "late"),
        ] {
            let answer = answer(path, laid_out, NOW + later).unwrap();
            assert_eq!(answer.status, status, "{path} {later}: {answer:?}");
            assert!(
                answer.body.contains(says) && answer.body.ends_with('\n'),
                "{path} {later}: {answer:?}"
            );
        }
        assert_eq!(answer("/", Some(&good), NOW), None);
    }

    const DAYS: Ms = 48 * HOUR;
}
