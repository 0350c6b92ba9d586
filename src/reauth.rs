//! Signing in again, with a person: runs the unmodified Claude Code CLI, shows its link, hands it the code, and tells how it
//! went from its screen and its files.
//!
//! Observed on `@anthropic-ai/claude-code` 2.1.330. `claude auth login --claudeai` works over pipes and ignores the end of its
//! input; `claude setup-token` draws a full screen, wraps its token to the width, saves nothing and exits 0 even when it was
//! refused, so only the token itself is success. Until a code was typed, ending the program harms nothing; afterwards it is
//! not touched for at least a minute, since it may be between the exchange and its save.

use crate::by_hand::{SETUP_LIFE, SETUP_PREFIX};
use crate::edge::session::{Event, Link, Screen, Session, Spec};
use crate::edge::terminal::{Input, Line, Signals};
use crate::edge::{files, progress};
use crate::layout::one_line;
use crate::rules::shape::{self, KeptAs};
use crate::secret::Secret;
use crate::types::{DAY, HOUR, Ms};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// How the person signs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// `claude auth login`: repairs the stored login.
    Login,
    /// `claude setup-token`: a token for a year, which the CLI prints and keeps nowhere.
    SetupToken,
}

impl Flow {
    /// The command, as people type it.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Login => "claude auth login",
            Self::SetupToken => "claude setup-token",
        }
    }
}

/// What to run, and for how long a person is waited for.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The CLI.
    pub(crate) program: PathBuf,
    /// Which way.
    pub(crate) flow: Flow,
    /// The CLI's whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub(crate) cwd: PathBuf,
    /// How long the code is waited for.
    pub(crate) patience: Duration,
}

/// The CLI shows its link within seconds; a slow phone takes longer.
const LINK_PATIENCE: Duration = Duration::from_secs(60);

/// How long the CLI is waited for once it has a code: longer than the minute in which it must not be killed.
const CODE_PATIENCE: Duration = Duration::from_secs(90);

/// A token is taken once the screen has been still for this long.
const STILL: Duration = Duration::from_millis(500);

/// The CLI complains of an incomplete code at once; a slow phone takes a moment.
const COMPLAINT: Duration = Duration::from_secs(3);

/// The full-screen form reads keys: text that arrives in one piece with Enter counts as a paste.
const BEFORE_ENTER: Duration = Duration::from_millis(400);

/// What the person sees on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// Open this, sign in, bring the code.
    Link(&'a str),
    /// The code was not complete; another is awaited.
    Incomplete,
    /// The code was handed over.
    Sent,
    /// Asked to stop while the CLI may be saving: waits for it.
    Finishing,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The CLI says it signed in; its file has to tell the same.
    LoggedIn,
    /// A setup token, and how long the server granted it, [`Ms`].
    Token(Secret, Ms),
    /// It ended after the code was sent, and did not say how it went: the file tells.
    Unclear,
}

/// Why nothing came of it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Failed {
    /// The cause.
    pub(crate) why: String,
    /// The step that helps.
    pub(crate) hint: String,
}

fn failed(why: impl Into<String>, hint: impl Into<String>) -> Failed {
    Failed {
        why: why.into(),
        hint: hint.into(),
    }
}

/// Where the code comes from, and what may call it all off.
pub(crate) struct Person {
    /// stdin, unless a file is named.
    pub(crate) input: Option<Input>,
    /// A file that the code will be written to.
    pub(crate) file: Option<CodeFile>,
    /// Signals to end.
    pub(crate) signals: Signals,
}

/// A file that the code will be written to.
pub(crate) struct CodeFile {
    /// Where.
    pub(crate) path: PathBuf,
    /// What it held before, which is no code.
    pub(crate) before: Option<Vec<u8>>,
    /// What to do where it does not hold the whole code.
    pub(crate) incomplete: Incomplete,
}

/// What to do where a file does not hold the whole code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Incomplete {
    /// Nobody writes it again: give up.
    Fails,
    /// Wait for another.
    AsksAgain,
}

impl Person {
    async fn line(&mut self) -> Line {
        let Self { input, file, signals } = self;
        tokio::select! {
            line = from_file(file) => line,
            line = from_input(input) => line,
            () = signals.one() => Line::Interrupted,
        }
    }
}

async fn from_input(input: &mut Option<Input>) -> Line {
    match input {
        Some(input) => input.line().await,
        None => std::future::pending().await,
    }
}

/// Waits until the file holds something that it did not hold before.
async fn from_file(file: &mut Option<CodeFile>) -> Line {
    let Some(CodeFile { path, before, .. }) = file else {
        return std::future::pending().await;
    };
    loop {
        if let Ok(snapshot) = files::read(path)
            && before.as_ref() != Some(&snapshot.bytes)
            && let Ok(text) = std::str::from_utf8(&snapshot.bytes)
            && text.contains(['\n', '#'])
        {
            let code = Secret::new(text.trim());
            *before = Some(snapshot.bytes);
            return Line::Text(code);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

/// Runs the journey up to the CLI's own end. Nothing is stored here.
///
/// # Errors
/// Why nothing came of it; nothing has changed then.
pub(crate) async fn drive(job: &Job, person: &mut Person, say: &mut dyn FnMut(Said<'_>)) -> Result<Outcome, Failed> {
    let (args, link): (&[&str], Link) = match job.flow {
        Flow::Login => (&["auth", "login", "--claudeai"], Link::Pipes),
        Flow::SetupToken => (&["setup-token"], Link::Terminal),
    };
    let spec = Spec {
        program: job.program.clone(),
        args: args.iter().map(Into::into).collect(),
        env: job.env.clone(),
        cwd: job.cwd.clone(),
        link,
        // wide enough that neither link nor token is wrapped
        columns: 500,
    };
    let mut session = Session::start(&spec).map_err(|error| {
        failed(
            format!("`{}` cannot be run: {}", job.program.display(), files::io_words(&error)),
            "check that Claude Code is installed and runs: `claude --version`",
        )
    })?;
    let deadline = Instant::now() + job.patience;
    let waiting = progress::waiting(|| "Claude Code to show its link".into());
    let url = wait_for_link(job, &mut session, person, deadline.min(Instant::now() + LINK_PATIENCE)).await;
    drop(waiting);
    let url = url?;
    say(Said::Link(&url));
    loop {
        let waiting = progress::waiting(|| "the code from your browser".into());
        let code = tokio::select! {
            code = wait_for_code(job, person, deadline) => code?,
            // a browser on this host may finish without a code
            ended = watch(job, &mut session) => return ended,
        };
        drop(waiting);
        if !complete(&code) {
            if person
                .file
                .as_ref()
                .is_some_and(|file| file.incomplete == Incomplete::Fails)
            {
                return Err(failed(
                    "the file does not hold the whole code, which has a `#` in the middle",
                    "start again, and copy all of the code that the page shows",
                ));
            }
            say(Said::Incomplete);
            continue;
        }
        say(Said::Sent);
        let _waiting = progress::waiting(|| "Claude Code to finish signing in".into());
        if !hand_over(job, &mut session, &code, person, say).await? {
            say(Said::Incomplete);
            continue;
        }
        return verdict(job, &mut session, person, say).await;
    }
}

async fn wait_for_link(
    job: &Job,
    session: &mut Session,
    person: &mut Person,
    until: Instant,
) -> Result<String, Failed> {
    let mut found: Option<(String, Instant)> = None;
    loop {
        // the prompt is drawn after the link; without one, a link that stands still is whole
        if let Some((url, at)) = &found
            && (shows(session.screen(), "paste code here") || Instant::now() >= *at + STILL * 4)
        {
            return Ok(url.clone());
        }
        let wait = found.as_ref().map_or(until, |(_, at)| *at + STILL * 4);
        tokio::select! {
            event = session.next() => {
                if let Some(url) = link_in(session.screen()) {
                    let at = found.take().map_or_else(Instant::now, |(_, at)| at);
                    found = Some((url, at));
                }
                if let Event::Ended(_) = event {
                    return Err(ended_early(job.flow, session.screen()));
                }
            }
            () = person.signals.one() => return Err(interrupted()),
            () = sleep_until(wait), if found.is_none() => {
                return Err(failed(
                    format!(
                        "`{}` showed no link within {} s",
                        job.flow.command(),
                        job.patience.min(LINK_PATIENCE).as_secs()
                    ),
                    format!("run `{}` yourself and see what it says", job.flow.command()),
                ));
            }
            () = sleep_until(wait), if found.is_some() => {}
        }
    }
}

async fn wait_for_code(job: &Job, person: &mut Person, deadline: Instant) -> Result<Secret, Failed> {
    match timeout_at(deadline, person.line()).await {
        Ok(Line::Text(code)) => Ok(code),
        Ok(Line::Interrupted) => Err(interrupted()),
        Ok(Line::Closed) => Err(failed(
            "the connection was closed before a code came",
            "run `nolapse reauth` again; the old link is void",
        )),
        Err(_) => Err(failed(
            format!("no code came within {}", words_for(job.patience)),
            "run `nolapse reauth` again, with a longer `--timeout` if need be; the old link is void",
        )),
    }
}

fn words_for(time: Duration) -> String {
    match time.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        _ => crate::rules::wording::span(time.as_millis() as Ms),
    }
}

fn interrupted() -> Failed {
    failed(
        "interrupted",
        "nothing was changed; run `nolapse reauth` again when you are ready",
    )
}

/// `CODE#STATE`, as the page shows it.
fn complete(code: &Secret) -> bool {
    let text = code.expose();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    plain
        && text
            .split_once('#')
            .is_some_and(|(code, state)| !code.is_empty() && !state.is_empty())
}

/// Watches the session while the code is awaited: it may end by itself, for good or bad.
async fn watch(job: &Job, session: &mut Session) -> Result<Outcome, Failed> {
    loop {
        let event = session.next().await;
        if let Some(outcome) = succeeded(job.flow, session.screen()) {
            return settle(session, outcome, job).await;
        }
        if let Event::Ended(_) = event {
            return Err(ended_early(job.flow, session.screen()));
        }
    }
}

/// Types the code in. `false` where the CLI says at once that it is not complete, and waits for another.
async fn hand_over(
    job: &Job,
    session: &mut Session,
    code: &Secret,
    person: &mut Person,
    say: &mut dyn FnMut(Said<'_>),
) -> Result<bool, Failed> {
    let complaints = count(session.screen(), INCOMPLETE);
    let typed = async {
        session.type_in(code.expose().as_bytes()).await?;
        if job.flow == Flow::SetupToken {
            sleep(BEFORE_ENTER).await;
        }
        session
            .type_in(if job.flow == Flow::SetupToken { b"\r" } else { b"\n" })
            .await
    };
    // its input may be closed; what it says and leaves behind is judged all the same
    let _ = typed.await;
    let until = Instant::now() + COMPLAINT;
    loop {
        tokio::select! {
            event = session.next() => {
                if count(session.screen(), INCOMPLETE) > complaints {
                    return Ok(false);
                }
                if succeeded(job.flow, session.screen()).is_some() || refusal(session.screen()).is_some() || event != Event::Drawn {
                    return Ok(true);
                }
            }
            () = person.signals.one() => say(Said::Finishing),
            () = sleep_until(until) => return Ok(true),
        }
    }
}

/// How it went, once the code is with the CLI.
async fn verdict(
    job: &Job,
    session: &mut Session,
    person: &mut Person,
    say: &mut dyn FnMut(Said<'_>),
) -> Result<Outcome, Failed> {
    let until = Instant::now() + CODE_PATIENCE;
    loop {
        if let Some(outcome) = succeeded(job.flow, session.screen()) {
            return settle(session, outcome, job).await;
        }
        if let Some(line) = refusal(session.screen()) {
            leave(session).await;
            return Err(failed(
                format!("the code was refused: {line}"),
                "run `nolapse reauth` again and use the code of the new link, within a few minutes",
            ));
        }
        tokio::select! {
            event = session.next() => {
                if let Event::Ended(_) = event
                    && succeeded(job.flow, session.screen()).is_none()
                    && refusal(session.screen()).is_none()
                {
                    return match job.flow {
                        Flow::Login => Ok(Outcome::Unclear),
                        Flow::SetupToken => Err(ended_early(job.flow, session.screen())),
                    };
                }
            }
            () = person.signals.one() => say(Said::Finishing),
            () = sleep_until(until) => {
                return match job.flow {
                    Flow::Login => Ok(Outcome::Unclear),
                    Flow::SetupToken => Err(failed(
                        format!("no answer within {} s of the code", CODE_PATIENCE.as_secs()),
                        "check the network (and `HTTPS_PROXY`), then run `nolapse reauth` again",
                    )),
                };
            }
        }
    }
}

/// Lets the CLI come to its own end after success, so that what it saves is saved; a token is read again when it stands.
async fn settle(session: &mut Session, first: Outcome, job: &Job) -> Result<Outcome, Failed> {
    let until = Instant::now() + CODE_PATIENCE;
    let mut outcome = first;
    loop {
        // a token is there once the screen is still; a login is saved once the program has ended
        let wait = match job.flow {
            Flow::Login => until,
            Flow::SetupToken => until.min(Instant::now() + STILL),
        };
        let Ok(event) = timeout_at(wait, session.next()).await else {
            if job.flow == Flow::SetupToken {
                leave(session).await;
            }
            break;
        };
        // a half-drawn token grows; a screen that is cleared at the end keeps what was seen
        match (succeeded(job.flow, session.screen()), &outcome) {
            (Some(Outcome::Token(new, _)), Outcome::Token(old, _)) if new.expose().len() < old.expose().len() => {}
            (Some(now), _) => outcome = now,
            (None, _) => {}
        }
        if let Event::Ended(_) = event {
            break;
        }
    }
    match &outcome {
        Outcome::Token(token, _) if shape::flaw("anthropic", KeptAs::Token, token.expose()).is_some() => Err(failed(
            "the token that Claude Code showed is not whole",
            "run `claude setup-token` yourself, then `nolapse token add` and paste it there",
        )),
        _ => Ok(outcome),
    }
}

/// Ends a full-screen program the way a person does, before it is killed.
async fn leave(session: &mut Session) {
    for _ in 0..2 {
        let _ = session.type_in(b"\x03").await;
        let until = Instant::now() + Duration::from_secs(1);
        while let Ok(event) = timeout_at(until, session.next()).await {
            if let Event::Ended(_) = event {
                return;
            }
        }
    }
}

const INCOMPLETE: &str = "doesn't look like the full code";

/// What its screen says, spaces and case apart: full-screen forms place words with cursor moves.
fn squeezed(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace())
        .flat_map(char::to_lowercase)
        .map(|c| if c == '’' { '\'' } else { c })
        .collect()
}

fn count(screen: &Screen, what: &str) -> usize {
    let what = squeezed(what);
    screen
        .lines()
        .iter()
        .filter(|line| squeezed(line).contains(&what))
        .count()
}

fn shows(screen: &Screen, what: &str) -> bool {
    count(screen, what) > 0
}

fn succeeded(flow: Flow, screen: &Screen) -> Option<Outcome> {
    match flow {
        Flow::Login => shows(screen, "login successful").then_some(Outcome::LoggedIn),
        Flow::SetupToken => {
            let lines = screen.lines();
            let token = token_in(&lines)?;
            Some(Outcome::Token(Secret::new(token), granted(&lines)))
        }
    }
}

fn token_in(lines: &[String]) -> Option<String> {
    lines.iter().find_map(|line| {
        let start = line.find(SETUP_PREFIX)?;
        let rest = &line[start..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')))
            .unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    })
}

/// `Your OAuth token (valid for 1 year):`, a year if it does not say, [`Ms`].
fn granted(lines: &[String]) -> Ms {
    let said = lines.iter().map(|line| squeezed(line)).find_map(|line| {
        let rest = line.split_once("validfor")?.1.to_owned();
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: Ms = rest[..digits].parse().ok().filter(|n| (1..=1000).contains(n))?;
        let unit = [
            ("hour", HOUR),
            ("day", DAY),
            ("week", 7 * DAY),
            ("month", 30 * DAY),
            ("year", 365 * DAY),
        ];
        let unit = unit.into_iter().find(|(name, _)| rest[digits..].starts_with(name))?.1;
        Some(number * unit)
    });
    said.unwrap_or(SETUP_LIFE)
}

/// The line in which the CLI says that the code was refused, safe to show.
fn refusal(screen: &Screen) -> Option<String> {
    const SIGNS: [&str; 3] = ["oautherror", "couldn'tlogin", "loginfailed"];
    let line = screen
        .lines()
        .into_iter()
        .find(|line| SIGNS.iter().any(|sign| squeezed(line).contains(sign)))?;
    // over pipes it comes right behind the prompt
    let line = line.rsplit_once("> ").map_or(line.as_str(), |(_, after)| after);
    Some(shown(line))
}

/// A line of the CLI's, for people: one line, not long, and without anything that could be a token or a code.
fn shown(line: &str) -> String {
    let plain: Vec<&str> = line
        .split_whitespace()
        .map(
            |word| match word.len() > 40 || word.contains("sk-ant") || word.contains('#') {
                true => "…",
                false => word,
            },
        )
        .collect();
    one_line(&plain.join(" ")).chars().take(200).collect()
}

fn ended_early(flow: Flow, screen: &Screen) -> Failed {
    if let Some(line) = refusal(screen) {
        return failed(
            format!("`{}` gave up: {line}", flow.command()),
            "run `nolapse reauth` again",
        );
    }
    let last = screen
        .lines()
        .iter()
        .rev()
        .map(|line| shown(line))
        .find(|line| !line.is_empty() && token_in(std::slice::from_ref(line)).is_none());
    let why = match last {
        Some(line) => format!("`{}` ended before it was done; its last words: {line}", flow.command()),
        None => format!("`{}` ended before it was done, without a word", flow.command()),
    };
    failed(
        why,
        format!(
            "run `{}` yourself and see what it says; `claude update` may help",
            flow.command()
        ),
    )
}

/// The sign-in link, from a hyperlink or the text; only one that leads to its maker is shown to anyone.
fn link_in(screen: &Screen) -> Option<String> {
    let lines = screen.lines();
    let in_text = lines.iter().filter_map(|line| {
        let rest = &line[line.find("https://")?..];
        Some(rest.split_whitespace().next().unwrap_or(rest).to_owned())
    });
    screen
        .hyperlinks()
        .iter()
        .cloned()
        .chain(in_text)
        .find(|url| is_sign_in(url))
}

fn is_sign_in(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let known = ["claude.ai", "claude.com", "anthropic.com"]
        .iter()
        .any(|domain| host == *domain || host.strip_suffix(domain).is_some_and(|sub| sub.ends_with('.')));
    known && path.contains("oauth/authorize?") && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whatever a program draws, what is read from it and quoted from it has the form it must have.
#[cfg(any(test, fuzzing))]
pub(crate) fn must_hold_for_a_screen(screen: &Screen) {
    let lines = screen.lines();
    if let Some(token) = token_in(&lines) {
        assert!(token.starts_with(SETUP_PREFIX) && token.bytes().all(|b| b.is_ascii_graphic()));
    }
    assert!((HOUR..=1000 * 365 * DAY).contains(&granted(&lines)));
    if let Some(url) = link_in(screen) {
        assert!(is_sign_in(&url) && url.bytes().all(|b| b.is_ascii_graphic()));
    }
    for flow in [Flow::Login, Flow::SetupToken] {
        succeeded(flow, screen);
        let failed = ended_early(flow, screen);
        for text in [failed.why, failed.hint] {
            assert!(
                !text.contains("sk-ant") && !text.contains(char::is_control) && text.len() < 1000,
                "{text:?}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_makers_sign_in_links_are_shown() {
        for (url, fine) in [
            ("https://claude.ai/oauth/authorize?code=true&x=1", true),
            ("https://platform.claude.com/oauth/authorize?x", true),
            ("https://evilclaude.ai/oauth/authorize?x", false),
            ("https://claude.ai@evil.example/oauth/authorize?x", false),
            ("http://claude.ai/oauth/authorize?x", false),
            ("https://claude.ai/", false),
            ("https://claude.ai/oauth/authorize?\u{1b}[2J", false),
        ] {
            assert_eq!(is_sign_in(url), fine, "{url}");
        }
    }

    #[test]
    fn codes_tokens_and_terms_are_read() {
        for (code, fine) in [
            ("a#b", true),
            ("a", false),
            ("#b", false),
            ("a#", false),
            ("a#b c", false),
            ("", false),
        ] {
            assert_eq!(complete(&Secret::new(code)), fine, "{code}");
        }
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            token_in(&lines("x\n  sk-ant-oat01-aB_-9 │")).unwrap(),
            "sk-ant-oat01-aB_-9"
        );
        for (text, life) in [
            ("Your OAuth token (valid for 1 year):", 365 * DAY),
            ("Your OAuthtoken(valid for 90 days):", 90 * DAY),
            ("nothing said", SETUP_LIFE),
            ("valid for 0 days", SETUP_LIFE),
        ] {
            assert_eq!(granted(&lines(text)), life, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_of_the_screen_holds_no_secret() {
        let line = "OAuth error: sk-ant-oat01-CANARY abc#CANARY \u{1b}[1m Request failed with status code 400";
        let said = shown(line);
        assert!(!said.contains("CANARY") && !said.contains('\u{1b}'), "{said}");
        assert!(said.ends_with("Request failed with status code 400"), "{said}");
    }
}
