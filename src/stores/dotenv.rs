//! `<state dir>/.env`, which the agents load into their environment: which variables it sets.
//!
//! Only the names leave this module for people to see; a value is asked for one at a time, where the agents' config names
//! it as `${NAME}` in a path. The form is dotenv's (npm `dotenv`, which the agents use): `NAME=value` lines, an optional
//! `export`, `#` comments, single, double or back quotes; quoted values may span lines; the last of several wins.

use crate::edge::files::{self, ReadError};
use crate::rules::shape;
use crate::secret::Secret;
use crate::types::{Flaw, Problem};
use std::collections::BTreeMap;
use std::path::Path;

/// The variables a `.env` file sets to more than white space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dotenv {
    values: BTreeMap<String, Secret>,
}

impl Dotenv {
    /// Reads the file; absent is empty, unreadable is empty and a problem.
    pub(crate) fn read(path: &Path) -> (Self, Option<Problem>) {
        match files::read(path) {
            Ok(snapshot) => (Self::parse(&String::from_utf8_lossy(&snapshot.bytes)), None),
            Err(ReadError::Absent) => (Self::default(), None),
            Err(error) => (
                Self::default(),
                Some(Problem::at(
                    "unreadable",
                    path,
                    format!("cannot read the agents' `.env`: {error}"),
                    "make it a small file that this user can read",
                )),
            ),
        }
    }

    /// Reads the text; lines that are no assignment are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        let mut rest = text.trim_start_matches('\u{feff}');
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            rest = after;
            let line = line.trim_start();
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let name = name.trim();
            let name = name.strip_prefix("export ").unwrap_or(name).trim();
            if !is_name(name) {
                continue;
            }
            let value = value.trim();
            let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'' | '`')) {
                Some(quote) => match value[1..].find(quote) {
                    Some(end) => value[1..=end].to_owned(),
                    // the closing quote is on a later line, or nowhere, and then the quote is part of the value
                    None => match rest.find(quote) {
                        Some(end) => {
                            let whole = format!("{}\n{}", &value[1..], &rest[..end]);
                            rest = rest[end..].split_once('\n').map_or("", |(_, after)| after);
                            whole
                        }
                        None => bare(value).to_owned(),
                    },
                },
                None => bare(value).to_owned(),
            };
            if value.trim().is_empty() {
                values.remove(name);
            } else {
                values.insert(name.to_owned(), Secret::new(value));
            }
        }
        Self { values }
    }

    /// The variables whose value serves nobody, and why.
    pub(crate) fn flaws(&self) -> Vec<(String, Flaw)> {
        let flaw =
            |(name, value): (&String, &Secret)| Some((name.clone(), shape::variable_flaw(name, value.expose())?));
        // of any other variable nobody knows what belongs there
        let secret = |name: &str| name.ends_with("_API_KEY") || name.ends_with("_TOKEN");
        self.values
            .iter()
            .filter(|(name, _)| secret(name))
            .filter_map(flaw)
            .collect()
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        self.values.keys().cloned().collect()
    }

    /// The value of one variable, for substitution only.
    pub(crate) fn get(&self, name: &str) -> Option<&Secret> {
        self.values.get(name)
    }
}

fn bare(value: &str) -> &str {
    value.split('#').next().unwrap_or("").trim_end()
}

/// The text with `name` set to `value`: in its first place where it is set, at the end where it is not. Every other line
/// stays as it is.
///
/// # Errors
/// Where dotenv would read the outcome otherwise, or another variable differently: the line is in a value of several lines.
pub(crate) fn set(text: &str, name: &str, value: &Secret) -> Result<String, String> {
    let line = format!("{name}={}", value.expose());
    let sets = |line: &str| {
        let before = line
            .trim_start_matches('\u{feff}')
            .split_once('=')
            .map(|(before, _)| before.trim());
        before.map(|before| before.strip_prefix("export ").unwrap_or(before).trim()) == Some(name)
    };
    let mut lines: Vec<&str> = Vec::new();
    let mut placed = false;
    for old in text.lines() {
        let value = old.split_once('=').map_or("", |(_, value)| value.trim());
        let open = |quote| value.starts_with(quote) && value.matches(quote).count() == 1;
        if sets(old) && ['"', '\'', '`'].into_iter().any(open) {
            return Err(format!(
                "`{name}` has a value of several lines there; take it out first"
            ));
        }
        match (sets(old), placed) {
            (false, _) => lines.push(old),
            (true, false) => {
                lines.push(&line);
                placed = true;
            }
            (true, true) => {}
        }
    }
    if !placed {
        lines.push(&line);
    }
    let patched = lines.join("\n") + "\n";
    let mut wanted = Dotenv::parse(text);
    wanted.values.insert(name.to_owned(), value.clone());
    match Dotenv::parse(&patched) == wanted {
        true => Ok(patched),
        false => Err(format!("it cannot be patched safely; add `{name}=…` to it yourself")),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_dotenv_reads_them() {
        for (text, name, value) in [
            ("A=1", "A", Some("1")),
            ("  export A = 1  # why", "A", Some("1")),
            ("A='x # y'", "A", Some("x # y")),
            ("A=\"x\"  # y", "A", Some("x")),
            ("A=`x`\r\nB=2\r\n", "A", Some("x")),
            ("A='x'\r\nB=2\r\n", "B", Some("2")),
            ("A=", "A", None),
            ("A=''", "A", None),
            ("A='  '", "A", None),
            ("A=1\nA=", "A", None),
            ("A=1\nA=2", "A", Some("2")),
            ("# A=1", "A", None),
            ("A", "A", None),
            ("=1", "", None),
            ("A B=1", "A B", None),
            ("\u{feff}A=1", "A", Some("1")),
            ("K=\"-----\nline\n-----\"\nA=1", "A", Some("1")),
            ("K='open\nA=1", "A", Some("1")),
            ("A=b=c", "A", Some("b=c")),
            ("ä=1\nA=ü", "A", Some("ü")),
        ] {
            assert_eq!(Dotenv::parse(text).get(name).map(Secret::expose), value, "{text}");
        }
    }

    #[test]
    fn a_value_is_set_and_all_else_stays() {
        let value = Secret::new("sk-ant-oat01-T");
        for (text, want) in [
            ("", Some("T=sk-ant-oat01-T\n")),
            ("A=1", Some("A=1\nT=sk-ant-oat01-T\n")),
            (
                "# c\nexport T = 'old' # x\nA=1\nT=2\n",
                Some("# c\nT=sk-ant-oat01-T\nA=1\n"),
            ),
            ("A='x\nT=in a value\ny'\n", None),
            ("T='old\nlines'\n", None),
        ] {
            assert_eq!(set(text, "T", &value).ok().as_deref(), want, "{text}");
        }
    }

    #[test]
    fn names_are_sorted_and_nothing_prints_a_value() {
        let env = Dotenv::parse("B=sk-CANARY\nA=2\nEMPTY=\n");
        assert_eq!(env.names(), ["A", "B"]);
        assert!(!format!("{env:?}").contains("CANARY"));
    }

    #[test]
    fn an_absent_file_is_empty_and_a_directory_is_a_problem() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Dotenv::read(&dir.path().join(".env")), (Dotenv::default(), None));
        assert_eq!(Dotenv::read(dir.path()).1.unwrap().kind, "unreadable");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "[ -~\n'\"`=#ü]{0,60}") {
            Dotenv::parse(&text);
        }
    }
}
