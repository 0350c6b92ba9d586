//! The person on the other side: lines read from stdin, unseen where it is a terminal, and the signals that end us.
//!
//! A terminal is taken out of echo and line mode while a line is awaited, so that ^C comes as a byte and nothing can end
//! this process between switching the echo off and on again; it is put back when the [`Input`] is dropped. A line that may be
//! seen is echoed from here; what was typed before it was asked for never is.

use crate::secret::Secret;
use rustix::fs::FileType;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// The longest line that is taken, in bytes.
const MAX_LINE: usize = 16 << 10;

/// What came from the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line, trimmed.
    Text(Secret),
    /// There is no more input.
    Closed,
    /// ^C, or a signal to end.
    Interrupted,
}

/// Whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    isatty(io::stdin())
}

/// Whether what is printed goes to another program alone: a pipe, or the socket that Node.js takes for one.
pub(crate) fn stdout_is_pipe() -> bool {
    let kind = rustix::fs::fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// A small request from another program on stdin; at most 64 KiB.
///
/// # Errors
/// What the system refuses.
pub(crate) fn request() -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    io::stdin().lock().take(64 << 10).read_to_end(&mut request)?;
    Ok(request)
}

/// The width of stdout, where it is a terminal.
pub(crate) fn columns() -> Option<u16> {
    columns_of(&io::stdout())
}

/// The width of this, where it is a terminal.
pub(crate) fn columns_of(terminal: &impl std::os::fd::AsFd) -> Option<u16> {
    tcgetwinsize(terminal)
        .ok()
        .map(|size| size.ws_col)
        .filter(|columns| *columns > 0)
}

/// Gives a text to a program that shows it on this terminal, and waits until it was read; whether the program did so.
pub(crate) fn read_by(
    program: &str,
    args: &[&str],
    text: &str,
    env: &std::collections::BTreeMap<String, String>,
) -> bool {
    use std::process::{Command, Stdio};
    let child = Command::new(program).args(args).envs(env).stdin(Stdio::piped()).spawn();
    let Ok(mut child) = child else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        // who has seen enough closes it
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait().is_ok_and(|status| status.success())
}

/// SIGINT, SIGTERM and SIGHUP, which no longer end the process once this is made.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Starts to listen; needs the runtime.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    /// Waits for one.
    pub(crate) async fn one(&mut self) {
        let [a, b, c] = &mut self.0;
        tokio::select! {
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
    }
}

/// Lines from stdin. A thread reads them, since a read from a terminal cannot be called off; it ends with the process.
pub(crate) struct Input {
    lines: mpsc::UnboundedReceiver<Line>,
    quiet: Option<Quiet>,
    shown: Arc<AtomicBool>,
}

impl Input {
    /// Takes stdin over. Where it is a terminal, what is typed is not shown from now on.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn open() -> io::Result<Self> {
        let quiet = stdin_is_terminal().then(Quiet::on).transpose()?;
        let (sender, lines) = mpsc::unbounded_channel();
        let terminal = quiet.is_some();
        let shown = Arc::new(AtomicBool::new(false));
        let echo = shown.clone();
        std::thread::Builder::new()
            .name("stdin".into())
            .spawn(move || read_lines(terminal, &echo, &sender))?;
        Ok(Self { lines, quiet, shown })
    }

    /// The next line, shown while it is typed.
    pub(crate) async fn shown_line(&mut self) -> Line {
        self.shown.store(true, Ordering::SeqCst);
        let line = self.line().await;
        self.shown.store(false, Ordering::SeqCst);
        line
    }

    /// The next line. [`Line::Closed`] is said once, then this waits for ever.
    pub(crate) async fn line(&mut self) -> Line {
        match self.lines.recv().await {
            Some(line) => {
                if self.quiet.is_some() {
                    super::progress::make_room();
                    // the line break that was typed was not shown either
                    let _ = writeln!(io::stderr());
                }
                line
            }
            None => std::future::pending().await,
        }
    }
}

/// Reads what is typed. 0: there is no more, or the terminal is gone.
pub(super) fn read(stdin: &mut io::StdinLock<'_>, chunk: &mut [u8]) -> usize {
    loop {
        match stdin.read(chunk) {
            Ok(count) => return count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return 0,
        }
    }
}

fn read_lines(terminal: bool, shown: &AtomicBool, sender: &mpsc::UnboundedSender<Line>) {
    let mut stdin = io::stdin().lock();
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    let mut escape = false;
    let send = |line: &mut Vec<u8>| {
        let text = String::from_utf8_lossy(line).trim().to_owned();
        line.clear();
        // what follows may be the answer to another question
        shown.store(false, Ordering::SeqCst);
        sender.send(Line::Text(Secret::new(text))).is_ok()
    };
    let echo = |bytes: &[u8]| {
        if terminal && shown.load(Ordering::SeqCst) {
            let mut stderr = io::stderr();
            let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
        }
    };
    loop {
        let count = read(&mut stdin, &mut chunk);
        if count == 0 {
            if !line.is_empty() {
                send(&mut line);
            }
            let _ = sender.send(Line::Closed);
            return;
        }
        for &byte in &chunk[..count] {
            let going = match byte {
                b'\n' => send(&mut line),
                b'\r' if terminal => send(&mut line),
                0x03 if terminal => sender.send(Line::Interrupted).is_ok(),
                0x04 if terminal && line.is_empty() => sender.send(Line::Closed).is_ok(),
                0x08 | 0x7f if terminal => {
                    if !line.is_empty() {
                        echo(b"\x08 \x08");
                    }
                    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
                    true
                }
                0x15 if terminal => {
                    for _ in String::from_utf8_lossy(&line).chars() {
                        echo(b"\x08 \x08");
                    }
                    line.clear();
                    true
                }
                // arrow keys and the brackets of a paste
                0x1b if terminal => {
                    escape = true;
                    true
                }
                b'[' | b';' | b'0'..=b'9' if escape => true,
                _ if escape => {
                    escape = false;
                    true
                }
                byte if line.len() < MAX_LINE => {
                    if byte >= 0x20 {
                        echo(&[byte]);
                    }
                    line.push(byte);
                    true
                }
                _ => true,
            };
            if !going {
                return;
            }
        }
    }
}

/// A terminal without echo; as it was again when dropped.
struct Quiet(Termios);

impl Quiet {
    fn on() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut quiet = before.clone();
        quiet
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
