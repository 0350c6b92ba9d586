//! `nolapse reauth`: signing in again with a person at a terminal, a phone, or the other end of an `ssh`.

use super::{Fatal, Setup, block_on, parse_duration, phone, print, run, token, usage};
use crate::ctx::Ctx;
use crate::edge::host::Host;
use crate::edge::locks::{self, LockError};
use crate::edge::subprocess::{self, Status as Ended};
use crate::edge::terminal::{self, Input, Signals};
use crate::edge::{self, files, replace};
use crate::layout::one_line;
use crate::notify::{self, Job as Sending, SendCtx};
use crate::pass::{self, Scope};
use crate::phone::{SignIn, Stage};
use crate::reauth::{self, CodeFile, Flow, Incomplete, Job, Outcome, Person, Said};
use crate::report::Exit;
use crate::rules::agent::NotWritten;
use crate::rules::login::{Place, State};
use crate::rules::memory::Entry;
use crate::rules::view::View;
use crate::secret::Secret;
use crate::sources::claude;
use crate::types::{Event, MINUTE, Moment, Ms, Severity, Status};
use crate::{by_hand, history, ledger, look, openclaw, outcome};
use clap::Args;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod keep;

use keep::Fresh;

#[derive(Args, Debug)]
pub(super) struct ReauthArgs {
    /// Which login, as `nolapse status` names it [default: the first]
    #[arg(long, value_name = "ID")]
    login: Option<String>,
    /// Sign in with `claude auth login`, which repairs the stored login [default]
    #[arg(long)]
    login_flow: bool,
    /// Create a one-year token with `claude setup-token`, for unattended agents
    #[arg(long, conflicts_with_all = ["login_flow", "login"])]
    setup_token: bool,
    /// Where the setup token goes: `agents` (their stores), `env` (their `.env`), `file:PATH` [default: agents]
    #[arg(long, value_name = "WHERE", value_parser = parse_where, requires = "setup_token")]
    store: Option<Where>,
    /// Which agents get the setup token: FAMILY/ID, with `*` and `?` [default: all that may be written]
    #[arg(long = "agent", value_name = "AGENT", requires = "setup_token")]
    agents: Vec<glob::Pattern>,
    /// The profile id of the setup token
    #[arg(
        long,
        value_name = "ID",
        default_value = "anthropic:manual",
        requires = "setup_token"
    )]
    profile: String,
    /// Replace a credential of another kind
    #[arg(long, requires = "setup_token")]
    replace: bool,
    /// Open the link on this machine, with `termux-open-url`, `xdg-open` or `open`
    #[arg(long)]
    open: bool,
    /// Show the link as a QR code too
    #[arg(long)]
    qr: bool,
    /// Send the link through the alert channels
    #[arg(long)]
    push: bool,
    /// Read the code from this file, once it is written
    #[arg(long, value_name = "FILE")]
    code_file: Option<PathBuf>,
    /// How long to wait for the code
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    timeout: Ms,
    /// The Claude Code CLI [default: `renew.claude`, else `claude` on PATH]
    #[arg(long, value_name = "PATH")]
    claude: Option<PathBuf>,
    /// Report progress as JSON, one object per line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Where {
    Agents,
    Env,
    File(PathBuf),
}

fn parse_where(text: &str) -> Result<Where, String> {
    match (text, text.strip_prefix("file:")) {
        ("agents", _) => Ok(Where::Agents),
        ("env", _) => Ok(Where::Env),
        (_, Some(path)) if !path.is_empty() => Ok(Where::File(path.into())),
        _ => Err("write `agents`, `env` or `file:PATH`".into()),
    }
}

pub(super) fn reauth(setup: &Setup, args: &ReauthArgs) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let told = Told { json: args.json };
    let result = block_on(journey(&ctx, args, &told))?;
    if let (Err(Fatal::Usage(message, hint)), true) = (&result, args.json) {
        told.json(&json!({"event": "failed", "message": message, "hint": hint}));
    }
    result
}

async fn journey(ctx: &Ctx, args: &ReauthArgs, told: &Told) -> Result<Exit, Fatal> {
    let flow = if args.setup_token {
        Flow::SetupToken
    } else {
        Flow::Login
    };
    let ledger = ledger::load(&ctx.state_dir).ledger;
    let view = look::look(ctx, &ledger);
    let place = place(ctx, args.login.as_deref())?;
    // what would fail at the end fails now, before a person has signed in
    let target = match flow {
        Flow::Login => {
            saves(ctx, &place)?;
            None
        }
        Flow::SetupToken => Some(Target::find(ctx, &view, args)?),
    };
    let program = program(ctx, args.claude.as_deref())?;
    let job = Job {
        program,
        flow,
        env: child_env(&ctx.host, &place, flow),
        cwd: ctx.host.home.clone(),
        patience: Duration::from_millis(args.timeout.max(0) as u64),
    };
    let signals = Signals::listen()?;
    let file = args.code_file.as_ref().map(|path| {
        let path = ctx.host.cwd.join(path);
        let before = files::read(&path).ok().map(|snapshot| snapshot.bytes);
        CodeFile {
            path,
            before,
            incomplete: Incomplete::Fails,
        }
    });
    let input = if file.is_none() { Some(Input::open()?) } else { None };
    let mut person = Person { input, file, signals };
    let before = claude::look(&ctx.host, &place);
    if !args.json {
        told.line(&format!("starting `{}`", flow.command()));
    }

    let mut link = None;
    let outcome = {
        let mut say = |said: Said<'_>| match said {
            Said::Link(url) => {
                link = Some(url.to_owned());
                told.link(ctx, args, url);
            }
            Said::Incomplete => told.note(
                "incomplete",
                "that is not the whole code, which has a `#` in the middle; once more",
            ),
            Said::Sent => told.note("sent", "the code is with Claude Code"),
            Said::Finishing => told.note(
                "finishing",
                "the code was sent: waiting for Claude Code, which may be saving",
            ),
        };
        drive(ctx, args, &job, &mut person, &mut say).await
    };
    // the terminal is as it was from here on
    person.input = None;
    let outcome = outcome.map_err(|failed| usage(failed.why, failed.hint))?;
    match (outcome, target) {
        (Outcome::Token(token, life), Some(target)) => {
            let fresh = Fresh::new(ctx, told, &token, life);
            fresh.store(&ledger, &view, &target, args).await
        }
        _ => signed_in(ctx, &place, &before.state, told).await,
    }
}

/// How long a sign-in by notification waits for the code.
const NOTIFIED_PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Signs in with nothing but a notification that changes. One that is under way already is shown again.
pub(super) fn by_notification(ctx: &Ctx, sign_in: &SignIn) -> Result<Exit, Fatal> {
    let dir = phone::code_dir(&ctx.state_dir, &sign_in.login);
    files::make_dirs(&dir)?;
    let code = dir.join(phone::CODE);
    let lock = match block_on(locks::pass_lock(&dir, Duration::ZERO))? {
        Ok(lock) => lock,
        Err(LockError::Busy(_)) => {
            // no code: the page and the field are shown again
            files::publish(&code, b"again\n", 0o600)?;
            return Ok(Exit::Fine);
        }
        Err(LockError::Io(error)) => return Err(error.into()),
    };
    let _ = files::remove(&code);
    let result = block_on(notified(ctx, sign_in, &code))?;
    let _ = files::remove(&code);
    drop(lock);
    let last = match &result {
        Ok(until) => Stage::Done(until.clone()),
        Err(Fatal::Usage(why, hint)) => Stage::Failed(why.clone(), hint.clone()),
        Err(_) => Stage::Failed(
            "it could not be carried out".into(),
            "run `nolapse doctor` in Termux".into(),
        ),
    };
    block_on(phone::say(&ctx.host, sign_in, &last))?;
    result.map(|_| Exit::Fine)
}

/// The journey of [`by_notification`]; until when the new login lasts, in words.
async fn notified(ctx: &Ctx, sign_in: &SignIn, code: &Path) -> Result<String, Fatal> {
    phone::say(&ctx.host, sign_in, &Stage::Starting).await;
    let place = place(ctx, Some(&sign_in.login))?;
    let job = Job {
        program: program(ctx, None)?,
        flow: Flow::Login,
        env: child_env(&ctx.host, &place, Flow::Login),
        cwd: ctx.host.home.clone(),
        patience: NOTIFIED_PATIENCE,
    };
    let mut person = Person {
        input: None,
        file: Some(CodeFile {
            path: code.to_owned(),
            before: None,
            incomplete: Incomplete::AsksAgain,
        }),
        signals: Signals::listen()?,
    };
    let before = claude::look(&ctx.host, &place);
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut url = String::new();
    let mut say = |said: Said<'_>| {
        let again = match said {
            Said::Link(link) => {
                url = link.to_owned();
                false
            }
            Said::Incomplete => true,
            Said::Sent => return drop(sender.send(Stage::Checking)),
            Said::Finishing => return,
        };
        drop(sender.send(Stage::Link {
            url: url.clone(),
            minutes: NOTIFIED_PATIENCE.as_secs() as i64 / 60,
            again,
        }));
    };
    // shown one after the other, while the code is awaited
    let aside = async {
        while let Some(stage) = receiver.recv().await {
            phone::say(&ctx.host, sign_in, &stage).await;
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = reauth::drive(&job, &mut person, &mut say) => outcome,
        () = aside => unreachable!("it never ends"),
    };
    outcome.map_err(|failed| usage(failed.why, failed.hint))?;
    let (ends, _) = arrived(ctx, &place, &before.state).await?;
    Ok(ends.map_or(String::new(), |at| format!(" until {}", ctx.when(at))))
}

/// Drives the CLI; what a link sets off beside it (a browser, a push) runs while the code is awaited.
async fn drive(
    ctx: &Ctx,
    args: &ReauthArgs,
    job: &Job,
    person: &mut Person,
    say: &mut dyn FnMut(Said<'_>),
) -> Result<Outcome, reauth::Failed> {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<String>();
    let mut say = |said: Said<'_>| {
        say(said);
        if let Said::Link(url) = said {
            let _ = sender.send(url.to_owned());
        }
    };
    let aside = async {
        if let Some(url) = receiver.recv().await {
            if args.open {
                open(&ctx.host, &url).await;
            }
            if args.push {
                push(ctx, &url).await;
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = reauth::drive(job, person, &mut say) => outcome,
        () = aside => unreachable!("it never ends"),
    }
}

/// Whether what Claude Code gets can be saved: it says that a sign-in succeeded even where it could not.
fn saves(ctx: &Ctx, place: &Place) -> Result<(), Fatal> {
    let file = ctx.host.tilde(&place.file());
    match edge::target::prove(&place.file()) {
        // there the Keychain is where it is saved first
        Err(_) if ctx.host.macos => Ok(()),
        Err(why) => Err(usage(
            format!(
                "nobody signs in now: `{file}` {}, so nothing would be saved",
                why.words()
            ),
            why.remedy(&file),
        )),
        Ok(()) => Ok(()),
    }
}

fn place(ctx: &Ctx, id: Option<&str>) -> Result<Place, Fatal> {
    let places = claude::places(&ctx.host, &ctx.config.logins);
    let ids: Vec<String> = places.iter().map(|place| place.id.clone()).collect();
    let found = match id {
        None => places.into_iter().next(),
        Some(id) => places.into_iter().find(|place| place.id == id),
    };
    found.ok_or_else(|| super::unknown("login", id.unwrap_or_default(), ids.iter().map(String::as_str)))
}

/// The CLI: the one named here or by `renew.claude`, else the first on PATH, else where its own installers put it.
fn program(ctx: &Ctx, named: Option<&Path>) -> Result<PathBuf, Fatal> {
    let host = &ctx.host;
    let configured = &ctx.config.renew.claude;
    let path = match named {
        Some(path) => Some(host.cwd.join(path)),
        None => configured.is_absolute().then(|| configured.clone()),
    };
    if let Some(path) = path {
        return match files::is_executable(&path) {
            true => Ok(path),
            false => Err(usage(
                format!("`{}` is no program", host.tilde(&path)),
                "name the Claude Code CLI with `--claude`",
            )),
        };
    }
    std::env::split_paths(host.var("PATH").unwrap_or_default())
        .filter(|dir| dir.is_absolute())
        .chain([host.home.join(".local/bin"), host.home.join(".claude/local")])
        .map(|dir| dir.join(configured))
        .find(|path| files::is_executable(path))
        .ok_or_else(|| {
            usage(
                format!("`{}` is not on PATH", configured.display()),
                match host.termux() {
                    // from 2.1.113 on it is a program for glibc, which Termux has not (anthropics/claude-code#50270)
                    true => {
                        "Claude Code does not run in Termux itself: see docs/termux.md, or name one with `--claude`"
                    }
                    false => {
                        "install Claude Code (`npm install -g @anthropic-ai/claude-code`), or name it with `--claude`"
                    }
                },
            )
        })
}

/// What the CLI needs: nothing that shadows the login, and nothing that could hold a secret of ours but the proxy's.
fn child_env(host: &Host, place: &Place, flow: Flow) -> Vec<(OsString, OsString)> {
    const NETWORK: [&str; 9] = [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "NODE_EXTRA_CA_CERTS",
    ];
    const PLACE: [&str; 2] = ["CLAUDE_CONFIG_DIR", "CLAUDE_SECURESTORAGE_CONFIG_DIR"];
    let mut env: Vec<(OsString, OsString)> = host
        .child_env()
        .filter(|(name, _)| !matches!(*name, "TERM" | "HOME"))
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    env.push(("HOME".into(), host.home.clone().into()));
    env.push(("TERM".into(), "xterm-256color".into()));
    let mut keep = |name: &str| {
        if let Some(value) = host.var(name) {
            env.push((name.into(), value.into()));
        }
    };
    NETWORK.into_iter().for_each(&mut keep);
    keep("WAYLAND_DISPLAY");
    let own = claude::places(host, &[]);
    if own.first().is_some_and(|own| own.dir == place.dir) {
        PLACE.into_iter().for_each(&mut keep);
    } else if flow == Flow::Login {
        env.push((PLACE[0].into(), place.dir.clone().into()));
    }
    env
}

/// Where a setup token goes, found and proven before it is made.
enum Target {
    /// Into these agents' stores (labels).
    Agents(Vec<String>),
    /// Into these `.env` files.
    Env(Vec<PathBuf>),
    /// Into this file.
    File(PathBuf),
}

impl Target {
    fn find(ctx: &Ctx, view: &View, args: &ReauthArgs) -> Result<Self, Fatal> {
        match args.store.as_ref().unwrap_or(&Where::Agents) {
            Where::Agents => {
                by_hand::check_id(&args.profile, "anthropic").map_err(|why| usage(why, "write `anthropic:NAME`"))?;
                let chosen = token::for_writing(view, &args.agents)?;
                for agent in &chosen {
                    let label = one_line(&agent.label());
                    let may = match agent.sqlite {
                        true => openclaw::may_paste(ctx, agent, &args.profile).map(drop),
                        false => agent.writable.clone().map_err(|NotWritten { why, .. }| why),
                    };
                    may.map_err(|why| {
                        usage(
                            format!("the store of {label} is not written: {}", one_line(&why)),
                            "name others with `--agent`, or use `--store env`",
                        )
                    })?;
                }
                Ok(Self::Agents(chosen.iter().map(|agent| agent.label()).collect()))
            }
            Where::Env => {
                let mut dirs: Vec<usize> = super::agents_named(view, &args.agents)?
                    .iter()
                    .map(|agent| agent.agent.state_dir)
                    .collect();
                dirs.sort_unstable();
                dirs.dedup();
                let paths: Vec<PathBuf> = dirs
                    .into_iter()
                    .map(|index| view.state_dirs[index].dir.join(".env"))
                    .collect();
                if paths.is_empty() {
                    return Err(usage(
                        "no agent was found, so there is no `.env` to write",
                        "use `--store file:PATH`",
                    ));
                }
                for path in &paths {
                    proven(ctx, path)?;
                }
                Ok(Self::Env(paths))
            }
            Where::File(path) => {
                let path = ctx.host.path(&path.display().to_string());
                proven(ctx, &path)?;
                Ok(Self::File(path))
            }
        }
    }
}

fn proven(ctx: &Ctx, path: &Path) -> Result<(), Fatal> {
    let stage = || {
        let target = files::real_target(path)?;
        let keep = files::stat(&target);
        replace::stage(&target, keep.as_ref()).map(drop)
    };
    stage().map_err(|error| {
        usage(
            format!(
                "`{}` cannot be written: {}",
                ctx.host.tilde(path),
                files::io_words(&error)
            ),
            "choose another place with `--store`",
        )
    })
}

fn note(ctx: &Ctx, entry: Entry) {
    let entry = Entry {
        at: ctx.clock.now(),
        what: "reauth".into(),
        ..entry
    };
    if files::make_dirs(&ctx.state_dir).is_ok() {
        history::note(&ctx.state_dir, &[entry]);
    }
}

async fn signed_in(ctx: &Ctx, place: &Place, before: &State, told: &Told) -> Result<Exit, Fatal> {
    let (ends, report) = arrived(ctx, place, before).await?;
    let until = ends.map_or(String::new(), |at| format!(", until {}", ctx.when(at)));
    told.done(
        &json!({"event": "done", "flow": "login", "login": place.id, "login_ends_at": ends}),
        &format!(
            "signed in{until}\n{}{}",
            run::story(ctx, &report),
            run::summary(ctx, &report, false)
        ),
    );
    Ok(Exit::Fine)
}

/// A login is believed when its file tells, whatever the CLI said. Then a pass brings every agent up to date; says when the login ends.
async fn arrived(ctx: &Ctx, place: &Place, before: &State) -> Result<(Option<Moment>, outcome::Report), Fatal> {
    let now = claude::look(&ctx.host, place);
    let new = match (&now.state, before) {
        (State::SignedIn(now), State::SignedIn(before)) => {
            !now.blanked && now.access.is_some() && (now.access != before.access || now.refresh != before.refresh)
        }
        (State::SignedIn(now), _) => !now.blanked && now.access.is_some(),
        _ => false,
    };
    if !new {
        return Err(usage(
            format!("the sign-in did not arrive in `{}`", ctx.host.tilde(&place.file())),
            "run `claude auth login` yourself and see what it says",
        ));
    }
    note(
        ctx,
        Entry {
            whom: place.id.clone(),
            text: "signed in again".into(),
            login: Some(place.id.clone()),
            ..Entry::default()
        },
    );
    let report = pass::run(ctx, Scope::Whole).await;
    let login = report.view.logins.iter().find(|login| login.id() == place.id);
    let ends = login.and_then(|login| login.verdict.ends);
    Ok((ends, report))
}

/// Opens the link on this machine; that it could not is no failure, the link is on the screen.
async fn open(host: &Host, url: &str) {
    let program = match () {
        () if host.termux() => "termux-open-url",
        () if host.macos => "open",
        () => "xdg-open",
    };
    let mut spec = subprocess::Spec {
        args: vec![url.into()],
        env: host.child([]),
        ..subprocess::Spec::new(program)
    };
    if let Some(display) = host.var("WAYLAND_DISPLAY") {
        spec.env.push(("WAYLAND_DISPLAY".into(), display.into()));
    }
    match subprocess::run(spec).await {
        Ok(output) if output.status == Ended::Exit(0) => {}
        Ok(_) => tracing::warn!("`{program}` did not open the link"),
        Err(error) => tracing::warn!("`{program}` cannot be run: {}", files::io_words(&error)),
    }
}

/// Sends the link to every channel, quiet hours or not: a person asked for it just now.
async fn push(ctx: &Ctx, url: &str) {
    let host = &ctx.host.name;
    let event = Event {
        event_id: format!("msg_{}", Secret::new(url).fingerprint()),
        alert_id: "reauth".into(),
        status: Status::Firing,
        severity: Severity::Info,
        kind: "reauth".into(),
        title: format!("Sign in to Claude for {host}"),
        message: format!("open this link, sign in, and bring the code to `nolapse reauth` on {host}:\n{url}"),
        commands: Vec::new(),
        login: None,
        affected: Vec::new(),
        host: host.clone(),
        at: ctx.clock.now(),
    };
    let channels = ctx.channels();
    let jobs: Vec<Sending<'_>> = channels
        .iter()
        .enumerate()
        .map(|(index, channel)| (index, channel, &event).into())
        .collect();
    let send = SendCtx::new(&ctx.host, &ctx.http, ctx.clock.now());
    for (index, result) in notify::send_all(jobs, &send).await {
        if let Err(error) = result {
            tracing::warn!(channel = %channels[index].name, "the link was not delivered: {error}");
        }
    }
}

/// What the person sees. Whoever reads it may be gone (a closed connection): that ends nothing.
struct Told {
    json: bool,
}

impl Told {
    fn json(&self, value: &Value) {
        let _ = print(&format!("{value}\n"));
    }

    fn text(&self, text: &str) {
        if !self.json {
            let _ = print(text);
        }
    }

    fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    fn note(&self, event: &str, text: &str) {
        match self.json {
            true => self.json(&json!({"event": event})),
            false => self.line(text),
        }
    }

    fn done(&self, value: &Value, text: &str) {
        match self.json {
            true => self.json(value),
            false => self.text(text),
        }
    }

    fn link(&self, ctx: &Ctx, args: &ReauthArgs, url: &str) {
        if self.json {
            return self.json(&json!({"event": "link", "url": url}));
        }
        let mut out = format!("open this link, sign in, and copy the code that the page shows:\n\n{url}\n\n");
        if args.qr {
            out.push_str(&qr(url));
        }
        let minutes = args.timeout / MINUTE;
        match &args.code_file {
            Some(path) => out.push_str(&format!(
                "waiting {minutes} min for the code in {}\n",
                one_line(&ctx.host.tilde(&ctx.host.cwd.join(path)))
            )),
            None => out.push_str("paste the code and press Enter (it is not shown):\n"),
        }
        self.text(&out);
        let _ = std::io::stderr().flush();
    }
}

/// The link as a QR code in half blocks. A terminal is told the colours, so that it is dark on light on any; elsewhere it
/// is light on dark, as most terminals that show a file are.
fn qr(url: &str) -> String {
    use qrcode::render::unicode::Dense1x2;
    let Ok(code) = qrcode::QrCode::with_error_correction_level(url, qrcode::EcLevel::L) else {
        return String::new();
    };
    let columns = terminal::columns();
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(false)
        .build();
    // two modules of margin: readers cope, and a link of 450 characters fits 80 columns
    let width = code.width() + 4;
    if let Some(columns) = columns
        && usize::from(columns) < width
    {
        return format!(
            "(the QR code needs {width} columns and this terminal has {columns}: make its text smaller)\n\n"
        );
    }
    let margin = " ".repeat(width);
    let rows = drawn.lines().map(|line| format!("  {line}  "));
    let lines = std::iter::once(margin.clone()).chain(rows).chain([margin]);
    let shown = lines.map(|line| match columns {
        Some(_) => format!("\u{1b}[38;5;16;48;5;231m{line}\u{1b}[0m\n"),
        None => line.chars().map(inverted).chain(['\n']).collect(),
    });
    shown.chain(["\n".to_owned()]).collect()
}

fn inverted(c: char) -> char {
    match c {
        ' ' => '█',
        '█' => ' ',
        '▀' => '▄',
        '▄' => '▀',
        other => other,
    }
}
