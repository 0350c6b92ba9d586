//! What a person at a terminal is waiting for, and for how long: one line on stderr, rewritten in place and erased at the end.
//!
//! A pass says what it waits for with [`waiting`], as it would log, and knows nothing of terminals. Only what lasts is shown. Until
//! [`to_terminal`] was called, which the daemon and whatever is no terminal never do, that is one look at a flag: no thread, no
//! timer, no byte.

use crate::edge::host::monotonic;
use crate::layout::{cells, cut};
use rustix::termios::{isatty, tcgetwinsize};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What ends sooner gets no line.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often the time in the line moves on.
const TICK: Duration = Duration::from_secs(1);

static ON: AtomicBool = AtomicBool::new(false);
static LINE: Mutex<Line> = Mutex::new(Line {
    waits: Vec::new(),
    begun: 0,
    shown: false,
    drawing: false,
});
static CHANGED: Condvar = Condvar::new();

struct Line {
    /// The oldest first.
    waits: Vec<Wait>,
    begun: u64,
    /// Whether it stands on the terminal.
    shown: bool,
    /// Whether the thread that draws is there.
    drawing: bool,
}

struct Wait {
    number: u64,
    what: String,
    since: Instant,
}

/// While one of these lives, that is waited for.
#[derive(Debug)]
#[must_use = "it is waited for until this is dropped"]
pub struct Waiting(Option<u64>);

/// Shows from now on what lasts, if stderr is a terminal on which a line can be rewritten.
pub fn to_terminal(term: Option<&str>) {
    if isatty(io::stderr()) && term.is_some_and(|term| !matches!(term, "" | "dumb")) {
        ON.store(true, Ordering::Relaxed);
    }
}

/// Something is waited for from here on; `what` completes "waiting for …" and holds no secret.
pub fn waiting(what: impl FnOnce() -> String) -> Waiting {
    if !ON.load(Ordering::Relaxed) {
        return Waiting(None);
    }
    let mut line = lock();
    line.begun += 1;
    let number = line.begun;
    line.waits.push(Wait {
        number,
        what: crate::layout::one_line(&what()),
        since: monotonic(),
    });
    if !line.drawing {
        let thread = std::thread::Builder::new().name("progress".into()).spawn(draw);
        line.drawing = thread.is_ok();
    }
    CHANGED.notify_one();
    Waiting(Some(number))
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(number) = self.0 else { return };
        let mut line = lock();
        line.waits.retain(|wait| wait.number != number);
        if line.waits.is_empty() {
            line.erase();
        }
        CHANGED.notify_one();
    }
}

/// Something else is about to be written to the terminal: the line makes room, and comes back below it.
pub(crate) fn make_room() {
    if ON.load(Ordering::Relaxed) {
        lock().erase();
    }
}

/// stderr for the log, which is written above the line.
#[derive(Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        make_room();
        crate::visible::Shown(io::stderr()).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn lock() -> MutexGuard<'static, Line> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Line {
    fn erase(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }

    /// Draws it if it is due; how long until it is again.
    fn draw(&mut self, now: Instant, columns: usize) -> Option<Duration> {
        let wait = self.waits.first()?;
        let lasted = now.saturating_duration_since(wait.since);
        if lasted < PATIENCE {
            return Some(PATIENCE - lasted);
        }
        let text = words(&wait.what, self.waits.len() - 1, lasted, columns.saturating_sub(1));
        // one write, so that nothing of ours comes between its parts; the last column stays free, or the line would be two
        let bytes = format!("\r\x1b[K{text}");
        let _ = io::stderr().write_all(bytes.as_bytes());
        self.shown = true;
        Some(TICK.saturating_sub(Duration::from_millis(u64::from(lasted.subsec_millis()))))
    }
}

/// Truncates the name, never the time.
fn words(what: &str, more: usize, lasted: Duration, width: usize) -> String {
    let more = match more {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let lasted = match (lasted.as_secs() / 60, lasted.as_secs() % 60) {
        (0, s) => format!("{s} s"),
        (m, s) => format!("{m} min {s} s"),
    };
    let rest = format!("{more}: {lasted}");
    let room = width.saturating_sub(cells(&rest));
    cut(&format!("{}{rest}", cut(&format!("waiting for {what}"), room)), width)
}

/// Draws while something is waited for, and sleeps without an end otherwise.
fn draw() {
    let mut line = lock();
    loop {
        let columns = tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col.max(20)));
        line = match line.draw(monotonic(), columns) {
            None => CHANGED.wait(line).unwrap_or_else(PoisonError::into_inner),
            Some(pause) => {
                let (line, _) = CHANGED
                    .wait_timeout(line, pause)
                    .unwrap_or_else(PoisonError::into_inner);
                line
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_it_waits_for_and_for_how_long() {
        for (more, ms, width, want) in [
            (0, 700, 79, "waiting for Claude Code: 0 s"),
            (0, 59_999, 79, "waiting for Claude Code: 59 s"),
            (2, 61_000, 79, "waiting for Claude Code and 2 more: 1 min 1 s"),
            (0, 3_000, 24, "waiting for Claude…: 3 s"),
            (0, 3_000, 3, ": …"),
        ] {
            assert_eq!(words("Claude Code", more, Duration::from_millis(ms), width), want);
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_kept_and_no_thread_is_there() {
        let waiting = waiting(|| unreachable!("nobody is told"));
        assert!(waiting.0.is_none() && !lock().drawing && lock().waits.is_empty());
    }
}
