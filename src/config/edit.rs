//! Changes to the configuration file: comments and order stay, and nothing is written that the strict reader would refuse.
//!
//! A [`Draft`] is changed in memory, where secrets stand in it, so that a channel can be tried before anything is written.
//! [`Draft::write`] puts each secret into a file of mode 600 of its own, names that file in its place, and replaces the
//! configuration in one step. What is cut short before leaves the configuration as it was.

use super::{Config, parse};
use crate::edge::files::{self, ReadError, Snapshot};
use crate::edge::host::Host;
use crate::edge::replace::{self, NotPut, Over};
use crate::rules::keys::{self as table, Kind, SECTIONS, Without};
use crate::secret::Secret;
use crate::table::{ConfigError, Source};
use crate::types::Meta;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item, Table, Value};

/// What a key takes, as far as a person's words have to be turned into TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Text in quotes: also spans, paths and words of a set.
    Text,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// A list of texts.
    List,
    /// A secret, which goes into a file of its own.
    Secret,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its name, without `_file`.
    pub(crate) name: String,
    /// What it takes.
    pub(crate) takes: Takes,
    /// Whether the table needs it.
    pub(crate) needed: bool,
}

/// The keys of a table; of `[[channel]]` those of one type. Empty where there is no such table or type.
pub(crate) fn keys(table: &str, of_type: Option<&str>) -> Vec<Key> {
    let known = |word: &str| word == "log" || SECTIONS.iter().any(|section| section.of_type == Some(word));
    if !of_type.is_none_or(known) {
        return Vec::new();
    }
    let key = |key: &table::Key| Key {
        name: key.name.into(),
        needed: matches!(key.without, Without::Needed(_)),
        takes: match key.kind {
            Kind::Bool => Takes::Flag,
            Kind::Number(..) => Takes::Number,
            Kind::Texts | Kind::Spans(..) => Takes::List,
            Kind::Secret(_) | Kind::SecretUrl => Takes::Secret,
            Kind::Text | Kind::Path | Kind::Program | Kind::Words(_) | Kind::Span(..) | Kind::Url => Takes::Text,
        },
    };
    table::of(table, of_type).into_iter().map(key).collect()
}

/// What a key is to hold.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// A value in the file.
    Plain(Value),
    /// A secret, kept in a file of its own.
    Secret(Secret),
}

/// A key with what it is to hold.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The key, without `_file`.
    pub(crate) key: String,
    /// Its value.
    pub(crate) given: Given,
}

/// A person's words as the value of a key that takes this. What does not fit stays text: the strict reader says what is wrong.
pub(crate) fn value(takes: Takes, text: &str) -> Given {
    let words = |list: Vec<&str>| Value::Array(list.into_iter().filter(|word| !word.is_empty()).collect());
    Given::Plain(match takes {
        Takes::Secret => return Given::Secret(Secret::new(text)),
        Takes::Flag => text.parse::<bool>().map_or_else(|_| text.into(), Value::from),
        Takes::Number => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        Takes::List if text.trim_start().starts_with('[') => text.parse::<Value>().unwrap_or_else(|_| text.into()),
        Takes::List => words(text.split(',').map(str::trim).collect()),
        Takes::Text => text.into(),
    })
}

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At<'a> {
    /// `[name]`.
    Table(&'a str),
    /// The nth `[[name]]`, from 0.
    Nth(&'a str, usize),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrote {
    /// Files that hold a secret each.
    pub(crate) secrets: Vec<PathBuf>,
    /// Files of secrets that nothing names any more, removed.
    pub(crate) removed: Vec<PathBuf>,
}

/// The configuration after the change.
#[derive(Clone)]
pub(crate) struct Draft<'a> {
    host: &'a Host,
    path: PathBuf,
    before: Option<Snapshot>,
    /// The text that will be written.
    text: String,
    /// The same with the secrets themselves in it.
    trial: String,
    secrets: Vec<(PathBuf, Secret)>,
    removed: Vec<PathBuf>,
}

impl<'a> Draft<'a> {
    /// Starts from the file as it is, or from nothing if there is no file.
    ///
    /// # Errors
    /// It cannot be read, or others can write it.
    pub(crate) fn open(path: &Path, host: &'a Host) -> Result<Self, ConfigError> {
        let fail = |message: &str, hint| ConfigError::of_file(path, message, hint);
        let before = match files::read(path) {
            Ok(snapshot) => Some(snapshot),
            Err(ReadError::Absent) => None,
            Err(error) => return Err(fail(&error.to_string(), "make it a readable file")),
        };
        if before.is_some() {
            super::trusted(path, host)?;
        }
        let bytes = before.as_ref().map_or(&[][..], |before| &before.bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| fail("not UTF-8 text", "save it as UTF-8"))?;
        let draft = Self {
            host,
            path: path.to_owned(),
            text: text.to_owned(),
            trial: text.to_owned(),
            before,
            secrets: Vec::new(),
            removed: Vec::new(),
        };
        // report what is wrong already before asking for anything
        draft.config()?;
        Ok(draft)
    }

    /// Whether anything needs to be written.
    pub(crate) fn changed(&self) -> bool {
        self.before.as_ref().map_or(&[][..], |before| &before.bytes) != self.text.as_bytes()
    }

    /// The policy that it would be.
    ///
    /// # Errors
    /// What the strict reader refuses.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        self.read(&self.trial, true)
    }

    fn read(&self, text: &str, private: bool) -> Result<Config, ConfigError> {
        parse(&Source::new(&self.path, text, private, self.host))
    }

    /// Adds a table at the end: `[[channel]]`, `[[login]]` or `[name]`. `name` begins the names of its secrets' files.
    pub(crate) fn append(&mut self, heading: &str, name: &str, settings: &[Setting]) {
        let (mut text, mut trial) = (format!("{heading}\n"), format!("{heading}\n"));
        for setting in settings {
            let line = |key: &str, value: &Value| format!("{} = {}\n", key, value.to_string().trim());
            match &setting.given {
                Given::Plain(value) => {
                    text.push_str(&line(&setting.key, value));
                    trial.push_str(&line(&setting.key, value));
                }
                Given::Secret(secret) => {
                    let file = self.secret_file(name, &setting.key, secret);
                    text.push_str(&line(&format!("{}_file", setting.key), &file.into()));
                    trial.push_str(&line(&setting.key, &secret.expose().into()));
                }
            }
        }
        for (whole, block) in [(&mut self.text, text), (&mut self.trial, trial)] {
            let gap = match whole.as_str() {
                "" => "",
                before if before.ends_with("\n\n") => "",
                before if before.ends_with('\n') => "\n",
                _ => "\n\n",
            };
            whole.push_str(gap);
            whole.push_str(&block);
        }
    }

    /// Chooses the file of a secret; how the configuration names it.
    fn secret_file(&mut self, name: &str, key: &str, secret: &Secret) -> String {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        };
        let base = format!("{name}-{key}").chars().map(plain).collect::<String>();
        let base = base.trim_start_matches('.').to_owned();
        let dir = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let taken = |path: &PathBuf| files::exists(path) || self.secrets.iter().any(|(other, _)| other == path);
        let names = std::iter::once(base.clone()).chain((2..).map(|n| format!("{base}-{n}")));
        let path = names
            .map(|name| dir.join(name))
            .find(|path| !taken(path))
            .unwrap_or_else(|| dir.join(&base));
        self.secrets.push((path.clone(), secret.clone()));
        self.host.tilde(&path)
    }

    /// Sets a key where it stands, or adds it to its table.
    ///
    /// # Errors
    /// The table is written in one line, where nothing can be added to it.
    pub(crate) fn set(&mut self, at: At<'_>, name: &str, setting: &Setting) -> Result<(), ConfigError> {
        let absent = |text: &str| match at {
            At::Table(table) => !text.parse::<DocumentMut>().is_ok_and(|doc| doc.contains_key(table)),
            At::Nth(..) => false,
        };
        if let At::Table(table) = at
            && absent(&self.text)
        {
            self.append(&format!("[{table}]"), name, std::slice::from_ref(setting));
            return Ok(());
        }
        let key = setting.key.as_str();
        let (text, trial) = match &setting.given {
            Given::Plain(value) => ((key.to_owned(), value.clone()), (key.to_owned(), value.clone())),
            Given::Secret(secret) => {
                let file = self.secret_file(name, key, secret);
                (
                    (format!("{key}_file"), file.into()),
                    (key.to_owned(), secret.expose().into()),
                )
            }
        };
        self.text = self.put(&self.text, at, key, text)?;
        self.trial = self.put(&self.trial, at, key, trial)?;
        Ok(())
    }

    fn put(&self, text: &str, at: At<'_>, key: &str, (name, value): (String, Value)) -> Result<String, ConfigError> {
        let inline = || {
            let what = format!("`{key}` belongs to a table that is written in one line");
            ConfigError::of_file(&self.path, what, "edit the file by hand")
        };
        let mut document: DocumentMut = text.parse().map_err(|_| inline())?;
        let table = table_at(&mut document, at).ok_or_else(inline)?;
        // one of the ways of a secret at a time
        for other in [key.to_owned(), format!("{key}_file"), format!("{key}_env")] {
            if other != name {
                table.remove(&other);
            }
        }
        match table.get_mut(&name).and_then(Item::as_value_mut) {
            Some(old) => {
                let decor = old.decor().clone();
                *old = value;
                *old.decor_mut() = decor;
            }
            None => {
                table.insert(&name, Item::Value(value));
            }
        }
        Ok(document.to_string())
    }

    /// Takes the nth `[[channel]]` out. Comments stay; files of its secrets that lie beside the configuration and that nothing
    /// else names go.
    ///
    /// # Errors
    /// The channels are written in one line.
    pub(crate) fn remove_channel(&mut self, nth: usize) -> Result<(), ConfigError> {
        let what = "the channels are written in one line";
        let inline = || ConfigError::of_file(&self.path, what, "edit the file by hand");
        let dir = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut document: DocumentMut = self.text.parse().map_err(|_| inline())?;
        let table = table_at(&mut document, At::Nth("channel", nth)).ok_or_else(inline)?;
        let own: Vec<String> = table
            .iter()
            .filter(|(key, _)| key.ends_with("_file") && *key != "ca_file")
            .filter_map(|(_, item)| item.as_str().map(str::to_owned))
            .collect();
        self.text = without_table(&self.text, nth).ok_or_else(inline)?;
        self.trial = without_table(&self.trial, nth).ok_or_else(inline)?;
        for name in own {
            let path = dir.join(crate::edge::host::expand_home(&name, &self.host.home));
            if path.parent() == Some(&dir) && !self.text.contains(&name) {
                self.removed.push(path);
            }
        }
        Ok(())
    }

    /// Writes the secrets' files, then the configuration in one step.
    ///
    /// # Errors
    /// The strict reader refuses it, the file was changed meanwhile, or what the system refuses; nothing has changed then.
    pub(crate) fn write(self) -> Result<Wrote, ConfigError> {
        let mut made = Vec::new();
        let written = self.carry_out(&mut made);
        if written.is_err() {
            for path in &made {
                let _ = files::remove(path);
            }
        }
        written?;
        let mut wrote = Wrote {
            secrets: made,
            removed: Vec::new(),
        };
        for path in self.removed {
            if files::is_file(&path) && !files::is_symlink(&path) && files::remove(&path).is_ok() {
                wrote.removed.push(path);
            }
        }
        Ok(wrote)
    }

    fn carry_out(&self, made: &mut Vec<PathBuf>) -> Result<(), ConfigError> {
        let io = |path: &Path, error: &std::io::Error| {
            let hint = "make it writable, or name another with `--config`";
            ConfigError::of_file(path, files::io_words(error), hint)
        };
        self.config()?;
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        files::make_dirs(dir).map_err(|error| io(dir, &error))?;
        for (path, secret) in &self.secrets {
            files::create_new(path, format!("{}\n", secret.expose()).as_bytes()).map_err(|error| io(path, &error))?;
            made.push(path.clone());
        }
        let mode = self.before.as_ref().map_or(0o600, |before| before.meta.mode);
        self.read(&self.text, mode & 0o077 == 0)?;
        let keep: Option<&Meta> = self.before.as_ref().map(|before| &before.meta);
        let over = match &self.before {
            Some(before) => Over::Content(&before.bytes),
            None => Over::Absent,
        };
        let target = files::real_target(&self.path).map_err(|error| io(&self.path, &error))?;
        let staged = replace::stage(&target, keep).and_then(|mut staged| {
            staged.write(self.text.as_bytes())?;
            Ok(staged)
        });
        match staged.map_err(NotPut::Io).and_then(|staged| staged.put(over, &|| true)) {
            Ok(_) => Ok(()),
            Err(NotPut::Io(error)) => Err(io(&self.path, &error)),
            Err(_) => Err(ConfigError::of_file(
                &self.path,
                "it was changed meanwhile",
                "run this again",
            )),
        }
    }
}

fn table_at<'d>(document: &'d mut DocumentMut, at: At<'_>) -> Option<&'d mut Table> {
    match at {
        At::Table(name) => document.get_mut(name)?.as_table_mut(),
        At::Nth(name, nth) => document.get_mut(name)?.as_array_of_tables_mut()?.get_mut(nth),
    }
}

/// The text without the lines of the nth `[[channel]]`: from its heading to its last setting.
fn without_table(text: &str, nth: usize) -> Option<String> {
    let document = toml_edit::Document::parse(text).ok()?;
    let mut starts = Vec::new();
    for (_, item) in document.iter() {
        match item {
            Item::Table(table) => starts.extend(table.span().map(|span| span.start)),
            Item::ArrayOfTables(list) => {
                starts.extend(list.iter().filter_map(|table| Some(table.span()?.start)));
            }
            _ => {}
        }
    }
    let table = document.get("channel")?.as_array_of_tables()?.get(nth)?;
    let start = table.span()?.start;
    let from = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let next = starts.into_iter().filter(|other| *other > start).min();
    let end = next.map_or(text.len(), |at| text[..at].rfind('\n').map_or(0, |at| at + 1));
    // comments and blank lines after its last setting are the next one's
    let mut to = from;
    let mut at = from;
    let mut in_text = false;
    for line in text[from..end].split_inclusive('\n') {
        at += line.len();
        // a `#` at the beginning of a line inside a longer text is not a comment
        let comment = !in_text && (line.trim().is_empty() || line.trim_start().starts_with('#'));
        in_text ^= (line.matches("\"\"\"").count() + line.matches("'''").count()) % 2 == 1;
        if !comment {
            to = at;
        }
    }
    let (before, after) = (&text[..from], &text[to..]);
    // one gap is enough
    let after = match before.is_empty() || before.ends_with("\n\n") {
        true => after.trim_start_matches('\n'),
        false => after,
    };
    let whole = format!("{before}{after}");
    Some(match after.trim().is_empty() {
        true => whole.trim_end().to_owned() + if whole.trim().is_empty() { "" } else { "\n" },
        false => whole,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(home: &Path) -> Host {
        Host {
            home: home.to_owned(),
            env: Default::default(),
            cwd: home.to_owned(),
            name: "gw".into(),
            macos: false,
            own: vec!["nolapse".into()],
        }
    }

    fn plain(key: &str, takes: Takes, text: &str) -> Setting {
        Setting {
            key: key.into(),
            given: value(takes, text),
        }
    }

    const HAND_MADE: &str = "\
# mine
[alerts] # told early
grace = \"45m\" # long
# a thought between

# the first
[[channel]]
type = \"log\"
name = \"journal\"
body = \"\"\"
# no comment
\"\"\"

# the second
[[channel]]
type = \"desktop\" # at home

# the end
";

    #[test]
    fn what_is_set_leaves_every_comment_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let host = host(home.path());
        let path = home.path().join("config.toml");
        std::fs::write(&path, HAND_MADE).unwrap();
        let mut draft = Draft::open(&path, &host).unwrap();
        assert!(!draft.changed());
        draft
            .set(At::Table("alerts"), "alerts", &plain("grace", Takes::Text, "1h"))
            .unwrap();
        draft
            .set(
                At::Nth("channel", 1),
                "desktop",
                &plain("resolved", Takes::Flag, "false"),
            )
            .unwrap();
        draft
            .set(
                At::Table("sync"),
                "sync",
                &plain("exclude_agents", Takes::List, "a/*, b/c"),
            )
            .unwrap();
        draft.write().unwrap();
        let want = HAND_MADE.replace("45m", "1h").replace(
            "type = \"desktop\" # at home\n",
            "type = \"desktop\" # at home\nresolved = false\n",
        ) + "\n[sync]\nexclude_agents = [\"a/*\", \"b/c\"]\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
    }

    #[test]
    fn a_channel_is_taken_out_and_nothing_else() {
        let without = |nth| without_table(HAND_MADE, nth).unwrap();
        assert!(
            !without(0).contains("journal") && !without(0).contains("no comment"),
            "{}",
            without(0)
        );
        assert!(without(0).contains("# the first\n\n# the second\n[[channel]]\ntype = \"desktop\""));
        assert!(
            without(1).contains("journal") && !without(1).contains("desktop"),
            "{}",
            without(1)
        );
        assert!(without(1).ends_with("# the second\n\n# the end\n"), "{}", without(1));
        // the example is all comments
        let example = &super::super::written::example();
        let added = format!("{example}\n[[channel]]\ntype = \"log\"\n");
        assert_eq!(&without_table(&added, 0).unwrap(), example);
        assert_eq!(without_table("[[channel]]\ntype = \"log\"\n", 0).unwrap(), "");
    }

    #[test]
    fn a_secret_goes_into_a_file_of_its_own_and_what_is_refused_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let host = host(home.path());
        let dir = home.path().join("conf");
        let path = dir.join("config.toml");
        let add = |url: &str| {
            let mut draft = Draft::open(&path, &host).unwrap();
            let settings = [plain("type", Takes::Text, "slack"), plain("url", Takes::Secret, url)];
            draft.append("[[channel]]", "slack", &settings);
            draft.write()
        };
        // no URL
        let error = add("CANARY").unwrap_err();
        assert!(error.message.contains("not an http"), "{error}");
        assert!(!error.to_string().contains("CANARY"), "{error}");
        assert!(!dir.exists());
        let wrote = add("https://example.org/CANARY").unwrap();
        assert_eq!(wrote.secrets, [dir.join("slack-url")]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "[[channel]]\ntype = \"slack\"\nurl_file = \"~/conf/slack-url\"\n");
        for file in [&path, &dir.join("slack-url")] {
            assert_eq!(files::stat(file).unwrap().mode & 0o777, 0o600, "{}", file.display());
        }
        // a second of the same name is refused, and its secret with it
        assert!(add("https://example.org/other").is_err());
        assert_eq!(files::list(&dir), ["config.toml", "slack-url"]);
        let mut draft = Draft::open(&path, &host).unwrap();
        draft.remove_channel(0).unwrap();
        assert_eq!(draft.write().unwrap().removed, [dir.join("slack-url")]);
        assert_eq!(files::list(&dir), ["config.toml"]);
    }

    #[test]
    fn a_file_that_was_changed_meanwhile_is_not_replaced() {
        let home = tempfile::tempdir().unwrap();
        let host = host(home.path());
        let path = home.path().join("config.toml");
        let mut draft = Draft::open(&path, &host).unwrap();
        draft.append("[[channel]]", "log", &[plain("type", Takes::Text, "log")]);
        std::fs::write(&path, "# somebody else's\n").unwrap();
        assert!(draft.write().unwrap_err().message.contains("changed meanwhile"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "# somebody else's\n");
    }

    #[test]
    fn keys_know_what_they_take() {
        let takes = |table: &str, of_type: Option<&str>, name: &str| {
            let key = keys(table, of_type).into_iter().find(|key| key.name == name);
            key.map(|key| (key.takes, key.needed))
        };
        for (table, of_type, name, want) in [
            ("channel", Some("slack"), "url", Some((Takes::Secret, true))),
            ("channel", Some("ntfy"), "topic", Some((Takes::Secret, true))),
            ("channel", Some("ntfy"), "url", Some((Takes::Text, false))),
            ("channel", Some("ntfy"), "topic_file", None),
            ("channel", Some("email"), "to", Some((Takes::List, true))),
            ("channel", Some("email"), "ca_file", Some((Takes::Text, false))),
            ("channel", Some("email"), "port", Some((Takes::Number, false))),
            ("channel", Some("telegram"), "chat_id", Some((Takes::Text, true))),
            ("channel", Some("log"), "quiet_hours", Some((Takes::Text, false))),
            ("channel", Some("nonsense"), "url", None),
            ("renew", None, "always", Some((Takes::Flag, false))),
            ("alerts", None, "steps", Some((Takes::List, false))),
            ("login", None, "dir", Some((Takes::Text, true))),
            ("heartbeat", None, "url", Some((Takes::Secret, true))),
        ] {
            assert_eq!(takes(table, of_type, name), want, "{table} {of_type:?} {name}");
        }
    }
}
