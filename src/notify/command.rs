//! `command`: a program that gets the webhook's JSON on stdin, for Apprise and everything else.
//!
//! Exit 0 is delivered. 64, 65, 67, 68, 77 and 78 are permanent, as in `sysexits.h` (usage, data, no such user, no such
//! host, permission, configuration), and so is a program that is not there or may not be run; any other end passes.

use super::{Receipt, SendCtx, SendError, reply, webhook};
use crate::edge::files::io_words;
use crate::edge::subprocess::{Spec, Status, run};
use crate::table::{ConfigError, Table};
use crate::types::{self, Event};
use std::io;
use std::time::Duration;

/// What to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// Program and arguments.
    pub(crate) command: Vec<String>,
}

impl Command {
    /// Reads `command = ["program", "argument", …]`. A program with a `/` may begin with `~`; any other is looked up in
    /// `PATH`. There is no shell.
    ///
    /// # Errors
    /// A missing or empty list.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let command = table.strings("command")?.ok_or_else(|| table.missing("command"))?;
        if command.first().is_none_or(String::is_empty) {
            return Err(table.error("command", "is empty", "write `command = [\"program\", \"argument\"]`"));
        }
        table.no_guess("command", &command[0])?;
        Ok(Self { command })
    }

    /// Runs it.
    ///
    /// # Errors
    /// [`SendError`]; the first line of stderr is quoted as far as it is plain words.
    pub(crate) async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let (program, args) = self.command.split_first().expect("read refuses an empty command");
        let path = match program.contains('/') {
            true => ctx.host.path(program).into_os_string(),
            false => super::find_program(ctx.host, program)
                .ok_or_else(|| SendError::permanent(format!("`{program}` is not on PATH")))?
                .into_os_string(),
        };
        let status = match event.status {
            types::Status::Firing => "firing",
            types::Status::Resolved => "resolved",
        };
        let own = [
            ("NOLAPSE_EVENT_ID", event.event_id.as_str()),
            ("NOLAPSE_STATUS", status),
            ("NOLAPSE_SEVERITY", event.severity.word()),
        ];
        let spec = Spec {
            args: args.iter().map(Into::into).collect(),
            env: ctx.host.child(own),
            stdin: webhook::body(event),
            // the channel's own deadline is around this, and ends the group
            timeout: Duration::from_secs(120),
            ..Spec::new(path)
        };
        let output = run(spec).await.map_err(|error| {
            let why = format!("`{program}` could not be started: {}", io_words(&error));
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => SendError::permanent(why),
                _ => SendError::passing(why),
            }
        })?;
        let first = output.stderr.split(|b| *b == b'\n').find(|line| !line.is_empty());
        let said = first
            .and_then(|line| reply::said(line, &[]))
            .map(|said| format!(": {said}"))
            .unwrap_or_default();
        match output.status {
            Status::Exit(0) => Ok(Receipt::of("exit code 0")),
            Status::Exit(code @ (64 | 65 | 67 | 68 | 77 | 78)) => Err(SendError::permanent(format!(
                "`{program}` ended with exit code {code}{said}"
            ))),
            Status::Exit(code) => Err(SendError::passing(format!(
                "`{program}` ended with exit code {code}{said}"
            ))),
            Status::Signal(signal) => Err(SendError::passing(format!("`{program}` was ended by signal {signal}"))),
            Status::TimedOut => Err(SendError::passing(format!("`{program}` took too long"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{channel, deliver, event};

    #[tokio::test]
    async fn a_program_gets_the_json_and_its_end_is_judged() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let run = |script: &str| {
            channel(&format!(
                "type = \"command\"\ncommand = [\"sh\", \"-c\", '''{script}''']"
            ))
        };
        let script = format!(
            "cat >{0}; echo $NOLAPSE_EVENT_ID $NOLAPSE_STATUS $NOLAPSE_SEVERITY >>{0}",
            out.display()
        );
        assert_eq!(deliver(&run(&script), &event()).await.unwrap().detail, "exit code 0");
        let text = std::fs::read_to_string(&out).unwrap();
        let (json, env) = text.rsplit_once("msg_").unwrap();
        assert_eq!(env, "2b1f firing critical\n");
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event());
        for (script, permanent, why) in [
            (
                "echo no route >&2; exit 1",
                false,
                "`sh` ended with exit code 1: no route",
            ),
            ("exit 75", false, "`sh` ended with exit code 75"),
            ("exit 78", true, "`sh` ended with exit code 78"),
            ("kill -15 $$", false, "`sh` was ended by signal 15"),
            (
                "echo tk_AgQdq7mVBoFD37zQVN29 >&2; exit 1",
                false,
                "`sh` ended with exit code 1",
            ),
        ] {
            let error = deliver(&run(script), &event()).await.unwrap_err();
            assert_eq!(
                (error.why(), matches!(error, SendError::Permanent { .. })),
                (why, permanent)
            );
        }
        let missing = channel("type = \"command\"\ncommand = [\"/nonexistent/x\"]");
        let error = deliver(&missing, &event()).await.unwrap_err();
        assert_eq!(
            error,
            SendError::permanent("`/nonexistent/x` could not be started: no such file")
        );
    }

    #[tokio::test]
    async fn a_program_that_blocks_is_ended() {
        let channel = channel("type = \"command\"\ntimeout = \"1s\"\ncommand = [\"sleep\", \"60\"]");
        assert_eq!(
            deliver(&channel, &event()).await.unwrap_err(),
            SendError::passing("no answer within 1 s")
        );
    }
}
