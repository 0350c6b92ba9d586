//! A view -> table, plain lines, JSON (`nolapse.status/1`), exit code.

use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::judge::key_in_env;
use crate::layout::one_line;
use crate::rules::alert::Alert;
use crate::rules::health::worst;
use crate::rules::lineage::Relation;
use crate::rules::login::{Source, State};
use crate::rules::memory::Ledger;
use crate::rules::remote::KEY_CHANGED;
use crate::rules::resolve::{self, Key, PassedOver, Resolved};
use crate::rules::view::{AgentView, LoginView, ProfileView, View};
use crate::rules::wording::span;
use crate::rules::{agent, stopped, view};
use crate::{layout, look};

use crate::types::{DAY, HOUR, Health, Held, Moment, Ms, Problem, Reason, Severity};
use std::fmt::Write;
use std::path::Path;

pub(crate) mod frame;
pub(crate) mod json;
pub(crate) mod page;

/// What needs a human, counted.
fn needs_you(n: usize) -> String {
    match n {
        0 => "nothing needs you".to_owned(),
        1 => "1 thing needs you".to_owned(),
        n => format!("{n} things need you"),
    }
}

/// What the process says with its exit code; the agents' own codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Nothing needs a human.
    Fine = 0,
    /// Something is expired or missing.
    Lapsed = 1,
    /// Something ends soon.
    Expiring = 2,
    /// It could not be told, or the command was used wrongly.
    Unknown = 3,
}

impl Exit {
    /// The code.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

/// The judged exit code: what has lapsed outweighs what could not be told, and that what ends soon.
pub(crate) fn exit(ctx: &Ctx, view: &View) -> Exit {
    let refused = |login: &LoginView| matches!(login.login.state, State::Unreadable { fault, .. } if fault.only_here());
    let lapsed = |health| matches!(health, Health::Expired | Health::Missing);
    let profiles = || counted(view).map(|profile| profile.verdict.health);
    let logins = || {
        let all = view.logins.iter().enumerate();
        all.filter(|(i, login)| !refused(login) && !view::replaced(login, &view.logins, &view.agents, *i))
            .map(|(_, login)| login.verdict.health)
    };
    let grace = ctx.config.alerts.grace;
    let stopped = |agent: &AgentView| {
        let why = |resolved| stopped::why(agent, resolved, grace, view.now);
        agent.uses.iter().any(|resolved| why(resolved).is_some())
    };
    let store_unknown = |agent: &AgentView| agent.store.unread().is_some();
    if profiles().chain(logins()).any(lapsed) || view.agents.iter().any(stopped) {
        Exit::Lapsed
    } else if view.logins.iter().any(refused) || view.agents.iter().any(store_unknown) {
        Exit::Unknown
    } else if nothing(view) {
        match watches_only(ctx, view) || key_anywhere(ctx, view).is_some() {
            true => Exit::Fine,
            false => Exit::Lapsed,
        }
    } else if profiles().chain(logins()).any(|health| health == Health::Expiring) {
        Exit::Expiring
    } else {
        Exit::Fine
    }
}

/// The judged exit code with all that fires counted in: a channel or a host of which nobody knows how it fares could not be told.
pub(crate) fn exit_with(exit: Exit, firing: &[Alert]) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Fine => 0,
        Exit::Expiring => 1,
        Exit::Unknown => 2,
        Exit::Lapsed => 3,
    };
    let of_alert = |alert: &Alert| match alert.kind.as_str() {
        _ if alert.severity < Severity::Warning => Exit::Fine,
        "silent" | KEY_CHANGED | "unreadable" => Exit::Unknown,
        "config_broken" => Exit::Unknown,
        _ if matches!(alert.id, Cause::Channel(_) | Cause::Heartbeat | Cause::Store(_)) => Exit::Unknown,
        _ if alert.lapsed => Exit::Lapsed,
        _ => Exit::Expiring,
    };
    let all = firing.iter().map(of_alert).chain([exit]);
    all.max_by_key(rank).unwrap_or(exit)
}

/// The exit code by the agents' own arithmetic (`models status --check` of clawdbot 2026.1.24-3), over all agents: 1 if a
/// profile is expired or missing or a provider in use has no auth, else 2 if one is expiring, else 0.
pub(crate) fn exit_by_clock(ctx: &Ctx, view: &View) -> Exit {
    let clocks = || counted(view).map(|profile| profile.clock);
    let unserved = if view.state_dirs.is_empty() {
        key_in_env(ctx, "anthropic").is_none()
    } else {
        view.state_dirs.iter().enumerate().any(|(i, state_dir)| {
            let main = |id: &str| {
                view.agents
                    .iter()
                    .find(|a| a.agent.state_dir == i && a.agent.agent.id == id)
            };
            let profiles = main("main")
                .or_else(|| main(&state_dir.default_agent))
                .map_or(&[][..], |a| &a.profiles);
            state_dir.providers_in_use.iter().any(|provider| {
                !profiles.iter().any(|profile| profile.profile.provider == *provider)
                    && key_in_env(ctx, provider).is_none()
                    && look::key(ctx, &resolve::normalise_provider(provider), state_dir).is_none()
            })
        })
    };
    if unserved || clocks().any(|health| matches!(health, Health::Expired | Health::Missing)) {
        Exit::Lapsed
    } else if clocks().any(|health| health == Health::Expiring) {
        Exit::Expiring
    } else {
        Exit::Fine
    }
}

/// The variable that serves Anthropic's models without any login or profile, and where it is set.
fn key_anywhere(ctx: &Ctx, view: &View) -> Option<(String, String)> {
    if let Some(name) = key_in_env(ctx, "anthropic") {
        return Some((name.to_string(), "the environment".into()));
    }
    view.state_dirs.iter().find_map(|state_dir| {
        let tilde = |path: &Path| format!("`{}`", one_line(&ctx.host.tilde(path)));
        let config = || tilde(state_dir.config_path.as_deref().unwrap_or(&state_dir.dir));
        Some(match look::key(ctx, "anthropic", state_dir)? {
            Key::Env(name) => (name, "the environment".into()),
            Key::Dotenv(name) => (name, tilde(&state_dir.dir.join(".env"))),
            Key::ConfigEnv(name) => (name, config()),
            Key::ConfigModels => ("`models.providers.anthropic.apiKey`".into(), config()),
        })
    })
}

fn counted(view: &View) -> impl Iterator<Item = &ProfileView> {
    view.profiles()
        .filter(|profile| profile.verdict.reason != Some(Reason::StoreRetired))
}

/// Whether there is neither a login nor a profile.
pub(crate) fn nothing(view: &View) -> bool {
    view.logins.is_empty() && counted(view).next().is_none()
}

/// Whether there is nothing of its own here, and other hosts are what it looks at: it is judged by them.
pub(crate) fn watches_only(ctx: &Ctx, view: &View) -> bool {
    nothing(view) && !ctx.config.remotes.is_empty()
}

/// The worst health of all.
pub(crate) fn health(ctx: &Ctx, view: &View) -> Health {
    if watches_only(ctx, view) {
        return Health::Ok;
    }
    if nothing(view) && key_anywhere(ctx, view).is_some() {
        return Health::Static;
    }
    let logins = view.logins.iter().map(|login| login.verdict.health);
    worst(logins.chain(counted(view).map(|profile| profile.verdict.health)))
}

/// Tab-separated lines for scripts: `login`, `profile` or `problem`, then who, health, clock, reason, end in ms, and details.
pub(crate) fn plain(view: &View, problems: &[Problem]) -> String {
    let mut out = String::new();
    let word = |reason: Option<Reason>| reason.map_or("-", Reason::word);
    let end = |at: Option<Moment>| at.map_or("-".to_owned(), |at| at.to_string());
    for login in &view.logins {
        let expires = login.login.grant().and_then(|grant| grant.expires);
        let _ = writeln!(
            out,
            "login\t{}\t{}\t-\t{}\t{}\t{}",
            one_line(login.id()),
            login.verdict.health,
            word(login.verdict.reason),
            end(expires),
            end(login.verdict.ends)
        );
    }
    for agent in &view.agents {
        for profile in &agent.profiles {
            let _ = writeln!(
                out,
                "profile\t{}\t{}\t{}\t{}\t{}\t{}",
                one_line(&agent.label()),
                profile.verdict.health,
                profile.clock,
                word(profile.verdict.reason),
                end(profile.profile.credential.expires()),
                one_line(&profile.profile.id)
            );
        }
    }
    for problem in problems.iter().chain(&view.problems) {
        let _ = writeln!(out, "problem\t{}\t{}", problem.kind, one_line(&problem.message));
    }
    out
}

/// How a table is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Colours, for a terminal.
    pub(crate) colour: bool,
    /// Block characters, for a UTF-8 locale.
    pub(crate) unicode: bool,
    /// Columns, where that is known: what is longer is laid out anew.
    pub(crate) width: Option<usize>,
}

/// A login or profile as it is shown.
#[derive(Debug)]
pub(crate) struct Row {
    /// Whose, empty where it is that of the row above.
    pub(crate) name: String,
    /// Its health; `None` for an agent without a profile.
    pub(crate) health: Option<Health>,
    /// The time left, [`Ms`].
    pub(crate) left: Option<Ms>,
    /// What a full bar means, [`Ms`].
    pub(crate) scale: Ms,
    /// The profile id.
    pub(crate) id: Option<String>,
    /// Why, and what else there is to say.
    pub(crate) words: String,
}

const NO_PROFILES: &str = "no profiles";

impl Row {
    /// The profile id, if it has one, and the words.
    fn id_and_words(&self) -> String {
        match &self.id {
            Some(id) => format!("{id}: {}", self.words),
            None => self.words.clone(),
        }
    }

    /// Whether nobody is needed.
    pub(crate) fn fine(&self) -> bool {
        self.health.map_or(self.words == NO_PROFILES, Health::fine)
    }

    /// How bad it is, 0 the least.
    pub(crate) fn badness(&self) -> u8 {
        match self.health {
            Some(health) => health.badness(),
            None if self.fine() => 0,
            None => u8::MAX,
        }
    }
}

/// Every login.
pub(crate) fn login_rows(ctx: &Ctx, view: &View) -> Vec<Row> {
    let row = |login: &LoginView| {
        let (left, scale) = login_left(login, view.now);
        Row {
            name: one_line(login.id()),
            health: Some(login.verdict.health),
            left,
            scale,
            id: None,
            words: login_words(ctx, login, view.now),
        }
    };
    view.logins.iter().map(row).collect()
}

/// Every profile of every agent, and the agents that have none.
pub(crate) fn agent_rows(view: &View) -> Vec<Row> {
    let mut rows = Vec::new();
    for agent in &view.agents {
        let label = one_line(&agent.label());
        if agent.profiles.is_empty() {
            let what = match &agent.store {
                agent::Store::Malformed(_)
                | agent::Store::ByteOrderMark
                | agent::Store::Directory
                | agent::Store::Special => "broken store",
                agent::Store::Refused(_) | agent::Store::OwnMode(_) => "unreadable store",
                _ => NO_PROFILES,
            };
            rows.push(Row {
                name: label.clone(),
                health: None,
                left: None,
                scale: DAY,
                id: None,
                words: what.to_owned(),
            });
        }
        for (i, profile) in agent.profiles.iter().enumerate() {
            let expires = profile.profile.credential.expires();
            let left = expires.map(|end| end - view.now);
            rows.push(Row {
                name: if i == 0 { label.clone() } else { String::new() },
                health: Some(profile.verdict.health),
                left,
                scale: scale_of(left),
                id: Some(one_line(&profile.profile.id)),
                words: profile_words(view, agent, profile),
            });
        }
    }
    rows
}

/// The table for people: each login and profile with its health, a bar of the time it has left, and why. Where the terminal is
/// too narrow for columns, each row becomes a few lines.
pub(crate) fn table(ctx: &Ctx, view: &View, problems: &[Problem], style: Style) -> String {
    /// Narrower than this, words in a column of their own are no pleasure to read.
    const WORDS: usize = 30;
    let mut out = String::new();
    let (mut logins, agents) = (login_rows(ctx, view), by_urgency(agent_rows(view)));
    logins.sort_by_key(|row| std::cmp::Reverse(row.badness()));
    let widest = |cells: &dyn Fn(&Row) -> usize| logins.iter().chain(&agents).map(cells).max().unwrap_or(0).min(32);
    let name_width = widest(&|row| layout::cells(&row.name));
    let id_width = widest(&|row| row.id.as_ref().map_or(0, |id| layout::cells(id)));
    let columns = |row: &Row| 2 + name_width + 2 + 8 + 2 + 21 + 2 + row.id.as_ref().map_or(0, |_| id_width + 2);
    let stacked = style
        .width
        .filter(|width| logins.iter().chain(&agents).any(|row| columns(row) + WORDS > *width));
    for (heading, rows) in [("logins", &logins), ("agents", &agents)] {
        if !rows.is_empty() {
            let _ = writeln!(out, "{}", bold(heading, style));
        }
        for row in rows {
            if let Some(width) = stacked {
                match width
                    .checked_sub(2 + name_width + 2 + 8 + 2 + 10 + 2)
                    .filter(|room| *room >= 20)
                {
                    Some(room) => short(&mut out, row, (name_width, room), style),
                    None => stack(&mut out, row, style),
                }
                continue;
            }
            let name = pad(&row.name, name_width);
            let Some(health) = row.health else {
                let _ = writeln!(out, "  {name}  {}", row.words);
                continue;
            };
            let id = row
                .id
                .as_ref()
                .map_or_else(String::new, |id| format!("{}  ", pad(id, id_width)));
            let _ = writeln!(
                out,
                "  {name}  {}  {}  {id}{}",
                health_word(health, style),
                gauge(row.left, row.scale, health, style),
                layout::hang(&row.words, columns(row), style.width)
            );
        }
    }
    let mut problems = problems.iter().chain(&view.problems).peekable();
    if problems.peek().is_some() {
        let _ = writeln!(out, "{}", bold("Notes", style));
    }
    for problem in problems {
        let _ = writeln!(
            out,
            "  {}\n    {}",
            layout::hang(&one_line(&problem.message), 2, style.width),
            layout::hang(&format!("hint: {}", one_line(&problem.hint)), 4, style.width)
        );
    }
    out
}

/// The agents with the worst first, each with its profiles as they stand.
fn by_urgency(rows: Vec<Row>) -> Vec<Row> {
    let mut agents: Vec<Vec<Row>> = Vec::new();
    for row in rows {
        match agents.last_mut() {
            Some(agent) if row.name.is_empty() => agent.push(row),
            _ => agents.push(vec![row]),
        }
    }
    agents.sort_by_key(|agent| std::cmp::Reverse(agent.iter().map(Row::badness).max()));
    agents.into_iter().flatten().collect()
}

/// A row as one line without a bar, its words cut.
fn short(out: &mut String, row: &Row, (name, room): (usize, usize), style: Style) {
    let (health, left) = match row.health {
        Some(health) => (health_word(health, style), left_words(row.left, health)),
        None => (" ".repeat(8), String::new()),
    };
    let words = layout::cut(&row.id_and_words(), room);
    let (name, left) = (layout::fit(&row.name, name), pad(&left, 10));
    let _ = writeln!(out, "  {name}  {health}  {left}  {words}");
}

/// A row as lines: the name, health with bar and time, the words.
fn stack(out: &mut String, row: &Row, style: Style) {
    let text = |text: &str, indent: usize| layout::hang(text, indent, style.width);
    if !row.name.is_empty() {
        let _ = writeln!(out, "  {}", text(&row.name, 2));
    }
    if let Some(health) = row.health {
        let (word, gauge) = (health_word(health, style), gauge(row.left, row.scale, health, style));
        let _ = writeln!(out, "    {word} {}", gauge.trim_end());
    }
    let _ = writeln!(out, "    {}", text(&row.id_and_words(), 4));
}

/// Other hosts as the last pass found them, a line each; nobody is asked here.
pub(crate) fn remotes(ctx: &Ctx, ledger: &Ledger, now: Moment, style: Style) -> String {
    let mut out = String::new();
    for (i, remote) in ctx.config.remotes.iter().enumerate() {
        if i == 0 {
            let _ = writeln!(out, "{}", bold("remotes", style));
        }
        let words = match ledger.remotes.get(&remote.name) {
            None => "not asked yet; the next pass will".into(),
            Some(memory) => {
                let ago = span((now - memory.asked_at).max(0));
                match (memory.silence, memory.alerts.len()) {
                    (Some(silence), _) => {
                        let said = memory
                            .said
                            .as_deref()
                            .map_or_else(String::new, |said| format!(": {}", one_line(said)));
                        format!("silent     {}{said}; asked {ago} ago", silence.words())
                    }
                    (None, 0) => format!("ok         asked {ago} ago"),
                    (None, n) => format!("{n} firing   asked {ago} ago"),
                }
            }
        };
        // blanks that align are lost where lines are wrapped
        let text = format!("{}  {words}", one_line(&remote.name));
        let fits = style.width.is_none_or(|width| layout::cells(&text) + 2 <= width);
        let _ = writeln!(out, "  {}", layout::hang(&text, 4, style.width.filter(|_| !fits)));
    }
    out
}

fn login_left(login: &LoginView, now: Moment) -> (Option<Ms>, Ms) {
    match (login.verdict.ends, login.login.grant().and_then(|grant| grant.expires)) {
        (Some(ends), _) => (Some(ends - now), 27 * DAY),
        (None, Some(expires)) => (Some(expires - now), 8 * HOUR),
        (None, None) => (None, DAY),
    }
}

fn scale_of(left: Option<Ms>) -> Ms {
    match left {
        Some(left) if left > 32 * DAY => 365 * DAY,
        Some(left) if left > 12 * HOUR => 30 * DAY,
        _ => 8 * HOUR,
    }
}

fn login_words(ctx: &Ctx, login: &LoginView, now: Moment) -> String {
    let why = reason_words(login.verdict.reason, login.verdict.health);
    if login.login.source == Source::Env {
        return match login.id() {
            "env" => format!("from {}; {why}", crate::rules::login::TOKEN_VAR),
            _ => format!("a setup token; {why}"),
        };
    }
    let mut words = vec![why.to_owned()];
    if let Some(ends) = login.verdict.ends.filter(|_| login.renews()) {
        words.push(match ends > now {
            true => format!("sign in again within {}", span(ends - now)),
            false => "sign in again now".to_owned(),
        });
    }
    if !login.login.shadowed_by.is_empty() {
        let shadows: Vec<String> = login.login.shadowed_by.iter().map(ToString::to_string).collect();
        words.push(format!("shadowed by {}", shadows.join(", ")));
    }
    words.push(ctx.host.tilde(&login.login.place.dir));
    one_line(&words.join("; "))
}

fn profile_words(view: &View, agent: &AgentView, profile: &ProfileView) -> String {
    let why = reason_words(profile.verdict.reason, profile.verdict.health);
    let mut words = match &profile.profile.held {
        Held::Flawed(flaw) if profile.verdict.reason == Some(Reason::NoToken) => format!("no token: {}", flaw.words()),
        Held::Referenced(to) => format!("a reference ({to})"),
        Held::Runtime(of) => format!("the Claude CLI runtime ({of}): {why}"),
        _ => why.to_owned(),
    };
    if let Some(resolved) = agent.resolved(&profile.profile.provider) {
        words = use_words(resolved, profile, words, view.now);
    }
    if let Some(login) = profile.login {
        let relation = match profile.relation {
            Relation::Same => "same as",
            Relation::Older => "behind",
            Relation::Newer => "ahead of",
            Relation::Unknown => "follows",
        };
        let _ = write!(words, ", {relation} {}", view.logins[login].id());
    }
    // a database is never written, which is no news of this profile
    if let (Err(why), false) = (&agent.writable, agent.sqlite) {
        let _ = write!(words, " (not written: {why})");
    }
    one_line(&words)
}

/// What is said of a profile's use: that it is the one, or why it is not.
fn use_words(resolved: &Resolved, profile: &ProfileView, words: String, now: Moment) -> String {
    let id = &profile.profile.id;
    match resolved.passed_over.iter().find(|(known, _)| known == id) {
        None if resolved.is(id) => format!("in use; {words}"),
        Some((_, why @ PassedOver::HeldBack(until, _))) => {
            format!("{} for {}; {words}", why.words(), span((*until - now).max(0)))
        }
        Some((_, why @ (PassedOver::NotIn(_) | PassedOver::Mode(..) | PassedOver::OtherProvider))) => {
            format!("not used: {}; {words}", why.words())
        }
        _ => words,
    }
}

fn reason_words(reason: Option<Reason>, health: Health) -> &'static str {
    match reason {
        Some(Reason::RenewsItself) => "renews itself",
        Some(Reason::LoginEndsSoon) => "the login ends soon",
        Some(Reason::LoginEnded) => "the login reached its time limit",
        Some(Reason::RaceLogout) => "logged out early: probably two programs renewed it",
        Some(Reason::Blanked) => "wiped by Claude Code",
        Some(Reason::OlderState) => "an older state was put back",
        Some(Reason::Rejected) => "refused by the server",
        Some(Reason::NoRefreshToken) => "nothing can renew it",
        Some(Reason::CopyStale) => "not updated in time",
        Some(Reason::CopyDiverged) => "has its own token",
        Some(Reason::AbandonedRefresh) => "a renewal began and was never saved",
        Some(Reason::NotRenewed) => "expired, and nothing has renewed it",
        Some(Reason::Unreadable) => "cannot be read",
        Some(Reason::StoreRetired) => "in a store that is not used any more",
        Some(Reason::IssueDateUnknown) => "end date unknown",
        Some(Reason::NoToken) => "no token",
        Some(Reason::ProfileRetired) => "OpenClaw no longer accepts this id; its agents cannot run",
        None => match health {
            Health::Static => "does not expire",
            Health::Missing => "signed out",
            Health::Referenced => "a reference to a secret kept elsewhere",
            _ => "",
        },
    }
}

/// A health in its colour, eight cells wide.
pub(crate) fn health_word(health: Health, style: Style) -> String {
    let colour = match health {
        Health::Ok | Health::Static | Health::Referenced => "32",
        Health::Expiring => "33",
        Health::Expired | Health::Missing => "31;1",
    };
    paint(&pad(&health.to_string(), 8), colour, style)
}

fn left_words(left: Option<Ms>, health: Health) -> String {
    match left {
        None => String::new(),
        // the last three days are the server's: it may end it in any of them
        Some(left) if left <= 0 && health == Health::Expiring => "any moment".to_owned(),
        Some(left) if left <= 0 => "ended".to_owned(),
        Some(left) => span(left),
    }
}

/// A bar of ten cells and the time left.
fn gauge(left: Option<Ms>, scale: Ms, health: Health, style: Style) -> String {
    format!(
        "{} {}",
        bar(left, scale, health, 10, style),
        pad(&left_words(left, health), 10)
    )
}

/// How much of the time is left, in so many cells; none of them only where it is over.
fn bar(left: Option<Ms>, scale: Ms, health: Health, cells: Ms, style: Style) -> String {
    let (full, empty) = if style.unicode { ('█', '░') } else { ('#', '.') };
    let filled = match left {
        None if health == Health::Static => cells,
        None => 0,
        Some(left) => (left.clamp(0, scale) * cells + scale - 1) / scale,
    };
    (0..cells).map(|i| if i < filled { full } else { empty }).collect()
}

fn pad(text: &str, width: usize) -> String {
    let length = layout::cells(text);
    format!("{text}{}", " ".repeat(width.saturating_sub(length)))
}

/// An emphasis, on a terminal.
pub(crate) fn bold(text: &str, style: Style) -> String {
    paint(text, "1", style)
}

/// A colour by its code, on a terminal.
pub(crate) fn paint(text: &str, code: &str, style: Style) -> String {
    if style.colour {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

/// What to say where there is nothing to watch: what was looked for, where, and what to do.
pub(crate) fn nothing_words(ctx: &Ctx, view: &View) -> String {
    if watches_only(ctx, view) {
        return match ctx.config.remotes.len() {
            1 => "no login of its own here; watches 1 other host\n".into(),
            n => format!("no login of its own here; watches {n} other hosts\n"),
        };
    }
    let stores = view
        .agents
        .iter()
        .filter(|agent| agent.store != agent::Store::Absent)
        .count();
    let key = key_anywhere(ctx, view);
    let mut out = match (stores, &key) {
        (0, None) => "found neither a Claude Code login nor an agent's store".to_owned(),
        (0, Some(_)) => "found no Claude Code login and no agent's store".to_owned(),
        (1, _) => "found no Claude Code login, and 1 agent's store without a profile in it".to_owned(),
        (n, _) => format!("found no Claude Code login, and {n} agents' stores without a profile in them"),
    };
    for agent in view.agents.iter().filter(|agent| !agent.aside.ignored.is_empty()) {
        let (path, words) = (ctx.host.tilde(&agent.path), view::ignored_words(agent));
        let _ = write!(out, "; {}", one_line(&format!("`{path}` {words}")));
    }
    if let Some((name, place)) = key {
        let _ = write!(out, ", and none is needed: {name} is set in {place}");
    }
    out.push_str("; looked at:\n");
    for path in &view.looked_at {
        let _ = writeln!(out, "  {}", one_line(&ctx.host.tilde(path)));
    }
    if ctx.host.var("CLAUDE_CONFIG_DIR").is_some() {
        out.push_str("`CLAUDE_CONFIG_DIR` is set, so that a login elsewhere is not looked for\n");
    }
    out.push_str(
        "hint: sign in with `claude auth login`, or name a directory with `[[login]] dir` in the configuration;\n      \
         `nolapse demo` shows the whole job on a made-up home\n",
    );
    out
}
