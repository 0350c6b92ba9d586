//! `run` and `sync`.

use super::{Fatal, Setup, block_on, parse_time, print, say, until_signal};
use crate::ctx::Ctx;
use crate::layout::{counted, one_line};
use crate::outcome::{Done, Outcome, Report};
use crate::pass::{self, Scope};
use crate::report::{self, Exit};
use crate::rules::agent::{Binds, NotWritten};
use crate::rules::alert::Why;
use crate::rules::plan::Keep;
use crate::rules::policy::Create;
use crate::rules::view::AgentView;
use crate::rules::{self, plan, wording};
use crate::types::{Moment, Problem};
use crate::{heard, ledger};
use clap::Args;
use std::fmt::Write;

#[derive(Args, Debug)]
pub(super) struct RunArgs {
    /// Preview file changes (secrets masked) and alerts; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args, Debug)]
pub(super) struct SyncArgs {
    /// Preview file changes (secrets masked); write nothing
    #[arg(long)]
    dry_run: bool,
    /// Make the profile where it does not exist yet, whatever `sync.create` says
    #[arg(long)]
    create: bool,
    /// Decide as of another time: milliseconds since 1970, or RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Moment>,
}

pub(super) fn run(setup: &Setup, args: &RunArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx_or_kept(None)?;
    if !args.dry_run {
        setup.keep(&ctx);
    }
    let report = match args.dry_run {
        true => block_on(pass::rehearse(&ctx))?,
        false => until_signal(pass::run(&ctx, Scope::Whole))?,
    };
    let mut out = story(&ctx, &report);
    if let Some(problem) = heard::nobody(&ctx) {
        let _ = writeln!(out, "warning: {}\n  hint: {}", one_line(&problem.message), problem.hint);
    }
    let nothing = report::nothing(&report.view);
    if nothing {
        out.push_str(&report::nothing_words(&ctx, &report.view));
    }
    // who only watches others has their alerts
    if !nothing || !report.alerts.is_empty() || !report.told.is_empty() {
        out.push_str(&summary(&ctx, &report, args.dry_run));
    }
    say_around_diffs(&out)?;
    Ok(exit(&ctx, &report))
}

pub(super) fn sync(setup: &Setup, args: &SyncArgs) -> Result<Exit, Fatal> {
    let mut ctx = setup.ctx(args.at)?;
    if args.create {
        ctx.config.sync.create = Create::Always;
    }
    let report = match args.dry_run {
        true => block_on(pass::rehearse(&ctx))?,
        false => until_signal(pass::run(&ctx, Scope::Sync))?,
    };
    let mut out = story(&ctx, &report);
    if report::nothing(&report.view) {
        out.push_str(&report::nothing_words(&ctx, &report.view));
    } else if let Some(kept) = args.dry_run.then(|| not_changed(&ctx, &report))
        && !kept.is_empty()
    {
        out.push_str(&kept);
    } else if let Some(offer) = offer(&ctx, &report) {
        out.push_str(&offer);
    } else if report.done.is_empty() && report.problems.is_empty() {
        out.push_str(match ctx.config.sync.enabled {
            true => "nothing to bring up to date\n",
            false => "`sync.enabled` is false: nothing is written\n",
        });
    }
    say_around_diffs(&out)?;
    // a sync is judged by what it was asked to do, not by the health of what it found
    let fine = report.failures().next().is_none();
    Ok(if fine { Exit::Fine } else { Exit::Unknown })
}

/// Profiles that are not there and that their agents would not make, and stores that are behind and cannot be written.
fn offer(ctx: &Ctx, report: &Report) -> Option<String> {
    let behind = |agent: &AgentView| !plan::store(&ctx.config.sync, &report.view, agent).edits.is_empty();
    let mut out = not_written(ctx, report, behind);
    for (agent, kept) in kept(ctx, report) {
        for (id, _) in kept.iter().filter(|(_, why)| *why == Keep::NotMade) {
            let _ = writeln!(out, "{agent}: {} not changed: {}", one_line(id), Keep::NotMade.words());
        }
    }
    (!out.is_empty()).then_some(out)
}

/// The agents whose stores may be written, each with its profiles that stay as they are, and why.
fn kept(ctx: &Ctx, report: &Report) -> Vec<(String, Vec<(String, Keep)>)> {
    let agents = report.view.agents.iter();
    let written = agents.filter(|agent| ctx.config.sync.enabled && agent.writable.is_ok());
    written
        .map(|agent| {
            let kept = plan::store(&ctx.config.sync, &report.view, agent).kept;
            (one_line(&agent.label()), kept)
        })
        .collect()
}

/// Why the other profiles would not be changed, a line each; those that are up to date are counted.
fn not_changed(ctx: &Ctx, report: &Report) -> String {
    let (mut out, mut current) = (String::new(), 0);
    for (agent, kept) in kept(ctx, report) {
        for (id, why) in kept {
            match why {
                Keep::UpToDate => current += 1,
                why => {
                    let _ = writeln!(out, "{agent}: {} not changed: {}", one_line(&id), why.words());
                }
            }
        }
    }
    out.push_str(&not_written(ctx, report, |_| true));
    match current {
        0 => {}
        1 => out.push_str("1 profile is up to date\n"),
        n => {
            let _ = writeln!(out, "{n} profiles are up to date");
        }
    }
    out
}

/// Those of these stores that are not written, why, and what helps.
fn not_written(ctx: &Ctx, report: &Report, of: impl Fn(&AgentView) -> bool) -> String {
    let mut out = String::new();
    for agent in report
        .view
        .agents
        .iter()
        .filter(|agent| ctx.config.sync.enabled && of(agent))
    {
        if let Err(NotWritten { why, fix, binds }) = &agent.writable {
            let _ = writeln!(out, "{} not changed: {}", one_line(&agent.label()), one_line(why));
            // what somebody wants so needs no mending
            if let Some(fix) = fix.as_ref().filter(|_| *binds == Binds::Everybody) {
                let _ = writeln!(out, "  hint: run `{}`", one_line(fix));
            }
        }
    }
    out
}

/// That nobody has heard of an alert, or that nothing can be remembered, outweighs all. Then what has lapsed, what else went
/// wrong with the pass, and what ends soon.
fn exit(ctx: &Ctx, report: &Report) -> Exit {
    let unheard = |problem: &Problem| matches!(problem.kind, rules::heard::UNHEARD | "state_dir");
    if report.problems.iter().any(unheard) {
        return Exit::Unknown;
    }
    match report::exit_with(report::exit(ctx, &report.view), &report.alerts) {
        Exit::Lapsed => Exit::Lapsed,
        _ if report.failures().next().is_some() => Exit::Unknown,
        exit => exit,
    }
}

/// As [`say`]; the lines of a diff stay as they are.
fn say_around_diffs(text: &str) -> std::io::Result<()> {
    let diff = |line: &str| ["  +", "  -", "  @", "   "].iter().any(|begin| line.starts_with(begin));
    let mut words = String::new();
    for line in text.split_inclusive('\n') {
        if diff(line) {
            say(&std::mem::take(&mut words))?;
            print(line)?;
        } else {
            words.push_str(line);
        }
    }
    say(&words)
}

/// What was done or would be, a line each; the diff where nothing was written.
pub(super) fn story(ctx: &Ctx, report: &Report) -> String {
    let mut out = String::new();
    for Done { whom, path, outcome } in &report.done {
        let (whom, path) = (one_line(whom), one_line(&ctx.host.tilde(path)));
        let _ = match outcome {
            Outcome::Written(ids) => writeln!(out, "{whom}: brought up to date: {}", one_line(&ids.join(", "))),
            Outcome::WouldWrite(diff) => writeln!(out, "{whom}: would change {path}\n{}", indent(diff)),
            Outcome::Healed(from) => writeln!(out, "login {whom}: healed from the newer copy of {}", one_line(from)),
            Outcome::WouldHeal(from) => {
                let from = one_line(from);
                writeln!(out, "login {whom}: would be healed from the newer copy of {from}")
            }
            Outcome::Renewed(how) => writeln!(out, "login {whom}: renewed {}", one_line(how)),
            Outcome::WouldRenew(how) => writeln!(out, "login {whom}: would be renewed {}", one_line(how)),
            Outcome::NotRenewed(problem) => writeln!(out, "login {whom}: not renewed: {}", with_hint(problem)),
            Outcome::Failed(problem) => writeln!(out, "{whom}: {}", with_hint(problem)),
        };
    }
    for problem in &report.problems {
        let _ = writeln!(out, "{}", with_hint(problem));
    }
    out
}

/// What is wrong, and below it what helps.
fn with_hint(problem: &Problem) -> String {
    format!("{}\n  hint: {}", one_line(&problem.message), one_line(&problem.hint))
}

/// What needs a person, who was notified, and the health of the rest.
pub(super) fn summary(ctx: &Ctx, report: &Report, dry_run: bool) -> String {
    let mut out = String::new();
    // what went to the log alone was just said there, and is said below
    let channels = ctx.channels();
    let log = |name: &str| channels.iter().any(|channel| channel.name == name && channel.is_log());
    for (sent, result) in report.told.iter().filter(|(sent, _)| !log(&sent.channel)) {
        let title = one_line(&sent.event.title);
        let _ = match result {
            Ok(_) => writeln!(out, "notified {}: {title}", sent.channel),
            Err(error) => {
                let channel = &sent.channel;
                writeln!(out, "could not notify {channel}: {title}: {error}; will be retried")
            }
        };
    }
    for alert in &report.alerts {
        let words = wording::words(alert, Why::First, report.view.now, ctx.here(report.view.now));
        let _ = writeln!(out, "{}: {}", alert.severity.word(), one_line(&words.title));
        for line in words.message.lines() {
            let _ = writeln!(out, "  {}", one_line(line));
        }
    }
    if dry_run {
        out.push_str(&rehearsed(ctx, report));
    }
    let (logins, agents) = (report.view.logins.len(), report.view.agents.len());
    let state = match (report.alerts.len(), dry_run) {
        (0, _) => "nothing needs you".to_owned(),
        (n, false) => format!("{} firing", counted(n, "alert")),
        (n, true) => format!("{} would fire", counted(n, "alert")),
    };
    let (logins, agents) = (counted(logins, "login"), counted(agents, "agent"));
    let _ = writeln!(out, "{logins}, {agents}: {state}");
    out
}

/// Whom the real pass would notify, and of what nobody would hear.
fn rehearsed(ctx: &Ctx, report: &Report) -> String {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let mut out = String::new();
    for (channel, title) in heard::would_send(ctx, ledger.clone(), &report.alerts, report.view.now) {
        let _ = writeln!(out, "would notify {}: {}", one_line(&channel), one_line(&title));
    }
    for (alert, why) in heard::would_miss(ctx, &ledger, &report.alerts, report.view.now) {
        let _ = writeln!(out, "would notify nobody: {}: {}", one_line(&alert), why);
    }
    out
}

fn indent(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {}", one_line(line)));
    lines.collect::<Vec<_>>().join("\n")
}
