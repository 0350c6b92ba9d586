//! `config init|check|show|path|schema|reference`.

mod set;

use super::{Fatal, Setup, examples, print, say, usage};
use crate::config as conf;
use crate::edge::files;
use crate::report::Exit;
use clap::Subcommand;

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
    /// Show what is in force, every key with where it comes from, secrets masked
    #[command(after_help = examples::CONFIG_SHOW)]
    Show,
    /// Change one key; comments stay, and what is not valid is not written
    #[command(after_help = examples::CONFIG_SET)]
    Set(set::SetArgs),
    /// Print where the configuration is looked for
    #[command(after_help = examples::CONFIG_PATH)]
    Path,
    /// Print the JSON Schema of the configuration, for editors
    #[command(after_help = examples::CONFIG_SCHEMA)]
    Schema,
    /// Print every key with its default and meaning, as Markdown
    #[command(after_help = examples::CONFIG_REFERENCE)]
    Reference,
}

pub(super) fn config(setup: &Setup, command: &ConfigCommand) -> Result<Exit, Fatal> {
    let path = setup.host.tilde(&setup.config_path);
    match command {
        ConfigCommand::Init { stdout: true } => print(&conf::example())?,
        ConfigCommand::Init { stdout: false } => {
            if let Some(dir) = setup.config_path.parent() {
                files::make_dirs(dir)?;
            }
            files::create_new(&setup.config_path, conf::example().as_bytes()).map_err(|error| {
                let (what, hint) = match error.kind() {
                    std::io::ErrorKind::AlreadyExists => (
                        format!("`{path}` already exists"),
                        "edit it, or print a fresh one with `nolapse config init --stdout`",
                    ),
                    _ => (
                        format!("`{path}`: {}", files::io_words(&error)),
                        "name another place with `--config`",
                    ),
                };
                usage(what, hint)
            })?;
            say(&format!(
                "wrote {path}; every key in it is optional and commented out\n"
            ))?;
        }
        ConfigCommand::Set(args) => return set::set(setup, args),
        ConfigCommand::Path => print(&format!("{}\n", setup.config_path.display()))?,
        ConfigCommand::Check => {
            setup.ctx(None)?;
            if files::is_file(&setup.config_path) {
                conf::trusted(&setup.config_path, &setup.host)?;
            }
            say(&match files::is_file(&setup.config_path) {
                true => format!("{path}: valid\n"),
                false => format!("{path}: not there, which is fine: everything has a default\n"),
            })?;
        }
        ConfigCommand::Schema => print(&format!("{:#}\n", conf::schema::schema()))?,
        ConfigCommand::Reference => print(&conf::reference())?,
        ConfigCommand::Show => print(&show(setup)?)?,
    }
    Ok(Exit::Fine)
}

fn show(setup: &Setup) -> Result<String, Fatal> {
    let ctx = setup.ctx(None)?;
    let channels = ctx.channels();
    let found: Vec<(&str, &str)> = match ctx.config.channels.is_empty() {
        true => channels.iter().map(|one| (one.kind.word(), &*one.name)).collect(),
        false => Vec::new(),
    };
    conf::shown(&setup.config_path, &setup.host, &found).map_err(Fatal::Config)
}
