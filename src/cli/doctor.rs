//! `doctor`.

use super::{Fatal, Setup, install, print, print_json};
use crate::config::Config;
use crate::ctx::Ctx;
use crate::doctor::{self, About, Exam, Repaired};
use crate::edge::host::Clock;
use crate::edge::http::Http;
use crate::edge::progress;
use crate::edge::terminal::{self, Input, Line};
use crate::layout::{hang, one_line};
use crate::report::json::JsonPath;
use crate::report::{Exit, Style, paint};
use crate::rules::doctor::{self as rule, Finding, Fix, Group, Level, Remedy, counted};
use crate::types::Moment;
use clap::Args;
use serde::Serialize;
use std::fmt::Write;

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct DoctorArgs {
    /// Do the safe repairs, after showing them: permissions of what is ours, locks of processes that died, stores that
    /// are behind their login
    #[arg(long)]
    fix: bool,
    /// Do not ask before repairing
    #[arg(long, requires = "fix")]
    yes: bool,
    /// One JSON object (nolapse.doctor/1) on stdout, and nothing else
    #[arg(long)]
    json: bool,
}

const HELP: &str = "\
Examples:
  nolapse doctor                what is wrong, why it matters, and the one command for each
  nolapse doctor --fix          shows what it would repair, and asks
  nolapse doctor --fix --yes    repairs without asking, for scripts

It reads files, asks the platform's own programs, and opens connections to the channels without
sending anything. A repair never spends a token; stores are brought up to date as `nolapse sync` does it
(`nolapse sync --dry-run` shows the exact change).

Exit codes: 0 nothing is wrong, 1 something is broken, 2 warnings only, 3 something could not be checked";

pub(super) fn doctor(setup: &Setup, args: &DoctorArgs) -> Result<Exit, Fatal> {
    let exam = examine(setup)?;
    let repairs = doctor::repairs(&exam.ctx, &exam.found.findings);
    let style = setup.style();
    let width = terminal::columns().map_or(100, usize::from).clamp(24, 100);
    if !args.json {
        print(&text(&exam.found, repairs.len(), args.fix, style, width))?;
    }
    let agreed = args.fix && !repairs.is_empty() && (args.yes || !args.json && ask(&repairs)?);
    if !agreed {
        if args.json {
            let pending: Vec<_> = repairs.iter().map(|repair| (repair, None)).collect();
            print_json(&json(&exam, &pending))?;
        } else if args.fix && !repairs.is_empty() && !can_ask() {
            print(&offered(&repairs))?;
        }
        return Ok(exit(&exam.found));
    }
    let fixes: Vec<Fix> = repairs.iter().map(|(fix, _)| fix.clone()).collect();
    let outcomes = block_on(doctor::repair(&exam.ctx, &fixes))?;
    let after = examine(setup)?;
    if args.json {
        let done: Vec<_> = repairs
            .iter()
            .zip(&outcomes)
            .map(|(repair, done)| (repair, Some(done)))
            .collect();
        print_json(&json(&after, &done))?;
        return Ok(exit(&after.found));
    }
    let mut out = String::new();
    for ((_, shown), outcome) in repairs.iter().zip(&outcomes) {
        let shown = one_line(shown);
        let _ = match outcome {
            Repaired::Done => writeln!(out, "done: {shown}"),
            Repaired::Left(why) => writeln!(out, "not changed: {shown}: {}", one_line(why)),
        };
    }
    let _ = writeln!(out, "now: {}", tally(&after.found.findings));
    print(&out)?;
    Ok(exit(&after.found))
}

struct Examined {
    ctx: Ctx,
    found: Exam,
}

fn examine(setup: &Setup) -> Result<Examined, Fatal> {
    // a configuration that is not valid is a finding, and the rest is looked at without it
    let (ctx, config_error) = match setup.ctx(None) {
        Ok(ctx) => (ctx, None),
        Err(Fatal::Config(error)) => {
            let ctx = Ctx {
                host: setup.host.clone(),
                clock: Clock::System,
                config: Config::default(),
                state_dir: setup.state_dir.clone(),
                http: Http::new(&setup.host.env),
            };
            (ctx, Some(error))
        }
        Err(other) => return Err(other),
    };
    let about = About {
        config_path: &setup.config_path,
        config_error,
        place: install::place(setup).ok(),
        exe: setup.exe.as_deref(),
    };
    let waiting = progress::waiting(|| "channels and services".into());
    let found = block_on(doctor::examine(&ctx, &about))?;
    drop(waiting);
    Ok(Examined { ctx, found })
}

/// The runtime of a look: a name lookup that hangs is not waited for at its end.
fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    runtime.shutdown_background();
    Ok(output)
}

fn exit(exam: &Exam) -> Exit {
    match rule::exit(&exam.findings) {
        0 => Exit::Fine,
        1 => Exit::Lapsed,
        2 => Exit::Expiring,
        _ => Exit::Unknown,
    }
}

fn can_ask() -> bool {
    terminal::stdin_is_terminal() && terminal::columns().is_some()
}

fn offered(repairs: &[(Fix, String)]) -> String {
    let mut out = String::from("nothing was repaired; `nolapse doctor --fix --yes` would do:\n");
    for (_, shown) in repairs {
        let _ = writeln!(out, "  {}", one_line(shown));
    }
    out
}

/// Shows the repairs and asks, where there is somebody to ask.
fn ask(repairs: &[(Fix, String)]) -> Result<bool, Fatal> {
    if !can_ask() {
        return Ok(false);
    }
    let mut out = String::from("to be done:\n");
    for (_, shown) in repairs {
        let _ = writeln!(out, "  {}", one_line(shown));
    }
    out.push_str("do this? [y/N] ");
    // stdin is taken over first, which throws away what was typed before: an answer that comes at once is none of that
    let mut input = Input::open()?;
    print(&out)?;
    let line = block_on(input.shown_line())?;
    let yes = match &line {
        Line::Text(text) => matches!(text.expose().trim().to_lowercase().as_str(), "y" | "yes"),
        Line::Closed | Line::Interrupted => false,
    };
    if !yes {
        print("nothing was repaired\n")?;
    }
    Ok(yes)
}

/// `2 broken, 1 warning`.
fn tally(findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let mut parts = Vec::new();
    for (level, words) in [
        (Level::Broken, "broken"),
        (Level::Unknown, "unknown"),
        (Level::Warning, "warning"),
        (Level::Note, "note"),
    ] {
        match (count(level), level) {
            (0, _) => {}
            (n, Level::Broken | Level::Unknown) => parts.push(format!("{n} {words}")),
            (n, _) => parts.push(counted(n, words)),
        }
    }
    match rule::exit(findings) {
        0 if parts.is_empty() => "nothing is wrong".into(),
        0 => format!("nothing is wrong, {}", parts.join(", ")),
        _ => parts.join(", "),
    }
}

/// The findings by group, then what was looked at and is fine.
fn text(exam: &Exam, repairs: usize, fixing: bool, style: Style, width: usize) -> String {
    let mut out = String::new();
    let mut fine = Vec::new();
    for group in Group::ALL {
        let of_it: Vec<&Finding> = exam.findings.iter().filter(|finding| finding.group == group).collect();
        if of_it.iter().all(|finding| finding.level == Level::Note) {
            fine.extend(exam.checked.iter().filter(|(of, _)| *of == group));
        }
        if of_it.is_empty() {
            continue;
        }
        let _ = writeln!(out, "{}", paint(group.heading(), "1", style));
        for finding in of_it {
            entry(&mut out, finding, style, width);
        }
    }
    if !fine.is_empty() {
        let heading = if exam.findings.is_empty() { "looked at" } else { "fine" };
        let _ = writeln!(out, "{}", paint(heading, "1", style));
        for (group, what) in fine {
            let line = format!("{}: {}", group.heading(), one_line(what));
            wrap(&mut out, &line, 2, 4, width);
        }
    }
    let mut last = tally(&exam.findings);
    if repairs > 0 && !fixing {
        let _ = write!(last, "; `nolapse doctor --fix` repairs {repairs} of these");
    }
    wrap(&mut out, &last, 0, 2, width);
    out
}

fn entry(out: &mut String, finding: &Finding, style: Style, width: usize) {
    let colour = match finding.level {
        Level::Broken => "31;1",
        Level::Unknown | Level::Warning => "33",
        Level::Note => "2",
    };
    let word = finding.level.to_string();
    let mut what = String::new();
    wrap(&mut what, &format!("{word}: {}", one_line(&finding.what)), 2, 4, width);
    out.push_str(&what.replacen(&word, &paint(&word, colour, style), 1));
    wrap(out, &one_line(&finding.why), 4, 4, width);
    match &finding.remedy {
        // not wrapped: it is there to be copied
        Remedy::Run(command) => {
            let _ = writeln!(out, "    run: {}", one_line(command));
        }
        Remedy::Do(text) => wrap(out, &format!("hint: {}", one_line(text)), 4, 6, width),
    }
}

/// A line, `first` columns in, and what does not fit below it, `rest` columns in.
fn wrap(out: &mut String, text: &str, first: usize, rest: usize, width: usize) {
    let _ = writeln!(out, "{}{}", " ".repeat(first), hang(text, rest, Some(width)));
}

#[derive(Serialize)]
struct Json<'a> {
    schema: &'static str,
    now: Moment,
    host: &'a str,
    exit: u8,
    findings: Vec<JsonFinding<'a>>,
    checked: Vec<JsonChecked<'a>>,
    repairs: Vec<JsonRepair<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    kind: &'a str,
    group: Group,
    level: Level,
    path: Option<JsonPath<'a>>,
    what: &'a str,
    why: &'a str,
    command: Option<&'a str>,
    hint: Option<&'a str>,
    repairable: bool,
}

#[derive(Serialize)]
struct JsonChecked<'a> {
    group: Group,
    what: &'a str,
}

#[derive(Serialize)]
struct JsonRepair<'a> {
    path: JsonPath<'a>,
    command: &'a str,
    state: &'static str,
    why: Option<&'a str>,
}

/// `nolapse.doctor/1`. Other programs read it: keys are never taken away.
fn json<'a>(exam: &'a Examined, repairs: &[(&'a (Fix, String), Option<&'a Repaired>)]) -> Json<'a> {
    let findings = exam.found.findings.iter().map(|finding| JsonFinding {
        kind: &finding.kind,
        group: finding.group,
        level: finding.level,
        path: finding.path.as_deref().map(JsonPath),
        what: &finding.what,
        why: &finding.why,
        command: match &finding.remedy {
            Remedy::Run(command) => Some(command),
            Remedy::Do(_) => None,
        },
        hint: match &finding.remedy {
            Remedy::Run(_) => None,
            Remedy::Do(text) => Some(text),
        },
        repairable: finding.fix.is_some(),
    });
    Json {
        schema: "nolapse.doctor/1",
        now: exam.ctx.clock.now(),
        host: &exam.ctx.host.name,
        exit: exit(&exam.found).code(),
        findings: findings.collect(),
        checked: exam
            .found
            .checked
            .iter()
            .map(|(group, what)| JsonChecked { group: *group, what })
            .collect(),
        repairs: repairs
            .iter()
            .map(|((fix, shown), outcome)| JsonRepair {
                path: JsonPath(fix.path()),
                command: shown,
                state: match outcome {
                    None => "possible",
                    Some(Repaired::Done) => "done",
                    Some(Repaired::Left(_)) => "left",
                },
                why: match outcome {
                    Some(Repaired::Left(why)) => Some(why),
                    _ => None,
                },
            })
            .collect(),
    }
}
