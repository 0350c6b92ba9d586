//! `status` and `check`.

use super::{Fatal, Setup, parse_time, print, print_with, watch};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::history;
use crate::ledger::Ledger;
use crate::look::{self, View};
use crate::remotes;
use crate::report::page::{self, Page};
use crate::report::{self, Exit};
use crate::rules::story;
use crate::types::{DAY, Ms, Problem};
use crate::{ledger, pass, tell};
use clap::Args;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// One JSON object (nolapse.status/1) on stdout, and nothing else
    #[arg(long, conflicts_with = "plain")]
    json: bool,
    /// Tab-separated lines
    #[arg(long)]
    plain: bool,
    /// Write one self-contained page to this file, or to stdout for `-`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "plain"])]
    html: Option<PathBuf>,
    /// A live view of the whole terminal; `q` quits
    #[arg(long, conflicts_with_all = ["json", "plain", "check", "by_clock", "at", "html"])]
    pub(super) watch: bool,
    /// Let the exit code tell (0 fine, 1 expired or missing, 2 expiring, 3 could not tell)
    #[arg(long)]
    check: bool,
    /// Let the exit code follow the raw clock, as the agents compute it
    #[arg(long)]
    by_clock: bool,
    /// Judge as of another time: milliseconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Ms>,
}

pub(super) fn status(setup: &Setup, args: &StatusArgs) -> Result<Exit, Fatal> {
    if args.watch {
        return watch::watch(setup);
    }
    let ctx = setup.ctx(args.at)?;
    let loaded = ledger::load(&ctx.state_dir);
    let view = look::look(&ctx, &loaded.ledger);
    let problems = problems(&ctx, &loaded, view.now);
    let exit = if args.by_clock {
        report::exit_by_clock(&ctx, &view)
    } else {
        report::exit(&ctx, &view)
    };
    if args.json {
        print_with(|out| report::json(out, &ctx, &view, &loaded.ledger, &problems, exit))?;
    } else if let Some(path) = &args.html {
        html(&ctx, &loaded.ledger, &view, &problems, path)?;
    } else if args.plain {
        print(&report::plain(&view, &problems))?;
    } else {
        let mut text = report::table(&ctx, &view, &problems, setup.style());
        if report::nothing(&view) {
            text.push_str(&report::nothing_words(&ctx, &view));
        }
        text.push_str(&report::remotes(&ctx, &loaded.ledger, view.now, setup.style()));
        print(&text)?;
    }
    Ok(if args.check || args.by_clock { exit } else { Exit::Fine })
}

/// How far back the page tells, [`Ms`].
const EVENTS: Ms = 30 * DAY;

fn html(ctx: &Ctx, ledger: &Ledger, view: &View, problems: &[Problem], path: &Path) -> Result<(), Fatal> {
    let history = history::read(&ctx.state_dir, view.now - EVENTS).unwrap_or_default();
    let mut alerts = pass::alerts(ctx, view);
    alerts.extend(remotes::alerts(ctx, ledger, view.now));
    alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.id.cmp(&b.id)));
    let problems: Vec<Problem> = problems.iter().chain(&view.problems).cloned().collect();
    let text = page::page(&Page {
        ctx,
        view,
        ledger,
        alerts: &alerts,
        problems: &problems,
        scenes: &story::story(&history.entries, &|at| ctx.when(at)),
        last_pass: ledger::last_pass(&ctx.state_dir),
    });
    if path == Path::new("-") {
        return Ok(print(&text)?);
    }
    let path = ctx.host.cwd.join(path);
    let write = || {
        let target = files::real_target(&path)?;
        files::replace(&target, text.as_bytes(), files::stat(&target).as_ref())
    };
    write().map(drop).map_err(|error| {
        Fatal::Usage(
            format!(
                "`{}` cannot be written: {}",
                ctx.host.tilde(&path),
                files::io_words(&error)
            ),
            "name a file in a directory that is there and writable".into(),
        )
    })
}

/// What is worth a word of the telling itself.
pub(super) fn problems(ctx: &Ctx, loaded: &ledger::Loaded, now: Ms) -> Vec<Problem> {
    let mut problems: Vec<Problem> = loaded.problem.clone().into_iter().collect();
    problems.extend(tell::failing(&loaded.ledger));
    problems.extend(tell::silenced(ctx, &loaded.ledger.silences, now));
    problems
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Let the exit code follow the raw clock, as the agents compute it
    #[arg(long)]
    by_clock: bool,
    /// Judge as of another time: milliseconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Ms>,
}

pub(super) fn check(setup: &Setup, args: &CheckArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(args.at)?;
    let loaded = ledger::load(&ctx.state_dir);
    let view = look::look(&ctx, &loaded.ledger);
    let exit = if args.by_clock {
        report::exit_by_clock(&ctx, &view)
    } else {
        report::exit(&ctx, &view)
    };
    let mut out = String::new();
    if report::nothing(&view) && exit != Exit::Fine {
        out.push_str(&report::nothing_words(&ctx, &view));
    } else if exit != Exit::Fine {
        for alert in pass::alerts(&ctx, &view) {
            let words = crate::rules::wording::words(
                &alert,
                crate::rules::alert::Why::First,
                &ctx.host.name,
                view.now,
                view.now,
                &|at| ctx.when(at),
            );
            let _ = write!(out, "{}: {}", alert.severity.word(), report::one_line(&words.title));
            match words.commands.first() {
                Some(command) => writeln!(out, "; run: {}", report::one_line(command)),
                None => writeln!(out),
            }
            .unwrap_or_default();
        }
    }
    print(&out)?;
    Ok(exit)
}
