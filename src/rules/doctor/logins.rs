//! Claude Code's logins: what is wrong with them beyond their dates.

use super::super::wording::{self, quote};
use super::judged::alerted;
use super::{Facts, Finding, Group, Level, Spot, counted, join};
use crate::cause::Cause;
use crate::rules::login::Shadow;

/// A login beside its health.
#[derive(Clone, Debug)]
pub(crate) struct LoginFact {
    /// Its id.
    pub(crate) id: String,
    /// Its file.
    pub(crate) file: Spot,
    /// Its directory.
    pub(crate) dir: Spot,
    /// What goes before it.
    pub(crate) shadowed_by: Vec<Shadow>,
    /// That is a token whose end is known and ahead.
    pub(crate) shadow_known: bool,
    /// It has ended, or nobody is signed in.
    pub(crate) ended: bool,
    /// A refresh was begun and never saved, and its access token is over.
    pub(crate) abandoned: bool,
    /// Whose, where a record says it.
    pub(crate) abandoned_by: Option<u32>,
    /// It could be renewed, and its `expiresAt` is `0` or none at all.
    pub(crate) no_end: Option<&'static str>,
    /// What the file is a link to.
    pub(crate) link: Option<Spot>,
    /// What it was a link to and no longer is, where that holds an older token of the same login.
    pub(crate) left_behind: Option<Spot>,
    /// Why nothing can be saved in its directory.
    pub(crate) not_writable: Option<String>,
    /// Others can write its directory; its mode.
    pub(crate) open: Option<u32>,
}

/// Logins, watched and not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logins {
    /// Those that are watched.
    pub(crate) all: Vec<LoginFact>,
    /// Directories that hold a login and are not watched.
    pub(crate) unwatched: Vec<Spot>,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::new();
    for login in &facts.logins.all {
        let alerted = alerted(facts, &Cause::Login(login.id.clone()));
        found.extend(shadowed(login));
        found.extend(abandoned(login).filter(|_| !alerted));
        found.extend(no_end(login));
        found.extend(linked(login));
        found.extend(left_behind(login));
        found.extend(not_writable(login));
        found.extend(open(login));
    }
    found.extend(facts.logins.unwatched.iter().map(unwatched));
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    let cli = match &facts.running.cli {
        Some(Ok(version)) => format!(", renewed by `claude` {version}"),
        _ => String::new(),
    };
    Some(format!(
        "{}{cli} (not checked with the server)",
        counted(facts.logins.all.len(), "login")
    ))
}

fn sign_in(login: &LoginFact) -> String {
    wording::sign_in(Some(&login.dir.shown))
}

fn finding(kind: &str, level: Level, what: String, why: &str) -> Finding {
    Finding::new(kind, Group::Logins, level, what, why)
}

fn shadowed(login: &LoginFact) -> Option<Finding> {
    if login.shadowed_by.is_empty() {
        return None;
    }
    let (settings, env): (Vec<_>, Vec<_>) = login.shadowed_by.iter().partition(|shadow| shadow.file.is_some());
    let [settings, env] = [settings, env].map(|shadows| shadows.iter().map(ToString::to_string).collect::<Vec<_>>());
    let mut places = Vec::new();
    if !env.is_empty() {
        places.push(format!("{} in the environment of this command", join(&env)));
    }
    if !settings.is_empty() {
        places.push(join(&settings));
    }
    let take = if login.shadowed_by.len() == 1 { "takes" } else { "take" };
    let found = finding(
        "shadowed_by_env",
        if login.shadow_known { Level::Note } else { Level::Warning },
        format!("{} {take} precedence over the login `{}`", places.join(" and "), login.id),
        "while that is set, Claude Code neither renews the login nor falls back to it: when it expires, work stops although the login is fine",
    )
    .at(&login.file.path);
    Some(match settings.is_empty() {
        // the only one that works may be what goes before it
        _ if login.ended => found.advice("nothing to do as long as that works; otherwise sign in again first"),
        true => found.run(format!("unset {}", env.join(" "))),
        false => found.advice(format!(
            "fine if intended; otherwise remove it from the settings (`settings.json` in `{}`)",
            login.dir.shown
        )),
    })
}

fn abandoned(login: &LoginFact) -> Option<Finding> {
    let (id, by) = (&login.id, login.abandoned_by);
    let by = by.map_or(String::new(), |pid| format!(" by process {pid}"));
    login.abandoned.then(|| {
        finding(
            "abandoned_refresh",
            Level::Warning,
            format!("a renewal of the login `{id}` was begun{by} and never saved, and its access token has expired"),
            "its single-use token is probably used up, so nolapse does not send it again (anthropics/claude-code#95822)",
        )
        .at(&login.file.path)
        .run(sign_in(login))
    })
}

fn no_end(login: &LoginFact) -> Option<Finding> {
    let end = login.no_end?;
    let found = finding(
        "no_access_end",
        Level::Warning,
        format!("`{}` has tokens, and its `expiresAt` is {end}", login.file.shown),
        match end {
            "0" => {
                "Claude Code writes that only when it wipes a login; programs that compare it with the clock think that it has ended"
            }
            _ => "Claude Code never renews such a login in time, and neither can nolapse",
        },
    );
    Some(found.at(&login.file.path).run(sign_in(login)))
}

fn linked(login: &LoginFact) -> Option<Finding> {
    let (target, file) = (login.link.as_ref()?, &login.file.shown);
    let found = finding(
        "credentials_linked",
        Level::Warning,
        format!("`{file}` is a link to `{}`", target.shown),
        "at its next renewal Claude Code replaces the link with a file, and the target keeps the used-up token (anthropics/claude-code#76561)",
    );
    let command = format!("rm {} && {}", quote(file), sign_in(login));
    Some(found.at(&login.file.path).run(command))
}

fn left_behind(login: &LoginFact) -> Option<Finding> {
    let (target, file) = (login.left_behind.as_ref()?, &login.file.shown);
    let found = finding(
        "symlink_replaced",
        Level::Broken,
        format!(
            "`{file}` was a link to `{}`, which still holds an older token of the same login",
            target.shown
        ),
        "Claude Code replaced the link when it renewed; if a program sends the used-up token from there, the server may revoke the whole login (anthropics/claude-code#76561)",
    );
    let spent = quote(&format!("{}.spent", target.shown));
    let command = format!("mv {} {spent}", quote(&target.shown));
    Some(found.at(&target.path).run(command))
}

fn not_writable(login: &LoginFact) -> Option<Finding> {
    let (why, dir) = (login.not_writable.as_ref()?, &login.dir);
    let found = finding(
        "login_dir_not_writable",
        Level::Broken,
        format!("nothing can be saved in `{}`: {why}", dir.shown),
        "a renewal would use up the token and could not save the new one",
    );
    Some(found.at(&dir.path).run(format!("ls -ld {}", quote(&dir.shown))))
}

fn open(login: &LoginFact) -> Option<Finding> {
    let (mode, dir) = (login.open?, &login.dir);
    let found = Finding::new(
        "dir_writable_by_others",
        Group::Files,
        Level::Warning,
        format!("`{}` has mode {mode:04o}: others can write in it", dir.shown),
        "they can replace your login, or hold its locks",
    );
    Some(found.at(&dir.path).run(format!("chmod go-w {}", quote(&dir.shown))))
}

fn unwatched(dir: &Spot) -> Finding {
    finding(
        "login_not_watched",
        Level::Note,
        format!("`{}` holds a Claude Code login that is not watched", dir.shown),
        "you get no alert when it ends",
    )
    .at(&dir.path)
    .advice(format!(
        "add `[[login]]` with `dir = \"{}\"` to the configuration",
        dir.shown
    ))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;
    use crate::rules::login::Rival;
    use crate::types::Severity;

    fn shadow(rival: Rival, file: Option<&str>) -> Shadow {
        Shadow {
            rival,
            file: file.map(str::to_owned),
            flaw: None,
        }
    }

    const WORLDS: &[World] = &[
        (
            |facts| {
                a_login(facts, |login| {
                    login.shadowed_by = vec![shadow(Rival::ApiKey, None), shadow(Rival::Simple, None)]
                })
            },
            r#"
shadowed_by_env warning /h/.claude/.credentials.json
`ANTHROPIC_API_KEY`, `CLAUDE_CODE_SIMPLE` in the environment of this command take precedence over the login `claude`
while that is set, Claude Code neither renews the login nor falls back to it: when it expires, work stops although the login is fine
$ unset ANTHROPIC_API_KEY CLAUDE_CODE_SIMPLE"#,
        ),
        (
            |facts| {
                a_login(facts, |login| {
                    login.shadowed_by = vec![shadow(Rival::ApiKey, Some("settings.json"))];
                    login.shadow_known = true;
                })
            },
            r#"
shadowed_by_env note /h/.claude/.credentials.json
`ANTHROPIC_API_KEY in settings.json` takes precedence over the login `claude`
while that is set, Claude Code neither renews the login nor falls back to it: when it expires, work stops although the login is fine
fine if intended; otherwise remove it from the settings (`settings.json` in `~/.claude`)"#,
        ),
        (
            |facts| {
                a_login(facts, |login| {
                    login.shadowed_by = vec![
                        shadow(Rival::ApiKey, Some("settings.json")),
                        shadow(Rival::Simple, None),
                    ];
                    login.ended = true;
                })
            },
            r#"
shadowed_by_env warning /h/.claude/.credentials.json
`CLAUDE_CODE_SIMPLE` in the environment of this command and `ANTHROPIC_API_KEY in settings.json` take precedence over the login `claude`
while that is set, Claude Code neither renews the login nor falls back to it: when it expires, work stops although the login is fine
nothing to do as long as that works; otherwise sign in again first"#,
        ),
        (
            |facts| a_login(facts, |login| login.abandoned = true),
            r#"
abandoned_refresh warning /h/.claude/.credentials.json
a renewal of the login `claude` was begun and never saved, and its access token has expired
its single-use token is probably used up, so nolapse does not send it again (anthropics/claude-code#95822)
$ claude auth login"#,
        ),
        (
            |facts| {
                a_login(facts, |login| {
                    login.abandoned = true;
                    login.abandoned_by = Some(7);
                })
            },
            r#"
abandoned_refresh warning /h/.claude/.credentials.json
a renewal of the login `claude` was begun by process 7 and never saved, and its access token has expired
its single-use token is probably used up, so nolapse does not send it again (anthropics/claude-code#95822)
$ claude auth login"#,
        ),
        // the alert says it
        (
            |facts| {
                a_login(facts, |login| login.abandoned = true);
                fires(facts, "login:claude", "login_ended", Severity::Critical);
            },
            r#"
login_ended broken /h/.claude/.credentials.json
title
cause; affected: a
nothing to do"#,
        ),
        (
            |facts| a_login(facts, |login| login.no_end = Some("0")),
            r#"
no_access_end warning /h/.claude/.credentials.json
`~/.claude/.credentials.json` has tokens, and its `expiresAt` is 0
Claude Code writes that only when it wipes a login; programs that compare it with the clock think that it has ended
$ claude auth login"#,
        ),
        (
            |facts| a_login(facts, |login| login.no_end = Some("missing")),
            r#"
no_access_end warning /h/.claude/.credentials.json
`~/.claude/.credentials.json` has tokens, and its `expiresAt` is missing
Claude Code never renews such a login in time, and neither can nolapse
$ claude auth login"#,
        ),
        (
            |facts| a_login(facts, |login| login.link = Some(spot("~/my cloud/c.json"))),
            r#"
credentials_linked warning /h/.claude/.credentials.json
`~/.claude/.credentials.json` is a link to `~/my cloud/c.json`
at its next renewal Claude Code replaces the link with a file, and the target keeps the used-up token (anthropics/claude-code#76561)
$ rm ~/.claude/.credentials.json && claude auth login"#,
        ),
        (
            |facts| a_login(facts, |login| login.left_behind = Some(spot("~/cloud/c.json"))),
            r#"
symlink_replaced broken /h/cloud/c.json
`~/.claude/.credentials.json` was a link to `~/cloud/c.json`, which still holds an older token of the same login
Claude Code replaced the link when it renewed; if a program sends the used-up token from there, the server may revoke the whole login (anthropics/claude-code#76561)
$ mv ~/cloud/c.json ~/cloud/c.json.spent"#,
        ),
        (
            |facts| a_login(facts, |login| login.not_writable = Some("read-only file system".into())),
            r#"
login_dir_not_writable broken /h/.claude
nothing can be saved in `~/.claude`: read-only file system
a renewal would use up the token and could not save the new one
$ ls -ld ~/.claude"#,
        ),
        (
            |facts| a_login(facts, |login| login.open = Some(0o777)),
            r#"
dir_writable_by_others warning /h/.claude
`~/.claude` has mode 0777: others can write in it
they can replace your login, or hold its locks
$ chmod go-w ~/.claude"#,
        ),
        (
            |facts| facts.logins.unwatched = vec![spot("~/.claude-work")],
            r#"
login_not_watched note /h/.claude-work
`~/.claude-work` holds a Claude Code login that is not watched
you get no alert when it ends
add `[[login]]` with `dir = "~/.claude-work"` to the configuration"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
