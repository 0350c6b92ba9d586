//! Foreign text that shows what is in it. Characters that a person cannot see, or that turn the text around them, make one name
//! look like another or give orders to a terminal; they are written as escapes wherever text leaves: terminal, alert, label, JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

/// Whether a character is not seen as itself: controls (C0, DEL, C1), line separators, direction marks and overrides, zero-width
/// and filler characters, tags (Unicode 16, `Cc`, `Cf`, `Zl`, `Zp` and `Default_Ignorable_Code_Point` but for variation selectors,
/// which only choose a glyph).
pub(crate) fn hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{115f}' | '\u{1160}'
            | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Every hidden character as JSON writes it (`\u202e`), except those that `keep` lets pass.
fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hides = |c: char| hidden(c) && !keep(c);
    // nearly all text is plain, and a document may be megabytes of it
    let plain = |byte: u8| matches!(byte, b' '..=b'~') || byte.is_ascii() && keep(char::from(byte));
    if text.bytes().all(plain) || !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match hides(c) {
            false => out.push(c),
            true => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    Cow::Owned(out)
}

/// Text for one line: line breaks and tabs are escaped too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Text for several lines.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n')
}

/// A JSON document: hidden characters can only be within its strings, where the escape means the same.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\r' | '\t'))
}

/// The last gate to a terminal: what is written through it shows what is in it. Our own escape sequences pass, so a foreign ESC is
/// escaped before, where it is put into a line.
pub(crate) struct Shown<W>(pub(crate) W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let shown = escaped(text, |c| matches!(c, '\n' | '\r' | '\t' | '\u{1b}'));
                self.0.write_all(shown.as_bytes())?;
            }
            // a character in two pieces: nothing of ours writes so
            Err(_) => self.0.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (text, want) in [
            ("claude-team", "claude-team"),
            ("Grüße 登录 👍🏽", "Grüße 登录 👍🏽"),
            ("a\u{202e}b", "a\\u202eb"),
            ("a\u{200b}b\u{feff}", "a\\u200bb\\ufeff"),
            ("a\u{2028}b\u{9b}31m", "a\\u2028b\\u009b31m"),
            ("\u{7f}\u{1b}[2J\n\t", "\\u007f\\u001b[2J\\u000a\\u0009"),
            ("\u{e0041}", "\\udb40\\udc41"),
            (
                "\u{2066}\u{200f}\u{61c}\u{3164}\u{ad}",
                "\\u2066\\u200f\\u061c\\u3164\\u00ad",
            ),
        ] {
            assert_eq!(line(text), want);
        }
        assert_eq!(lines("a\nb\u{85}"), "a\nb\\u0085");
    }

    #[test]
    fn json_says_the_same_after_it() {
        let value = serde_json::json!({"a\u{202e}": ["\u{200b}\u{2028}\u{e0041}\u{80}\u{7f}\n", 1]});
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = json(&text);
        assert!(!shown.contains(|c: char| hidden(c) && c != '\n'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }

    #[test]
    fn the_gate_lets_our_own_sequences_through_and_nothing_else() {
        let mut out = Shown(Vec::new());
        out.write_all("\x1b[1ma\u{202e}\u{9b}\x1b[0m\tb\r\n".as_bytes())
            .unwrap();
        assert_eq!(
            String::from_utf8(out.0).unwrap(),
            "\x1b[1ma\\u202e\\u009b\x1b[0m\tb\r\n"
        );
    }
}
