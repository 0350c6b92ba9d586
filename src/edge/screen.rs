//! A live view on a terminal: the alternate screen, drawn without flicker, and the terminal as it was afterwards.
//!
//! Only lines that changed are written, in one write within a synchronised update (`?2026`), over what is there: nothing is
//! cleared first. The terminal is put back when the [`Screen`] is dropped and when the process panics; nothing can be done
//! about SIGKILL.

use crate::edge::terminal;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use std::io::{self, Write};
use std::sync::{Mutex, Once, PoisonError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

/// Alternate screen, no cursor, no wrapping of a line that is too long.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
/// All of it undone, colours and an open synchronised update included.
const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// How the terminal was, while it is ours.
static BEFORE: Mutex<Option<Before>> = Mutex::new(None);

/// A terminal's modes; `None` if stdin is not a terminal.
struct Before(Option<Termios>);

/// Whether stdout is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    isatty(io::stdout())
}

/// Columns and rows of stdout.
pub(crate) fn size() -> (usize, usize) {
    match tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// The terminal, ours until this is dropped.
pub(crate) struct Screen {
    shown: Vec<String>,
    /// What is on the screen is unknown: everything is drawn.
    anew: bool,
}

impl Screen {
    /// Takes the terminal over: what is typed is not shown, and ^C comes as a key.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                leave();
                usual(info);
            }));
        });
        enter()?;
        Ok(Self {
            shown: Vec::new(),
            anew: true,
        })
    }

    /// Draws these lines, each no wider than the screen and no more than it has rows.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        let bytes = update(if self.anew { None } else { Some(&self.shown) }, &lines);
        self.shown = lines;
        self.anew = false;
        if bytes.is_empty() {
            return Ok(());
        }
        let mut out = crate::visible::Shown(io::stdout().lock());
        out.write_all(&bytes)?;
        out.flush()
    }

    /// The size changed, or another program wrote: everything is drawn next.
    pub(crate) fn forget(&mut self) {
        self.anew = true;
    }

    /// Gives the terminal back, stops as a shell's ^Z would, and takes it again once continued.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn suspend(&mut self) -> io::Result<()> {
        leave();
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::TSTP);
        self.resume()
    }

    /// Continued after a stop: the shell may have changed the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(crate) fn resume(&mut self) -> io::Result<()> {
        leave();
        self.anew = true;
        enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    let stdin = io::stdin();
    let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
    let modes = match isatty(&stdin) {
        true => Some(tcgetattr(&stdin)?),
        false => None,
    };
    *before = Some(Before(modes.clone()));
    if let Some(mut raw) = modes {
        raw.local_modes
            .remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&stdin, OptionalActions::Now, &raw)?;
    }
    let mut out = io::stdout().lock();
    out.write_all(ENTER)?;
    out.flush()
}

/// Puts the terminal back, once.
fn leave() {
    // in a panic the lock may be held by the very thread that panics
    let Ok(mut before) = BEFORE.try_lock() else { return };
    let Some(Before(modes)) = before.take() else { return };
    let mut out = io::stdout().lock();
    let _ = out.write_all(LEAVE);
    let _ = out.flush();
    if let Some(modes) = modes {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
    }
}

/// The bytes that make a screen with `before` on it show `after`; `None` for a screen of which nothing is known.
fn update(before: Option<&[String]>, after: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    // first, since where the lines fill the screen this falls on the last of them, which is drawn next
    if before.is_none_or(|before| before.len() > after.len()) {
        let _ = write!(out, "\x1b[{};1H\x1b[J", after.len() + 1);
    }
    for (row, line) in after.iter().enumerate() {
        if before.is_some_and(|before| before.get(row) == Some(line)) {
            continue;
        }
        // colours are off at a line's end, so that what is cleared has none
        let _ = write!(out, "\x1b[{};1H{line}\x1b[0m\x1b[K", row + 1);
    }
    match out.is_empty() {
        true => out,
        false => [b"\x1b[?2026h", out.as_slice(), b"\x1b[?2026l"].concat(),
    }
}

/// What a person or the system wants of a live view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `q`, ^C, ^D, a signal, or the terminal is gone.
    Quit,
    /// ^L, or another size.
    Redraw,
    /// ^Z.
    Suspend,
    /// SIGCONT.
    Resume,
}

/// Keys and signals. A thread reads the keys, since a read from a terminal cannot be called off; it ends with the process.
pub(crate) struct Wishes {
    keys: Option<mpsc::UnboundedReceiver<Wish>>,
    ends: [Signal; 3],
    size: Signal,
    cont: Signal,
}

impl Wishes {
    /// Listens; needs the runtime.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        let keys = match isatty(io::stdin()) {
            true => {
                let (sender, receiver) = mpsc::unbounded_channel();
                std::thread::Builder::new()
                    .name("keys".into())
                    .spawn(move || read_keys(&sender))?;
                Some(receiver)
            }
            false => None,
        };
        let cont = SignalKind::from_raw(rustix::process::Signal::CONT.as_raw());
        Ok(Self {
            keys,
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            size: signal(SignalKind::window_change())?,
            cont: signal(cont)?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Wish {
        let [a, b, c] = &mut self.ends;
        let keys = async {
            match &mut self.keys {
                Some(keys) => keys.recv().await.unwrap_or(Wish::Quit),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = a.recv() => Wish::Quit,
            _ = b.recv() => Wish::Quit,
            _ = c.recv() => Wish::Quit,
            wish = keys => wish,
            _ = self.size.recv() => Wish::Redraw,
            _ = self.cont.recv() => Wish::Resume,
        }
    }
}

/// Where in an escape sequence a key is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    None,
    Begun,
    Within,
}

fn read_keys(sender: &mpsc::UnboundedSender<Wish>) {
    let mut stdin = io::stdin().lock();
    let mut chunk = [0; 64];
    let mut escape = Escape::None;
    loop {
        let count = terminal::read(&mut stdin, &mut chunk);
        // the terminal is gone
        if count == 0 {
            let _ = sender.send(Wish::Quit);
            return;
        }
        for byte in &chunk[..count] {
            // the letters in the sequence of an arrow or function key are not commands
            escape = match (escape, byte) {
                (_, 0x1b) => Escape::Begun,
                (Escape::Begun, b'[' | b'O') => Escape::Within,
                (Escape::Within, 0x40..=0x7e) => {
                    escape = Escape::None;
                    continue;
                }
                (Escape::Within, _) => Escape::Within,
                _ => Escape::None,
            };
            if escape != Escape::None {
                continue;
            }
            let wish = match byte {
                b'q' | b'Q' | 0x03 | 0x04 => Wish::Quit,
                0x0c => Wish::Redraw,
                0x1a => Wish::Suspend,
                _ => continue,
            };
            if sender.send(wish).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(parser: &mut vt100::Parser, bytes: &[u8]) -> Vec<String> {
        parser.process(bytes);
        let rows = parser.screen().rows(0, 20).map(|row| row.trim_end().to_owned());
        rows.collect()
    }

    #[test]
    fn an_update_writes_what_changed_and_leaves_nothing_behind() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let size = |n: u16| std::num::NonZeroU16::new(n).unwrap();
        let mut parser = vt100::Parser::new(size(4), size(20), 0);
        parser.process(b"old old old old old\r\nold old\r\nold\r\nold");
        let first = lines("one\ntwo two two\nthree");
        assert_eq!(
            screen(&mut parser, &update(None, &first)),
            ["one", "two two two", "three", ""]
        );
        let second = lines("one\ntwo\nthree\nfour");
        let bytes = update(Some(&first), &second);
        assert!(!String::from_utf8_lossy(&bytes).contains("three"));
        assert_eq!(screen(&mut parser, &bytes), ["one", "two", "three", "four"]);
        assert_eq!(update(Some(&second), &second), b"");
        assert_eq!(
            screen(&mut parser, &update(Some(&second), &lines("a"))),
            ["a", "", "", ""]
        );
        assert_eq!(screen(&mut parser, &update(Some(&lines("a")), &[])), ["", "", "", ""]);
        let full = lines("1\n2\n3\n4");
        assert_eq!(screen(&mut parser, &update(None, &full)), ["1", "2", "3", "4"]);
        for bytes in [update(None, &first), update(Some(&first), &second)] {
            let text = String::from_utf8(bytes).unwrap();
            assert!(!text.contains("\x1b[2J") && text.starts_with("\x1b[?2026h") && text.ends_with("\x1b[?2026l"));
        }
    }
}
