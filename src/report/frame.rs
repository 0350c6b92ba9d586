//! One frame of the live view: as many lines as the screen has rows, none wider than it, what needs a person first.
//!
//! Pure: what is drawn is decided here, how it reaches the terminal in `edge/screen`.

use crate::ctx::Ctx;
use crate::layout::{cells, counted, cut, fit, one_line, tail, wrap};
use crate::report::{Row, Style, agent_rows, bar, health, health_word, login_rows, needs_you, paint};
use crate::rules::alert::Alert;
use crate::rules::doctor::Runs;
use crate::rules::memory::Ledger;
use crate::rules::view::View;
use crate::rules::wording::{self, span};
use crate::types::{Health, MINUTE, Moment, Ms, Problem};

/// What a frame shows.
pub(crate) struct Scene<'a> {
    /// The host and the words for times.
    pub(crate) ctx: &'a Ctx,
    /// The world.
    pub(crate) view: &'a View,
    /// What is remembered.
    pub(crate) ledger: &'a Ledger,
    /// What needs a human here and elsewhere.
    pub(crate) alerts: &'a [Alert],
    /// The notes.
    pub(crate) problems: &'a [Problem],
    /// When the last whole pass ended.
    pub(crate) last_pass: Option<Moment>,
    /// When something is due next.
    pub(crate) next: Option<Moment>,
    /// Who would make the pass that does it.
    pub(crate) runs: Runs,
}

/// The lines of a screen of `columns` by `rows`.
pub(crate) fn frame(scene: &Scene<'_>, columns: usize, rows: usize, style: Style) -> Vec<String> {
    // the last column stays free: a line that ends in it would be clipped by what clears the rest
    let width = columns.saturating_sub(1).max(1);
    let mut head = header(scene, width, style);
    let foot = footer(scene, width, style);
    if rows < 8 {
        head.truncate(1);
    }
    let room = rows.saturating_sub(head.len() + if rows < 5 { 0 } else { foot.len() });
    let mut lines = head;
    lines.extend(body(scene, width, room, style));
    if rows >= 5 {
        lines.resize(rows - foot.len(), String::new());
        lines.extend(foot);
    }
    lines.truncate(rows);
    if !style.unicode {
        lines.iter_mut().for_each(|line| *line = line.replace('…', "~"));
    }
    lines
}

fn header(scene: &Scene<'_>, width: usize, style: Style) -> Vec<String> {
    let time = scene.ctx.time(scene.view.now);
    let dot = if style.unicode { "·" } else { "-" };
    let name = format!("nolapse {dot} {}", one_line(&scene.ctx.host.name));
    let name = fit(&name, width.saturating_sub(cells(&time) + 1));
    let worst = health(scene.ctx, scene.view);
    let state = needs_you(scene.alerts.len());
    let logins = counted(scene.view.logins.len(), "login");
    let rest = format!("{logins}, {}", counted(scene.view.agents.len(), "agent"));
    let summary = match cells(&state) + 2 + cells(&rest) <= width {
        true => format!("{}; {rest}", paint(&state, colour(worst, scene.alerts), style)),
        false => paint(&cut(&state, width), colour(worst, scene.alerts), style),
    };
    vec![
        cut_painted(&format!("{name} {time}"), width, "1", style),
        summary,
        String::new(),
    ]
}

fn colour(worst: Health, alerts: &[Alert]) -> &'static str {
    match worst {
        _ if alerts.iter().any(|alert| alert.lapsed) => "31;1",
        worst if worst.fine() && alerts.is_empty() => "32",
        _ => "33",
    }
}

fn cut_painted(text: &str, width: usize, code: &str, style: Style) -> String {
    paint(&cut(text, width), code, style)
}

fn footer(scene: &Scene<'_>, width: usize, style: Style) -> Vec<String> {
    let now = scene.view.now;
    let last = match scene.last_pass {
        None => "no pass seen yet".to_owned(),
        Some(at) if now - at < MINUTE => "last pass just now".to_owned(),
        Some(at) => format!("last pass {} ago", span(now - at)),
    };
    let due = scene.next.map(|at| match at - now {
        left if left < MINUTE => "now".to_owned(),
        left => format!("in {}", span(left)),
    });
    // a pass is promised only where something makes it
    let next = match scene.runs {
        Runs::Alone => due.map(|due| format!("next due {due}")),
        Runs::Unknown => due.map(|due| format!("next change {due}")),
        Runs::ByHand => Some("nothing runs it automatically".to_owned()),
    };
    let dim = |text: &str| cut_painted(text, width, "2", style);
    let one = [Some(last.clone()), next.clone(), Some("q quits".to_owned())];
    let one = one.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if cells(&one) <= width {
        return vec![String::new(), dim(&one)];
    }
    let second = [next, Some("q quits".to_owned())];
    let second = second.into_iter().flatten().collect::<Vec<_>>().join("; ");
    vec![dim(&last), dim(&second)]
}

/// A row, and its priority if there is no room for all.
struct Item {
    line: String,
    /// 0 where it is fine, 1 where it is about to need a person, 2 where it does.
    need: u8,
}

fn body(scene: &Scene<'_>, width: usize, room: usize, style: Style) -> Vec<String> {
    let mut items = Vec::new();
    let rows = [login_rows(scene.ctx, scene.view), agent_rows(scene.view)];
    let longest = rows.iter().flatten().map(|row| cells(&name(row))).max().unwrap_or(0);
    for group in &rows {
        for row in group {
            let need = match row.health {
                _ if row.fine() => 0,
                Some(Health::Expiring) => 1,
                _ => 2,
            };
            items.push(Item {
                line: line(row, longest, width, style),
                need,
            });
        }
    }
    let remotes = super::remotes(scene.ctx, scene.ledger, scene.view.now, Style { width: None, ..style });
    for text in remotes.lines().skip(1) {
        items.push(Item {
            line: cut(text.trim_start(), width),
            need: if text.contains("  ok  ") { 0 } else { 1 },
        });
    }
    let told = told(scene, width, style);
    let blank = usize::from(!told.is_empty());
    // all of it, else what needs a person, the alerts, and as many of the others as there is room for
    if items.len() + blank + told.len() <= room {
        let mut lines: Vec<String> = items.into_iter().map(|item| item.line).collect();
        if blank > 0 {
            lines.push(String::new());
        }
        lines.extend(told);
        return lines;
    }
    let needing = items.iter().filter(|item| item.need > 0).count();
    // the alerts say what the rows cannot: the command; they get half of what is left at least
    let for_alerts = told.len().min(room.saturating_sub(needing + 1).max(room / 2));
    let for_rows = room - for_alerts.min(room);
    let mut lines = pick(items, for_rows, width, style);
    lines.extend(told.into_iter().take(for_alerts));
    lines
}

/// As many rows as there is room for, in their order, those that need a person first; the last line counts what is left out.
fn pick(items: Vec<Item>, room: usize, width: usize, style: Style) -> Vec<String> {
    if items.len() <= room {
        return items.into_iter().map(|item| item.line).collect();
    }
    let Some(shown) = room.checked_sub(1) else {
        return Vec::new();
    };
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(items[*at].need));
    let left = &order[shown..];
    let left_needing = left.iter().filter(|at| items[**at].need > 0).count();
    let left_fine = left.len() - left_needing;
    let mut chosen = order[..shown].to_vec();
    chosen.sort_unstable();
    let mut lines: Vec<String> = chosen.into_iter().map(|at| items[at].line.clone()).collect();
    let dots = if style.unicode { "…" } else { "..." };
    let left = match (left_needing, left_fine) {
        (0, n) => format!("{dots} {n} more, all fine"),
        (n, 0) => format!("{dots} {n} more that are not fine"),
        (n, fine) => format!("{dots} {n} more not fine, {fine} fine"),
    };
    lines.push(cut_painted(&left, width, "2", style));
    lines
}

/// What needs a person, and the command.
fn told(scene: &Scene<'_>, width: usize, style: Style) -> Vec<String> {
    let now = scene.view.now;
    let mut lines = Vec::new();
    for alert in scene.alerts {
        let since = scene.ledger.alerts.get(&alert.id).map_or(now, |memory| memory.since);
        let why = crate::rules::alert::Why::First;
        let words = wording::words(alert, why, since, scene.ctx.here(now));
        let code = if alert.lapsed { "31" } else { "33" };
        let mark = if style.unicode { "▲" } else { "!" };
        let title = wrap(&one_line(&words.title), width.saturating_sub(2));
        for (i, line) in title.iter().enumerate() {
            let text = format!("{} {line}", if i == 0 { mark } else { " " });
            lines.push(cut_painted(&text, width, code, style));
        }
        if let Some(command) = words.commands.first() {
            let run = wrap(&format!("run: {}", one_line(command)), width.saturating_sub(2));
            lines.extend(run.iter().map(|line| cut(&format!("  {line}"), width)));
        }
    }
    // do not repeat what an alert says
    let known = |problem: &&Problem| {
        let path = problem.path.as_ref().map(|path| scene.ctx.host.tilde(path));
        path.is_some() && scene.alerts.iter().any(|alert| alert.path == path)
    };
    let rest = scene.problems.iter().filter(|problem| !known(problem)).count();
    if rest > 0 {
        let text = format!("{} more: nolapse status", counted(rest, "word"));
        lines.push(cut_painted(&text, width, "2", style));
    }
    lines
}

fn name(row: &Row) -> String {
    match (&row.id, row.name.is_empty()) {
        (Some(id), true) => format!("  {id}"),
        _ => row.name.clone(),
    }
}

/// A row on one line: name, health, bar, time, and the words where there is room.
fn line(row: &Row, longest: usize, width: usize, style: Style) -> String {
    let (bar_cells, time_cells) = if width >= 60 { (10, 10) } else { (6, 6) };
    let fixed = 1 + 8 + 1 + bar_cells + 1 + time_cells;
    let name_cells = longest.min(32).min(width.saturating_sub(fixed)).max(4);
    // the end of a name tells more than its begin
    let name = fit(&tail(&name(row), name_cells), name_cells);
    let Some(health) = row.health else {
        return cut(&format!("{name} {}", row.words), width);
    };
    let time = match row.left {
        None => String::new(),
        Some(left) if left <= 0 && health == Health::Expiring => match width >= 60 {
            true => "any moment".into(),
            false => "soon".into(),
        },
        Some(left) if left <= 0 => "ended".into(),
        Some(left) if width >= 60 => span(left),
        Some(left) => short(left),
    };
    let bar = bar(row.left, row.scale, health, bar_cells as Ms, style);
    if name_cells + fixed > width {
        // no room for anything but who and how
        let health = health_word(health, style);
        return match name_cells + 9 <= width {
            true => format!("{name} {health}"),
            false => cut(&name, width),
        };
    }
    let mut line = format!("{name} {} {bar} {}", health_word(health, style), fit(&time, time_cells));
    let room = width.saturating_sub(name_cells + fixed + 2);
    if room >= 16 {
        line.push_str("  ");
        line.push_str(&cut(&row.words, room));
    }
    line
}

/// The largest unit alone, rounded as [`span`] does; at most six cells.
fn short(left: Ms) -> String {
    let minutes = (left + MINUTE / 2) / MINUTE;
    match (minutes / (24 * 60), minutes / 60, minutes) {
        (0, 0, 0) => "< 1min".into(),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, _) => format!("{hours} h"),
        (days, ..) => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::edge::host::{Clock, Host};
    use crate::edge::http::Http;
    use crate::look;
    use crate::types::{DAY, HOUR};
    use std::collections::BTreeMap;
    use std::path::Path;

    const NOW: Moment = Moment::at(1_769_000_000_000);
    const PLAIN: Style = Style {
        colour: false,
        unicode: true,
        width: None,
    };

    fn ctx(home: &Path) -> Ctx {
        Ctx {
            host: Host {
                home: home.into(),
                env: BTreeMap::new(),
                cwd: home.into(),
                name: "gateway".into(),
                macos: false,
                own: vec!["nolapse".into()],
            },
            clock: Clock::Fixed(NOW),
            config: Config::default(),
            state_dir: home.join("state"),
            http: Http::new(&BTreeMap::new()),
        }
    }

    fn home(fine: usize, over: usize) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        for n in 0..fine + over {
            let dir = home.path().join(format!(".clawdbot/agents/agent-number-{n}/agent"));
            std::fs::create_dir_all(&dir).unwrap();
            let end = if n < fine { NOW + 20 * DAY } else { NOW - HOUR };
            let text = format!(
                r#"{{"profiles":{{"anthropic:x":{{"type":"token","provider":"anthropic","token":"t{n}","expires":{end}}}}}}}"#
            );
            std::fs::write(dir.join("auth-profiles.json"), text).unwrap();
        }
        home
    }

    fn lines(home: &Path, columns: usize, rows: usize) -> Vec<String> {
        run_by(Runs::Alone, home, columns, rows)
    }

    fn run_by(runs: Runs, home: &Path, columns: usize, rows: usize) -> Vec<String> {
        let ctx = ctx(home);
        let ledger = Ledger::default();
        let view = look::look(&ctx, &ledger);
        let alerts = crate::judge::alerts(&ctx, &view);
        let scene = Scene {
            ctx: &ctx,
            view: &view,
            ledger: &ledger,
            alerts: &alerts,
            problems: &[],
            last_pass: Some(NOW - 4 * MINUTE),
            next: Some(NOW + 2 * HOUR),
            runs,
        };
        frame(&scene, columns, rows, PLAIN)
    }

    #[test]
    fn a_frame_never_leaves_its_screen() {
        for (fine, over) in [(0, 0), (3, 0), (40, 0), (2, 3), (60, 25)] {
            let home = home(fine, over);
            for columns in [1, 8, 20, 40, 80, 200] {
                for rows in [1, 2, 4, 5, 8, 20, 60] {
                    let got = lines(home.path(), columns, rows);
                    assert!(got.len() <= rows, "{columns}x{rows}: {got:#?}");
                    let widest = got.iter().map(|line| cells(line)).max().unwrap_or(0);
                    assert!(widest <= columns, "{columns}x{rows}: {widest} {got:#?}");
                }
            }
        }
    }

    #[test]
    fn what_needs_a_person_is_there_when_there_is_no_room_for_all() {
        let home = home(60, 2);
        let got = lines(home.path(), 40, 20).join("\n");
        for said in [
            "nolapse · gateway",
            "2 things need you",
            "…agent-number-60 expired",
            "▲ `anthropic:x` of",
            "run: claude setup-token",
            "more, all fine",
            "last pass 4 min ago",
            "next due in 2 h; q quits",
        ] {
            assert!(got.contains(said), "{said}:\n{got}");
        }
        let all = lines(home.path(), 100, 90).join("\n");
        assert!(
            !all.contains("all fine") && all.contains("nothing can renew it"),
            "{all}"
        );
    }

    #[test]
    fn a_pass_is_promised_only_where_something_makes_it() {
        let home = home(1, 0);
        for (runs, wanted) in [
            (Runs::Alone, "next due in 2 h; q quits"),
            (Runs::Unknown, "next change in 2 h; q quits"),
            (Runs::ByHand, "nothing runs it automatically; q quits"),
        ] {
            let got = run_by(runs, home.path(), 40, 12);
            assert_eq!(got.last().map(String::as_str), Some(wanted), "{runs:?}");
        }
    }

    #[test]
    fn where_nothing_needs_anybody_it_says_so() {
        let home = home(3, 0);
        let got = lines(home.path(), 40, 12).join("\n");
        assert!(got.contains("nothing needs you; 0 logins, 4 agents"), "{got}");
        assert!(got.contains("…/agent-number-0 ok       ██"), "{got}");
    }
}
