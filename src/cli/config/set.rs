//! `config set`.

use super::super::ask::Asker;
use super::super::{Fatal, Setup, channel, say, unknown, usage};
use crate::config::Config;
use crate::config::edit::{self, At, Draft, Given, Key, Setting, Takes};
use crate::edge::host::Host;
use crate::report::Exit;
use crate::sources::claude;
use clap::Args;

#[derive(Args, Debug)]
pub(in super::super) struct SetArgs {
    /// The key: `alerts.grace`, `renew.mode`, `channel.NAME.min_severity`, `login.ID.agents`, `remote.NAME.every`
    key: String,
    /// Its value; a list with commas; `-` reads a secret
    value: String,
}

/// A key, where it stands.
struct Found<'k> {
    at: At<'k>,
    /// Whose secret it is.
    name: &'k str,
    key: &'k str,
    keys: Vec<Key>,
}

pub(super) fn set(setup: &Setup, args: &SetArgs) -> Result<Exit, Fatal> {
    let mut draft = Draft::open(&setup.config_path, &setup.host)?;
    let found = find(&draft.config()?, &setup.host, &args.key)?;
    let known = found.keys.iter().find(|key| key.name == found.key);
    let of_secret = |end: &str| {
        let base = found.key.strip_suffix(end);
        let secret = |key: &Key| key.takes == Takes::Secret && Some(key.name.as_str()) == base;
        found.keys.iter().any(secret)
    };
    let takes = match known {
        Some(key) => key.takes,
        None if of_secret("_file") || of_secret("_env") => Takes::Text,
        None => {
            let names = found.keys.iter().map(|key| key.name.as_str());
            return Err(unknown("key there", found.key, names));
        }
    };
    // one that may be public can be kept as a secret too
    let takes = if args.value == "-" { Takes::Secret } else { takes };
    let given = match takes {
        Takes::Secret if args.value == "-" => {
            let prompt = format!("{} (not shown): ", args.key);
            Given::Secret(channel::typed(&mut Asker::default(), &prompt)?)
        }
        Takes::Secret => {
            return Err(usage(
                format!(
                    "`{}` is a secret: on the command line, others and the shell's history see it",
                    args.key
                ),
                format!(
                    "run `nolapse config set {} -`, which asks for it, or set `{}_file`",
                    args.key, args.key
                ),
            ));
        }
        Takes::List if found.key == "command" && !args.value.trim_start().starts_with('[') => {
            Given::Plain(toml_edit::Value::Array(args.value.split_whitespace().collect()))
        }
        takes => edit::value(takes, &args.value),
    };
    let setting = Setting {
        key: found.key.to_owned(),
        given,
    };
    draft.set(found.at, found.name, &setting)?;
    draft.config()?;
    let path = setup.host.tilde(&setup.config_path);
    if !draft.changed() {
        say(&format!("`{}` is that already in {path}; nothing changed\n", args.key))?;
        return Ok(Exit::Fine);
    }
    let wrote = draft.write()?;
    let mut out = channel::wrote_words(setup, &wrote);
    out.push_str(&format!("set `{}` in {path}\n", args.key));
    say(&out)?;
    Ok(Exit::Fine)
}

fn find<'k>(config: &Config, host: &Host, whole: &'k str) -> Result<Found<'k>, Fatal> {
    let usage = || {
        usage(
            format!("`{whole}` is not a key"),
            "write it as `alerts.grace` or `channel.NAME.min_severity`; all of them: `nolapse config init --stdout`",
        )
    };
    let (table, rest) = whole.split_once('.').ok_or_else(usage)?;
    let nth = |names: Vec<String>, what: &str| -> Result<(usize, &'k str, &'k str), Fatal> {
        let (name, key) = rest.rsplit_once('.').ok_or_else(usage)?;
        let at = names.iter().position(|known| known == name);
        at.map(|at| (at, name, key))
            .ok_or_else(|| unknown(what, name, names.iter().map(String::as_str)))
    };
    let (at, of_type, name, key) = match table {
        "channel" => {
            let names = config.channels.iter().map(|channel| channel.name.clone()).collect();
            let (n, name, key) = nth(names, "channel in the configuration")?;
            (At::Nth("channel", n), Some(config.channels[n].kind.word()), name, key)
        }
        "login" => {
            let places = claude::places(host, &config.logins);
            let id = |dir: &std::path::Path| {
                places
                    .iter()
                    .find(|place| place.dir == dir)
                    .map(|place| place.id.clone())
            };
            let names = config
                .logins
                .iter()
                .map(|login| login.name.clone().or_else(|| id(&login.dir)).unwrap_or_default())
                .collect();
            let (n, name, key) = nth(names, "login in the configuration")?;
            (At::Nth("login", n), None, name, key)
        }
        "remote" => {
            let names = config.remotes.iter().map(|remote| remote.name.clone()).collect();
            let (n, name, key) = nth(names, "remote in the configuration")?;
            (At::Nth("remote", n), None, name, key)
        }
        table => (At::Table(table), None, table, rest),
    };
    let keys = edit::keys(table, of_type);
    match keys.is_empty() {
        true => Err(usage()),
        false => Ok(Found { at, name, key, keys }),
    }
}
