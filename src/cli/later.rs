//! Commands whose options are described only once somebody asks for them: `check` need not know what `alert silence` takes, and
//! half of its start would go into that.

use clap::{ArgMatches, Args, Command, CommandFactory, Error, FromArgMatches, Subcommand};
use std::cell::Cell;

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// The whole tree, described at once: clap unfolds what `help` takes before it asks for anything late.
pub(super) fn whole<T: CommandFactory>() -> Command {
    AT_ONCE.set(true);
    let whole = T::command();
    AT_ONCE.set(false);
    whole
}

fn described(command: Command, how: fn(Command) -> Command) -> Command {
    match AT_ONCE.get() {
        true => how(command),
        false => command.defer(how),
    }
}

/// The options or commands `T`, described late.
#[derive(Debug)]
pub(super) struct Later<T>(pub(super) T);

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Later)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T: Args> Args for Later<T> {
    fn augment_args(command: Command) -> Command {
        described(command, T::augment_args)
    }

    fn augment_args_for_update(command: Command) -> Command {
        described(command, T::augment_args_for_update)
    }
}

impl<T: Subcommand> Subcommand for Later<T> {
    fn augment_subcommands(command: Command) -> Command {
        described(command, T::augment_subcommands)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        described(command, T::augment_subcommands_for_update)
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;

    /// What each command below this one says of itself.
    fn told(command: &mut Command, said: &mut Vec<String>) {
        said.push(command.render_long_help().to_string());
        for sub in command.get_subcommands_mut().filter(|sub| sub.get_name() != "help") {
            told(sub, said);
        }
    }

    #[test]
    fn what_is_described_late_is_the_same() {
        let all = |mut command: Command| {
            command.build();
            let mut said = Vec::new();
            told(&mut command, &mut said);
            said
        };
        let (late, at_once) = (all(Cli::command()), all(whole::<Cli>()));
        assert!(at_once.len() > 40, "{}", at_once.len());
        assert_eq!(late, at_once);
    }

    #[test]
    fn the_whole_tree_has_what_help_takes() {
        let mut command = whole::<Cli>();
        command.build();
        let help = command.find_subcommand("help").expect("there is one");
        let alert = help.find_subcommand("alert").expect("it takes commands");
        assert!(alert.find_subcommand("ack").is_some(), "completions offer it");
    }
}
