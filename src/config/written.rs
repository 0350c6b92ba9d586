//! What is written from the table of keys: the example, and the reference for the documentation.

use crate::rules::keys::{Key, Kind, SECTIONS, Section, Without};
use crate::table::duration_text;
use std::fmt::Write;

/// No line of the example is longer.
const WIDTH: usize = 120;

const PREAMBLE: &str = "\
# nolapse: an example configuration. Every key is optional, except those that a channel's type needs.
# A line `#key = value` is a setting with its default (or an example, where it is required or says what holds if not given): take
# the `#` away to set it.
# Durations are a number and a unit: \"90s\", \"30m\", \"6h\", \"7d\". `~` is the home; other relative paths start at this file.
# A secret can be given in three ways: `KEY_file` names a file of mode 600 whose only line it is, `KEY_env` names a variable
# of the environment, and `KEY` holds it here, which is refused unless this file itself has mode 600.
";

/// Every key with its meaning, commented out.
pub(crate) fn example() -> String {
    let mut out = String::from(PREAMBLE);
    for section in SECTIONS {
        out.push('\n');
        comment(&mut out, section.about);
        let _ = writeln!(out, "#{}", heading(section));
        if let Some(word) = section.of_type {
            let _ = writeln!(out, "#type = \"{word}\"");
        }
        for key in section.keys {
            comment(&mut out, &key.about_all());
            if let Some(ways) = key.other_ways() {
                let _ = writeln!(out, "# also {ways}");
            }
            let _ = writeln!(out, "#{} = {}", key.first_way(), key.value());
        }
    }
    out
}

pub(super) fn heading(section: &Section) -> String {
    match section.repeated {
        true => format!("[[{}]]", section.name),
        false => format!("[{}]", section.name),
    }
}

fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

impl Key {
    /// The default, or the example.
    pub(super) fn value(&self) -> &'static str {
        match self.without {
            Without::Needed(value) | Without::Default(value) | Without::Else(_, value) => value,
        }
    }

    /// The key that the example sets: a secret's file.
    pub(super) fn first_way(&self) -> String {
        match self.kind {
            Kind::Secret(_) | Kind::SecretUrl => format!("{}_file", self.name),
            _ => self.name.to_owned(),
        }
    }

    fn other_ways(&self) -> Option<String> {
        match self.kind {
            Kind::Secret(_) | Kind::SecretUrl => Some(format!("{0} or {0}_env", self.name)),
            Kind::Url => Some(format!("{0}_file or {0}_env", self.name)),
            _ => None,
        }
    }

    /// `1s to 2m`, where it is bounded.
    pub(super) fn bounds(&self) -> Option<String> {
        match self.kind {
            Kind::Span(least, most) => Some(format!("{} to {}", duration_text(least), duration_text(most))),
            Kind::Spans(least, most) => Some(format!("each {} to {}", duration_text(least), duration_text(most))),
            Kind::Number(least, i64::MAX) => Some(format!("{least} or more")),
            Kind::Number(least, most) => Some(format!("{least} to {most}")),
            _ => None,
        }
    }

    /// What it means, its bounds, and what holds without it.
    pub(super) fn about_all(&self) -> String {
        let mut text = self.about.to_owned();
        if let Some(bounds) = self.bounds() {
            let _ = write!(text, ", {bounds}");
        }
        match self.without {
            Without::Needed(_) => text.push_str(" (required)"),
            Without::Else(words, _) => {
                let _ = write!(text, "; {words} if not given");
            }
            Without::Default(_) => {}
        }
        text
    }
}

const ABOUT: &str = "\
<!-- printed by `nolapse config reference` -->
# The configuration, key by key

A TOML file, found where `nolapse config path` says. Every key is optional, except those that a table needs.
[contrib/config.example.toml](../contrib/config.example.toml) has the same as a file to fill in (`nolapse config init`),
`nolapse config schema` for editors, and `nolapse config show` prints what is in force and where each value comes from.

Durations are a number and a unit: `90s`, `30m`, `6h`, `7d`. `~` is the home; other relative paths start at the file's directory.

A key marked *secret* can be given in three ways: `KEY_file` names a file of mode 600 whose only line it is, `KEY_env` names a
variable of the environment, and `KEY` holds it, which is refused unless the configuration itself has mode 600. One marked *URL*
likewise, and may stand in any file as long as neither a password nor a query is in it.
";

/// Every key with its default and meaning, as Markdown.
pub(crate) fn reference() -> String {
    let mut out = String::from(ABOUT);
    for section in SECTIONS {
        let title = match section.of_type {
            Some(word) => format!("`type = \"{word}\"`"),
            None => format!("`{}`", heading(section)),
        };
        let level = if section.of_type.is_some() { "###" } else { "##" };
        let _ = write!(
            out,
            "\n{level} {title}\n\n{}\n",
            section.about.replace("[[channel]]", "`[[channel]]`")
        );
        if section.keys.is_empty() {
            continue;
        }
        out.push_str("\n| key | without it | meaning |\n| --- | --- | --- |\n");
        for key in section.keys {
            row(&mut out, section, key);
        }
    }
    out
}

fn row(out: &mut String, section: &Section, key: &Key) {
    let without = match key.without {
        Without::Needed(_) => "needed".to_owned(),
        Without::Default(value) => format!("`{value}`"),
        Without::Else(words, _) => words.to_owned(),
    };
    let mark = match key.kind {
        Kind::Secret(_) | Kind::SecretUrl => " (*secret*)",
        Kind::Url => " (*URL*)",
        _ => "",
    };
    let bounds = key.bounds().map_or(String::new(), |bounds| format!(", {bounds}"));
    let name = match section.of_type {
        Some(_) => key.name.to_owned(),
        None => format!("{}.{}", section.name, key.name),
    };
    let about = key.about.replace('|', "\\|");
    let _ = writeln!(out, "| `{name}` | {without} | {about}{bounds}{mark} |");
}
