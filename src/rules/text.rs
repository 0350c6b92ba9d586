//! What all channels do to text: clean foreign characters, cut to a service's limit, escape for its markup, fill templates.
//!
//! Agent ids, paths and host names are foreign text: they may hold markup, control characters and direction marks. They
//! are cleaned once for every channel ([`clean`]) and escaped by each for its own markup. Cutting is always done on the
//! unescaped text, measured as escaped, so that no escape is ever cut in half.

use crate::types::{Affected, Event, Severity, Status};
use crate::visible;
use sha2::{Digest, Sha256};

/// What a service counts when it says "characters".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// Unicode scalar values.
    Chars,
    /// UTF-16 code units, as JavaScript and Telegram count.
    Utf16,
    /// UTF-8 bytes.
    Bytes,
}

impl Count {
    /// The length of `text` in this unit.
    pub(crate) fn of(self, text: &str) -> usize {
        text.chars().map(|c| self.of_char(c)).sum()
    }

    fn of_char(self, c: char) -> usize {
        match self {
            Self::Chars => 1,
            Self::Utf16 => c.len_utf16(),
            Self::Bytes => c.len_utf8(),
        }
    }
}

/// How one character is written in a markup; `None` for as it is.
pub(crate) type Escape = fn(char) -> Option<&'static str>;

/// No markup.
pub(crate) fn as_is(_: char) -> Option<&'static str> {
    None
}

/// HTML, Telegram's HTML, and Pango markup, in text and in quoted attributes.
pub(crate) fn html(c: char) -> Option<&'static str> {
    Some(match c {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        '"' => "&quot;",
        '\'' => "&#39;",
        _ => return None,
    })
}

/// `text` with every character escaped, cut to `budget` measured on the escaped text. What was cut is replaced by `…`.
pub(crate) fn clip(text: &str, budget: usize, count: Count, escape: Escape) -> String {
    let ellipsis = count.of("…");
    let (mut out, mut used) = (String::new(), 0);
    // where the text must end if it turns out not to fit
    let mut last_fit = 0;
    for c in text.chars() {
        let start = out.len();
        match escape(c) {
            Some(escaped) => out.push_str(escaped),
            None => out.push(c),
        }
        used += count.of(&out[start..]);
        if used + ellipsis <= budget {
            last_fit = out.len();
        }
        if used > budget {
            out.truncate(last_fit);
            if ellipsis <= budget {
                out.push('…');
            }
            return out;
        }
    }
    out
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Lines of text.
    Text(String),
    /// A command to copy.
    Command(String),
}

/// The message in pieces: lines that are one of the event's commands are told apart, and the first command is added where
/// the message does not hold it.
pub(crate) fn parts(event: &Event) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in event.message.lines() {
        if event.commands.iter().any(|command| command == line.trim()) {
            parts.push(Part::Command(line.trim().to_owned()));
        } else if let Some(Part::Text(text)) = parts.last_mut() {
            text.push('\n');
            text.push_str(line);
        } else {
            parts.push(Part::Text(line.to_owned()));
        }
    }
    if let Some(command) = missing_command(event) {
        parts.push(Part::Command(command.to_owned()));
    }
    parts.retain(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()));
    for part in &mut parts {
        if let Part::Text(text) = part {
            *text = text.trim_matches('\n').to_owned();
        }
    }
    parts
}

/// The message as plain text, with the first command added where the message does not hold it.
pub(crate) fn plain(event: &Event) -> String {
    match missing_command(event) {
        Some(command) if event.message.is_empty() => format!("run: {command}"),
        Some(command) => format!("{}\nrun: {command}", event.message),
        None => event.message.clone(),
    }
}

fn missing_command(event: &Event) -> Option<&str> {
    let first = event.commands.first()?;
    (event.status == Status::Firing && !event.message.contains(first.as_str())).then_some(first)
}

/// How a markup writes text and commands.
pub(crate) struct Style {
    /// For text.
    pub(crate) escape: Escape,
    /// For commands.
    pub(crate) escape_code: Escape,
    /// Before a command.
    pub(crate) open: &'static str,
    /// After a command.
    pub(crate) close: &'static str,
}

/// The parts in one string of at most `budget`, measured as escaped. Commands are kept whole and text is cut, since the
/// command is what a person needs; a command that alone takes more than half of the budget is left out.
pub(crate) fn assemble(parts: &[Part], budget: usize, count: Count, style: &Style) -> String {
    let mut pieces: Vec<Option<String>> = vec![None; parts.len()];
    let mut left = budget;
    for (part, piece) in parts.iter().zip(&mut pieces) {
        if let Part::Command(command) = part {
            let body = clip(command, usize::MAX, count, style.escape_code);
            let text = format!("{}{body}{}", style.open, style.close);
            let cost = count.of(&text) + 1;
            if cost <= budget / 2 && cost <= left {
                left -= cost;
                *piece = Some(text);
            }
        }
    }
    for (part, piece) in parts.iter().zip(&mut pieces) {
        if let Part::Text(text) = part
            && left > 1
        {
            let text = clip(text, left - 1, count, style.escape);
            left -= count.of(&text) + 1;
            *piece = Some(text);
        }
    }
    pieces.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// `text` with what cannot be seen written out (`crate::visible`); line breaks are kept only where `lines`, else they are blanks.
pub(crate) fn clean(text: &str, lines: bool) -> String {
    let blank = |c: char| c == '\t' || c == '\n' && !lines;
    let spaced: String = text
        .chars()
        .filter(|c| *c != '\r')
        .map(|c| if blank(c) { ' ' } else { c })
        .collect();
    visible::lines(&spaced).into_owned()
}

/// The severity in a word for people: not everybody sees a colour.
pub(crate) fn heading(event: &Event) -> &'static str {
    match (event.status, event.severity) {
        (Status::Resolved, _) => "Recovered",
        (Status::Firing, Severity::Info) => "Info",
        (Status::Firing, Severity::Warning) => "Warning",
        (Status::Firing, Severity::Critical) => "Critical",
    }
}

/// A key for "the same alert" at a service that several hosts report to: 16 hex digits of host and alert id.
pub(crate) fn alert_key(event: &Event) -> String {
    key(&event.host, &event.alert_id.to_string())
}

/// [`alert_key`] of an alert that is known by its id.
pub(crate) fn key(host: &str, alert_id: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(host.as_bytes());
    hash.update([0]);
    hash.update(alert_id.as_bytes());
    hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 3339 in UTC, to the second.
pub(crate) fn rfc3339(at: crate::types::Moment) -> String {
    chrono::DateTime::from_timestamp_millis(at.ms())
        .unwrap_or_default()
        .to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// The placeholders of `title` and `body` templates.
pub(crate) const PLACEHOLDERS: [&str; 13] = [
    "title", "message", "severity", "status", "kind", "host", "login", "command", "commands", "affected", "alert_id",
    "event_id", "at",
];

/// The first placeholder in `template` that does not exist, if any. `{{` and `}}` stand for braces.
pub(crate) fn unknown_placeholder(template: &str) -> Option<String> {
    let mut unknown = None;
    expand(template, |name| {
        if !PLACEHOLDERS.contains(&name) && unknown.is_none() {
            unknown = Some(name.to_owned());
        }
        String::new()
    });
    unknown
}

/// Fills a template from `event`.
pub(crate) fn fill(template: &str, event: &Event) -> String {
    expand(template, |name| match name {
        "title" => event.title.clone(),
        "message" => event.message.clone(),
        "severity" => event.severity.word().into(),
        "status" => match event.status {
            Status::Firing => "firing".into(),
            Status::Resolved => "resolved".into(),
        },
        "kind" => event.kind.clone(),
        "host" => event.host.clone(),
        "login" => event.login.as_ref().map(|login| login.id.clone()).unwrap_or_default(),
        "command" => event.commands.first().cloned().unwrap_or_default(),
        "commands" => event.commands.join("\n"),
        "affected" => {
            let names = event.affected.iter().map(Affected::label);
            let mut names: Vec<String> = names.collect();
            names.dedup();
            names.join(", ")
        }
        "alert_id" => event.alert_id.to_string(),
        "event_id" => event.event_id.clone(),
        "at" => rfc3339(event.at),
        _ => String::new(),
    })
}

fn expand(template: &str, mut value: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..at + 1];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else if brace == "{"
            && let Some((name, after)) = rest.split_once('}')
        {
            out.push_str(&value(name.trim()));
            rest = after;
        } else {
            out.push_str(brace);
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::event;
    use proptest::prelude::*;

    #[test]
    fn a_cut_falls_between_characters_and_never_within_an_escape() {
        for (text, budget, count, escape, wanted) in [
            ("abc", 3, Count::Chars, as_is as Escape, "abc"),
            ("abcd", 3, Count::Chars, as_is, "ab…"),
            ("äöü", 6, Count::Bytes, as_is, "äöü"),
            ("äöüä", 6, Count::Bytes, as_is, "ä…"),
            ("😀😀", 4, Count::Utf16, as_is, "😀😀"),
            ("😀😀😀", 4, Count::Utf16, as_is, "😀…"),
            ("a&b", 7, Count::Chars, html, "a&amp;b"),
            ("a&b", 6, Count::Chars, html, "a…"),
            ("&&", 9, Count::Chars, html, "&amp;…"),
            ("<\"'>", 99, Count::Chars, html, "&lt;&quot;&#39;&gt;"),
            ("abc", 0, Count::Chars, as_is, ""),
        ] {
            assert_eq!(clip(text, budget, count, escape), wanted, "{text} in {budget}");
        }
    }

    proptest! {
        #[test]
        fn a_clip_fits_and_is_whole(text in "\\PC{0,60}", budget in 0usize..60) {
            for count in [Count::Chars, Count::Utf16, Count::Bytes] {
                let out = clip(&text, budget, count, html);
                prop_assert!(count.of(&out) <= budget);
                let whole = clip(&text, usize::MAX, count, html);
                if count.of(&whole) <= budget {
                    prop_assert_eq!(&out, &whole);
                } else {
                    let kept = out.strip_suffix('…').unwrap_or(&out);
                    prop_assert!(whole.starts_with(kept));
                    prop_assert!(kept.rfind('&').is_none_or(|at| kept[at..].contains(';')));
                }
            }
        }

        #[test]
        fn templates_never_panic(a in "\\PC{0,30}") {
            fill(&a, &event());
        }
    }

    #[test]
    fn a_command_on_its_own_line_is_told_apart_and_a_missing_one_added() {
        let mut event = event();
        event.message = "the login ended\nrun:\nclaude auth login\nthen all is well".into();
        event.commands = vec!["claude auth login".into()];
        assert_eq!(
            parts(&event),
            [
                Part::Text("the login ended\nrun:".into()),
                Part::Command("claude auth login".into()),
                Part::Text("then all is well".into()),
            ]
        );
        event.message = "the login ended".into();
        assert_eq!(plain(&event), "the login ended\nrun: claude auth login");
        assert_eq!(parts(&event).len(), 2);
        event.status = Status::Resolved;
        assert_eq!(plain(&event), "the login ended");
    }

    #[test]
    fn when_it_is_tight_the_command_stays() {
        let parts = [Part::Text("x".repeat(500)), Part::Command("claude auth login".into())];
        let style = Style {
            escape: html,
            escape_code: html,
            open: "<pre>",
            close: "</pre>",
        };
        let text = assemble(&parts, 100, Count::Chars, &style);
        assert!(Count::Chars.of(&text) <= 100);
        assert!(text.ends_with("…\n<pre>claude auth login</pre>"), "{text}");
    }

    #[test]
    fn every_placeholder_is_filled_with_what_it_names() {
        let mut event = event();
        event.affected.push(event.affected[1].clone());
        for (name, wanted) in PLACEHOLDERS.into_iter().zip([
            event.title.as_str(),
            &event.message,
            "critical",
            "firing",
            "login_ended",
            "gw",
            "claude",
            "claude auth login",
            "claude auth login\nnolapse reauth claude",
            "clawdbot/main, clawdbot/<b>&*x*",
            "login:claude",
            "msg_2b1f",
            &rfc3339(event.at),
        ]) {
            assert_eq!(fill(&format!("{{{name}}}"), &event), wanted, "{name}");
        }
        assert_eq!(
            fill("{status} {login}", &crate::notify::testing::recovered()),
            "resolved claude"
        );
        assert_eq!(fill("} {other} {", &event), "}  {");
        assert_eq!(
            rfc3339(crate::types::Moment::at(1_769_000_000_000)),
            "2026-01-21T12:53:20Z"
        );
    }

    #[test]
    fn what_is_all_a_person_needs_is_said_alone() {
        let mut event = event();
        event.message = String::new();
        event.commands = vec!["a".into()];
        assert_eq!(plain(&event), "run: a");
        event.commands.clear();
        assert_eq!((plain(&event), parts(&event)), (String::new(), Vec::new()));
        let severities = [Severity::Info, Severity::Warning, Severity::Critical].map(|severity| {
            event.severity = severity;
            heading(&event)
        });
        assert_eq!(severities, ["Info", "Warning", "Critical"]);
        assert_eq!(heading(&crate::notify::testing::recovered()), "Recovered");
    }

    #[test]
    fn what_fits_is_whole_and_what_does_not_is_cut_or_left_out() {
        let style = Style {
            escape: as_is,
            escape_code: as_is,
            open: "<",
            close: ">",
        };
        let (text, command) = (
            |text: &str| Part::Text(text.into()),
            |command: &str| Part::Command(command.into()),
        );
        for (parts, budget, wanted) in [
            (vec![text("aaaa"), command("bb"), text("cccc")], 15, "aaaa\n<bb>\ncccc"),
            (vec![text("aaaa"), command("bb"), text("cccc")], 13, "aaaa\n<bb>\nc…"),
            // its line break counts too: half of the budget, and no more
            (vec![text("aaaa"), command("bb")], 10, "aaaa\n<bb>"),
            (vec![text("aaaa"), command("bb")], 9, "aaaa"),
            // the first ones go first
            (
                vec![command("aa"), command("bb"), command("cc"), text("d")],
                13,
                "<aa>\n<bb>\nd",
            ),
            (vec![text("aa"), text("b")], 3, "aa"),
            (vec![text("aa"), text("b")], 4, "aa"),
            (vec![text("a"), text("bb")], 4, "a\n…"),
        ] {
            assert_eq!(
                assemble(&parts, budget, Count::Chars, &style),
                wanted,
                "{parts:?} in {budget}"
            );
        }
    }

    #[test]
    fn foreign_text_loses_what_could_deceive() {
        assert_eq!(clean("a\r\nb\u{1b}[31m\u{202e}c\td", false), r"a b\u001b[31m\u202ec d");
        assert_eq!(clean("a\r\nb", true), "a\nb");
    }

    #[test]
    fn templates_are_filled_and_slips_found() {
        let event = event();
        assert_eq!(
            fill("[{host}] {title}: {{{kind}}} {affected} {open", &event),
            format!(
                "[gw] {}: {{login_ended}} clawdbot/main, clawdbot/<b>&*x* {{open",
                event.title
            )
        );
        assert_eq!(unknown_placeholder("{title} {{x}} { host }"), None);
        assert_eq!(unknown_placeholder("{titel}"), Some("titel".into()));
    }
}
