//! A program that a person would sit in front of: run in a pseudo-terminal or over pipes, what it draws kept as a screen,
//! what it is told typed in.
//!
//! The screen is never written anywhere from here: it may come to show a token.

use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// stdin, stdout and stderr are pipes.
    Pipes,
    /// A pseudo-terminal of its own, with a session of its own.
    Terminal,
}

/// What to run.
#[derive(Clone)]
pub(crate) struct Spec {
    /// The program's path.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Its whole environment; nothing of ours is handed on.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub(crate) cwd: PathBuf,
    /// How it is connected.
    pub(crate) link: Link,
    /// The width that it draws to, in columns.
    pub(crate) columns: u16,
}

/// Prints the program alone.
impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spec({})", self.program.display())
    }
}

/// Rows of the screen; the programs that are run here draw a few dozen.
const ROWS: u16 = 100;

/// How long output is still read once the program itself has ended.
const LINGER: Duration = Duration::from_millis(200);

/// What a session tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// It wrote something; the screen may have changed.
    Drawn,
    /// It has ended; `true` for exit code 0.
    Ended(bool),
}

/// A running program. Its whole process group is killed when dropped before its end.
pub(crate) struct Session {
    child: Child,
    group: Option<Pid>,
    output: Box<dyn AsyncRead + Unpin>,
    input: Box<dyn AsyncWrite + Unpin>,
    open: bool,
    ended: Option<bool>,
    screen: Screen,
    buffer: Vec<u8>,
}

/// What a program has drawn so far. May hold a token.
pub(crate) struct Screen {
    parser: vt100::Parser<Hyperlinks>,
    link: Link,
}

impl Screen {
    /// An empty one of this width, of a program that writes to a terminal or to a pipe.
    pub(crate) fn new(columns: u16, link: Link) -> Self {
        let size = |n: u16| NonZeroU16::new(n).unwrap_or(NonZeroU16::MIN);
        Self {
            parser: vt100::Parser::new_with_callbacks(size(ROWS), size(columns), 0, Hyperlinks::default()),
            link,
        }
    }

    /// Draws what the program wrote.
    pub(crate) fn draw(&mut self, bytes: &[u8]) {
        match self.link {
            Link::Terminal => self.parser.process(bytes),
            // what a terminal's driver would do
            Link::Pipes => {
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.parser.process(line);
                    if line.ends_with(b"\n") {
                        self.parser.process(b"\r");
                    }
                }
            }
        }
    }

    /// Its lines, without trailing blanks.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (_, columns) = self.parser.screen().size();
        self.parser
            .screen()
            .rows(0, columns.get())
            .map(|row| row.trim_end().to_owned())
            .collect()
    }

    /// The hyperlinks drawn so far.
    pub(crate) fn hyperlinks(&self) -> &[String] {
        &self.parser.callbacks().0
    }
}

/// The targets of OSC 8 hyperlinks, in the order they were drawn.
#[derive(Default)]
struct Hyperlinks(Vec<String>);

impl vt100::Callbacks for Hyperlinks {
    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        if let [b"8", _, url @ ..] = params
            && let Ok(url) = String::from_utf8(url.join(&b';'))
            && !url.is_empty()
            && !self.0.contains(&url)
        {
            self.0.push(url);
        }
    }
}

impl Session {
    /// Starts the program.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn start(spec: &Spec) -> io::Result<Self> {
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .env_clear()
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.cwd);
        let (child, output, input): (Child, Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>) = match spec.link {
            Link::Terminal => {
                let words = |error: pty_process::Error| match error {
                    pty_process::Error::Io(error) => error,
                    pty_process::Error::Rustix(error) => error.into(),
                    other => io::Error::other(other),
                };
                let (pty, pts) = pty_process::open().map_err(words)?;
                pty.resize(pty_process::Size::new(ROWS, spec.columns)).map_err(words)?;
                let child = pty_process::Command::from(command).spawn(pts).map_err(words)?;
                let (output, input) = pty.into_split();
                (child, Box::new(output), Box::new(input))
            }
            Link::Pipes => {
                // one pipe for both, so that lines come in the order they were written
                let (output, writer) = io::pipe()?;
                let mut child = command
                    .stdin(std::process::Stdio::piped())
                    .stdout(writer.try_clone()?)
                    .stderr(writer)
                    .process_group(0)
                    .spawn()?;
                drop(command);
                let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
                let output = pipe::Receiver::from_owned_fd(OwnedFd::from(output))?;
                (child, Box::new(output), Box::new(input))
            }
        };
        Ok(Self {
            group: child.id().and_then(|id| Pid::from_raw(id as i32)),
            child,
            output,
            input,
            open: true,
            ended: None,
            screen: Screen::new(spec.columns, spec.link),
            buffer: vec![0; 8 << 10],
        })
    }

    /// Waits for the next thing to happen. May be called off and called again.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            if let Some(fine) = self.ended {
                // a helper left behind may hold the output open
                let rest = match self.open {
                    true => timeout(LINGER, self.output.read(&mut self.buffer)).await,
                    false => return Event::Ended(fine),
                };
                match rest {
                    Ok(Ok(count)) if count > 0 => {
                        self.screen.draw(&self.buffer[..count]);
                        return Event::Drawn;
                    }
                    _ => {
                        self.open = false;
                        return Event::Ended(fine);
                    }
                }
            }
            let Self {
                child, output, buffer, ..
            } = self;
            tokio::select! {
                count = output.read(buffer), if self.open => match count {
                    Ok(count) if count > 0 => {
                        self.screen.draw(&self.buffer[..count]);
                        return Event::Drawn;
                    }
                    // a pseudo-terminal whose last user is gone answers EIO
                    _ => self.open = false,
                },
                status = child.wait() => {
                    self.ended = Some(status.is_ok_and(|status| status.success()));
                    self.group = None;
                }
            }
        }
    }

    /// What it has drawn.
    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// Types something in.
    ///
    /// # Errors
    /// What the system refuses: the program may have closed its input.
    pub(crate) async fn type_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.input.write_all(bytes).await?;
        self.input.flush().await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, link: Link) -> Session {
        Session::start(&Spec {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            link,
            columns: 500,
        })
        .unwrap()
    }

    async fn to_the_end(session: &mut Session) -> bool {
        loop {
            if let Event::Ended(fine) = session.next().await {
                return fine;
            }
        }
    }

    #[tokio::test]
    async fn words_placed_with_cursor_moves_are_read_as_they_are_seen() {
        let script = r"printf '\033[2J\033[1;1HPaste\033[1;7Hcode\033[1;12Hhere\033[3;1H\033]8;id=1;https://claude.ai/x?a=1;b\007link\033]8;;\007'";
        let mut session = sh(script, Link::Terminal);
        assert!(to_the_end(&mut session).await);
        assert_eq!(session.screen().lines()[0], "Paste code here");
        assert_eq!(session.screen().hyperlinks(), ["https://claude.ai/x?a=1;b"]);
    }

    #[tokio::test]
    async fn both_kinds_take_what_is_typed_and_tell_the_end() {
        for link in [Link::Pipes, Link::Terminal] {
            let script = "test -t 0 && echo tty; printf 'a\\nb\\n' >&2; read x; echo \"got $x\"; exit 3";
            let mut session = sh(script, link);
            session.type_in(b"code\n").await.unwrap();
            assert!(!to_the_end(&mut session).await);
            let lines = session.screen().lines();
            assert_eq!(lines.contains(&"tty".to_owned()), link == Link::Terminal);
            assert!(
                ["a", "b", "got code"]
                    .iter()
                    .all(|want| lines.iter().any(|line| line == want)),
                "{lines:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_session_that_is_dropped_ends_its_program_and_one_that_left_a_helper_is_not_held() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        // what it started holds it open as long as it lives
        let script = format!("exec 9>{}; sleep 1000 & wait", fifo.display());
        for link in [Link::Pipes, Link::Terminal] {
            let session = sh(&script, link);
            // waits until the program has opened it
            let alive = std::fs::File::open(&fifo).unwrap();
            let mut alive = tokio::net::unix::pipe::Receiver::from_file(alive).unwrap();
            drop(session);
            let ended = timeout(Duration::from_secs(5), alive.read_to_end(&mut Vec::new())).await;
            assert!(ended.is_ok(), "{link:?}");
        }
        let mut session = sh("sleep 20 & echo done", Link::Pipes);
        assert!(timeout(Duration::from_secs(5), to_the_end(&mut session)).await.unwrap());
        assert_eq!(session.screen().lines()[0], "done");
    }
}
