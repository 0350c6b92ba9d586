//! Schedule, file changes and signals -> one loop that owns the pass.
//!
//! One pass at a time, in this process and (by the pass lock) across processes. What arrives during a pass is looked at when it
//! is over, so a storm of nudges is one more pass. What a pass only waits for (channels, other hosts, the heartbeat) goes on beside
//! the next one. Between passes the process sleeps until the nearest of: the schedule, the
//! next moment at which a judgement can change, the outbox's next try, a changed file, a signal.
//!
//! Signals are answered during a pass too. The service manager hears a sign of life while a pass waits for others, and none once
//! it takes longer than all that it may wait for, or while the thread itself is stuck in a file system that does not answer: a
//! pass that hangs ends the daemon, and whoever supervises it starts another.

use crate::ctx::Ctx;
use crate::edge::listen::{Listener, Response};
use crate::edge::wake::{Alarm, Asked, Changed, Signals, Watch, manager};
use crate::edge::{files, schedule, signals};
use crate::outcome::{self, Report};
use crate::pass::{self, Scope};
use crate::rules::memory::Ledger;
use crate::rules::view::View;
use crate::rules::wording::span;
use crate::rules::{login, next_change};
use crate::stores::families;
use crate::types::{HOUR, MINUTE, Moment, Ms, SECOND};
use crate::{layout, ledger, look, metrics, report};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Files whose change is a reason to look: logins, stores, the agents' configuration, ours.
pub(crate) fn names() -> Vec<&'static str> {
    let mut names = families::file_names();
    names.extend([login::FILE_NAME, "config.toml"]);
    names
}

/// A change is followed by more: this long is waited for the rest of it.
const SETTLE: Duration = Duration::from_millis(300);

/// Passes that changes ask for are at least this far apart, [`Ms`]; the first one comes at once.
const CHANGE_GAP: Ms = 2 * SECOND;

/// Databases that others write to all the time are asked at most this often whether what concerns us has changed.
const PEEK_GAP: Duration = Duration::from_millis(600);

/// SQLite makes what it has written visible to others right after the write that wakes us.
const VISIBLE: Duration = Duration::from_millis(20);

// a pass begins within a second after a credential changed in one, however much else is written there
const _: () = assert!(PEEK_GAP.as_millis() + VISIBLE.as_millis() + SETTLE.as_millis() < 1000);

/// With nothing due at all, a pass every hour all the same.
const AT_THE_LATEST: Ms = HOUR;

/// What a pass is let finish once the daemon was told to stop; less than the units' `TimeoutStopSec=`.
const FINISH: Duration = Duration::from_secs(120);

/// What deliveries on their way are let take once the daemon was told to stop.
const ON_ITS_WAY: Limits = Limits {
    pass: Duration::from_secs(20),
    finish: Duration::from_secs(20),
};

/// What a pass may take besides what its configuration lets it wait for: our lock twice, stores' and logins' locks, channels.
const PASS: Duration = Duration::from_secs(15 * 60);

/// The next pass waits for no end of this one.
const AT_LEISURE: outcome::Asked = outcome::Asked {
    login: None,
    by_hand: false,
    force: false,
    at_leisure: true,
};

/// Why the loop woke.
#[derive(Debug)]
enum Woke {
    Due,
    Changed(Changed),
    LookAgain,
    Asked(Asked),
    SignOfLife,
    Finished(Box<Report>),
}

/// Why the daemon ended, if nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The schedule is not a valid expression.
    #[error("{0}")]
    Schedule(String),
    /// The system refuses what it stands on.
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
    /// A pass took longer than all that it may wait for.
    #[error("a pass did not end within {} min, so it hangs", .0.as_secs() / 60)]
    Hung(Duration),
}

/// Runs until told to stop. `load` reads the configuration again; if that is invalid, this is logged and the old one stays in force.
///
/// # Errors
/// [`Failed`].
pub(crate) fn run(ctx: Ctx, load: &dyn Fn() -> Result<Ctx, String>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    schedule::next(&ctx.config.daemon.schedule).map_err(Failed::Schedule)?;
    let (signals, watch, alarm) =
        runtime.block_on(async { io::Result::Ok((Signals::new()?, Watch::new()?, Alarm::new()?)) })?;
    let mut daemon = Daemon {
        ctx,
        load,
        ear: Ear { runtime, signals },
        watch,
        alarm,
        status: "first pass".to_owned(),
        trouble: None,
        deaf: None,
        grants: 4,
        counter: Counter::default(),
        said: BTreeSet::new(),
        databases: None,
        tails: JoinSet::new(),
    };
    let ended = daemon.turns();
    // a name that is still being looked up holds nobody up
    daemon.ear.runtime.shutdown_background();
    ended
}

/// What it works with, and what it knows from one pass to the next.
struct Daemon<'a> {
    ctx: Ctx,
    load: &'a dyn Fn() -> Result<Ctx, String>,
    ear: Ear,
    watch: Watch,
    alarm: Alarm,
    /// What the service manager shows.
    status: String,
    /// Why the new configuration is not in force.
    trouble: Option<String>,
    /// Why nobody can ask.
    deaf: Option<String>,
    /// How many a pass may have to renew, as the one before saw it.
    grants: usize,
    counter: Counter,
    /// What went wrong with the last pass, and was logged.
    said: BTreeSet<String>,
    databases: Option<look::Databases>,
    /// What of earlier passes is on its way.
    tails: JoinSet<Report>,
}

/// What comes after a pass, or after a rest.
enum Next {
    /// A pass.
    Pass,
    /// A rest, until something happens or this comes.
    Rest(Moment),
    /// The end.
    Stop,
}

impl Daemon<'_> {
    /// Pass after pass.
    fn turns(&mut self) -> Result<(), Failed> {
        manager::ready(&self.status);
        tracing::info!(schedule = %self.ctx.config.daemon.schedule, "watching");
        loop {
            let begun = self.ctx.clock.now();
            let mut next = self.pass(begun)?;
            if let Next::Rest(wake_at) = next {
                next = self.rest(begun, wake_at)?;
            }
            if let Next::Stop = next {
                let all = async { while self.tails.join_next().await.is_some() {} };
                self.ear.attend(ON_ITS_WAY, all, &|| {}, &mut |_| {});
                return Ok(());
            }
        }
    }

    /// One pass.
    fn pass(&mut self, begun: Moment) -> Result<Next, Failed> {
        // as of before the pass: what is written during it is looked at after it
        if let Some(databases) = &mut self.databases {
            databases.changed();
        }
        self.deaf = self.counter.open(&self.ear.runtime, &self.ctx);
        let (mut reloaded, mut again) = (None, false);
        let limits = Limits {
            pass: longest(&self.ctx, self.grants),
            finish: FINISH,
        };
        let ended = self.ear.attend(
            limits,
            pass::begin(&self.ctx, Scope::Whole, &AT_LEISURE),
            &|| manager::alive(&self.status),
            &mut |asked| match asked {
                Asked::Reload => reloaded = Some(reload(self.load)),
                Asked::Pass => again = true,
                Asked::Stop => {
                    manager::stopping();
                    tracing::info!("stopping when the pass has finished");
                }
            },
        );
        let pass = match ended {
            Ended::Done(pass) => pass,
            Ended::Stopped(pass) => {
                pass.into_iter().for_each(|pass| self.finish(pass));
                return Ok(Next::Stop);
            }
            Ended::Hung => return Err(Failed::Hung(limits.pass)),
        };
        let view = &pass.report.view;
        self.watch.set(&watched(&self.ctx, view));
        self.databases = Some(look::Databases::of(view, self.databases.take()));
        self.grants = grants_of(view);
        let wake_at = wake_at(&self.ctx, view, begun);
        self.finish(pass);
        if let Some(reloaded) = reloaded {
            self.trouble = take(&mut self.ctx, reloaded);
            again = true;
        }
        Ok(if again { Next::Pass } else { Next::Rest(wake_at) })
    }

    /// Lets what a pass has only to deliver go on beside what follows.
    fn finish(&mut self, pass: pass::Begun) {
        let whole = self.ctx.clone();
        self.tails
            .spawn_on(async move { pass.finish(&whole).await }, self.ear.runtime.handle());
    }

    /// Until there is a reason for the next pass.
    fn rest(&mut self, begun: Moment, mut wake_at: Moment) -> Result<Next, Failed> {
        let mut pause_until: Option<Moment> = None;
        // a write may have become visible only after the pass had read
        let looked = self.databases.as_ref().is_some_and(look::Databases::looked);
        let mut quiet_until: Option<Instant> = looked.then(|| Instant::now() + PEEK_GAP);
        loop {
            let until = (wake_at, pause_until, quiet_until);
            let woke = wait(
                &mut self.ear.signals,
                &mut self.watch,
                &self.alarm,
                until,
                &mut self.tails,
            );
            match self.ear.runtime.block_on(woke)? {
                Woke::Finished(report) => wake_at = self.finished(&report, wake_at),
                Woke::SignOfLife => manager::alive(&self.status),
                Woke::Changed(Changed::Databases) if !self.credential_changed() => {
                    tracing::debug!("a database was written, and no credential in it");
                    quiet_until = Some(Instant::now() + PEEK_GAP);
                }
                Woke::LookAgain if !self.credential_changed() => quiet_until = None,
                Woke::Changed(_) | Woke::LookAgain => {
                    self.ear.runtime.block_on(async { tokio::time::sleep(SETTLE).await });
                    self.watch.forget();
                    let now = self.ctx.clock.now();
                    if now - begun >= CHANGE_GAP || now < begun {
                        return Ok(Next::Pass);
                    }
                    // looked at when the gap is over; what changes meanwhile is the same look
                    pause_until = Some(begun + CHANGE_GAP);
                }
                Woke::Due | Woke::Asked(Asked::Pass) => return Ok(Next::Pass),
                Woke::Asked(Asked::Stop) => {
                    manager::stopping();
                    tracing::info!("stopping");
                    return Ok(Next::Stop);
                }
                Woke::Asked(Asked::Reload) => {
                    self.trouble = take(&mut self.ctx, reload(self.load));
                    return Ok(Next::Pass);
                }
            }
        }
    }

    /// Says how a pass went whose last delivery is over. Returns when the next one is due.
    fn finished(&mut self, report: &Report, wake_at: Moment) -> Moment {
        self.said = say(report, &self.said);
        let trouble = self.trouble.as_deref().or(self.deaf.as_deref());
        self.status = status(&self.ctx, report, trouble);
        tracing::debug!("{}", self.status);
        manager::alive(&self.status);
        let ledger = ledger::load(&self.ctx.state_dir).ledger;
        let wake_at = next_try(&self.ctx, &ledger, wake_at);
        self.counter.lay_out(&self.ctx, report, &ledger, wake_at);
        wake_at
    }

    /// Whether a credential in a database has changed.
    fn credential_changed(&mut self) -> bool {
        self.ear.runtime.block_on(async { tokio::time::sleep(VISIBLE).await });
        let changed = self.databases.as_mut().is_none_or(look::Databases::changed);
        if changed {
            tracing::debug!("a credential in a database changed");
        }
        changed
    }
}

/// How many there may be to renew.
fn grants_of(view: &View) -> usize {
    view.logins.len() + view.agents.iter().map(|agent| agent.profiles.len()).sum::<usize>()
}

/// Logs what went wrong with the pass itself, unless it went wrong with the one before too. Returns all of it.
fn say(report: &Report, before: &BTreeSet<String>) -> BTreeSet<String> {
    let all: BTreeSet<String> = troubles(report).collect();
    for message in all.difference(before) {
        tracing::warn!("{message}");
    }
    all
}

/// What went wrong with a pass, a line each.
fn troubles(report: &Report) -> impl Iterator<Item = String> {
    report.failures().map(|problem| layout::one_line(&problem.message))
}

/// Bounds of a pass.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// What takes longer than this hangs.
    pass: Duration,
    /// What is left of it once the daemon was told to stop.
    finish: Duration,
}

/// How a pass ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended<T> {
    /// By itself.
    Done(T),
    /// The daemon was told to stop; what the work came to, or nothing where it did not end in time or the daemon was told twice.
    Stopped(Option<T>),
    /// Given up, since it took longer than it may.
    Hung,
}

/// What runs the work, and hears signals meanwhile.
struct Ear {
    runtime: Runtime,
    signals: Signals,
}

impl Ear {
    /// Works off `work` to its end or its limit, with a sign of life to the service manager and an ear for signals meanwhile. A stretch
    /// that must not be interrupted is finished whatever the limit; nobody hears a sign of life of it then.
    fn attend<T>(
        &mut self,
        limits: Limits,
        work: impl Future<Output = T>,
        alive: &dyn Fn(),
        asked: &mut dyn FnMut(Asked),
    ) -> Ended<T> {
        enum Turn<T> {
            Done(T),
            Asked(Asked),
            Late,
            SignOfLife,
        }
        let mut work = pin!(work);
        let mut until = Instant::now() + limits.pass;
        let mut alive_at = sign_of_life();
        let mut stops = 0;
        let mut late = false;
        loop {
            let turn = self.runtime.block_on(async {
                let late = async {
                    match late {
                        true => tokio::time::sleep(Duration::from_millis(50)).await,
                        false => tokio::time::sleep_until(until).await,
                    }
                };
                tokio::select! {
                    biased;
                    output = work.as_mut() => Turn::Done(output),
                    () = late => Turn::Late,
                    () = reached(alive_at) => Turn::SignOfLife,
                    asked = self.signals.next() => Turn::Asked(asked),
                }
            });
            match turn {
                Turn::Done(output) if stops > 0 => return Ended::Stopped(Some(output)),
                Turn::Done(output) => return Ended::Done(output),
                Turn::Asked(what) => {
                    if what == Asked::Stop {
                        stops += 1;
                        // told twice: at once
                        let finish = if stops > 1 { Duration::ZERO } else { limits.finish };
                        until = until.min(Instant::now() + finish);
                    }
                    if stops < 2 {
                        asked(what);
                    }
                }
                Turn::Late if signals::uninterrupted() => late = true,
                Turn::Late if stops > 0 => return Ended::Stopped(None),
                Turn::Late => return Ended::Hung,
                Turn::SignOfLife => {
                    alive_at = sign_of_life().filter(|_| !late);
                    if !late {
                        alive();
                    }
                }
            }
        }
    }
}

/// When the service manager wants to hear something next; never where it does not.
fn sign_of_life() -> Option<Instant> {
    manager::watchdog().map(|every| Instant::now() + every)
}

/// Waits until then, for ever where there is no such moment.
async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How long a pass may take: what the configuration lets each of its steps wait for, and then some. `grants` is how many there are
/// to be renewed.
fn longest(ctx: &Ctx, grants: usize) -> Duration {
    let renew = &ctx.config.renew;
    let grants = u32::try_from(grants).unwrap_or(u32::MAX);
    // its locks too
    let grant = renew.patience + renew.timeout + Duration::from_secs(60);
    let asked: Ms = ctx.config.remotes.iter().map(|remote| remote.timeout).sum();
    PASS + grant.saturating_mul(grants) + Duration::from_millis(asked.unsigned_abs())
}

/// Reads the configuration again.
fn reload(load: &dyn Fn() -> Result<Ctx, String>) -> Result<Ctx, String> {
    let fresh = load().and_then(|fresh| schedule::next(&fresh.config.daemon.schedule).map(|_| fresh));
    match &fresh {
        // said where it was read
        Ok(fresh) if fresh.config.broken.is_some() => {}
        Ok(_) => tracing::info!("read the configuration again"),
        Err(why) => tracing::error!("the configuration is not valid, the old one stays: {why}"),
    }
    fresh
}

/// Works with the new configuration, or says what is wrong with it.
fn take(ctx: &mut Ctx, reloaded: Result<Ctx, String>) -> Option<String> {
    match reloaded {
        Ok(Ctx { config, .. }) if config.broken.is_some() => {
            // what is in use knows its secrets, which the kept one may have lost
            ctx.config.broken = config.broken;
            let why = ctx.config.broken.as_deref().unwrap_or_default();
            Some(format!("configuration not valid: {why}"))
        }
        Ok(fresh) => {
            *ctx = fresh;
            None
        }
        Err(why) => Some(format!("configuration not valid: {why}")),
    }
}

/// Waits for the first thing that happens. The first pause (after a change that came too soon) replaces the watching of files; until
/// the second, what changes waits, and after it databases are looked at once more: what was written there may have become
/// visible only after the first look.
async fn wait(
    signals: &mut Signals,
    watch: &mut Watch,
    alarm: &Alarm,
    (wake_at, pause_until, quiet_until): (Moment, Option<Moment>, Option<Instant>),
    tails: &mut JoinSet<Report>,
) -> io::Result<Woke> {
    let wake_at = pause_until.map_or(wake_at, |pause| pause.min(wake_at));
    let names = names();
    let changed = async {
        match (pause_until, quiet_until) {
            (Some(_), _) => std::future::pending().await,
            (None, Some(until)) => {
                tokio::time::sleep_until(until).await;
                Ok(watch.seen(&names).map_or(Woke::LookAgain, Woke::Changed))
            }
            (None, None) => watch.changed(&names).await.map(Woke::Changed),
        }
    };
    tokio::select! {
        biased;
        asked = signals.next() => Ok(Woke::Asked(asked)),
        due = alarm.until(wake_at, AT_THE_LATEST) => due.map(|()| Woke::Due),
        changed = changed => changed,
        // one that panicked has said so
        Some(Ok(report)) = tails.join_next(), if !tails.is_empty() => Ok(Woke::Finished(Box::new(report))),
        () = reached(sign_of_life()) => Ok(Woke::SignOfLife),
    }
}

/// [`wake_at`] or the outbox's next try, whichever is nearer.
fn next_try(ctx: &Ctx, ledger: &Ledger, wake_at: Moment) -> Moment {
    let now = ctx.clock.now();
    let outbox = ledger.outbox.iter().map(|out| out.next_at).filter(|at| *at > now).min();
    outbox.map_or(wake_at, |at| at.min(wake_at)).max(now + SECOND)
}

/// The nearest of the schedule and the next change by the clock; never nearer than a second.
fn wake_at(ctx: &Ctx, view: &View, begun: Moment) -> Moment {
    let now = ctx.clock.now();
    let scheduled = schedule::next(&ctx.config.daemon.schedule).ok().flatten();
    let clock = next_change::next(view, &ctx.config.alerts, ctx.config.renew.lead);
    let nearest = [scheduled, clock].into_iter().flatten().filter(|at| *at > begun).min();
    nearest
        .unwrap_or(now + AT_THE_LATEST)
        .clamp(now + SECOND, now + AT_THE_LATEST)
}

/// The directories whose files matter, with those in which they would appear.
pub(crate) fn watched(ctx: &Ctx, view: &View) -> BTreeSet<PathBuf> {
    let parent = |path: &PathBuf| path.parent().map(PathBuf::from);
    let mut dirs: BTreeSet<PathBuf> = view.logins.iter().map(|login| login.login.place.dir.clone()).collect();
    let looked_at = view.looked_at.iter().filter_map(parent);
    dirs.extend(looked_at.filter(|dir| dir.ends_with(".claude")));
    dirs.extend(view.agents.iter().filter_map(|agent| parent(&agent.path)));
    // where an agent's own database is, or will be, while it shares another
    let in_sqlite = view.agents.iter().filter(|agent| agent.sqlite);
    dirs.extend(in_sqlite.map(|agent| agent.agent.agent.dir.clone()));
    for state_dir in &view.state_dirs {
        dirs.insert(state_dir.dir.clone());
        dirs.insert(state_dir.dir.join("agents"));
        // where it appears, and where the agents' own configuration may not be
        dirs.extend(parent(&state_dir.dir.join(families::SHARED_DATABASE)));
        dirs.extend(state_dir.config_path.as_ref().and_then(parent));
    }
    dirs.extend(ctx.config.path.as_ref().and_then(parent));
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
    /// When that pass ended.
    at: Moment,
    /// When the next one is due.
    due: Moment,
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
    /// Listens where the configuration says, and nowhere else. Returns why that cannot be had; the next pass will retry.
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

    fn lay_out(&self, ctx: &Ctx, report: &Report, ledger: &Ledger, due: Moment) {
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
    let lines: Vec<String> = troubles(report).collect();
    (!report.good()).then(|| lines.join("\n"))
}

fn answer(path: &str, laid_out: Option<&LaidOut>, now: Moment) -> Option<Response> {
    match (path, laid_out) {
        ("/metrics" | "/healthz", None) => Some(Response::new(503, "no pass has ended yet\n")),
        ("/metrics", Some(laid_out)) => Some(Response::new(200, laid_out.page.clone())),
        ("/healthz", Some(laid_out)) => Some(fitness(laid_out, now)),
        _ => None,
    }
}

/// Whether nolapse itself does its work. What it found is not asked here: a login that ended is no reason to restart it.
fn fitness(last: &LaidOut, now: Moment) -> Response {
    let ago = span((now - last.at).max(0));
    match &last.bad {
        _ if now > last.due + LATE => {
            let late = span(now - last.due);
            Response::new(
                503,
                format!("the last pass ended {ago} ago, and the next one is {late} late\n"),
            )
        }
        Some(why) => Response::new(
            503,
            format!("the last pass, {ago} ago, could not do its work:\n{why}\n"),
        ),
        None => Response::new(200, format!("ok: the last pass ended {ago} ago\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::signals::Uninterrupted;
    use std::cell::{Cell, RefCell};

    const FOR_EVER: Duration = Duration::from_secs(3600);

    fn attended<T>(limits: Limits, work: impl Future<Output = T>) -> (Ended<T>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let signals = runtime.block_on(async { Signals::new() }).unwrap();
        let begun = Instant::now();
        let ended = Ear { runtime, signals }.attend(limits, work, &|| {}, &mut |_| {});
        (ended, begun.elapsed())
    }

    fn limits(pass: u64) -> Limits {
        Limits {
            pass: Duration::from_millis(pass),
            finish: FOR_EVER,
        }
    }

    #[test]
    fn a_pass_that_never_ends_is_given_up_and_dropped() {
        struct Dropped<'a>(&'a Cell<bool>);
        impl Drop for Dropped<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let dropped = Cell::new(false);
        let lock = Dropped(&dropped);
        let (ended, took) = attended(limits(100), async move {
            let _lock = lock;
            std::future::pending::<()>().await;
        });
        assert_eq!(ended, Ended::Hung);
        assert!(dropped.get() && took >= Duration::from_millis(100), "{took:?}");
        assert_eq!(attended(limits(60_000), async { 7 }).0, Ended::Done(7));
    }

    #[test]
    fn what_must_not_be_interrupted_is_finished_first() {
        let steps = RefCell::new(Vec::new());
        let (ended, _) = attended(limits(50), async {
            let exchange = Uninterrupted::begin();
            tokio::time::sleep(Duration::from_millis(300)).await;
            steps.borrow_mut().push("saved");
            drop(exchange);
            std::future::pending::<()>().await;
        });
        assert_eq!(ended, Ended::Hung);
        assert_eq!(*steps.borrow(), ["saved"]);
    }

    #[test]
    fn health_is_about_nolapse_itself() {
        const NOW: Moment = Moment::at(1_769_000_000_000);
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

    /// `rules/due` on a home that was looked at.
    #[test]
    fn what_changes_by_the_clock_alone_wakes() {
        const NOW: Moment = Moment::at(1_769_000_000_000);
        let home = tempfile::tempdir().unwrap();
        let ctx = Ctx {
            host: crate::edge::host::Host {
                home: home.path().into(),
                env: Default::default(),
                cwd: home.path().into(),
                name: "t".into(),
                macos: false,
                own: Vec::new(),
            },
            clock: crate::edge::host::Clock::Fixed(NOW),
            config: crate::config::Config::default(),
            state_dir: home.path().join("state"),
            http: crate::edge::http::Http::new(&Default::default()),
        };
        let write = |path: &str, text: String| {
            let path = home.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let agent = ".clawdbot/agents/main/agent/auth-profiles.json";
        let token = |end: Moment| {
            format!(r#"{{"profiles":{{"zai:t":{{"type":"token","provider":"zai","token":"zai-x","expires":{end}}}}}}}"#)
        };
        let policy = &ctx.config.alerts;
        let next = || {
            next_change::next(
                &crate::look::look(&ctx, &Ledger::default()),
                policy,
                ctx.config.renew.lead,
            )
        };
        assert_eq!(next(), None);
        // the steps before an end, one after the other, then the end, then the end of the grace
        let mut steps: Vec<Ms> = policy.steps.clone();
        steps.sort_unstable();
        for step in &steps {
            write(agent, token(NOW + *step + MINUTE));
            assert_eq!(next(), Some(NOW + MINUTE), "{step}");
        }
        write(agent, token(NOW + MINUTE));
        assert_eq!(next(), Some(NOW + MINUTE));
        write(agent, token(NOW - MINUTE));
        assert_eq!(next(), Some(NOW - MINUTE + policy.grace));
        write(agent, "{}".into());

        // a renewal that failed is tried again
        let end = NOW + 8 * HOUR;
        write(
            ".claude/.credentials.json",
            format!(r#"{{"claudeAiOauth":{{"accessToken":"a","refreshToken":"r","expiresAt":{end},"scopes":[]}}}}"#),
        );
        let mut ledger = Ledger::default();
        let token = crate::secret::Secret::new("r").fingerprint();
        let record = serde_json::json!({"token": token, "stage": "idle", "next_at": NOW + 5 * MINUTE, "failures": 1});
        ledger
            .renewals
            .insert("claude".into(), serde_json::from_value(record).unwrap());
        let view = crate::look::look(&ctx, &ledger);
        assert_eq!(
            next_change::next(&view, policy, ctx.config.renew.lead),
            Some(NOW + 5 * MINUTE)
        );
    }
}
