//! `nolapse setup`: from nothing to an alert that arrived. Everything is asked and tried first; then it is written at once, so that
//! ^C at any question leaves all as it was.

use super::ask::{Asker, Seen, Usual};
use super::install::{self, InstallArgs, Linger};
use super::{Fatal, Setup, alert, block_on, channel, overview, print, say, unknown, usage};
use crate::config::edit::{self, Draft, Setting, Takes};
use crate::ctx::Ctx;
use crate::install::Platform;
use crate::layout::one_line;
use crate::notify::Channel;
use crate::report::{Exit, Style};
use crate::rules::doctor::Runs;
use crate::rules::keys;
use crate::rules::view::View;
use crate::rules::wording::quote;
use crate::types::Severity;
use crate::{doctor, ledger, look, report};
use clap::Args;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(super) struct SetupArgs {
    /// Accept every proposal without asking
    #[arg(short, long)]
    yes: bool,
    /// Add this channel: TYPE, TYPE=VALUE or TYPE,KEY=VALUE; repeat for more
    #[arg(long = "channel", value_name = "TYPE[=VALUE]")]
    channels: Vec<String>,
    /// Watch this Claude Code directory too; repeat for more [default: asks; with --yes, all that are found]
    #[arg(long = "login", value_name = "DIR")]
    logins: Vec<PathBuf>,
    /// Watch no further logins
    #[arg(long, conflicts_with = "logins")]
    no_logins: bool,
    /// Send no test message
    #[arg(long)]
    no_test: bool,
    /// Install nothing that runs it
    #[arg(long, conflicts_with_all = ["platform", "daemon"])]
    no_install: bool,
    /// What runs it [default: what this system has]
    #[arg(long, value_enum)]
    platform: Option<Platform>,
    /// Install the daemon instead of a timer
    #[arg(long)]
    daemon: bool,
    /// systemd: do not keep it running while you are logged out
    #[arg(long)]
    no_linger: bool,
}

/// A setup under way.
struct Doing<'a> {
    setup: &'a Setup,
    args: &'a SetupArgs,
    style: Style,
    asker: Asker,
    draft: Draft<'a>,
    /// The names of new channels.
    added: Vec<String>,
}

/// What is to run it from now on.
struct Install {
    platform: Platform,
    daemon: bool,
    linger: Linger,
}

pub(super) fn setup(setup: &Setup, args: &SetupArgs) -> Result<Exit, Fatal> {
    if !args.yes && !Asker::somebody() {
        return Err(usage(
            "there is no terminal to ask at",
            "run `nolapse setup --yes --channel TYPE=VALUE`; see `nolapse setup --help`",
        ));
    }
    let ctx = setup.ctx(None)?;
    let draft = Draft::open(&setup.config_path, &setup.host)?;
    let view = look::look(&ctx, &ledger::load(&ctx.state_dir).ledger);
    let mut doing = Doing {
        setup,
        args,
        style: setup.style(),
        asker: Asker::default(),
        draft,
        added: Vec::new(),
    };
    doing.say_found(&ctx, &view)?;
    doing.logins(&ctx, &view)?;
    doing.channels(&ctx)?;
    let install = doing.what_runs_it(&ctx)?;
    doing.apply(install)
}

impl Doing<'_> {
    fn say(&self, text: &str) -> Result<(), Fatal> {
        Ok(print(&format!("{}\n", crate::layout::hang(text, 0, self.style.width)))?)
    }

    fn heading(&self, text: &str) -> Result<(), Fatal> {
        Ok(print(&format!("\n{}\n", report::bold(text, self.style)))?)
    }

    fn say_found(&self, ctx: &Ctx, view: &View) -> Result<(), Fatal> {
        print(overview::found(ctx, view, self.style).trim_start())?;
        match report::nothing(view) {
            true => self.say("Sign in with `claude auth login`; later logins are found automatically."),
            false => Ok(()),
        }
    }

    /// Further logins that lie beside the default one.
    fn logins(&mut self, ctx: &Ctx, view: &View) -> Result<(), Fatal> {
        let host = &self.setup.host;
        let unwatched = look::unwatched(ctx, &view.logins);
        let found: Vec<PathBuf> = unwatched.iter().map(|login| login.place.dir.clone()).collect();
        let mut wanted: Vec<PathBuf> = Vec::new();
        if self.args.no_logins {
            return Ok(());
        }
        for dir in &self.args.logins {
            let dir = host.cwd.join(dir);
            if !crate::edge::files::is_dir(&dir) {
                return Err(usage(
                    format!("`{}` is no directory", host.tilde(&dir)),
                    "name a directory of Claude Code, as `~/.claude-team`",
                ));
            }
            let known = view.logins.iter().any(|login| login.login.place.dir == dir);
            if !known && !wanted.contains(&dir) {
                wanted.push(dir);
            }
        }
        if self.args.logins.is_empty() && !found.is_empty() {
            self.heading("More logins")?;
            for dir in found {
                let shown = one_line(&host.tilde(&dir));
                let watch = self.args.yes || self.asker.agrees(&format!("Watch {shown} too?"), Usual::Yes)?;
                if watch {
                    wanted.push(dir);
                }
            }
        }
        for dir in wanted {
            let shown = self.setup.host.tilde(&dir);
            self.say(&format!("also watched from now on: {}", one_line(&shown)))?;
            let mut settings = vec![Setting {
                key: "dir".into(),
                given: edit::value(Takes::Text, &shown),
            }];
            // a login of agents of its own is given to nobody else
            let login = unwatched.iter().find(|login| login.place.dir == dir);
            let agents = login.map_or_else(Vec::new, |login| look::holders(login, &view.agents));
            if !agents.is_empty() {
                self.say(&format!("  used by {}", one_line(&agents.join(", "))))?;
                settings.push(Setting {
                    key: "agents".into(),
                    given: edit::value(Takes::List, &agents.join(",")),
                });
            }
            self.draft.append("[[login]]", "login", &settings);
        }
        self.draft.config()?;
        Ok(())
    }

    /// Who is notified.
    fn channels(&mut self, ctx: &Ctx) -> Result<(), Fatal> {
        self.heading("Alerts")?;
        for spec in &self.args.channels {
            let asked = channel::asked(spec, &[])?;
            self.add(ctx, asked)?;
        }
        if !self.added.is_empty() {
            return Ok(());
        }
        self.say(&overview::notified_words(ctx))?;
        let reached = !ctx.channels().iter().all(Channel::is_log);
        if self.args.yes || (reached && !ctx.config.channels.is_empty()) {
            return Ok(());
        }
        loop {
            let Some(word) = self.choose(reached || !self.added.is_empty())? else {
                return Ok(());
            };
            let asked = channel::asked(word, &[])?;
            self.add(ctx, asked)?;
            if !self.asker.agrees("Add another channel?", Usual::No)? {
                return Ok(());
            }
        }
    }

    /// A type out of the menu; `None` for none.
    fn choose(&mut self, reached: bool) -> Result<Option<&'static str>, Fatal> {
        self.say("How do you want to be notified?")?;
        for (n, offer) in keys::OFFERS.iter().enumerate() {
            let about = crate::layout::hang(offer.about, 18, self.style.width);
            print(&format!("{:>2}  {:<13} {about}\n", n + 1, offer.word))?;
        }
        let empty = if reached { "as it is" } else { "none for now" };
        loop {
            let answer = self
                .asker
                .line(&format!("Number or name (Enter: {empty}): "), Seen::Yes)?;
            let answer = answer.expose().to_lowercase();
            if answer.is_empty() {
                return Ok(None);
            }
            let number = answer.parse::<usize>().ok();
            let by_number = number.and_then(|n| keys::OFFERS.get(n.checked_sub(1)?));
            if let Some(offer) = by_number.or_else(|| keys::offer(&answer)) {
                return Ok(Some(offer.word));
            }
            let words = keys::OFFERS.iter().map(|offer| offer.word);
            say(&format!("{}\n", unknown("type of channel", &answer, words)))?;
        }
    }

    /// Adds one channel to the draft, sends a test, and asks whether it arrived.
    fn add(&mut self, ctx: &Ctx, asked: channel::Asked) -> Result<(), Fatal> {
        let word = asked.word.clone();
        let mut asked = Some(asked);
        loop {
            let before = self.draft.clone();
            let these = match asked.take() {
                Some(asked) => asked,
                None => channel::asked(&word, &[])?,
            };
            let (name, said) = match channel::put(&mut self.draft, these, &mut self.asker) {
                Err(Fatal::Config(error)) if !self.args.yes && self.args.channels.is_empty() => {
                    say(&format!("{}\n", error.message))?;
                    self.draft = before;
                    continue;
                }
                other => other?,
            };
            for line in said {
                say(&format!("{line}\n"))?;
            }
            match self.tried(ctx, &name)? {
                Tried::Good => {
                    self.added.push(name);
                    return Ok(());
                }
                Tried::Again => self.draft = before,
                Tried::Dropped => {
                    self.draft = before;
                    return Ok(());
                }
            }
        }
    }

    fn tried(&mut self, ctx: &Ctx, name: &str) -> Result<Tried, Fatal> {
        if self.args.no_test {
            return Ok(Tried::Good);
        }
        let config = self.draft.config()?;
        let ctx = Ctx { config, ..ctx.clone() };
        let Some(channel) = ctx.config.channels.iter().find(|channel| channel.name == name) else {
            return Ok(Tried::Good);
        };
        self.say(&format!("Sending a test through `{}` …", one_line(name)))?;
        let delivered = alert::try_out(&ctx, channel, Severity::Warning)?
            .iter()
            .all(|(_, result)| result.is_ok());
        if self.args.yes {
            return match delivered {
                true => Ok(Tried::Good),
                false => Err(usage(
                    format!("the test through `{}` failed; nothing was changed", one_line(name)),
                    "correct the channel, or add `--no-test`",
                )),
            };
        }
        if channel.is_log() {
            return Ok(Tried::Good);
        }
        if delivered && self.asker.agrees("Did it arrive?", Usual::Yes)? {
            return Ok(Tried::Good);
        }
        match self.asker.agrees("Enter it again?", Usual::Yes)? {
            true => Ok(Tried::Again),
            false if self.asker.agrees("Keep it as it is?", Usual::No)? => Ok(Tried::Good),
            false => Ok(Tried::Dropped),
        }
    }

    /// What is to run it, if nothing does yet.
    fn what_runs_it(&mut self, ctx: &Ctx) -> Result<Option<Install>, Fatal> {
        if self.args.no_install {
            return Ok(None);
        }
        self.heading("Automatic checks")?;
        let place = install::place(self.setup)?;
        let (runs, by) = block_on(doctor::run_by(ctx, Some(&place)))?;
        let asked_for = self.args.platform.is_some() || self.args.daemon;
        if runs == Runs::Alone && !asked_for {
            let by = overview::runs_words(runs, &by);
            self.say(&format!("already run by {by}"))?;
            return Ok(None);
        }
        let here = || crate::install::here(&self.setup.host);
        let platform = self.args.platform.unwrap_or_else(here);
        let what = match (platform, self.args.daemon) {
            (Platform::Systemd, false) => "a systemd timer, every 4 minutes",
            (Platform::Systemd, true) => "a systemd service (daemon)",
            (Platform::Termux, _) => "Android's job scheduler and Termux:Boot",
            (Platform::Cron, _) => "a line in your crontab, every 4 minutes",
            (Platform::Launchd, _) => "a launchd agent",
            (Platform::Openrc, _) => "a user service of OpenRC",
            (Platform::Runit, _) => "a service of runit",
        };
        if !self.args.yes && !self.asker.agrees(&format!("Install {what}?"), Usual::Yes)? {
            return Ok(None);
        }
        let linger = match platform {
            Platform::Systemd if !self.args.no_linger && install::linger_is_off(self.setup, &place)? => {
                let question = "Keep it running while you are logged out (loginctl enable-linger)?";
                match self.args.yes || self.asker.agrees(question, Usual::Yes)? {
                    true => Linger::Enable,
                    false => Linger::Leave,
                }
            }
            _ => Linger::Leave,
        };
        Ok(Some(Install {
            platform,
            daemon: self.args.daemon,
            linger,
        }))
    }

    /// Writes everything, and says how to undo it.
    fn apply(self, install: Option<Install>) -> Result<Exit, Fatal> {
        let Self {
            setup,
            args,
            style,
            asker,
            draft,
            added,
        } = self;
        // the terminal is as it was from here on
        drop(asker);
        let path = setup.host.tilde(&setup.config_path);
        print(&format!("\n{}\n", report::bold("Done", style)))?;
        let mut undo = Vec::new();
        if draft.changed() {
            let wrote = draft.write()?;
            say(&format!("{}wrote {path}\n", channel::wrote_words(setup, &wrote)))?;
            let remove = |name: &String| format!("nolapse channel remove {}", quote(name));
            undo.extend(added.iter().map(remove));
        }
        let mut exit = Exit::Fine;
        if let Some(install) = install {
            let installed = InstallArgs {
                platform: Some(install.platform),
                daemon: install.daemon,
                dry_run: false,
                linger: install.linger == Linger::Enable,
            };
            undo.insert(0, "nolapse uninstall".into());
            if install.linger == Linger::Enable {
                undo.push("loginctl disable-linger".into());
            }
            exit = super::install::install(setup, &installed)?;
        }
        let ctx = setup.ctx(None)?;
        let mut out = String::new();
        out.push_str(match undo.is_empty() {
            true => "nothing changed: everything is set up already\n",
            false => "to undo:\n",
        });
        for command in undo {
            let _ = writeln!(out, "  {command}");
        }
        if ctx.channels().iter().all(Channel::is_log) {
            out.push_str("nobody is notified yet; add a channel:\n  nolapse channel add ntfy\n");
            // what is asked for here is that somebody hears
            exit = Exit::Unknown;
        }
        out.push_str(match args.no_install {
            true => "next: see where things stand\n  nolapse\n",
            false => "see where things stand at any time:\n  nolapse\n",
        });
        say(&out)?;
        Ok(exit)
    }
}

/// How a test went.
enum Tried {
    /// It is kept.
    Good,
    /// It is entered again.
    Again,
    /// It is left out.
    Dropped,
}
