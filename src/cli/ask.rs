//! Questions to a person at a terminal, or answers from a pipe. ^C at any of them ends the command with nothing changed.

use super::{Fatal, block_on, print, usage};
use crate::edge::signals;
use crate::edge::terminal::{self, Input, Line};
use crate::secret::Secret;
use rustix::process::Signal;

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is.
    Yes,
    /// It is a secret.
    No,
}

/// Who is asked. Stdin is taken over at the first question and given back when this is dropped.
#[derive(Default)]
pub(super) struct Asker(Option<Input>);

impl Asker {
    /// Whether somebody can be asked.
    pub(super) fn somebody() -> bool {
        terminal::stdin_is_terminal()
    }

    /// The answer to a question; an empty one too.
    pub(super) fn line(&mut self, prompt: &str, seen: Seen) -> Result<Secret, Fatal> {
        let input = match &mut self.0 {
            Some(input) => input,
            none => none.insert(Input::open()?),
        };
        print(prompt)?;
        let line = block_on(signals::or_signal(async {
            match seen {
                Seen::Yes => input.shown_line().await,
                Seen::No => input.line().await,
            }
        }))?
        .map_err(Fatal::Signal)?;
        match line {
            Line::Text(text) => Ok(text),
            Line::Interrupted => Err(Fatal::Signal(Signal::INT.as_raw())),
            Line::Closed => Err(usage(
                "the input ended before everything was answered; nothing was changed",
                "answer at a terminal, or give the answers as options",
            )),
        }
    }

    /// Yes or no; an empty answer is `usual`.
    pub(super) fn agrees(&mut self, question: &str, usual: Usual) -> Result<bool, Fatal> {
        let choice = match usual {
            Usual::Yes => "[Y/n]",
            Usual::No => "[y/N]",
        };
        loop {
            let answer = self.line(&format!("{question} {choice} "), Seen::Yes)?;
            match answer.expose().to_lowercase().as_str() {
                "" => return Ok(usual == Usual::Yes),
                "y" | "yes" => return Ok(true),
                "n" | "no" => return Ok(false),
                _ => print("Please answer y or n.\n")?,
            }
        }
    }
}

/// What an empty answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usual {
    /// Yes.
    Yes,
    /// No.
    No,
}
