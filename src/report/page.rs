//! One self-contained page: no script, nothing from elsewhere, readable on a phone, in the dark and by a screen reader.
//!
//! Pure. Everything foreign goes through `esc`, and the page's own policy forbids what could get past it.

use crate::ctx::Ctx;
use crate::layout::{counted, cut, one_line, upper};
use crate::report::{Row, Style, agent_rows, health, login_rows, needs_you};
use crate::rules::alert::{Alert, Why};
use crate::rules::memory::Ledger;
use crate::rules::story::{Mark, Scene};
use crate::rules::view::View;
use crate::rules::wording::{self, span};
use crate::types::{DAY, Health, Moment, Ms, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// What a page shows.
pub(crate) struct Page<'a> {
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
    /// What happened, the oldest first.
    pub(crate) scenes: &'a [Scene],
    /// When the last whole pass ended.
    pub(crate) last_pass: Option<Moment>,
}

/// How far the timeline looks, [`Ms`].
const HORIZON: Ms = 30 * DAY;

/// So many of each are shown, so that a page of a thousand agents still opens on a phone.
mod most {
    pub(super) const ALERTS: usize = 40;
    pub(super) const LANES: usize = 14;
    pub(super) const LOGINS: usize = 100;
    pub(super) const ILL: usize = 100;
    pub(super) const FINE: usize = 200;
    pub(super) const PROFILES: usize = 6;
    pub(super) const FINE_PROFILES: usize = 2;
    pub(super) const PROBLEMS: usize = 40;
    pub(super) const SCENES: usize = 40;
}

const STYLE: &str = include_str!("page.css");

/// The page.
pub(crate) fn page(page: &Page<'_>) -> String {
    let host = esc(&page.ctx.host.name);
    let mut out = String::with_capacity(16 << 10);
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{host}: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        needs_you(page.alerts.len())
    );
    header(&mut out, page, &host);
    alerts(&mut out, page);
    timeline(&mut out, page);
    logins(&mut out, page);
    agents(&mut out, page);
    remotes(&mut out, page);
    problems(&mut out, page);
    events(&mut out, page);
    let _ = write!(
        out,
        "</main>\n<footer>Made by nolapse {} on {host} ; it does not update itself: <code>nolapse status --html FILE</code></footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    );
    out
}

/// Text in HTML, in an attribute too; control characters would not show.
fn esc(text: &str) -> String {
    let text = one_line(text).replace('&', "&amp;");
    let text = text.replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

/// `code` in backticks as such.
fn prose(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('`').peekable();
    let mut code = false;
    while let Some(part) = parts.next() {
        let _ = match code && parts.peek().is_some() {
            true => write!(out, "<code>{}</code>", esc(part)),
            // one that opens and never closes is a character like any other
            false if code => write!(out, "`{}", esc(part)),
            false => write!(out, "{}", esc(part)),
        };
        code = !code;
    }
    out
}

fn time(ctx: &Ctx, at: Moment) -> String {
    let machine = chrono::DateTime::from_timestamp_millis(at.ms())
        .map_or_else(String::new, |at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    format!("<time datetime=\"{machine}\">{}</time>", esc(&ctx.when(at)))
}

fn class(health: Option<Health>) -> &'static str {
    match health {
        Some(Health::Ok | Health::Static | Health::Referenced) => "ok",
        Some(Health::Expiring) => "warn",
        Some(Health::Expired | Health::Missing) | None => "bad",
    }
}

/// How all of it stands, as a class of the style.
fn state(page: &Page<'_>) -> &'static str {
    match health(page.ctx, page.view) {
        _ if page.alerts.iter().any(|alert| alert.lapsed) => "bad",
        health if health.fine() && page.alerts.is_empty() => "ok",
        _ => "warn",
    }
}

fn header(out: &mut String, page: &Page<'_>, host: &str) {
    let _ = write!(
        out,
        "<header>\n<h1>{host}</h1>\n<p class=\"state {}\">{}</p>\n<p class=\"meta\">{}, {} · as of {}{}</p>\n</header>\n",
        state(page),
        upper(&needs_you(page.alerts.len())),
        counted(page.view.logins.len(), "login"),
        counted(page.view.agents.len(), "agent"),
        time(page.ctx, page.view.now),
        match page.last_pass {
            Some(at) if at <= page.view.now => format!(" · last pass {} before", span(page.view.now - at)),
            _ => String::new(),
        }
    );
}

fn section(out: &mut String, id: &str, title: &str) {
    let _ = write!(
        out,
        "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{title}</h2>\n"
    );
}

fn left_out(out: &mut String, total: usize, most: usize, what: &str) {
    if total > most {
        let _ = writeln!(out, "<p class=\"more\">and {} more {what}</p>", total - most);
    }
}

fn alerts(out: &mut String, page: &Page<'_>) {
    if page.alerts.is_empty() {
        return;
    }
    section(out, "needs", "Needs you");
    out.push_str("<ul class=\"cards\">\n");
    let now = page.view.now;
    for alert in page.alerts.iter().take(most::ALERTS) {
        let since = page.ledger.alerts.get(&alert.id).map_or(now, |memory| memory.since);
        let words = wording::words(alert, Why::First, since, page.ctx.here(now));
        let _ = writeln!(
            out,
            "<li class=\"card {}\"><h3>{}</h3>",
            if alert.lapsed { "bad" } else { "warn" },
            prose(&words.title)
        );
        for line in words.message.lines() {
            let _ = match words.commands.iter().any(|command| command == line) {
                true => writeln!(out, "<pre><code>{}</code></pre>", esc(line)),
                false if line.ends_with(':') => writeln!(out, "<p class=\"do\">{}</p>", prose(&upper(line))),
                false => writeln!(out, "<p>{}</p>", prose(&upper(line))),
            };
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
    left_out(out, page.alerts.len(), most::ALERTS, "of them");
    out.push_str("</section>\n");
}

/// What the timeline shows on one line.
struct Lane {
    name: String,
    class: &'static str,
    /// When a person is needed, if that is known.
    ends: Option<Moment>,
    /// When its access token ends.
    access: Option<Moment>,
}

fn lanes(page: &Page<'_>) -> Vec<Lane> {
    let view = page.view;
    let mut lanes: Vec<Lane> = Vec::new();
    for login in &view.logins {
        lanes.push(Lane {
            name: login.id().to_owned(),
            class: class(Some(login.verdict.health)),
            ends: login.verdict.ends,
            access: login.access_ends(),
        });
    }
    // what a store owns alone ends by itself
    for agent in &view.agents {
        for profile in agent.profiles.iter().filter(|profile| profile.login.is_none()) {
            let ends = profile.verdict.ends.filter(|ends| *ends <= view.now + HORIZON);
            if ends.is_some() {
                lanes.push(Lane {
                    name: format!("{} {}", agent.label(), profile.profile.id),
                    class: class(Some(profile.verdict.health)),
                    ends,
                    access: None,
                });
            }
        }
    }
    lanes.sort_by_key(|lane| lane.ends.unwrap_or(Moment::MAX));
    lanes
}

/// Where a moment is in the timeline, in per cent of its width.
fn share_of_horizon(at: Moment, now: Moment) -> f64 {
    (at - now).clamp(0, HORIZON) as f64 * 100.0 / HORIZON as f64
}

/// One line of the timeline, its upper edge at `top`.
fn lane(out: &mut String, page: &Page<'_>, lane: &Lane, top: usize) {
    let now = page.view.now;
    let x = |at| share_of_horizon(at, now);
    let (text, y) = (top + 16, top + 30);
    let until = match lane.ends {
        Some(ends) if ends > now + HORIZON => format!("{} left", span(ends - now)),
        Some(ends) if ends > now => format!("{} {}", page.ctx.date(ends), page.ctx.time(ends)),
        Some(_) if lane.class == "warn" => "any moment now".to_owned(),
        Some(_) => "ended".to_owned(),
        None if lane.class == "ok" => "no end".to_owned(),
        None => "ended".to_owned(),
    };
    let _ = write!(
        out,
        "<text class=\"lane\" x=\"0\" y=\"{text}\">{}</text>\n\
         <text class=\"until {}\" x=\"100%\" y=\"{text}\" text-anchor=\"end\">{}</text>\n\
         <line class=\"track\" x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>\n",
        esc(&cut(&one_line(&lane.name), 22)),
        lane.class,
        esc(&until)
    );
    let end = match lane.ends {
        Some(ends) => x(ends),
        None if lane.class == "ok" => 100.0,
        None => 0.0,
    };
    if end > 0.0 {
        let _ = writeln!(
            out,
            "<line class=\"life {}\" x1=\"0\" x2=\"{end:.2}%\" y1=\"{y}\" y2=\"{y}\"/>",
            lane.class
        );
    }
    if let Some(ends) = lane.ends.filter(|ends| *ends > now && *ends <= now + HORIZON) {
        for step in &page.ctx.config.alerts.steps {
            let at = ends - *step;
            if at >= now {
                let _ = writeln!(
                    out,
                    "<line class=\"step\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{}\" y2=\"{}\"/>",
                    y - 7,
                    y + 7,
                    x = x(at)
                );
            }
        }
        let _ = writeln!(
            out,
            "<rect class=\"end {}\" x=\"{end:.2}%\" y=\"{}\" width=\"8\" height=\"14\" rx=\"2\" transform=\"translate(-4 0)\"/>",
            lane.class,
            y - 7
        );
    }
    if let Some(access) = lane.access.filter(|access| *access > now && *access <= now + HORIZON) {
        let _ = writeln!(
            out,
            "<circle class=\"access\" cx=\"{:.2}%\" cy=\"{y}\" r=\"4.5\"/>",
            x(access)
        );
    }
}

fn timeline(out: &mut String, page: &Page<'_>) {
    const TOP: usize = 24;
    const LANE: usize = 44;
    let lanes = lanes(page);
    if lanes.is_empty() {
        return;
    }
    let now = page.view.now;
    section(out, "ahead", "Next 30 days");
    let shown = &lanes[..lanes.len().min(most::LANES)];
    let height = TOP + shown.len() * LANE + 4;
    let told: Vec<String> = shown
        .iter()
        .filter_map(|lane| {
            let ends = lane.ends.filter(|ends| *ends > now && *ends <= now + HORIZON)?;
            Some(format!("{} until {}", lane.name, page.ctx.when(ends)))
        })
        .collect();
    let label = match told.is_empty() {
        true => "Timeline: nothing ends within 30 days".to_owned(),
        false => format!("Timeline: {}", told.join("; ")),
    };
    let _ = write!(
        out,
        "<figure>\n<svg class=\"timeline\" width=\"100%\" height=\"{height}\" role=\"img\" aria-label=\"{}\">\n",
        esc(&label)
    );
    for week in 0..5 {
        let at = now + week * 7 * DAY;
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.2}%\" x2=\"{x:.2}%\" y1=\"{TOP}\" y2=\"{height}\"/>\n\
             <text class=\"tick\" x=\"{x:.2}%\" y=\"14\"{}>{}</text>\n",
            if week == 0 { "" } else { " text-anchor=\"middle\"" },
            if week == 0 {
                "now".to_owned()
            } else {
                esc(&page.ctx.date(at))
            },
            x = share_of_horizon(at, now)
        );
    }
    for (i, one) in shown.iter().enumerate() {
        lane(out, page, one, TOP + i * LANE);
    }
    let steps: Vec<String> = page.ctx.config.alerts.steps.iter().map(|step| span(*step)).collect();
    let _ = write!(
        out,
        "</svg>\n<figcaption><span class=\"key\"><svg width=\"10\" height=\"14\" aria-hidden=\"true\"><rect class=\"end\" x=\"1\" width=\"8\" height=\"14\" rx=\"2\"/></svg> sign in again by then</span> \
         <span class=\"key\"><svg width=\"4\" height=\"14\" aria-hidden=\"true\"><line class=\"step\" x1=\"2\" x2=\"2\" y1=\"0\" y2=\"14\"/></svg> you are notified {} before</span> \
         <span class=\"key\"><svg width=\"12\" height=\"14\" aria-hidden=\"true\"><circle class=\"access\" cx=\"6\" cy=\"7\" r=\"4.5\"/></svg> access token ends and is renewed</span></figcaption>\n</figure>\n",
        esc(&steps.join(", "))
    );
    left_out(out, lanes.len(), most::LANES, "with later ends");
    out.push_str("</section>\n");
}

/// A bar of the time left. Its words stand beside it, so a screen reader needs nothing of it but the share.
fn bar(out: &mut String, row: &Row) {
    let share = match (row.left, row.health) {
        (None, Some(Health::Static)) => 100.0,
        (None, _) => 0.0,
        (Some(left), _) => left.clamp(0, row.scale) as f64 * 100.0 / row.scale as f64,
    };
    let _ = write!(
        out,
        "<svg class=\"bar\" width=\"100%\" height=\"6\" role=\"img\" aria-label=\"{share:.0} % of {} left\">\
         <rect class=\"track\" width=\"100%\" height=\"6\" rx=\"3\"/><rect class=\"fill {}\" width=\"{share:.2}%\" height=\"6\" rx=\"3\"/></svg>",
        span(row.scale),
        class(row.health)
    );
}

fn left_words(row: &Row) -> String {
    match (row.left, row.health) {
        (Some(left), _) if left > 0 => format!("{} left", span(left)),
        (Some(_), Some(Health::Expiring)) => "any moment now".into(),
        (Some(_), _) => "ended".into(),
        (None, Some(Health::Static)) => "no end".into(),
        (None, _) => "no time known".into(),
    }
}

fn pill(row: &Row) -> String {
    let word = row
        .health
        .map_or_else(|| "broken".to_owned(), |health| health.to_string());
    format!("<span class=\"pill {}\">{word}</span>", class(row.health))
}

fn logins(out: &mut String, page: &Page<'_>) {
    let rows = login_rows(page.ctx, page.view);
    if rows.is_empty() {
        return;
    }
    section(out, "logins", "Logins");
    out.push_str("<ul class=\"cards\">\n");
    for (row, login) in rows.iter().zip(&page.view.logins).take(most::LOGINS) {
        let _ = writeln!(
            out,
            "<li class=\"card\"><div class=\"head\"><h3>{}</h3>{}</div>",
            esc(&row.name),
            pill(row)
        );
        bar(out, row);
        let until = match login.verdict.ends {
            Some(ends) if ends > page.view.now => format!(" · until {}", time(page.ctx, ends)),
            _ => String::new(),
        };
        let _ = writeln!(out, "<p class=\"left\">{}{until}</p>", upper(&left_words(row)));
        let _ = writeln!(out, "<p>{}</p>", prose(&upper(&row.words)));
        if let Some(access) = login.access_ends() {
            let _ = match access - page.view.now {
                left if left > 0 => writeln!(out, "<p>Access token: {} left</p>", span(left)),
                _ => writeln!(out, "<p>Access token: expired</p>"),
            };
        }
        out.push_str("</li>\n");
    }
    out.push_str("</ul>\n");
    left_out(out, rows.len(), most::LOGINS, "logins");
    out.push_str("</section>\n");
}

/// An agent with its rows.
struct Agent<'r> {
    name: &'r str,
    rows: Vec<&'r Row>,
}

impl Agent<'_> {
    fn ill(&self) -> bool {
        self.rows.iter().any(|row| !row.fine())
    }
}

fn agents(out: &mut String, page: &Page<'_>) {
    let rows = agent_rows(page.view);
    let mut agents: Vec<Agent<'_>> = Vec::new();
    for row in &rows {
        match agents.last_mut() {
            Some(agent) if row.name.is_empty() => agent.rows.push(row),
            _ => agents.push(Agent {
                name: &row.name,
                rows: vec![row],
            }),
        }
    }
    if agents.is_empty() {
        return;
    }
    section(out, "agents", "Agents");
    let (ill, fine): (Vec<_>, Vec<_>) = agents.into_iter().partition(Agent::ill);
    if !ill.is_empty() {
        list(out, &ill, most::ILL, most::PROFILES);
        left_out(out, ill.len(), most::ILL, "agents that are not fine");
    }
    if !fine.is_empty() {
        let words = match (ill.is_empty(), fine.len()) {
            (true, 1) => "The one agent is fine".to_owned(),
            (true, n) => format!("All {n} agents are fine"),
            (false, 1) => "1 other is fine".to_owned(),
            (false, n) => format!("{n} others are fine"),
        };
        // few are no reason to make anybody open something
        let open = if fine.len() <= 12 { " open" } else { "" };
        let _ = writeln!(out, "<details{open}><summary>{words}</summary>");
        list(out, &fine, most::FINE, most::FINE_PROFILES);
        left_out(out, fine.len(), most::FINE, "agents");
        out.push_str("</details>\n");
    }
    out.push_str("</section>\n");
}

fn list(out: &mut String, agents: &[Agent<'_>], most: usize, profiles: usize) {
    out.push_str("<ul class=\"rows\">\n");
    for agent in agents.iter().take(most) {
        let _ = writeln!(out, "<li><h3>{}</h3><div>", esc(agent.name));
        let mut rows = agent.rows.clone();
        rows.sort_by_key(|row| std::cmp::Reverse(row.health.map_or(9, Health::badness)));
        for row in rows.iter().take(profiles) {
            if row.health.is_none() {
                let class = if row.fine() { "none" } else { "bad" };
                let _ = writeln!(
                    out,
                    "<div class=\"profile\"><p class=\"{class}\">{}</p></div>",
                    esc(&row.words)
                );
                continue;
            }
            let _ = write!(
                out,
                "<div class=\"profile\"><div class=\"head\"><span class=\"id\">{}</span>{}</div>",
                esc(row.id.as_deref().unwrap_or_default()),
                pill(row)
            );
            bar(out, row);
            let words = match row.words.is_empty() {
                true => left_words(row),
                false => format!("{} · {}", left_words(row), row.words),
            };
            let _ = writeln!(out, "<p>{}</p></div>", prose(&words));
        }
        left_out(out, rows.len(), profiles, "profiles");
        out.push_str("</div></li>\n");
    }
    out.push_str("</ul>\n");
}

fn remotes(out: &mut String, page: &Page<'_>) {
    let style = Style {
        colour: false,
        unicode: true,
        width: None,
    };
    let text = super::remotes(page.ctx, page.ledger, page.view.now, style);
    let mut lines = text.lines();
    if lines.next().is_none() {
        return;
    }
    section(out, "remotes", "Other hosts");
    out.push_str("<ul class=\"plain\">\n");
    for line in lines {
        let _ = writeln!(out, "<li>{}</li>", prose(line.trim()));
    }
    out.push_str("</ul>\n</section>\n");
}

fn problems(out: &mut String, page: &Page<'_>) {
    if page.problems.is_empty() {
        return;
    }
    section(out, "words", "Notes");
    out.push_str("<ul class=\"plain\">\n");
    for problem in page.problems.iter().take(most::PROBLEMS) {
        let _ = writeln!(
            out,
            "<li><p>{}</p><p class=\"hint\">{}</p></li>",
            prose(&upper(&problem.message)),
            prose(&upper(&problem.hint))
        );
    }
    out.push_str("</ul>\n");
    left_out(out, page.problems.len(), most::PROBLEMS, "of them");
    out.push_str("</section>\n");
}

fn events(out: &mut String, page: &Page<'_>) {
    section(out, "events", "Last events");
    if page.scenes.is_empty() {
        out.push_str("<p class=\"more\">Nothing has happened yet</p>\n</section>\n");
        return;
    }
    let mut day = String::new();
    // the newest first: that is what one looks for
    for scene in page.scenes.iter().rev().take(most::SCENES) {
        let this = page.ctx.day(scene.at);
        if this != day {
            if !day.is_empty() {
                out.push_str("</ol>\n");
            }
            let _ = write!(out, "<h3 class=\"day\">{}</h3>\n<ol class=\"events\">\n", esc(&this));
            day = this;
        }
        let (class, word) = match scene.mark {
            Mark::Lapsed => ("bad", "lapsed"),
            Mark::Trouble => ("warn", "trouble"),
            Mark::Fine => ("ok", "works again"),
            Mark::Done => ("done", "done"),
            Mark::Told => ("told", "told"),
            Mark::Hand => ("told", "by hand"),
        };
        let _ = write!(
            out,
            "<li class=\"{class}\"><span class=\"clock\">{}</span><div><p><span class=\"sr\">{word}: </span>{}</p>",
            esc(&page.ctx.time(scene.at)),
            prose(&scene.text)
        );
        for below in &scene.below {
            let _ = write!(out, "<p class=\"below\">{}</p>", prose(below));
        }
        out.push_str("</div></li>\n");
    }
    out.push_str("</ol>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_text() {
        for (text, want) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("\" onload='x'", "&quot; onload=&#39;x&#39;"),
            ("a & b\u{1b}[2J\n", r"a &amp; b\u001b[2J\u000a"),
            ("\u{202e}evil", r"\u202eevil"),
        ] {
            assert_eq!(esc(text), want);
        }
        for (text, want) in [
            ("run `a <b>` now", "run <code>a &lt;b&gt;</code> now"),
            ("one ` alone", "one ` alone"),
            ("`a` and `", "<code>a</code> and `"),
            ("", ""),
        ] {
            assert_eq!(prose(text), want);
        }
    }
}
