//! `status --watch`: looks again when a file changes, a displayed figure does, or the terminal does; asleep otherwise.

use super::status::problems;
use super::{Fatal, Setup, block_on, install, usage};
use crate::ctx::Ctx;
use crate::edge::progress;
use crate::edge::screen::{self, Screen, Wish, Wishes};
use crate::edge::wake::{Alarm, Watch};
use crate::{judge, ledger, look};

use crate::report::frame::{self, Scene};
use crate::report::{Exit, Style};
use crate::rules::alert::Alert;
use crate::rules::doctor::Runs;
use crate::rules::memory::Ledger;
use crate::rules::next_change;
use crate::rules::view::View;
use crate::types::{MINUTE, Moment, Ms, Problem};
use crate::{daemon, doctor};

/// A change is followed by more: it is shown this much later, [`Ms`].
const SETTLE: Ms = 250;

/// The platform is asked again after this long who makes passes, [`Ms`].
const ASK_AGAIN: Ms = 5 * MINUTE;

pub(super) fn watch(setup: &Setup) -> Result<Exit, Fatal> {
    if !screen::stdout_is_terminal() || setup.host.var("TERM") == Some("dumb") {
        return Err(usage(
            "`--watch` needs a terminal, and stdout is none that can be drawn on",
            "leave it out, or use `--json`",
        ));
    }
    let ctx = setup.ctx(None)?;
    match block_on(live(setup, ctx))? {
        Ok(()) => Ok(Exit::Fine),
        // the terminal is gone, and nobody is left to be told
        Err(error) if gone(&error) => Ok(Exit::Fine),
        Err(error) => Err(error.into()),
    }
}

fn gone(error: &std::io::Error) -> bool {
    let eio = rustix::io::Errno::IO.raw_os_error();
    error.kind() == std::io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(eio)
}

/// What was found at one look.
struct Found {
    view: View,
    ledger: Ledger,
    alerts: Vec<Alert>,
    problems: Vec<Problem>,
}

impl Found {
    fn look(ctx: &Ctx) -> Self {
        let loaded = ledger::load(&ctx.state_dir);
        let view = look::look(ctx, &loaded.ledger);
        let alerts = judge::firing(ctx, &view, &loaded.ledger, view.now);
        let mut problems = problems(ctx, &loaded, view.now);
        problems.extend(view.problems.iter().cloned());
        Self {
            view,
            ledger: loaded.ledger,
            alerts,
            problems,
        }
    }

    fn draw(&self, ctx: &Ctx, runs: Runs, style: Style) -> Vec<String> {
        let (columns, rows) = screen::size();
        let outbox = self.ledger.outbox.iter().map(|out| out.next_at);
        let next = outbox
            .chain(next_change::next(&self.view, &ctx.config.alerts, ctx.config.renew.lead))
            .min();
        let scene = Scene {
            ctx,
            view: &self.view,
            ledger: &self.ledger,
            alerts: &self.alerts,
            problems: &self.problems,
            last_pass: ledger::last_pass(&ctx.state_dir),
            next,
            runs,
        };
        frame::frame(&scene, columns, rows, style)
    }
}

async fn live(setup: &Setup, mut ctx: Ctx) -> std::io::Result<()> {
    let style = setup.style();
    let (mut wishes, mut files, alarm) = (Wishes::listen()?, Watch::new()?, Alarm::new()?);
    let mut names = daemon::names();
    names.extend(["ledger.json", "passes.json"]);
    let place = install::place(setup).ok();
    let waiting = progress::waiting(|| "services".into());
    let mut runs = doctor::runs(&ctx, place.as_ref()).await;
    drop(waiting);
    let mut screen = Screen::open()?;
    let mut found = Found::look(&ctx);
    let mut ask_at = found.view.now + ASK_AGAIN;
    let mut look_at = next_minute(found.view.now);
    loop {
        let mut dirs = daemon::watched(&ctx, &found.view);
        dirs.insert(ctx.state_dir.clone());
        files.set(&dirs);
        screen.draw(found.draw(&ctx, runs, style))?;
        loop {
            let now = ctx.clock.now();
            if now >= look_at {
                break;
            }
            tokio::select! {
                biased;
                wish = wishes.next() => match wish {
                    Wish::Quit => return Ok(()),
                    Wish::Redraw => screen.forget(),
                    Wish::Suspend => screen.suspend()?,
                    Wish::Resume => screen.resume()?,
                },
                due = alarm.until(look_at, MINUTE) => { due?; break }
                changed = files.changed(&names) => {
                    // what is shown is redrawn at most once in a while: no need to ask the databases what changed in them
                    let _ = changed?;
                    look_at = look_at.min(now + SETTLE);
                    continue;
                }
            }
            screen.draw(found.draw(&ctx, runs, style))?;
        }
        files.forget();
        // a configuration that is not valid leaves the old one in force, as it does in the daemon
        if let Ok(fresh) = setup.ctx(None) {
            ctx = fresh;
        }
        found = Found::look(&ctx);
        look_at = next_minute(found.view.now);
        if found.view.now >= ask_at {
            runs = doctor::runs(&ctx, place.as_ref()).await;
            ask_at = found.view.now + ASK_AGAIN;
        }
    }
}

/// What is shown is in minutes.
fn next_minute(now: Moment) -> Moment {
    now + (MINUTE - now.ms().rem_euclid(MINUTE))
}
