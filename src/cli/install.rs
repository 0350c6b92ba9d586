//! `install` and `uninstall`: carries out an [`install::Plan`], and writes down what it wrote.

use super::run::{story, summary};
use super::{Fatal, Setup, alert, block_on, print, say, usage};
use crate::ctx::Ctx;
use crate::edge::files::{self, ReadError, io_words};
use crate::edge::subprocess::{self, Spec, Status};
use crate::edge::{progress, replace, termux};
use crate::install::{self, Call, Done, Entry, Manifest, Plan, Planned, Platform, Site, Written, sha256};
use crate::pass::{self, Scope};
use crate::report::{self, Exit};
use crate::types::Meta;
use crate::{heard, layout};
use clap::{Args, ValueEnum};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct InstallArgs {
    /// What runs it [default: what this system has]
    #[arg(value_enum)]
    pub(super) platform: Option<Platform>,
    /// Install the daemon instead of a timer
    #[arg(long)]
    pub(super) daemon: bool,
    /// Print every file and command; change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// systemd: keep it running while you are logged out (`loginctl enable-linger`)
    #[arg(long)]
    pub(super) linger: bool,
}

/// What is done where services end with the last logout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linger {
    /// It is said.
    Leave,
    /// It is switched on.
    Enable,
}

#[derive(Args, Debug)]
pub(super) struct UninstallArgs {
    /// What it was installed for [default: all of them]
    #[arg(value_enum)]
    platform: Option<Platform>,
    /// Also remove the ledger and the history
    #[arg(long)]
    forget: bool,
    /// Print what would be removed and run; change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn install(setup: &Setup, args: &InstallArgs) -> Result<Exit, Fatal> {
    // what the service would stumble over is said now
    let ctx = setup.ctx(None)?;
    let place = place(setup)?;
    let platform = args.platform.unwrap_or_else(|| install::here(&setup.host));
    let word = platform.word();
    let daemon = stays(platform, args.daemon)?;
    let plan = install::plan(platform, daemon, &place);
    let mut doing = Doing::new(setup)?;
    if args.platform.is_none() {
        doing.say(&format!("this system has {word}"))?;
    }
    if args.dry_run {
        return doing.rehearse(&plan);
    }
    let was = match doing.manifest.installed.get(word).cloned() {
        Some(entry) if entry.daemon != daemon => {
            doing.say("the other form is uninstalled first")?;
            doing.take_out(platform, &place)?;
            None
        }
        was => was,
    };
    let todo = doing.compare(&plan, was.as_ref())?;
    let crontab = match &plan.crontab {
        Some(block) => doing.crontab_todo(block, was.as_ref())?,
        None => None,
    };
    if was.is_some() && todo.is_empty() && crontab.is_none() {
        if plan.probe.as_ref().is_none_or(|probe| doing.call(probe).is_ok()) {
            doing.say("installed already, nothing changed")?;
            doing.next(&plan)?;
            return Ok(Exit::Fine);
        }
        doing.say("installed already, but not running")?;
    }
    if !files::is_dir(&setup.state_dir) {
        doing.manifest.state_dirs = install::missing_dirs(&setup.state_dir.join("install.json"), files::is_dir);
        files::make_dirs(&setup.state_dir)?;
    }
    let fresh_state = memory_files(&setup.state_dir).is_empty();
    let entry = Entry {
        daemon,
        ..was.unwrap_or_default()
    };
    doing.note_down(word, entry, &todo, crontab.as_ref(), &plan)?;
    for file in &todo {
        write(file)?;
        doing.say(&format!("wrote {}", setup.host.tilde(&file.path)))?;
    }
    if let Some(crontab) = &crontab {
        doing.write_crontab(Some(&crontab.after))?;
        doing.say("added to the crontab")?;
    }
    doing.switch_on(word, &plan)?;
    first_pass(&ctx)?;
    if fresh_state {
        doing.manifest.state = memory_files(&setup.state_dir)
            .into_iter()
            .filter_map(|path| {
                let sha256 = sha256(&files::read(&path).ok()?.bytes);
                Some(Written { path, sha256 })
            })
            .collect();
        doing.save()?;
    }
    doing.next(&plan)?;
    if platform == Platform::Systemd {
        doing.linger(&place, if args.linger { Linger::Enable } else { Linger::Leave })?;
    }
    for line in plan.by_hand {
        doing.say(line)?;
    }
    if let Some(dir) = setup.host.var_nonblank("CLAUDE_CONFIG_DIR") {
        doing.say(&format!(
            "note: `CLAUDE_CONFIG_DIR` is not set in the service\n  hint: `[[login]]` with `dir = \"{dir}\"` in the configuration"
        ))?;
    }
    Ok(Exit::Fine)
}

/// Whether to install the daemon; some platforms have only one form.
fn stays(platform: Platform, wanted: bool) -> Result<bool, Fatal> {
    match platform {
        Platform::Openrc | Platform::Runit => Ok(true),
        Platform::Cron if wanted => Err(usage(
            "cron cannot run a daemon",
            "leave `--daemon` out, or choose another platform",
        )),
        _ => Ok(wanted),
    }
}

fn first_pass(ctx: &Ctx) -> Result<(), Fatal> {
    let report = block_on(pass::run(ctx, Scope::Whole))?;
    let mut out = story(ctx, &report);
    if report::nothing(&report.view) {
        out.push_str(&report::nothing_words(ctx, &report.view));
    } else {
        out.push_str(&summary(ctx, &report, false));
    }
    out.push_str(&announce(ctx)?);
    Ok(say(&out)?)
}

/// Says where alerts go from now on, there too: each channel gets a message that says so.
fn announce(ctx: &Ctx) -> Result<String, Fatal> {
    let channels = ctx.channels();
    let mut out = String::new();
    if let Some(problem) = heard::nobody(ctx) {
        let _ = writeln!(out, "warning: {}\n  hint: {}", problem.message, problem.hint);
        return Ok(out);
    }
    let _ = writeln!(out, "Alerts go to: {}", layout::one_line(&heard::whom(&channels)));
    for channel in &channels {
        let event = alert::installed_event(ctx, channel);
        let sent = block_on(alert::deliver(ctx, channel, &event))?;
        let name = layout::one_line(&channel.name);
        let _ = match sent {
            Ok(receipt) => writeln!(out, "  {name}: test delivered: {}", layout::one_line(&receipt.detail)),
            Err(error) => writeln!(
                out,
                "  {name}: test NOT delivered: {}\n  hint: fix it in the configuration, then run `nolapse alert test {}`",
                layout::one_line(error.why()),
                crate::rules::wording::quote(&channel.name),
            ),
        };
    }
    Ok(out)
}

pub(super) fn uninstall(setup: &Setup, args: &UninstallArgs) -> Result<Exit, Fatal> {
    let place = place(setup)?;
    let mut doing = Doing::new(setup)?;
    let all = || Platform::value_variants().to_vec();
    let mut which = args.platform.map_or_else(all, |platform| vec![platform]);
    which.retain(|platform| doing.manifest.installed.contains_key(platform.word()));
    if which.is_empty() {
        doing.say("not installed, nothing changed")?;
        if !args.forget {
            return Ok(Exit::Fine);
        }
    }
    doing.dry = args.dry_run;
    for platform in which {
        doing.take_out(platform, &place)?;
    }
    doing.leave(args.forget)?;
    Ok(if doing.trouble { Exit::Unknown } else { Exit::Fine })
}

/// The host, and how the service is to run nolapse.
pub(super) fn place(setup: &Setup) -> Result<Site, Fatal> {
    let host = &setup.host;
    let bad = |what: &str| {
        usage(
            format!("{what} cannot be put into a service's file"),
            "use a path of printable characters",
        )
    };
    // a service runs with its user's own home
    if host.var_nonblank("HOME").map(PathBuf::from).as_ref() != Some(&host.home) {
        return Err(usage(
            "a service looks at its user's own home, not at that of `--home`",
            "run this as that user, without `--home`",
        ));
    }
    let text = |path: &Path, what: &str| {
        let text = path.to_str().filter(|text| !text.chars().any(char::is_control));
        text.map(str::to_owned).ok_or_else(|| bad(what))
    };
    let exe = setup.exe.as_deref().ok_or_else(|| bad("the program's own path"))?;
    let mut words = vec![text(exe, "the program's own path")?];
    // what a service finds by itself need not be said
    if setup.config_path != host.home.join(".config/nolapse/config.toml") {
        words.extend(["--config".into(), text(&setup.config_path, "the configuration's path")?]);
    }
    if setup.state_dir != host.home.join(".local/state/nolapse") {
        words.extend([
            "--state-dir".into(),
            text(&setup.state_dir, "the state directory's path")?,
        ]);
    }
    let dirs = host
        .var("PATH")
        .unwrap_or("")
        .split(':')
        .filter(|dir| dir.starts_with('/'));
    let claude_dir = dirs
        .filter(|dir| !["/usr/local/bin", "/usr/bin", "/bin"].contains(dir))
        .filter(|dir| !dir.chars().any(|c| c.is_control() || "\"\\:".contains(c)))
        .find(|dir| files::is_file(&Path::new(dir).join("claude")));
    Ok(Site {
        home: host.home.clone(),
        config_home: host.xdg("XDG_CONFIG_HOME", ".config"),
        data_home: host.xdg("XDG_DATA_HOME", ".local/share"),
        prefix: termux::prefix(host).to_owned(),
        termux_api: termux::api(host),
        svdir: host
            .var_nonblank("SVDIR")
            .map_or_else(|| host.home.join("service"), |dir| host.path(dir)),
        uid: files::our_uid(),
        user: ["USER", "LOGNAME"]
            .iter()
            .find_map(|name| host.var_nonblank(name))
            .map(Into::into),
        words,
        claude_dir: claude_dir.map(Into::into),
    })
}

/// Whether systemd ends the user's services with the last logout.
pub(super) fn linger_is_off(setup: &Setup, place: &Site) -> Result<bool, Fatal> {
    Ok(Doing::new(setup)?.lingers_not(place))
}

fn user(place: &Site) -> String {
    place.user.clone().unwrap_or_else(|| place.uid.to_string())
}

/// A crontab after the change.
struct Crontab {
    before: Option<String>,
    block: String,
    after: String,
}

/// An installation or its removal under way.
struct Doing<'a> {
    setup: &'a Setup,
    manifest: Manifest,
    dry: bool,
    trouble: bool,
}

impl<'a> Doing<'a> {
    fn new(setup: &'a Setup) -> Result<Self, Fatal> {
        let path = setup.state_dir.join("install.json");
        let broken = |why: String| {
            usage(
                format!("`{}` cannot be read: {why}", setup.host.tilde(&path)),
                "it records what may be removed; move it away to start over",
            )
        };
        let manifest = match files::read_ours(&path) {
            Ok(snapshot) => serde_json::from_slice(&snapshot.bytes).map_err(|error| broken(error.to_string()))?,
            Err(ReadError::Absent) => Manifest::default(),
            Err(error) => return Err(broken(error.to_string())),
        };
        Ok(Self {
            setup,
            manifest,
            dry: false,
            trouble: false,
        })
    }

    fn say(&self, text: &str) -> Result<(), Fatal> {
        Ok(say(&format!("{text}\n"))?)
    }

    fn tilde(&self, path: &Path) -> String {
        self.setup.host.tilde(path)
    }

    fn save(&self) -> Result<(), Fatal> {
        let text = serde_json::to_string_pretty(&self.manifest).map_err(std::io::Error::other)? + "\n";
        replace::replace(
            &files::own_target(&self.setup.state_dir.join("install.json"))?,
            text.as_bytes(),
            None,
        )?;
        Ok(())
    }

    fn rehearse(&self, plan: &Plan) -> Result<Exit, Fatal> {
        for file in &plan.files {
            // a file's text stays as it is
            print(&format!(
                "== {} (mode {:o})\n{}\n",
                self.tilde(&file.path),
                file.mode,
                file.text
            ))?;
        }
        if let Some(block) = &plan.crontab {
            print(&format!("== added to the crontab, by `crontab -`\n{block}\n"))?;
        }
        for call in &plan.on {
            self.say(&format!("$ {}", call.line()))?;
        }
        self.say("then one pass, like `nolapse run`; this was a dry run, nothing was done")?;
        Ok(Exit::Fine)
    }

    /// What will be done, written down first: what was cut short can be undone.
    fn note_down(
        &mut self,
        word: &str,
        mut entry: Entry,
        todo: &[&Planned],
        crontab: Option<&Crontab>,
        plan: &Plan,
    ) -> Result<(), Fatal> {
        let files = todo.iter().map(|file| &file.path);
        for dir in files
            .chain(&plan.made_elsewhere)
            .flat_map(|path| install::missing_dirs(path, files::is_dir))
        {
            if !entry.dirs.contains(&dir) {
                entry.dirs.push(dir);
            }
        }
        for file in todo {
            entry.files.retain(|written| written.path != file.path);
            entry.files.push(Written {
                path: file.path.clone(),
                sha256: sha256(file.text.as_bytes()),
            });
        }
        if let Some(crontab) = crontab {
            entry.crontab = Some(crontab.block.clone());
            entry.crontab_made |= crontab.before.is_none();
        }
        self.manifest.installed.insert(word.into(), entry);
        self.save()
    }

    fn switch_on(&self, word: &str, plan: &Plan) -> Result<(), Fatal> {
        for call in &plan.on {
            self.say(&format!("$ {}", call.line()))?;
            self.call(call).map_err(|why| {
                usage(
                    format!("`{}`: {why}", call.line()),
                    format!(
                        "it comes with {}; then `nolapse install {word}` again, or `nolapse uninstall {word}`",
                        call.from
                    ),
                )
            })?;
        }
        Ok(())
    }

    /// What is still to be written; what a person has edited is left to them, and what is not ours is not touched.
    fn compare<'p>(&self, plan: &'p Plan, was: Option<&Entry>) -> Result<Vec<&'p Planned>, Fatal> {
        let mut todo = Vec::new();
        for file in &plan.files {
            let ours = was.and_then(|entry| entry.files.iter().find(|written| written.path == file.path));
            match (files::read(&file.path), ours) {
                (Ok(there), _) if there.bytes == file.text.as_bytes() => {}
                (Ok(there), Some(ours)) if sha256(&there.bytes) == ours.sha256 => todo.push(file),
                (Ok(_), Some(_)) => self.say(&format!(
                    "not changed, since it was edited: {}\n  hint: remove it and install again for a new one",
                    self.tilde(&file.path)
                ))?,
                (Err(ReadError::Absent), Some(_)) if file.once => {}
                (Err(ReadError::Absent), _) => todo.push(file),
                (Ok(_), None) => {
                    return Err(usage(
                        format!("`{}` exists and was not installed by nolapse", self.tilde(&file.path)),
                        "move it away and install again",
                    ));
                }
                (Err(error), _) => {
                    return Err(usage(
                        format!("`{}`: {error}", self.tilde(&file.path)),
                        "nothing was done",
                    ));
                }
            }
        }
        Ok(todo)
    }

    /// Runs one command; why it did not do its work.
    fn call(&self, call: &Call) -> Result<String, String> {
        self.feed(call, &[])
    }

    fn feed(&self, call: &Call, stdin: &[u8]) -> Result<String, String> {
        let (program, args) = call.words.split_first().ok_or("no command")?;
        let host = &self.setup.host;
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let of_termux = name.starts_with("termux-") || name == "am";
        let spec = Spec {
            args: args.iter().map(Into::into).collect(),
            env: match of_termux {
                true => host.child([]),
                false => host
                    .env
                    .iter()
                    .map(|(name, value)| (name.into(), value.into()))
                    .collect(),
            },
            stdin: stdin.to_vec(),
            timeout: match of_termux {
                // without its app, it never answers
                true => Duration::from_secs(10),
                // a pass under way is let finish
                false => Duration::from_secs(200),
            },
            max_output: CRONTAB_LIMIT,
            ..Spec::new(program)
        };
        let _waiting = progress::waiting(|| format!("`{}`", call.words.join(" ")));
        let output = match block_on(subprocess::run(spec)).map_err(|error| io_words(&error))? {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(format!("there is no `{program}` here"));
            }
            Err(error) => return Err(io_words(&error)),
        };
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = match String::from_utf8_lossy(&output.stderr).trim() {
            "" => stdout.trim().to_owned(),
            stderr => stderr.to_owned(),
        };
        let done = match (output.status, call.done) {
            (Status::TimedOut, _) if of_termux => return Err(termux::silence(host, &name, &output)),
            (Status::TimedOut, _) => return Err("no answer".into()),
            (_, Done::Says(what)) => stdout.contains(what),
            (status, Done::Success) => status == Status::Exit(0),
            (_, Done::Anyhow) => true,
        };
        match done {
            true => Ok(stdout),
            false => Err(layout::one_line(&said)),
        }
    }

    fn crontab(&self) -> Result<Option<String>, Fatal> {
        // the exit code is 1 where there is none
        let read = Call::new("cron", Done::Success, &["crontab", "-l"]);
        match self.call(&read) {
            Ok(text) if text.len() < CRONTAB_LIMIT => Ok(Some(text)),
            Ok(_) => Err(usage("the crontab is too long", "nothing was done")),
            Err(why) if why.contains("no crontab") || why.is_empty() => Ok(None),
            Err(why) => Err(usage(
                format!("`crontab -l`: {why}"),
                "install cron, or choose another platform",
            )),
        }
    }

    fn write_crontab(&self, text: Option<&str>) -> Result<(), Fatal> {
        let option = if text.is_some() { "-" } else { "-r" };
        let call = Call::new("cron", Done::Success, &["crontab", option]);
        self.feed(&call, text.unwrap_or("").as_bytes())
            .map_err(|why| usage(format!("`{}`: {why}", call.line()), "nothing was changed"))?;
        Ok(())
    }

    /// The new crontab, unless our lines are in it already.
    fn crontab_todo(&self, block: &str, was: Option<&Entry>) -> Result<Option<Crontab>, Fatal> {
        let before = self.crontab()?;
        let mut text = before.clone().unwrap_or_default();
        if text.contains(block) {
            return Ok(None);
        }
        if let Some(old) = was.and_then(|entry| entry.crontab.as_deref())
            && text.contains(old)
        {
            text = text.replacen(old, "", 1);
        } else if text.contains("# nolapse: begin") {
            return Err(usage(
                "the crontab has lines of nolapse that were edited",
                "remove them with `crontab -e` and install again",
            ));
        }
        let block = match text.is_empty() || text.ends_with('\n') {
            true => block.to_owned(),
            false => format!("\n{block}"),
        };
        let after = format!("{text}{block}");
        Ok(Some(Crontab { before, block, after }))
    }

    fn next(&self, plan: &Plan) -> Result<(), Fatal> {
        let said = plan.next.as_ref().and_then(|call| self.call(call).ok());
        let said = said.as_deref().map(str::trim).filter(|said| !said.is_empty());
        self.say(&format!(
            "next run: {}",
            said.map_or(plan.next_words.into(), layout::one_line)
        ))
    }

    fn linger(&self, place: &Site, linger: Linger) -> Result<(), Fatal> {
        if !self.lingers_not(place) {
            return Ok(());
        }
        let user = user(place);
        let enable = Call::new("systemd", Done::Success, &["loginctl", "enable-linger", &user]);
        if linger == Linger::Enable {
            self.say(&format!("$ {}", enable.line()))?;
            match self.call(&enable) {
                Ok(_) => return Ok(()),
                Err(why) => self.say(&format!("  {why}"))?,
            }
        }
        self.say(&format!(
            "linger is off: it runs only while you are logged in\n  hint: {}",
            enable.line()
        ))
    }

    /// Whether the user's services end with the last logout.
    fn lingers_not(&self, place: &Site) -> bool {
        let words = ["loginctl", "show-user", "--property=Linger", "--value", &user(place)];
        let show = Call::new("systemd", Done::Success, &words);
        self.call(&show).is_ok_and(|said| said.trim() == "no")
    }

    /// Switches one platform off and removes what was written for it.
    fn take_out(&mut self, platform: Platform, place: &Site) -> Result<(), Fatal> {
        let Some(entry) = self.manifest.installed.get(platform.word()).cloned() else {
            return Ok(());
        };
        let plan = install::plan(platform, entry.daemon, place);
        self.call_all(&plan.off)?;
        if let Some(block) = &entry.crontab {
            match self.crontab()? {
                Some(text) if text.contains(block.as_str()) => {
                    let rest = text.replacen(block.as_str(), "", 1);
                    let rest = (!(rest.is_empty() && entry.crontab_made)).then_some(rest);
                    self.say(match self.dry {
                        true => "would remove its lines from the crontab",
                        false => "removed from the crontab",
                    })?;
                    if !self.dry {
                        self.write_crontab(rest.as_deref())?;
                    }
                }
                Some(text) if text.contains("# nolapse: begin") => {
                    self.trouble = true;
                    self.say("not changed, since its lines in the crontab were edited\n  hint: crontab -e")?;
                }
                _ => {}
            }
        }
        for path in &plan.made_by_service {
            if !self.dry && entry.files.iter().any(|written| path.parent() == written.path.parent()) {
                let _ = match files::is_dir(path) {
                    true => files::remove_own_dir(path),
                    false => files::remove(path),
                };
            }
        }
        for path in plan.made_elsewhere.iter().filter(|_| !self.dry) {
            let _ = files::remove(path);
        }
        for written in &entry.files {
            self.remove_unedited(written)?;
        }
        self.remove_dirs(&entry.dirs);
        self.call_all(&plan.off_after)?;
        if !self.dry {
            self.manifest.installed.remove(platform.word());
            self.save()?;
        }
        Ok(())
    }

    fn call_all(&mut self, calls: &[Call]) -> Result<(), Fatal> {
        for call in calls {
            self.say(&format!("$ {}", call.line()))?;
            if self.dry {
                continue;
            }
            if let Err(why) = self.call(call) {
                // the files go all the same: without them nothing runs
                self.trouble = true;
                self.say(&format!("  {why}"))?;
            }
        }
        Ok(())
    }

    fn remove_unedited(&mut self, written: &Written) -> Result<(), Fatal> {
        match files::read(&written.path) {
            Ok(there) if sha256(&there.bytes) == written.sha256 => {
                let removed = if self.dry { "would remove" } else { "removed" };
                self.say(&format!("{removed} {}", self.tilde(&written.path)))?;
                if !self.dry {
                    files::remove(&written.path)?;
                }
            }
            Err(ReadError::Absent) => {}
            _ => {
                self.trouble = true;
                self.say(&format!(
                    "not changed, since it was edited: {}",
                    self.tilde(&written.path)
                ))?;
            }
        }
        Ok(())
    }

    /// Directories that were made for us and are empty again.
    fn remove_dirs(&self, dirs: &[PathBuf]) {
        for dir in dirs.iter().rev().filter(|_| !self.dry) {
            let _ = files::remove_empty_dir(dir);
        }
    }

    /// When nothing is installed any more: what only the installation's own pass wrote is removed too. What later passes
    /// remembered (when a token was issued, which alert was told) would be missed, and stays unless it is to be forgotten.
    fn leave(&mut self, forget: bool) -> Result<(), Fatal> {
        let dir = self.setup.state_dir.clone();
        if self.dry || !self.manifest.installed.is_empty() {
            return Ok(());
        }
        let there = memory_files(&dir);
        let as_made = |path: &PathBuf| {
            let sha256 = files::read(path).ok().map(|there| sha256(&there.bytes));
            let mut state = self.manifest.state.iter();
            state.any(|written| written.path == *path && Some(&written.sha256) == sha256.as_ref())
        };
        if forget || there.iter().all(as_made) {
            for path in &there {
                files::remove(path)?;
            }
        } else {
            self.say(&format!(
                "kept what nolapse remembers: {}\n  hint: `nolapse uninstall --forget` removes it",
                self.tilde(&dir)
            ))?;
        }
        files::remove(&dir.join("install.json"))?;
        if forget {
            // no sign-in waits any more once the phone has forgotten us
            let sign_ins = dir.join(super::phone::SIGN_INS);
            if files::is_dir(&sign_ins) {
                files::remove_own_dir(&sign_ins)?;
            }
            self.remove_dirs(std::slice::from_ref(&dir));
        }
        self.remove_dirs(&self.manifest.state_dirs);
        Ok(())
    }
}

/// The most that is taken of a crontab, in bytes.
const CRONTAB_LIMIT: usize = 1 << 20;

/// The ledger and its like in the state directory; not the manifest, and never a rescued token.
fn memory_files(state_dir: &Path) -> Vec<PathBuf> {
    let ours = |name: &str| {
        name.starts_with("ledger.")
            || name.starts_with("history.")
            || matches!(name, "pass.lock" | "passes.json" | "fences.json" | "config.kept.toml")
    };
    let names = files::list(state_dir).into_iter().filter(|name| ours(name));
    names.map(|name| state_dir.join(name)).collect()
}

fn write(file: &Planned) -> Result<(), Fatal> {
    if let Some(dir) = file.path.parent() {
        files::make_dirs(dir)?;
    }
    let above = file.path.parent().and_then(files::stat);
    let keep = above.map(|above| Meta {
        mode: file.mode,
        ..above
    });
    replace::replace(&file.path, file.text.as_bytes(), keep.as_ref())?;
    Ok(())
}
