//! What happened: an object a line in `history.jsonl`, with the file before it kept as `history.1.jsonl`.
//!
//! A pass in which nothing happened adds nothing, and what fails over and over is noted once, when it begins and when it
//! changes. Holds ids, fingerprints and the words of alerts, and never a token.

use crate::edge::files;

use crate::rules::memory::Entry;

use crate::types::Moment;

use std::io;
use std::path::{Path, PathBuf};

/// At this size in bytes a new history file is begun, and one old one is kept.
const LIMIT: u64 = 1 << 20;

/// Where it lies, the older file first.
pub(crate) fn paths(state_dir: &Path) -> [PathBuf; 2] {
    [state_dir.join("history.1.jsonl"), state_dir.join("history.jsonl")]
}

/// Appends.
///
/// # Errors
/// What the system refuses.
pub(crate) fn append(state_dir: &Path, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let [old, path] = paths(state_dir);
    let size = files::stat(&path).map_or(0, |meta| meta.size);
    if size > LIMIT {
        files::rename(&path, &old)?;
    }
    let mut lines = Vec::new();
    // a line that was torn by a full disk must not take the next one with it
    if size > 0 && size <= LIMIT && files::read_tail(&path, 1).is_ok_and(|tail| tail.bytes != b"\n") {
        lines.push(b'\n');
    }
    for entry in entries {
        serde_json::to_writer(&mut lines, entry).map_err(io::Error::other)?;
        lines.push(b'\n');
    }
    files::append(&path, &lines)
}

/// [`append`]; a failure is logged and stops nothing.
pub(crate) fn note(state_dir: &Path, entries: &[Entry]) {
    if let Err(error) = append(state_dir, entries) {
        tracing::warn!("history: {}", files::io_words(&error));
    }
}

/// The history as it was found.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The oldest first, as they were written.
    pub(crate) entries: Vec<Entry>,
    /// Lines that are not ours.
    pub(crate) skipped: usize,
}

/// Reads what happened at `since` or later. However large the files are, 4 MiB are read at most.
///
/// # Errors
/// What the system refuses, in words; a missing file is not an error.
pub(crate) fn read(state_dir: &Path, since: Moment) -> Result<Read, String> {
    let mut read = Read::default();
    for path in paths(state_dir) {
        let tail = match files::read_tail(&path, 2 * LIMIT) {
            Ok(tail) => tail,
            Err(files::ReadError::Absent) => continue,
            Err(error) => return Err(format!("`{}`: {error}", path.display())),
        };
        let mut lines = tail.bytes.split(|byte| *byte == b'\n');
        if !tail.whole {
            lines.next();
        }
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            match serde_json::from_slice::<Entry>(line) {
                Ok(entry) if entry.at >= since => read.entries.push(entry),
                Ok(_) => {}
                Err(_) => read.skipped += 1,
            }
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: i64, what: &'static str) -> Entry {
        Entry {
            at: Moment::at(at),
            what: what.into(),
            whom: "clawdbot/main".into(),
            text: "t".into(),
            ..Entry::default()
        }
    }

    #[test]
    fn the_history_is_rotated_and_an_entry_has_only_the_keys_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        files::append(&dir.path().join("history.jsonl"), &vec![b'x'; LIMIT as usize + 1]).unwrap();
        append(dir.path(), &[entry(1, "sync")]).unwrap();
        assert_eq!(files::list(dir.path()), ["history.1.jsonl", "history.jsonl"]);
        let line = files::read(&dir.path().join("history.jsonl")).unwrap().bytes;
        assert_eq!(
            line,
            b"{\"at\":1,\"what\":\"sync\",\"whom\":\"clawdbot/main\",\"text\":\"t\"}\n"
        );
    }

    #[test]
    fn old_lines_torn_lines_and_garbage_are_read_past_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let [old, path] = paths(dir.path());
        files::append(
            &old,
            b"{\"at\":1,\"what\":\"sync\",\"whom\":\"a\",\"text\":\"t\"}\nnonsense\n",
        )
        .unwrap();
        files::append(
            &path,
            b"{\"at\":2,\"what\":\"later\",\"new\":[1]}\n\n\xff\xfe\n{\"at\":\"x\"}\n{\"at\":3,\"what\":\"sy",
        )
        .unwrap();
        let whats = |read: &Read| read.entries.iter().map(|entry| entry.at.ms()).collect::<Vec<_>>();
        let all = read(dir.path(), Moment::EPOCH).unwrap();
        assert_eq!((whats(&all), all.skipped), (vec![1, 2], 4));
        // what is appended after a torn line is whole
        append(dir.path(), &[entry(4, "sync"), entry(5, "heal")]).unwrap();
        let all = read(dir.path(), Moment::at(3)).unwrap();
        assert_eq!((whats(&all), all.skipped), (vec![4, 5], 4));
        assert_eq!(whats(&read(Path::new("/nowhere"), Moment::EPOCH).unwrap()), [0; 0]);
    }

    #[test]
    fn of_a_file_that_grew_without_end_only_the_end_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let [_, path] = paths(dir.path());
        let line = serde_json::to_string(&entry(7, "sync")).unwrap() + "\n";
        let text = line.repeat(3 * LIMIT as usize / line.len());
        files::append(&path, text.as_bytes()).unwrap();
        let all = read(dir.path(), Moment::EPOCH).unwrap();
        assert_eq!(all.skipped, 0);
        assert!((all.entries.len() * line.len()) as u64 <= 2 * LIMIT);
        assert!((all.entries.len() * line.len()) as u64 > 2 * LIMIT - 2 * line.len() as u64);
    }
}
