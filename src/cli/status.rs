//! `status` and `check`.

use super::{Fatal, Setup, parse_time, print, print_with, say, usage, watch};
use crate::ctx::Ctx;
use crate::edge::{files, replace};
use crate::layout::counted;
use crate::look::{self, World};
use crate::report::page::{self, Page};
use crate::report::{self, Exit};
use crate::rules::alert::{Alert, Why};
use crate::rules::memory::Ledger;
use crate::rules::nagios::{self, PluginState};
use crate::rules::view::View;
use crate::rules::{story, wording};
use crate::types::{DAY, Moment, Ms, Problem};
use crate::{deliver, heard, history, judge, layout, ledger};
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// One JSON object (nolapse.status/1) on stdout, and nothing else
    #[arg(long, conflicts_with = "plain")]
    json: bool,
    /// Tab-separated lines
    #[arg(long)]
    plain: bool,
    /// Write one self-contained HTML page to this file, or to stdout for `-`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "plain"])]
    html: Option<PathBuf>,
    /// A live full-screen view; `q` quits
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
    at: Option<Moment>,
}

pub(super) fn status(setup: &Setup, args: &StatusArgs) -> Result<Exit, Fatal> {
    if args.watch {
        return watch::watch(setup);
    }
    let ctx = setup.ctx_or_kept(args.at)?;
    let loaded = ledger::load(&ctx.state_dir);
    let view = look::look(&ctx, &loaded.ledger);
    let problems = problems(&ctx, &loaded, view.now);
    let exit = if args.by_clock {
        report::exit_by_clock(&ctx, &view)
    } else {
        let firing = judge::firing(&ctx, &view, &loaded.ledger, view.now);
        report::exit_with(report::exit(&ctx, &view), &firing)
    };
    if args.json {
        print_with(|out| report::json::json(out, World::of(&ctx, &loaded.ledger, &view), &problems, exit))?;
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
    let alerts = judge::firing(ctx, view, ledger, view.now);
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
        let target = files::own_target(&path)?;
        replace::replace(&target, text.as_bytes(), files::stat(&target).as_ref())
    };
    write().map(drop).map_err(|error| {
        let (path, why) = (ctx.host.tilde(&path), files::io_words(&error));
        usage(
            format!("`{path}` cannot be written: {why}"),
            "name a file in a directory that is there and writable",
        )
    })
}

/// Notes about delivery itself.
pub(super) fn problems(ctx: &Ctx, loaded: &ledger::Loaded, now: Moment) -> Vec<Problem> {
    let mut problems: Vec<Problem> = loaded.problem.clone().into_iter().collect();
    problems.extend(judge::config_broken(ctx));
    problems.extend(deliver::failing(&loaded.ledger));
    let known = loaded.ledger.alerts.values().map(|memory| &memory.last);
    problems.extend(heard::unheard(ctx, &loaded.ledger, known, now));
    problems.extend(heard::nobody(ctx));
    problems.extend(deliver::silenced(ctx, &loaded.ledger.silences, now));
    problems
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line for each thing that needs you
    Text,
    /// As a monitoring plugin: one line with performance data, and its codes, where 1 is a warning and 2 critical
    Nagios,
}

#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// How to say it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Let the exit code follow the raw clock, as the agents compute it
    #[arg(long)]
    by_clock: bool,
    /// Judge as of another time: milliseconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Moment>,
}

pub(super) fn check(setup: &Setup, args: &CheckArgs) -> Result<Exit, Fatal> {
    let ctx = match (setup.ctx_or_kept(args.at), args.format) {
        (Ok(ctx), _) => ctx,
        // a plugin's words are looked for on stdout
        (Err(Fatal::Config(error)), Format::Nagios) => {
            let said: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
            print(&nagios::text(PluginState::Unknown, &said, &[], 0, Moment::EPOCH))?;
            return Ok(Exit::Unknown);
        }
        (Err(error), _) => return Err(error),
    };
    let loaded = ledger::load(&ctx.state_dir);
    let view = look::look(&ctx, &loaded.ledger);
    let firing = judge::firing(&ctx, &view, &loaded.ledger, view.now);
    let (judged, counted) = match args.by_clock {
        true => (report::exit_by_clock(&ctx, &view), &[][..]),
        false => (report::exit(&ctx, &view), &firing[..]),
    };
    let exit = report::exit_with(judged, counted);
    let lines = needs(&ctx, &view, exit, &firing);
    if args.format == Format::Nagios {
        return plugin(&ctx, &view, nagios::state(judged.code(), counted), lines);
    }
    let mut out = lines.join("\n");
    if !out.is_empty() {
        out.push('\n');
    }
    say(&out)?;
    Ok(exit)
}

/// What needs a human, a line each; nothing where all is fine.
fn needs(ctx: &Ctx, view: &View, exit: Exit, firing: &[Alert]) -> Vec<String> {
    if exit == Exit::Fine {
        return Vec::new();
    }
    if report::nothing(view) && firing.is_empty() {
        return report::nothing_words(ctx, view).lines().map(str::to_owned).collect();
    }
    let line = |alert: &Alert| {
        let words = wording::words(alert, Why::First, view.now, ctx.here(view.now));
        let (severity, title) = (alert.severity.word(), layout::one_line(&words.title));
        match words.commands.first() {
            Some(command) => format!("{severity}: {title}; run: {}", layout::one_line(command)),
            None => format!("{severity}: {title}"),
        }
    };
    firing.iter().map(line).collect()
}

/// The same as a monitoring plugin says it, whose codes 1 and 2 mean the reverse.
fn plugin(ctx: &Ctx, view: &View, state: PluginState, mut lines: Vec<String>) -> Result<Exit, Fatal> {
    let code = match state {
        PluginState::Ok => Exit::Fine,
        PluginState::Warning => Exit::Lapsed,
        PluginState::Critical => Exit::Expiring,
        PluginState::Unknown => Exit::Unknown,
    };
    let logins = counted(view.logins.len(), "login");
    let found = format!("{logins}, {}", counted(view.agents.len(), "agent"));
    match (lines.len(), state) {
        (0, PluginState::Ok) => lines.push(format!("{found}: nothing needs you")),
        (0, _) => lines.push(format!("{found}: see `nolapse status`")),
        (1, _) => {}
        (more, _) if !report::nothing(view) => lines[0].push_str(&format!(" (and {} more)", more - 1)),
        _ => {}
    }
    let warn = ctx.config.alerts.steps.first().copied().unwrap_or(0);
    print(&nagios::text(state, &lines, &nagios::ends(view), warn, view.now))?;
    Ok(code)
}
