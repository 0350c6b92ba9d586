//! The command tree. Data goes to stdout, logs and errors to stderr; exit codes are the agents' own, wrong usage is 3.

mod alert;
mod ask;
mod channel;
mod config;
mod daemon;
mod demo;
mod doctor;
mod examples;
mod history;
mod install;
mod later;
mod link;
mod metrics;
mod order;
mod overview;
mod pages;
mod phone;
mod reauth;
mod refresh;
mod run;
mod setup;
mod status;
mod token;
mod watch;

use self::later::Later;
use crate::config::{self as conf};
use crate::ctx::Ctx;
use crate::edge::host::{Clock, Host};
use crate::edge::http::Http;
use crate::edge::{files, identity, progress, signals, terminal};
use crate::layout;
use crate::report::{Exit, Style};
use crate::rules::view::{AgentView, View};
use crate::table::ConfigError;
use crate::types::{Moment, Ms};
use crate::visible::Shown;
use clap::{Args, Parser, Subcommand};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// Keeps your Claude Code logins alive, and warns you in time when you must sign in again.
#[derive(Parser, Debug)]
#[command(name = "nolapse", version = version(), max_term_width = 100, after_help = examples::ALL)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The version with the commit that it was built from, `0.2.0 (1a2b3c4 2026-11-26)`.
fn version() -> &'static str {
    let commit = option_env!("NOLAPSE_COMMIT").unwrap_or("commit unknown");
    // clap wants it for ever
    format!("{} ({commit})", env!("CARGO_PKG_VERSION")).leak()
}

/// The heading of what every command takes.
const GLOBAL: &str = "Global options";

#[derive(Args, Debug)]
struct Global {
    /// The configuration file [default: $XDG_CONFIG_HOME/nolapse/config.toml]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the ledger and history live [default: $XDG_STATE_HOME/nolapse]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Look at this home instead of $HOME
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Log more to stderr; repeat for even more
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Format of the log on stderr
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Set up alerts and automatic checks, step by step
    #[command(after_help = examples::SETUP)]
    Setup(Later<setup::SetupArgs>),
    /// Show every login and profile, and when it expires
    #[command(after_help = examples::STATUS)]
    Status(Later<status::StatusArgs>),
    /// Print only what needs you; for scripts and timers
    #[command(after_help = examples::CHECK)]
    Check(Later<status::CheckArgs>),
    /// Run one full check: update agents, renew, send alerts
    #[command(after_help = examples::RUN)]
    Run(Later<run::RunArgs>),
    /// Update every agent's store from its login
    #[command(after_help = examples::SYNC)]
    Sync(Later<run::SyncArgs>),
    /// Sign in again: open a link, paste the code; every agent is updated
    #[command(name = "login", visible_alias = "reauth", after_help = examples::REAUTH)]
    Reauth(Later<reauth::ReauthArgs>),
    /// Add, list or remove tokens and API keys in agents' stores
    #[command(subcommand, after_help = examples::TOKEN)]
    Token(Later<token::TokenCommand>),
    /// Let OpenClaw's agents refer to a login
    #[command(subcommand, after_help = examples::LINK)]
    Link(Later<link::LinkCommand>),
    /// Undo `link`
    #[command(subcommand, after_help = examples::UNLINK)]
    Unlink(Later<link::UnlinkCommand>),
    /// Show or set the order in which an agent tries a provider's profiles
    #[command(subcommand, after_help = examples::ORDER)]
    Order(Later<order::OrderCommand>),
    /// List, acknowledge and mute alerts; test channels
    #[command(subcommand, after_help = examples::ALERT)]
    Alert(Later<alert::AlertCommand>),
    /// Renew logins now, and say what was renewed and what was not
    #[command(after_help = examples::REFRESH)]
    Refresh(Later<refresh::RefreshArgs>),
    /// Stay running: check on a schedule and whenever a watched file changes
    #[command(after_help = examples::DAEMON)]
    Daemon,
    /// Show what happened: renewals, expirations, alerts, recoveries
    History(Later<history::HistoryArgs>),
    /// Run it automatically from now on: a timer or the daemon
    #[command(after_help = examples::INSTALL)]
    Install(Later<install::InstallArgs>),
    /// Undo `install`; removes only what it wrote
    #[command(after_help = examples::UNINSTALL)]
    Uninstall(Later<install::UninstallArgs>),
    /// Find problems with logins, stores, locks, files, channels and the installation; fix what is safe
    Doctor(Later<doctor::DoctorArgs>),
    /// Print metrics for Prometheus
    #[command(after_help = examples::METRICS)]
    Metrics(Later<metrics::MetricsArgs>),
    /// See it at work on a made-up home, in two seconds
    #[command(after_help = examples::DEMO)]
    Demo,
    /// Add, list, test or remove the channels that notify you
    #[command(subcommand, after_help = examples::CHANNEL)]
    Channel(Later<channel::ChannelCommand>),
    /// Make, check, change or show the configuration
    #[command(subcommand, after_help = examples::CONFIG)]
    Config(Later<config::ConfigCommand>),
    /// What a phone's notifications and widgets start (Termux)
    #[command(subcommand, hide = true)]
    Phone(Later<phone::PhoneCommand>),
    /// Print shell completions
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// Which one
        shell: clap_complete::Shell,
    },
    /// Print the JSON Schema of what another program reads
    #[command(after_help = examples::SCHEMA)]
    Schema {
        /// Of which output
        output: pages::Output,
    },
    /// Show the manual page, or write the pages of all commands
    #[command(after_help = examples::MAN)]
    Man {
        /// Write all pages to this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// What the process was started with.
pub struct Invocation {
    /// The arguments, the program's name first.
    pub args: Vec<OsString>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The host's name.
    pub host_name: String,
    /// The program's own file, if the system tells.
    pub exe: Option<PathBuf>,
}

/// Why a command could not be carried out. Exit code 3.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}\nhint: {1}")]
    Usage(String, String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("ended by signal {0}, with nothing left half done")]
    Signal(i32),
}

/// Wrong usage, and the step that helps.
fn usage(what: impl Into<String>, hint: impl Into<String>) -> Fatal {
    Fatal::Usage(what.into(), hint.into())
}

/// Runs one command; returns the exit code.
pub fn main(invocation: Invocation) -> u8 {
    let cli = match Cli::try_parse_from(&invocation.args) {
        Ok(cli) => cli,
        Err(error) => {
            // clap exits with 2, which means "expiring" here
            match meant(&error) {
                Some((word, command)) => {
                    let text = format!(
                        "nolapse: there is no command `{}`\nhint: did you mean `nolapse {command}`? See `nolapse --help`\n",
                        layout::one_line(&word)
                    );
                    complain(&text);
                }
                None => {
                    let _ = error.print();
                }
            }
            let exit = if error.use_stderr() { Exit::Unknown } else { Exit::Fine };
            return exit.code();
        }
    };
    init_log(&cli);
    match dispatch(cli, invocation) {
        Ok(exit) => exit.code(),
        // whoever read our output has seen enough
        Err(Fatal::Io(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Fine.code(),
        Err(error) => {
            complain(&format!("nolapse: {error}\n"));
            match error {
                // as shells count it
                Fatal::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
                _ => Exit::Unknown.code(),
            }
        }
    }
}

/// A command that there is not, and the one that was probably meant.
fn meant(error: &clap::Error) -> Option<(String, &'static str)> {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    if error.kind() != ErrorKind::InvalidSubcommand {
        return None;
    }
    match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => Some((word.clone(), crate::rules::overview::meant(word)?)),
        _ => None,
    }
}

fn dispatch(cli: Cli, invocation: Invocation) -> Result<Exit, Fatal> {
    let Cli { global, command } = cli;
    let Some(command) = command else {
        let setup = Setup::new(&global, invocation)?;
        progress::to_terminal(setup.host.var("TERM"));
        return overview::overview(&setup);
    };
    match command {
        Command::Demo => return demo::demo(&invocation),
        Command::Completions { shell } => return pages::completions(shell),
        Command::Schema { output } => return pages::schema(output),
        Command::Man { dir } => {
            let dir = dir.map(|dir| invocation.cwd.join(dir));
            return pages::man(dir.as_deref(), &invocation.env);
        }
        _ => {}
    }
    let setup = Setup::new(&global, invocation)?;
    // the daemon has nobody to show it to, and the live view the whole terminal
    let alone = matches!(&command, Command::Daemon) || matches!(&command, Command::Status(Later(args)) if args.watch);
    if !alone {
        progress::to_terminal(setup.host.var("TERM"));
    }
    match command {
        Command::Setup(Later(args)) => setup::setup(&setup, &args),
        Command::Status(Later(args)) => status::status(&setup, &args),
        Command::Check(Later(args)) => status::check(&setup, &args),
        Command::Run(Later(args)) => run::run(&setup, &args),
        Command::Sync(Later(args)) => run::sync(&setup, &args),
        Command::Reauth(Later(args)) => reauth::reauth(&setup, &args),
        Command::Token(Later(command)) => token::token(&setup, &command),
        Command::Link(Later(command)) => link::link(&setup, &command),
        Command::Unlink(Later(command)) => link::unlink(&setup, &command),
        Command::Order(Later(command)) => order::order(&setup, &command),
        Command::Alert(Later(command)) => alert::alert(&setup, &command),
        Command::Refresh(Later(args)) => refresh::refresh(&setup, &args),
        Command::Daemon => daemon::daemon(&setup),
        Command::History(Later(args)) => history::history(&setup, &args),
        Command::Install(Later(args)) => install::install(&setup, &args),
        Command::Uninstall(Later(args)) => install::uninstall(&setup, &args),
        Command::Doctor(Later(args)) => doctor::doctor(&setup, &args),
        Command::Metrics(Later(args)) => metrics::metrics(&setup, &args),
        // done above, without a home
        Command::Demo | Command::Completions { .. } | Command::Schema { .. } | Command::Man { .. } => Ok(Exit::Fine),
        Command::Channel(Later(command)) => channel::channel(&setup, &command),
        Command::Config(Later(command)) => config::config(&setup, &command),
        Command::Phone(Later(command)) => phone::phone(&setup, &command),
    }
}

/// Where things are, before the configuration is read.
struct Setup {
    host: Host,
    config_path: PathBuf,
    config_named: bool,
    state_dir: PathBuf,
    exe: Option<PathBuf>,
}

impl Setup {
    fn new(global: &Global, invocation: Invocation) -> Result<Self, Fatal> {
        let Invocation {
            mut env,
            cwd,
            host_name,
            exe,
            ..
        } = invocation;
        let home = global
            .home
            .clone()
            .or_else(|| env.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from))
            .ok_or_else(|| usage("`HOME` is not set", "set it, or name a home with `--home`"))?;
        let home = cwd.join(home);
        // before anything of the home is opened, and before there is a second thread
        if let Some(user) = identity::settle(&home).map_err(|refused| not_as_root(&home, &refused))? {
            tracing::debug!(uid = user.uid, "the home is this user's: no longer root");
            own_environment(&mut env, &home, user);
        }
        let mut host = Host {
            home,
            env,
            cwd: cwd.clone(),
            name: host_name,
            macos: cfg!(target_os = "macos"),
            own: own(global, exe.as_deref(), &cwd),
        };
        if host.termux() {
            phone::settle_in(&mut host)?;
        }
        let or_default = |named: &Option<PathBuf>, default: fn(&Host) -> PathBuf| {
            named.as_ref().map_or_else(|| default(&host), |path| cwd.join(path))
        };
        let config_path = or_default(&global.config, conf::default_path);
        let state_dir = or_default(&global.state_dir, conf::default_state_dir);
        for path in [&config_path, &state_dir] {
            if let Some(step) = identity::not_roots_alone(path) {
                return Err(not_as_root(path, &identity::Refused::OpenAbove(step)));
            }
        }
        Ok(Self {
            config_path,
            config_named: global.config.is_some(),
            state_dir,
            host,
            exe,
        })
    }

    /// Reads the configuration. `at` judges as of another time.
    fn ctx(&self, at: Option<Moment>) -> Result<Ctx, Fatal> {
        let config = conf::load(&self.config_path, self.config_named, &self.host)?;
        Ok(self.with(config, at))
    }

    fn with(&self, config: conf::Config, at: Option<Moment>) -> Ctx {
        Ctx {
            host: self.host.clone(),
            clock: at.map_or(Clock::System, Clock::Fixed),
            config,
            state_dir: self.state_dir.clone(),
            http: Http::new(&self.host.env),
        }
    }

    /// [`Setup::ctx`]; where the configuration is broken, with the last one that a pass found valid.
    fn ctx_or_kept(&self, at: Option<Moment>) -> Result<Ctx, Fatal> {
        let error = match self.ctx(at) {
            Err(Fatal::Config(error)) => error,
            other => return other,
        };
        let Some(config) = conf::kept::instead(&self.state_dir, &self.config_path, &self.host, &error) else {
            return Err(Fatal::Config(error));
        };
        tracing::error!("the configuration is not valid, the old one stays: {error}");
        Ok(self.with(config, at))
    }

    /// Keeps the configuration for the time when it breaks; that it cannot be kept is said with all else in the state directory.
    fn keep(&self, ctx: &Ctx) {
        if ctx.config.broken.is_none()
            && let Err(error) =
                files::make_dirs(&self.state_dir).and_then(|()| conf::kept::keep(&self.state_dir, &self.config_path))
        {
            tracing::debug!("the configuration is not kept: {error}");
        }
    }

    fn style(&self) -> Style {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| self.host.var_nonblank(name))
            .unwrap_or("");
        let utf8 = locale.to_lowercase().replace('-', "").contains("utf8") || locale.is_empty();
        let colour = std::io::stdout().is_terminal()
            && self.host.var_nonblank("NO_COLOR").is_none()
            && self.host.var("TERM") != Some("dumb");
        let width = terminal::columns().map(usize::from);
        let asked = || self.host.var_nonblank("COLUMNS")?.parse().ok();
        Style {
            colour,
            unicode: utf8,
            width: width.or_else(asked).map(|width| width.max(20)),
        }
    }
}

/// The words that start this program again with the same global options: what a notification's button runs.
fn own(global: &Global, exe: Option<&Path>, cwd: &Path) -> Vec<String> {
    let text = |path: &Path| cwd.join(path).display().to_string();
    let mut own = vec![exe.map_or_else(|| "nolapse".into(), text)];
    let options = [
        ("--home", &global.home),
        ("--config", &global.config),
        ("--state-dir", &global.state_dir),
    ];
    for (option, path) in options {
        if let Some(path) = path {
            own.extend([option.into(), text(path)]);
        }
    }
    own
}

/// What root's environment says of root: the children of whom it became must not read it.
fn own_environment(env: &mut BTreeMap<String, String>, home: &Path, user: identity::Became) {
    for name in ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"] {
        let of_user = |value: &String| format!("{value}/").contains(&format!("/run/user/{}/", user.uid));
        if !env.get(name).is_some_and(of_user) {
            env.remove(name);
        }
    }
    let name = user.name.unwrap_or_else(|| user.uid.to_string());
    env.insert("USER".into(), name.clone());
    env.insert("LOGNAME".into(), name);
    env.insert("HOME".into(), home.display().to_string());
}

fn not_as_root(home: &Path, refused: &identity::Refused) -> Fatal {
    match refused {
        identity::Refused::NotBecome(uid, error) => usage(
            format!(
                "root does not work in another user's home: {} belongs to user {uid}, and becoming that user failed: {}",
                layout::one_line(&home.display().to_string()),
                files::io_words(error)
            ),
            format!("run it as that user: `sudo -u '#{uid}' nolapse …`"),
        ),
        identity::Refused::OpenAbove(step) => usage(
            format!(
                "root does not use {}: others can change {}",
                layout::one_line(&home.display().to_string()),
                layout::one_line(&step.display().to_string())
            ),
            "run it as the user whose it is, or keep it below directories that only root can write",
        ),
    }
}

/// The one runtime: current-thread, so that an idle daemon stays small.
fn block_on<F: Future>(future: F) -> std::io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let output = runtime.block_on(future);
    // a name that is still being looked up holds nobody up
    runtime.shutdown_background();
    Ok(output)
}

/// Agents by `family/agent` globs; an id alone is that agent of every family.
fn agents_named<'v>(view: &'v View, globs: &[glob::Pattern]) -> Result<Vec<&'v AgentView>, Fatal> {
    let matches = |glob: &glob::Pattern, agent: &AgentView| {
        let agent = &agent.agent.agent;
        glob.matches(&agent.label()) || glob.matches(&agent.id)
    };
    let of_none = |glob: &&glob::Pattern| !view.agents.iter().any(|agent| matches(glob, agent));
    if let Some(glob) = globs.iter().find(of_none) {
        let labels: Vec<String> = view.agents.iter().map(|agent| agent.label()).collect();
        let hint = match crate::table::nearest(glob.as_str(), labels.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if labels.is_empty() => "no agent was found at all; see `nolapse status`".into(),
            None => format!("the agents are {}", layout::one_line(&labels.join(", "))),
        };
        return Err(usage(format!("no agent is called `{}`", glob.as_str()), hint));
    }
    Ok(view
        .agents
        .iter()
        .filter(|agent| globs.is_empty() || globs.iter().any(|glob| matches(glob, agent)))
        .collect())
}

/// What was named and is not there, with the nearest that is.
fn unknown<'k>(what: &str, word: &str, known: impl Iterator<Item = &'k str> + Clone) -> Fatal {
    let hint = match crate::table::nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{}`?", layout::one_line(near)),
        None => match known.take(12).map(layout::one_line).collect::<Vec<_>>() {
            known if known.is_empty() => "there is none".into(),
            known => format!("there are: {}", known.join(", ")),
        },
    };
    usage(format!("no {what} is called `{}`", layout::one_line(word)), hint)
}

fn parse_duration(text: &str) -> Result<Ms, String> {
    crate::table::parse_duration(text)
        .filter(|ms| *ms > 0)
        .ok_or_else(|| "write it as `365d`, `12h` or `90m`".into())
}

/// [`block_on`], dropped on a signal: locks are released, temp files removed, and an exchange under way is finished first.
fn until_signal<F: Future>(future: F) -> Result<F::Output, Fatal> {
    block_on(signals::or_signal(future))?.map_err(Fatal::Signal)
}

/// One JSON document, laid out in lines.
fn print_json(value: &impl serde::Serialize) -> std::io::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn print(text: &str) -> std::io::Result<()> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// Sentences for a person: on a terminal, broken between words.
fn say(text: &str) -> std::io::Result<()> {
    match terminal::columns() {
        Some(width) => print(&layout::wrapped(text, usize::from(width).max(20))),
        None => print(text),
    }
}

/// What went wrong, on stderr: on a terminal, broken between words.
fn complain(text: &str) {
    let text = match terminal::columns_of(&std::io::stderr()) {
        Some(width) => layout::wrapped(text, usize::from(width).max(20)),
        None => text.to_owned(),
    };
    // nobody may be there to read it
    let _ = Shown(std::io::stderr()).write_all(text.as_bytes());
}

/// For what is long: written in pieces as it is made.
fn print_with(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> std::io::Result<()> {
    progress::make_room();
    let mut out = Shown(std::io::BufWriter::with_capacity(32 << 10, std::io::stdout().lock()));
    write(&mut out)?;
    out.flush()
}

/// A moment: milliseconds since 1970, or RFC 3339.
fn parse_time(text: &str) -> Result<Moment, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return Ok(Moment::at(ms));
    }
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| Moment::at(time.timestamp_millis()))
        .map_err(|_| "write milliseconds since 1970, or `2026-01-21T12:53:20Z`".into())
}

/// Our own log alone, at every level: what libraries log may hold what they send.
fn init_log(cli: &Cli) {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;
    let global = &cli.global;
    let level = match global.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = Targets::new()
        .with_target("nolapse", level)
        // what the channel `log` is given to say is said: a recovery too
        .with_target("nolapse::alert::recovered", level.max(LevelFilter::INFO))
        .with_target(
            "nolapse::alert",
            match (&cli.command, &global.log_format) {
                // what fires is on its stdout
                (Some(Command::Run(_)), LogFormat::Text) => LevelFilter::OFF,
                _ => level.max(LevelFilter::INFO),
            },
        );
    let registry = tracing_subscriber::registry();
    let _ = match global.log_format {
        LogFormat::Text => {
            let form = tracing_subscriber::fmt::layer()
                .with_writer(|| progress::Stderr)
                .with_ansi(false)
                .without_time()
                .with_target(false);
            registry.with(form.with_filter(ours)).try_init()
        }
        LogFormat::Json => {
            let form = tracing_subscriber::fmt::layer().json().with_writer(|| progress::Stderr);
            registry.with(form.with_filter(ours)).try_init()
        }
    };
}
