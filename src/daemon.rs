//! Schedule, file changes and signals -> one loop that owns the pass.
//!
//! One pass at a time, in this process and (by the pass lock) across processes. What arrives during a pass is looked at when it
//! is over, so a storm of nudges is one more pass. Between passes the process sleeps until the nearest of: the schedule, the
//! next moment at which a judgement can change, the outbox's next try, a changed file, a signal.

use crate::ctx::Ctx;
use crate::edge::wake::{Alarm, Asked, Signals, Watch, manager};
use crate::edge::{files, schedule};
use crate::ledger;
use crate::look::View;
use crate::pass::{self, Report, Scope};
use crate::report;
use crate::rules::due;
use crate::types::{HOUR, MINUTE, Ms, SECOND};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

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
    manager::ready("first pass");
    tracing::info!(schedule = %ctx.config.daemon.schedule, "watching");
    loop {
        let begun = ctx.clock.now();
        let report = runtime.block_on(pass::run(&ctx, Scope::Whole));
        watch.set(&watched(&ctx, &report.view));
        let status = status(&ctx, &report, trouble.as_deref());
        tracing::debug!("{status}");
        manager::alive(&status);
        let wake_at = wake_at(&ctx, &report, begun);
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
            Some(why)
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
fn wake_at(ctx: &Ctx, report: &Report, begun: Ms) -> Ms {
    let now = ctx.clock.now();
    let scheduled = schedule::next(&ctx.config.daemon.schedule).ok().flatten();
    let clock = due::next(&report.view, &ctx.config.alerts);
    let outbox = ledger::load(&ctx.state_dir)
        .ledger
        .outbox
        .iter()
        .map(|out| out.next_at)
        .filter(|at| *at > now)
        .min();
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
        status.push_str("; configuration not valid: ");
        status.push_str(why.lines().next().unwrap_or_default());
    }
    status
}
