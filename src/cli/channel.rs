//! `channel add|list|remove|test`: who is notified, without an editor.

use super::ask::{Asker, Seen};
use super::{Fatal, Setup, alert, examples, print, say, unknown, usage};
use crate::config::edit::{self, Draft, Given, Setting, Takes, Wrote};
use crate::edge::random;
use crate::layout::one_line;
use crate::notify::{Channel, Endpoint};
use crate::report::Exit;
use crate::rules::keys::{self, Need};
use crate::rules::menu;
use crate::secret::Secret;
use clap::{Args, Subcommand};
use serde_json::json;
use std::fmt::Write;

#[derive(Subcommand, Debug)]
pub(super) enum ChannelCommand {
    /// Add a channel; asks for what it needs
    #[command(after_help = examples::CHANNEL_ADD)]
    Add(AddArgs),
    /// List the channels
    #[command(after_help = examples::CHANNEL_LIST)]
    List {
        /// One JSON object (nolapse.channels/1)
        #[arg(long)]
        json: bool,
    },
    /// Remove a channel and its secret files
    #[command(after_help = examples::CHANNEL_REMOVE)]
    Remove {
        /// The channel's name
        name: String,
    },
    /// Send a real message through a channel, as `alert test` does
    #[command(after_help = examples::CHANNEL_TEST)]
    Test(alert::TestArgs),
}

#[derive(Args, Debug)]
pub(super) struct AddArgs {
    #[arg(value_name = "TYPE[=VALUE]", help = types())]
    spec: String,
    /// Further keys; `KEY=-` reads a secret from stdin, KEY_file=PATH and KEY_env=NAME say where it is
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

fn types() -> String {
    let types: Vec<&str> = keys::OFFERS.iter().map(|offer| offer.word).collect();
    format!("The type, or TYPE=VALUE with its main value: {}", types.join(", "))
}

pub(super) fn channel(setup: &Setup, command: &ChannelCommand) -> Result<Exit, Fatal> {
    match command {
        ChannelCommand::Add(args) => add(setup, args),
        ChannelCommand::List { json } => list(setup, *json),
        ChannelCommand::Remove { name } => remove(setup, name),
        ChannelCommand::Test(args) => alert::test(&setup.ctx(None)?, args),
    }
}

/// A channel as a person named it.
pub(super) struct Asked {
    /// The word of `type`.
    pub(crate) word: String,
    /// Each key with its text.
    pub(crate) pairs: Vec<(String, String)>,
}

/// `TYPE[=VALUE]` and further `KEY=VALUE`s.
pub(super) fn asked(spec: &str, more: &[String]) -> Result<Asked, Fatal> {
    let (word, mut pairs) = menu::take_apart(spec, &names);
    if keys::offer(&word).is_none() {
        return Err(unknown(
            "type of channel",
            &word,
            keys::OFFERS.iter().map(|offer| offer.word),
        ));
    }
    for one in more {
        let Some((key, text)) = one.split_once('=') else {
            return Err(usage(
                format!(
                    "`{}` is no KEY=VALUE",
                    one_line(one.split(['/', ':']).next().unwrap_or_default())
                ),
                format!("the keys of `{word}` are {}", names(&word).join(", ")),
            ));
        };
        pairs.push((key.trim().to_owned(), text.to_owned()));
    }
    let known = names(&word);
    if let Some((key, _)) = pairs.iter().find(|(key, _)| !known.contains(key)) {
        let what = format!("key of `{word}`");
        return Err(unknown(&what, key, known.iter().map(String::as_str)));
    }
    Ok(Asked { word, pairs })
}

/// The keys that a type takes, in all their ways.
fn names(word: &str) -> Vec<String> {
    let keys = edit::keys("channel", Some(word));
    let ways = |key: edit::Key| match key.takes {
        Takes::Secret => vec![format!("{}_file", key.name), format!("{}_env", key.name), key.name],
        _ => vec![key.name],
    };
    keys.into_iter().flat_map(ways).filter(|key| key != "type").collect()
}

/// Asks for what is missing, and adds the channel to the draft; its name, and what to say about it.
pub(super) fn put(draft: &mut Draft<'_>, asked: Asked, asker: &mut Asker) -> Result<(String, Vec<String>), Fatal> {
    let Asked { word, pairs } = asked;
    let mut settings = vec![Setting {
        key: "type".into(),
        given: edit::value(Takes::Text, &word),
    }];
    let taken: Vec<String> = draft
        .config()?
        .channels
        .into_iter()
        .map(|channel| channel.name)
        .collect();
    let name = match pairs.iter().find(|(key, _)| key == "name") {
        Some((_, name)) => name.clone(),
        None => free_name(&word, &taken),
    };
    if name != word || pairs.iter().any(|(key, _)| key == "name") {
        settings.push(Setting {
            key: "name".into(),
            given: edit::value(Takes::Text, &name),
        });
    }
    let mut new = New {
        word: &word,
        keys: edit::keys("channel", Some(&word)),
        asker,
        said: Vec::new(),
    };
    for (key, text) in pairs.iter().filter(|(key, _)| key != "name") {
        settings.push(setting(&mut new, key, text)?);
    }
    missing(&mut new, &pairs, &mut settings)?;
    let said = new.said;
    draft.append("[[channel]]", &name, &settings);
    draft.config()?;
    Ok((name, said))
}

/// A channel in the making: what its type takes, whom to ask, and what to say when it is there.
struct New<'a> {
    word: &'a str,
    keys: Vec<edit::Key>,
    asker: &'a mut Asker,
    said: Vec<String>,
}

impl New<'_> {
    fn takes(&self, key: &str) -> Option<Takes> {
        self.keys
            .iter()
            .find(|known| known.name == key)
            .map(|known| known.takes)
    }
}

fn free_name(word: &str, taken: &[String]) -> String {
    let names = std::iter::once(word.to_owned()).chain((2..).map(|n| format!("{word}-{n}")));
    names
        .into_iter()
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| word.to_owned())
}

fn setting(new: &mut New<'_>, key: &str, text: &str) -> Result<Setting, Fatal> {
    let takes = new.takes(key);
    let given = match takes {
        Some(Takes::Secret) if text == "-" => Given::Secret(typed(new.asker, &format!("{} {key}: ", new.word))?),
        Some(Takes::Secret) => {
            if !matches!(key, "url" | "topic") {
                return Err(usage(
                    format!("`{key}` is a secret: on the command line, others and the shell's history see it"),
                    format!("leave it out to be asked for it, or use `{key}=-` (stdin) or `{key}_file=PATH`"),
                ));
            }
            new.said.push(format!(
                "note: `{key}` was on the command line; it is in your shell's history (next time `{key}=-`)"
            ));
            edit::value(Takes::Secret, text)
        }
        Some(Takes::List) if key == "command" && !text.trim_start().starts_with('[') => {
            Given::Plain(toml_edit::Value::Array(text.split_whitespace().collect()))
        }
        takes => edit::value(takes.unwrap_or(Takes::Text), text),
    };
    Ok(Setting {
        key: key.to_owned(),
        given,
    })
}

/// A secret, typed unseen or read from a pipe.
pub(super) fn typed(asker: &mut Asker, prompt: &str) -> Result<Secret, Fatal> {
    let prompt = if Asker::somebody() { prompt } else { "" };
    asker.line(prompt, Seen::No)
}

/// Asks for the keys that the type needs and that were not given.
fn missing(new: &mut New<'_>, pairs: &[(String, String)], settings: &mut Vec<Setting>) -> Result<(), Fatal> {
    let word = new.word;
    let Some(offer) = keys::offer(word) else { return Ok(()) };
    let given = |key: &str| {
        let ways = [key.to_owned(), format!("{key}_file"), format!("{key}_env")];
        pairs.iter().any(|(given, _)| ways.contains(given))
    };
    let lacks: Vec<&keys::Ask> = offer.asks.iter().filter(|ask| !given(ask.key)).collect();
    // a topic can be made up
    let made = |key: &str| offer.asks.iter().any(|ask| ask.key == key && ask.need == Need::Made);
    let needed: Vec<&str> = new
        .keys
        .iter()
        .filter(|key| key.needed && key.name != "type" && !given(&key.name) && !made(&key.name))
        .map(|key| key.name.as_str())
        .collect();
    if !Asker::somebody() && !needed.is_empty() {
        return Err(usage(
            format!("a channel of type `{word}` needs {}", needed.join(" and ")),
            format!("give them: `nolapse channel add {word} {}=…`", needed.join("=… ")),
        ));
    }
    // what was all given is not asked about again
    if needed.is_empty() && !lacks.iter().any(|ask| ask.need == Need::Made) {
        return Ok(());
    }
    if Asker::somebody() && !offer.from.is_empty() {
        say(&format!("{word}: {}\n", offer.from))?;
    }
    for ask in lacks {
        let takes = match ask.key {
            // a password is one wherever it is asked for
            "password" => Takes::Secret,
            key => new.takes(key).unwrap_or(Takes::Text),
        };
        let answer = answer(ask, takes, new.asker)?;
        let text = match (answer.expose(), ask.need) {
            ("", Need::MayBeEmpty) => continue,
            ("", _) => {
                let made = random::word().ok_or_else(|| std::io::Error::other("the system has no random numbers"))?;
                let topic = format!("nolapse-{made}");
                new.said.push(format!(
                    "topic: {topic}\nSubscribe to it in the ntfy app, or at https://ntfy.sh/{topic}"
                ));
                topic
            }
            (text, _) => text.to_owned(),
        };
        let given = match (takes, ask.key) {
            (Takes::List, "command") => Given::Plain(toml_edit::Value::Array(text.split_whitespace().collect())),
            _ => edit::value(takes, &text),
        };
        settings.push(Setting {
            key: ask.key.into(),
            given,
        });
    }
    Ok(())
}

fn answer(ask: &keys::Ask, takes: Takes, asker: &mut Asker) -> Result<Secret, Fatal> {
    if !Asker::somebody() {
        return Ok(Secret::new(""));
    }
    let seen = match takes {
        Takes::Secret => Seen::No,
        _ => Seen::Yes,
    };
    let unseen = if seen == Seen::No { " (not shown)" } else { "" };
    loop {
        let answer = asker.line(&format!("{}{unseen}: ", ask.words), seen)?;
        if !answer.is_empty() || ask.need != Need::Needed {
            return Ok(answer);
        }
        say("This is needed; ^C ends without changing anything.\n")?;
    }
}

fn add(setup: &Setup, args: &AddArgs) -> Result<Exit, Fatal> {
    let mut draft = Draft::open(&setup.config_path, &setup.host)?;
    let first = draft.config()?.channels.is_empty();
    let mut asker = Asker::default();
    let (name, said) = put(&mut draft, asked(&args.spec, &args.settings)?, &mut asker)?;
    let wrote = draft.write()?;
    drop(asker);
    let mut out = String::new();
    for line in said {
        let _ = writeln!(out, "{line}");
    }
    out.push_str(&wrote_words(setup, &wrote));
    let _ = writeln!(
        out,
        "added channel `{}` to {}",
        one_line(&name),
        setup.host.tilde(&setup.config_path)
    );
    let stood_in = crate::notify::default_channels(&setup.host);
    if let Some(channel) = stood_in.first()
        && first
        && !matches!(channel.kind.word(), "log")
        && channel.name != name
    {
        let _ = writeln!(
            out,
            "note: `{0}` was used only while no channel was configured; to keep it:\n  nolapse channel add {0}",
            channel.name
        );
    }
    let _ = writeln!(
        out,
        "next: send a test\n  nolapse channel test {}",
        crate::rules::wording::quote(&name)
    );
    say(&out)?;
    Ok(Exit::Fine)
}

/// What was written beside the configuration, a line each.
pub(super) fn wrote_words(setup: &Setup, wrote: &Wrote) -> String {
    let mut out = String::new();
    for path in &wrote.secrets {
        let _ = writeln!(out, "wrote {} (mode 600)", setup.host.tilde(path));
    }
    for path in &wrote.removed {
        let _ = writeln!(out, "removed {}", setup.host.tilde(path));
    }
    out
}

fn list(setup: &Setup, json: bool) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let configured = !ctx.config.channels.is_empty();
    let channels = ctx.channels();
    if json {
        let one = |channel: &Channel| {
            json!({
                "name": channel.name, "type": channel.kind.word(), "min_severity": channel.min_severity.word(),
                "to": to(channel), "configured": configured,
            })
        };
        let all: Vec<_> = channels.iter().map(one).collect();
        print(&format!(
            "{}\n",
            json!({"schema": "nolapse.channels/1", "channels": all})
        ))?;
        return Ok(Exit::Fine);
    }
    let mut out = String::new();
    let width = setup.style().width;
    for channel in &channels {
        let name = one_line(&channel.name);
        let kind = channel.kind.word();
        let what = if name == kind {
            String::new()
        } else {
            format!(" ({kind})")
        };
        let to = to(channel).map_or(String::new(), |to| format!(", to {}", one_line(&to)));
        let line = format!(
            "{name}{what}{to}: {} and worse{}",
            channel.min_severity.word(),
            if configured {
                ""
            } else {
                "; used while no channel is configured"
            }
        );
        let _ = writeln!(out, "{}", crate::layout::hang(&line, 2, width));
    }
    say(&out)?;
    Ok(Exit::Fine)
}

/// Where a channel's messages go, as far as it is no secret.
pub(super) fn to(channel: &Channel) -> Option<String> {
    match channel.kind.endpoint()? {
        Endpoint::Host { name, .. } => Some(name),
        Endpoint::Program(program) => Some(program),
        Endpoint::Log | Endpoint::Desktop | Endpoint::Termux => None,
    }
}

fn remove(setup: &Setup, name: &str) -> Result<Exit, Fatal> {
    let mut draft = Draft::open(&setup.config_path, &setup.host)?;
    let channels = draft.config()?.channels;
    let Some(nth) = channels.iter().position(|channel| channel.name == name) else {
        return Err(unknown(
            "channel",
            name,
            channels.iter().map(|channel| channel.name.as_str()),
        ));
    };
    draft.remove_channel(nth)?;
    draft.config()?;
    let wrote = draft.write()?;
    let mut out = wrote_words(setup, &wrote);
    let _ = writeln!(
        out,
        "removed channel `{}` from {}",
        one_line(name),
        setup.host.tilde(&setup.config_path)
    );
    if channels.len() == 1 {
        let left = crate::notify::default_channels(&setup.host);
        let _ = writeln!(
            out,
            "note: no channel is configured now; alerts go to `{}`",
            left.first().map_or("log", |channel| channel.name.as_str())
        );
    }
    say(&out)?;
    Ok(Exit::Fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_offers_every_type_and_asks_for_all_that_it_needs() {
        let types = keys::SECTIONS.iter().filter_map(|section| section.of_type);
        let mut types: Vec<&str> = types.chain(["log"]).collect();
        types.sort_unstable();
        let mut offered: Vec<&str> = keys::OFFERS.iter().map(|offer| offer.word).collect();
        offered.sort_unstable();
        assert_eq!(offered, types);
        for offer in keys::OFFERS {
            let keys = edit::keys("channel", Some(offer.word));
            for key in keys.iter().filter(|key| key.needed && key.name != "type") {
                let ask = offer.asks.iter().find(|ask| ask.key == key.name);
                let needs = ask.is_some_and(|ask| ask.need != Need::MayBeEmpty);
                assert!(needs, "{} lacks {}", offer.word, key.name);
            }
            for ask in offer.asks {
                assert!(keys.iter().any(|key| key.name == ask.key), "{} {}", offer.word, ask.key);
            }
        }
    }
}
