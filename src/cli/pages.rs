//! `completions`, `man` and `schema`.

use super::{Cli, Fatal, later, print};
use crate::edge::{files, replace, terminal};
use crate::report::Exit;
use clap_mangen::Man;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

pub(super) fn completions(shell: clap_complete::Shell) -> Result<Exit, Fatal> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut later::whole::<Cli>(), "nolapse", &mut out);
    print(&String::from_utf8_lossy(&out))?;
    Ok(Exit::Fine)
}

/// What other programs read.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Output {
    /// `nolapse status --json`
    Status,
    /// What the channels `webhook` and `command` send
    Alert,
    /// `nolapse doctor --json`
    Doctor,
    /// `nolapse history --json`
    History,
    /// `nolapse alert list --json`
    Alerts,
    /// `nolapse channel list --json`
    Channels,
}

pub(super) fn schema(of: Output) -> Result<Exit, Fatal> {
    print(match of {
        Output::Status => include_str!("../../contrib/schemas/status.json"),
        Output::Alert => include_str!("../../contrib/schemas/alert.json"),
        Output::Doctor => include_str!("../../contrib/schemas/doctor.json"),
        Output::History => include_str!("../../contrib/schemas/history.json"),
        Output::Alerts => include_str!("../../contrib/schemas/alerts.json"),
        Output::Channels => include_str!("../../contrib/schemas/channels.json"),
    })?;
    Ok(Exit::Fine)
}

/// The page of nolapse itself, or that of every command into `dir`, as git names its own. A terminal gets it to read, by `man`
/// where there is one, else as text through `$PAGER`.
pub(super) fn man(dir: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Exit, Fatal> {
    let mut command = later::whole::<Cli>();
    command.build();
    let Some(dir) = dir else {
        let text = page(command.clone(), "nolapse")?;
        if std::io::stdout().is_terminal() {
            let pager = env.get("PAGER").filter(|pager| !pager.trim().is_empty());
            let pager = pager.map_or("less", String::as_str);
            let help = command.render_long_help().to_string();
            let shown = terminal::read_by("man", &["-l", "-"], &text, env)
                || terminal::read_by("sh", &["-c", pager], &help, env);
            if shown {
                return Ok(Exit::Fine);
            }
        }
        print(&text)?;
        return Ok(Exit::Fine);
    };
    files::make_dirs(dir)?;
    let mut todo = vec![(command, "nolapse".to_owned())];
    while let Some((command, name)) = todo.pop() {
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            todo.push((sub.clone(), format!("{name}-{}", sub.get_name())));
        }
        let path = dir.join(format!("{name}.1"));
        replace::replace(&path, page(command, &name)?.as_bytes(), None)?;
    }
    Ok(Exit::Fine)
}

fn page(command: clap::Command, name: &str) -> Result<String, Fatal> {
    let mut out = Vec::new();
    // clap wants a name for ever; there are two dozen, once
    let name: &'static str = name.to_owned().leak();
    Man::new(command.name(name)).render(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}
