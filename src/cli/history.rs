//! `history`: what happened, as a story or as JSON.

use super::{Fatal, Setup, parse_time, print, print_json, unknown, usage};
use crate::ctx::Ctx;
use crate::edge::host::at_clock;
use crate::layout::one_line;
use crate::report::{self, Exit, Style};
use crate::rules::memory::Entry;
use crate::rules::story::{self, Mark, Scene};
use crate::rules::wording::span;
use crate::sources::claude;
use crate::table::parse_duration;
use crate::types::{DAY, Moment, Ms};
use crate::{history, layout, ledger};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

const EXAMPLES: &str = "\
Examples:
  nolapse history                          the last 7 days as a story
  nolapse history --since 2026-11-20       since that day began
  nolapse history --login 'claude*' -n 20  the last 20 entries of some logins
  nolapse history --json | jq '.entries[] | select(.what == \"lapsed\")'";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct HistoryArgs {
    /// Since when: `7d`, `12h`, a day as `2026-11-20`, RFC 3339, or milliseconds [default: 7d, or all with `-n`]
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Since>,
    /// Only what concerns these logins, with `*` and `?`
    #[arg(long, value_name = "GLOB")]
    login: Option<glob::Pattern>,
    /// The last so many entries
    #[arg(short = 'n', long = "last", value_name = "N")]
    last: Option<usize>,
    /// One JSON object (nolapse.history/1) on stdout, and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
enum Since {
    Ago(Ms),
    At(Moment),
}

fn parse_since(text: &str) -> Result<Since, String> {
    if let Some(span) = parse_duration(text) {
        return Ok(Since::Ago(span));
    }
    if let Some(at) = text.parse().ok().and_then(|date| at_clock(date, 0, 0)) {
        return Ok(Since::At(at));
    }
    parse_time(text)
        .map(Since::At)
        .map_err(|_| "write `7d`, `12h`, `2026-11-20`, `2026-11-20T07:30:00Z` or milliseconds since 1970".into())
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    now: Moment,
    host: &'a str,
    since: Option<Moment>,
    skipped: usize,
    entries: &'a [Entry],
}

pub(super) fn history(setup: &Setup, args: &HistoryArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let now = ctx.clock.now();
    let since = match (args.since, args.last) {
        (Some(Since::Ago(span)), _) => Some(now - span),
        (Some(Since::At(at)), _) => Some(at),
        (None, Some(_)) => None,
        (None, None) => Some(now - 7 * DAY),
    };
    let mut read = history::read(&ctx.state_dir, since.unwrap_or(Moment::MIN))
        .map_err(|why| usage(why, "run nolapse as the user whose history it is"))?;
    if let Some(glob) = &args.login {
        known(&ctx, glob, &read.entries)?;
        read.entries.retain(|entry| concerns(entry, glob));
    }
    if let Some(most) = args.last {
        let over = read.entries.len().saturating_sub(most);
        read.entries.drain(..over);
    }
    if args.json {
        let object = Json {
            schema: "nolapse.history/1",
            now,
            host: &ctx.host.name,
            since,
            skipped: read.skipped,
            entries: &read.entries,
        };
        print_json(&object)?;
        return Ok(Exit::Fine);
    }
    let style = setup.style();
    let mut out = tell(&ctx, &read.entries, style);
    let period = since.map(|since| span(now - since));
    let words = match (story::counted(&read.entries), &period) {
        _ if read.entries.is_empty() => match period {
            Some(period) => format!("nothing happened in the last {period}"),
            None => "nothing has happened yet".into(),
        },
        (counted, Some(period)) if !counted.is_empty() => format!("in the last {period}: {counted}"),
        (counted, _) => counted,
    };
    if !words.is_empty() {
        let _ = writeln!(out, "{}", layout::hang(&words, 0, style.width));
    }
    if read.skipped > 0 {
        let words = match read.skipped {
            1 => "1 line of the history could not be read and was left out".to_owned(),
            n => format!("{n} lines of the history could not be read and were left out"),
        };
        let _ = writeln!(out, "{}", layout::hang(&words, 0, style.width));
    }
    print(&out)?;
    Ok(Exit::Fine)
}

/// Whether an entry is about one of these logins; older lines name the login as whom.
fn concerns(entry: &Entry, glob: &glob::Pattern) -> bool {
    let of_login = || entry.what.starts_with("renew") || matches!(entry.what.as_ref(), "heal" | "not_renewed");
    match &entry.login {
        Some(login) => glob.matches(login),
        None => of_login() && glob.matches(&entry.whom),
    }
}

fn known(ctx: &Ctx, glob: &glob::Pattern, entries: &[Entry]) -> Result<(), Fatal> {
    let mut logins: BTreeSet<String> = ledger::load(&ctx.state_dir).ledger.logins.into_keys().collect();
    let places = claude::places(&ctx.host, &ctx.config.logins);
    logins.extend(places.into_iter().map(|place| place.id));
    logins.extend(entries.iter().filter_map(|entry| entry.login.clone()));
    if logins.iter().any(|login| glob.matches(login)) {
        return Ok(());
    }
    Err(unknown("login", glob.as_str(), logins.iter().map(String::as_str)))
}

/// Day by day: a heading, then each scene with its time, wrapped to the terminal.
fn tell(ctx: &Ctx, entries: &[Entry], style: Style) -> String {
    const INDENT: usize = 10;
    let mut out = String::new();
    let mut day = String::new();
    for Scene { at, mark, text, below } in story::story(entries, &|at| ctx.when(at)) {
        let this = ctx.day(at);
        if this != day {
            if !day.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "{}", report::bold(&this, style));
            day = this;
        }
        let (glyph, plain, colour) = glyph(mark);
        let glyph = report::paint(if style.unicode { glyph } else { plain }, colour, style);
        let text = layout::hang(&one_line(&text), INDENT, style.width);
        let _ = writeln!(out, "  {} {glyph} {text}", ctx.time(at));
        for below in below {
            let text = layout::hang(&one_line(&below), INDENT, style.width);
            let text = report::paint(&text, "2", style);
            let _ = writeln!(out, "{}{text}", " ".repeat(INDENT));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

/// As drawn, without Unicode, and its colour.
fn glyph(mark: Mark) -> (&'static str, &'static str, &'static str) {
    match mark {
        Mark::Lapsed => ("✗", "x", "31;1"),
        Mark::Trouble => ("▲", "!", "33"),
        Mark::Fine => ("✓", "+", "32"),
        Mark::Done => ("·", ".", "2"),
        Mark::Told => ("»", ">", "36"),
        Mark::Hand => ("•", "*", "36"),
    }
}
