//! `nolapse` alone: one screen that says where you stand, and the one next step.

use super::{Fatal, Setup, block_on, install, print};
use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::layout::{cells, cut, hang, one_line};
use crate::notify::Channel;
use crate::{doctor, judge, ledger, look};

use crate::report::{self, Exit, Row, Style};
use crate::rules::alert::{Alert, Why};
use crate::rules::doctor::Runs;
use crate::rules::overview::{self as rule, Reached, Standing};
use crate::rules::view::View;
use crate::rules::wording;
use crate::sources::claude;
use crate::types::Severity;
use std::fmt::Write;

pub(super) fn overview(setup: &Setup) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(&ctx, &ledger);
    let firing = judge::firing(&ctx, &view, &ledger, view.now);
    let place = install::place(setup).ok();
    let (runs, by) = block_on(doctor::run_by(&ctx, place.as_ref()))?;
    let style = setup.style();
    let mut out = String::new();
    let (version, host) = (env!("CARGO_PKG_VERSION"), one_line(&ctx.host.name));
    let _ = writeln!(out, "nolapse {version} on {host}");
    if report::nothing(&view) && ctx.config.remotes.is_empty() {
        out.push_str(&from_nothing(style));
        print(&out)?;
        return Ok(Exit::Fine);
    }
    out.push_str(&found(&ctx, &view, style));
    heading(&mut out, "Alerts", style);
    out.push_str(&entry(&alerts_words(&firing), style));
    if loud(&firing) > 0 {
        out.push_str("    nolapse alert list\n");
    }
    out.push_str(&entry(&notified_words(&ctx), style));
    heading(&mut out, "Runs by", style);
    out.push_str(&entry(&runs_words(runs, &by), style));
    let standing = standing(&ctx, &view, &firing, runs);
    heading(&mut out, "Next", style);
    match rule::next(&standing) {
        None => out.push_str(&entry("nothing to do; details: nolapse status", style)),
        Some(next) => {
            out.push_str(&entry(&format!("{}:", next.why), style));
            // a command stays in one piece
            let _ = writeln!(out, "    {}", one_line(&next.command));
        }
    }
    print(&out)?;
    Ok(Exit::Fine)
}

fn from_nothing(style: Style) -> String {
    let mut out = entry("No Claude Code login and no agent was found here.", style);
    for (n, (what, command)) in [
        ("Sign in to Claude Code:", "claude auth login"),
        ("Set up alerts and automatic checks:", "nolapse setup"),
        ("Or see it at work on a made-up home:", "nolapse demo"),
    ]
    .into_iter()
    .enumerate()
    {
        let _ = write!(out, "\n  {}. {what}\n       {command}\n", n + 1);
    }
    out
}

fn heading(out: &mut String, text: &str, style: Style) {
    let _ = write!(out, "\n{}\n", report::bold(text, style));
}

fn entry(text: &str, style: Style) -> String {
    format!("  {}\n", hang(text, 2, style.width))
}

/// Logins and agents, a line each where the screen is wide enough; what is worst comes first.
pub(super) fn found(ctx: &Ctx, view: &View, style: Style) -> String {
    let mut out = String::new();
    heading(&mut out, "Logins", style);
    let logins = report::login_rows(ctx, view);
    out.push_str(&rows(logins, "no Claude Code login found", style));
    heading(&mut out, "Agents", style);
    let mut agents: Vec<Row> = Vec::new();
    for row in report::agent_rows(view) {
        // of an agent's profiles, the worst
        match agents.last_mut() {
            Some(last) if row.name.is_empty() => {
                if row.badness() > last.badness() {
                    let name = std::mem::take(&mut last.name);
                    *last = Row { name, ..row };
                }
            }
            _ => agents.push(row),
        }
    }
    for row in &mut agents {
        if let Some(id) = row.id.take() {
            row.words = format!("{id}: {}", row.words);
        }
    }
    out.push_str(&rows(agents, "no agent found", style));
    out
}

fn rows(mut rows: Vec<Row>, none: &str, style: Style) -> String {
    if rows.is_empty() {
        return entry(none, style);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.badness()));
    let wide = rows.iter().map(|row| cells(&row.name)).max().unwrap_or(0).min(28);
    let mut out = String::new();
    for row in rows {
        let health = row
            .health
            .map_or_else(|| "-       ".into(), |health| report::health_word(health, style));
        let pad = " ".repeat(wide.saturating_sub(cells(&row.name)));
        let (name, words) = (&row.name, row.words.as_str());
        let room = style
            .width
            .map(|width| width.saturating_sub(14 + wide.max(cells(name))));
        let _ = match room {
            // narrower than this, words in a column of their own are no pleasure to read
            Some(room) if room < 30 => {
                let name = cut(name, style.width.unwrap_or(usize::MAX).saturating_sub(12));
                writeln!(out, "  {name}: {health}\n    {}", hang(words, 4, style.width))
            }
            Some(room) => writeln!(out, "  {name}{pad}  {health}  {}", cut(words, room)),
            None => writeln!(out, "  {name}{pad}  {health}  {words}"),
        };
    }
    out
}

fn loud(firing: &[Alert]) -> usize {
    let loud = firing.iter().filter(|alert| alert.severity >= Severity::Warning);
    loud.count()
}

fn alerts_words(firing: &[Alert]) -> String {
    match loud(firing) {
        0 => "nothing needs you".into(),
        1 => "1 alert is firing; see what it is:".into(),
        n => format!("{n} alerts are firing; see what they are:"),
    }
}

/// Who would be notified.
pub(super) fn notified_words(ctx: &Ctx) -> String {
    let channels = ctx.channels();
    let people: Vec<String> = channels
        .iter()
        .filter(|channel| !channel.is_log())
        .map(|channel| one_line(&channel.name))
        .collect();
    match people.as_slice() {
        [] => "nobody is notified: alerts go to the log only".into(),
        people => format!("alerts go to {}", crate::layout::list(people, 4, 0)),
    }
}

/// What makes passes.
pub(super) fn runs_words(runs: Runs, by: &[String]) -> String {
    match (runs, by) {
        (Runs::Alone, by) if !by.is_empty() => by.join(", "),
        (Runs::Alone, _) => "a daemon".into(),
        (Runs::ByHand, _) => "nothing: it checks only when you run it".into(),
        (Runs::Unknown, _) => "unknown from here; see `nolapse doctor`".into(),
    }
}

fn standing(ctx: &Ctx, view: &View, firing: &[Alert], runs: Runs) -> Standing {
    let places = claude::places(&ctx.host, &ctx.config.logins);
    let first = places.first().map(|place| place.id.as_str());
    let sign_in = firing
        .iter()
        .filter(|alert| matches!(alert.id, Cause::Login(_)) && alert.severity >= Severity::Warning)
        .filter_map(|alert| alert.login.as_ref().map(|login| login.id.as_str()))
        .filter(|id| places.iter().any(|place| place.id == *id))
        .map(|id| (Some(id) != first).then(|| id.to_owned()))
        .collect();
    let loud = firing.iter().find(|alert| alert.severity >= Severity::Warning);
    let fix = loud.and_then(|alert| {
        let words = wording::words(alert, Why::First, view.now, ctx.here(view.now));
        words.commands.into_iter().next()
    });
    let log_alone = ctx.channels().iter().all(Channel::is_log);
    Standing {
        sign_in,
        fix,
        firing: loud.is_some(),
        reached: if log_alone { Reached::Nobody } else { Reached::Somebody },
        runs,
    }
}
