//! `config init|check|show|path|schema`.

use super::{Fatal, Setup, examples, print};
use crate::config::{self as conf, EXAMPLE, RenewMode};
use crate::edge::files;
use crate::pass::share_words;
use crate::report::Exit;
use crate::table::duration_text;
use clap::Subcommand;
use std::fmt::Write;

#[derive(Subcommand, Debug)]
pub(super) enum ConfigCommand {
    /// Write an example configuration with every key commented out
    #[command(after_help = examples::CONFIG_INIT)]
    Init {
        /// Print it instead
        #[arg(long)]
        stdout: bool,
    },
    /// Say whether the configuration is valid
    #[command(after_help = examples::CONFIG_CHECK)]
    Check,
    /// Show the configuration in force, secrets left out
    #[command(after_help = examples::CONFIG_SHOW)]
    Show,
    /// Print where the configuration is looked for
    #[command(after_help = examples::CONFIG_PATH)]
    Path,
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = examples::CONFIG_SCHEMA)]
    Schema,
}

pub(super) fn config(setup: &Setup, command: &ConfigCommand) -> Result<Exit, Fatal> {
    let path = setup.host.tilde(&setup.config_path);
    match command {
        ConfigCommand::Init { stdout: true } => print(EXAMPLE)?,
        ConfigCommand::Init { stdout: false } => {
            if let Some(dir) = setup.config_path.parent() {
                files::make_dirs(dir)?;
            }
            files::create_new(&setup.config_path, EXAMPLE.as_bytes()).map_err(|error| {
                let hint = match error.kind() {
                    std::io::ErrorKind::AlreadyExists => {
                        "edit it, or print a fresh one with `nolapse config init --stdout`"
                    }
                    _ => "name another place with `--config`",
                };
                Fatal::Usage(format!("`{path}`: {}", files::io_words(&error)), hint.into())
            })?;
            print(&format!(
                "wrote {path}; every key in it is optional and commented out\n"
            ))?;
        }
        ConfigCommand::Path => print(&format!("{}\n", setup.config_path.display()))?,
        ConfigCommand::Check => {
            setup.ctx(None)?;
            if files::is_file(&setup.config_path) {
                conf::trusted(&setup.config_path, &setup.host)?;
            }
            print(&match files::is_file(&setup.config_path) {
                true => format!("{path}: valid\n"),
                false => format!("{path}: not there, which is fine: everything has a default\n"),
            })?;
        }
        ConfigCommand::Schema => print(&format!("{:#}\n", conf::schema::schema()))?,
        ConfigCommand::Show => print(&show(setup)?)?,
    }
    Ok(Exit::Fine)
}

fn show(setup: &Setup) -> Result<String, Fatal> {
    let ctx = setup.ctx(None)?;
    let config = &ctx.config;
    let globs = |list: &[glob::Pattern]| list.iter().map(|g| format!("\"{g}\"")).collect::<Vec<_>>().join(", ");
    let mut out = String::new();
    let sync = &config.sync;
    let _ = writeln!(out, "[sync]\nenabled = {}", sync.enabled);
    let share = if sync.share == conf::Share::Full {
        "full"
    } else {
        "access"
    };
    let _ = writeln!(out, "share = \"{share}\"  # {}", share_words(sync.share));
    let _ = writeln!(out, "profile = \"{}\"", sync.profile);
    let _ = writeln!(out, "exclude_agents = [{}]", globs(&sync.exclude_agents));
    let mode = match config.renew.mode {
        RenewMode::Delegate => "delegate",
        RenewMode::Direct => "direct",
        RenewMode::Off => "off",
    };
    let renew = &config.renew;
    let span = |time: std::time::Duration| duration_text(time.as_millis() as crate::types::Ms);
    let _ = writeln!(out, "\n[renew]\nmode = \"{mode}\"\nalways = {}", renew.always);
    let _ = writeln!(out, "claude = \"{}\"", renew.claude.display());
    let _ = writeln!(out, "lead = \"{}\"", duration_text(renew.lead));
    let _ = writeln!(out, "patience = \"{}\"", span(renew.patience));
    let _ = writeln!(out, "token_url = \"{}\"", renew.token_url.shown());
    let _ = writeln!(out, "client_id = \"{}\"", renew.client_id);
    let _ = writeln!(out, "timeout = \"{}\"", span(renew.timeout));
    let steps: Vec<String> = config
        .alerts
        .steps
        .iter()
        .map(|step| format!("\"{}\"", duration_text(*step)))
        .collect();
    let _ = writeln!(out, "\n[alerts]\nsteps = [{}]", steps.join(", "));
    let _ = writeln!(out, "grace = \"{}\"", duration_text(config.alerts.grace));
    for login in &config.logins {
        let _ = writeln!(out, "\n[[login]]\ndir = \"{}\"", login.dir.display());
        if let Some(name) = &login.name {
            let _ = writeln!(out, "name = \"{name}\"");
        }
        if let Some(agents) = &login.agents {
            let _ = writeln!(out, "agents = [{}]", globs(agents));
        }
        if let Some(profile) = &login.profile {
            let _ = writeln!(out, "profile = \"{profile}\"");
        }
    }
    for channel in ctx.channels() {
        let origin = if config.channels.is_empty() {
            "  # found by itself"
        } else {
            ""
        };
        let _ = writeln!(out, "\n[[channel]]{origin}\ntype = \"{}\"", channel.kind.word());
        let _ = writeln!(out, "name = \"{}\"", channel.name);
        let _ = writeln!(out, "min_severity = \"{}\"", channel.min_severity.word());
    }
    if let Some(heartbeat) = &config.heartbeat {
        let _ = writeln!(out, "\n[heartbeat]\nurl = \"{}\"", heartbeat.url.shown());
    }
    let _ = writeln!(out, "\n[daemon]\nschedule = \"{}\"", config.daemon.schedule);
    if let Some(at) = config.daemon.listen {
        let _ = writeln!(out, "listen = \"{at}\"");
    }
    if let Some(path) = &config.metrics.textfile {
        let _ = writeln!(out, "\n[metrics]\ntextfile = \"{}\"", path.display());
    }
    Ok(out)
}
