//! Claude Code's logins: where they are kept, how they are read, how one is patched.
//!
//! Rules observed on `@anthropic-ai/claude-code` 2.1.330: directory D is `$CLAUDE_SECURESTORAGE_CONFIG_DIR` if set (empty
//! means `$HOME/.claude`), else `$CLAUDE_CONFIG_DIR` if set at all, else `$HOME/.claude`; file `D/.credentials.json`; on macOS
//! the Keychain item `Claude Code-credentials` first.

use super::owner;
use crate::edge::files::{self, ReadError};
use crate::edge::host::Host;
use crate::edge::keychain;
use crate::edge::locks::{self, Terms};
use crate::json::{self, Doc, Fields};
use crate::rules::agent::OWN_MODE;
use crate::rules::login::{Fault, Grant, Login, Place, Refresh, Rival, Shadow, Source, State, TOKEN_VAR};
use crate::rules::shape::{self, KeptAs};
use crate::secret::Secret;
use crate::types::{LockKind, Meta, Moment};

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Both locks of a refresh are stale after 60 s, Claude Code touches them every 5 s.
pub(crate) const REFRESH_LOCK: Terms = Terms {
    kind: LockKind::Directory,
    stale_after: Duration::from_secs(60),
    heartbeat: Duration::from_secs(5),
    wait: locks::PATIENCE,
};

/// The lock around a save is stale after 15 s.
pub(crate) const WRITE_LOCK: Terms = Terms {
    stale_after: Duration::from_secs(15),
    ..REFRESH_LOCK
};

/// The real path of D with `.lock` appended, the second lock (the only one up to 2.1.112).
pub(crate) fn dir_lock(place: &Place) -> PathBuf {
    locks::lock_path(&files::real_or_same(&place.dir))
}

/// The places to look at: the environment's own, then the configured ones.
pub(crate) fn places(host: &Host, configured: &[crate::rules::policy::LoginConfig]) -> Vec<Place> {
    places_with(host, configured, &[])
}

/// The same, then further directories that agents use; their logins are given to no store.
pub(crate) fn places_with(
    host: &Host,
    configured: &[crate::rules::policy::LoginConfig],
    further: &[PathBuf],
) -> Vec<Place> {
    let (dir, dir_var) = match (
        host.var("CLAUDE_SECURESTORAGE_CONFIG_DIR"),
        host.var("CLAUDE_CONFIG_DIR"),
    ) {
        (Some(""), _) | (None, None) => (host.home.join(".claude"), None),
        (Some(text), _) | (None, Some(text)) => (host.cwd.join(text), Some(text.to_owned())),
    };
    let mut places = vec![Place {
        dir_var,
        ..Place::new(id_of(&dir, host), dir, false)
    }];
    let real = files::real_or_same;
    for login in configured {
        if let Some(same) = places.iter_mut().find(|place| real(&place.dir) == real(&login.dir)) {
            same.configured = true;
            same.agents.clone_from(&login.agents);
            same.profile.clone_from(&login.profile);
            if let Some(name) = &login.name {
                same.id.clone_from(name);
            }
            continue;
        }
        let id = login.name.clone().unwrap_or_else(|| id_of(&login.dir, host));
        places.push(Place {
            agents: login.agents.clone(),
            profile: login.profile.clone(),
            dir_var: Some(login.dir.display().to_string()),
            ..Place::new(id, &login.dir, true)
        });
    }
    for dir in further {
        if places.iter().any(|place| real(&place.dir) == real(dir)) {
            continue;
        }
        places.push(Place {
            agents: Some(Vec::new()),
            dir_var: (*dir != host.home.join(".claude")).then(|| dir.display().to_string()),
            ..Place::new(id_of(dir, host), dir, false)
        });
    }
    for i in 1..places.len() {
        let wanted = places[i].id.clone();
        let mut n = 2;
        while places[..i].iter().any(|place| place.id == places[i].id) {
            places[i].id = format!("{wanted}-{n}");
            n += 1;
        }
    }
    places
}

fn id_of(dir: &Path, host: &Host) -> String {
    let name = dir
        .file_name()
        .map(|name| name.to_string_lossy().trim_start_matches('.').to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| host.tilde(dir))
}

/// The token in the environment, as a login of its own; Claude Code uses it before any stored one.
pub(crate) fn env_token(host: &Host) -> Option<Secret> {
    host.var_nonblank(TOKEN_VAR).map(Secret::new)
}

/// Reads a login, tolerating what Claude Code's own writers leave for a moment.
pub(crate) fn look(host: &Host, place: &Place) -> Login {
    let mut login = Login {
        shadowed_by: Rival::VARS
            .into_iter()
            .filter(|rival| {
                host.var_nonblank(rival.name())
                    .is_some_and(|value| rival.is_set_by(value))
            })
            .map(|rival| Shadow {
                rival,
                file: None,
                flaw: None,
            })
            .collect(),
        link: files::link_target(&place.file()),
        ..Login::new(place.clone(), Source::File, State::Absent)
    };
    if host.macos {
        match keychain::find(
            &service_name(place),
            host.var("USER").unwrap_or_default(),
            host.child_env(),
        ) {
            keychain::Item::Found(text) => {
                login.source = Source::Keychain;
                login.state = parse(text.expose());
            }
            keychain::Item::Locked => {
                login.source = Source::Keychain;
                login.state = unreadable("the keychain is locked", Fault::Refused);
            }
            // Claude Code falls back to the file
            keychain::Item::Absent | keychain::Item::Failed => {}
        }
    }
    let Some(dir) = files::stat(&place.dir) else {
        return login;
    };
    login.dir_uid = Some(dir.uid);
    if login.source == Source::File {
        (login.state, login.meta) = read(place);
    }
    if login.grant().is_some() {
        login.shadowed_by.extend(shadows_in_settings(host, &place.dir));
        let locks = [place.refresh_lock(), dir_lock(place)];
        let seen = locks.map(|path| {
            locks::look(&path, REFRESH_LOCK.stale_after)
                .ok()
                .flatten()
                .map(|seen| (path, seen))
        });
        login.abandoned = seen[0].is_none() && begun_and_not_saved(place, &login.state, login.meta.as_ref());
        login.dead_lock = seen
            .into_iter()
            .flatten()
            .find(|(_, seen)| seen.stale && !owner::is_held(&place.owner_record()))
            .map(|(path, seen)| (path, seen.touched));
    }
    login
}

/// Whether a refresh was begun (its holder is on record) and never saved.
pub(crate) fn begun_and_not_saved(place: &Place, state: &State, file: Option<&Meta>) -> bool {
    let now = match state {
        State::SignedIn(grant) => grant.refresh.token().map(Secret::fingerprint),
        _ => None,
    };
    owner::begun_and_not_saved(&place.owner_record(), now, file)
}

/// Whether this is a whole document, and not one that is being written just now.
pub(super) fn whole(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| json::is_json(json::without_bom(text)))
}

/// Reads the credentials file alone, as is done again under the locks before anything is written.
pub(crate) fn read(place: &Place) -> (State, Option<Meta>) {
    match files::read_settled(&place.file(), whole) {
        Ok(snapshot) => {
            let state = match std::str::from_utf8(&snapshot.bytes) {
                Ok(text) => parse(text),
                Err(_) => unreadable("not UTF-8 text", Fault::Content),
            };
            (state, Some(snapshot.meta))
        }
        Err(ReadError::Absent) => (State::Absent, None),
        Err(error) => {
            let fault = match error {
                ReadError::Io(_) if foreign_owner(place).is_some() => Fault::Foreign,
                ReadError::Io(_) if files::owner_kept_out(&place.file()) => Fault::Mode,
                ReadError::Io(_) | ReadError::Theirs(_) => Fault::Refused,
                ReadError::NotAFile if files::is_dir(&place.file()) => Fault::Directory,
                ReadError::NotAFile => Fault::Special,
                ReadError::Absent | ReadError::TooLarge(_) | ReadError::Link => Fault::Content,
            };
            let why = match fault {
                Fault::Directory => "a directory is in its place".to_owned(),
                Fault::Foreign => format!(
                    "it belongs to user {}, and this is user {}",
                    foreign_owner(place).map_or(0, |(_, uid)| uid),
                    files::our_uid()
                ),
                Fault::Mode => format!("{error}: {OWN_MODE}"),
                _ => error.to_string(),
            };
            (State::Unreadable { why, fault }, None)
        }
    }
}

/// The directory or file of a login that belongs to another user, the outer one first, and to whom. For root no user counts as another.
pub(crate) fn foreign_owner(place: &Place) -> Option<(PathBuf, u32)> {
    let paths = [place.dir.clone(), place.file()];
    paths.into_iter().find_map(|path| {
        let uid = files::stat(&path)?.uid;
        (uid != files::our_uid() && !files::is_root()).then_some((path, uid))
    })
}

fn unreadable(why: impl Into<String>, fault: Fault) -> State {
    State::Unreadable { why: why.into(), fault }
}

/// Reads Claude Code's credentials document.
pub(crate) fn parse(text: &str) -> State {
    if text.starts_with('\u{feff}') && json::is_json(json::without_bom(text)) {
        let why = "it begins with a byte order mark, which Claude Code cannot read";
        return unreadable(why, Fault::ByteOrderMark);
    }
    let root = match Fields::parse(json::without_bom(text)) {
        Ok(root) => root,
        Err(why) if text.trim().is_empty() => {
            return unreadable(format!("the file is empty ({why})"), Fault::Content);
        }
        Err(why) => return unreadable(why, Fault::Content),
    };
    let Some(oauth) = root.get("claudeAiOauth").and_then(|value| value.object()) else {
        return match text.contains(shape::TOKEN_PREFIX) {
            false => State::SignedOut,
            true => unreadable(
                "its tokens stand outside `claudeAiOauth`, where Claude Code does not look",
                Fault::Content,
            ),
        };
    };
    let text_of = |key: &str| oauth.get(key).and_then(|value| value.str());
    let access = text_of("accessToken");
    let refresh = match text_of("refreshToken") {
        None => Refresh::None,
        Some(text) if text.is_empty() => Refresh::Blank,
        Some(text) => Refresh::Token(Secret::new(text)),
    };
    let ms = |key: &str| {
        let number = oauth.get(key)?.number_or_numeric_string()?;
        number.is_finite().then(|| Moment::at(number.ceil() as i64))
    };
    State::SignedIn(Grant {
        blanked: refresh == Refresh::Blank && access.as_deref() == Some(""),
        access: access.filter(|text| !text.is_empty()).map(Secret::new),
        refresh,
        expires: ms("expiresAt"),
        deadline: ms("refreshTokenExpiresAt"),
        ended_by_limit: text_of("loginEnded").as_deref() == Some("time_limit"),
        scopes: oauth.get("scopes").and_then(|value| value.strings()),
        client_id: text_of("clientId").map(Into::into),
        subscription: text_of("subscriptionType").map(Into::into),
    })
}

/// New tokens for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTokens {
    /// `accessToken`.
    pub(crate) access: Secret,
    /// `refreshToken`.
    pub(crate) refresh: Secret,
    /// `expiresAt`.
    pub(crate) expires: Moment,
    /// A new `refreshTokenExpiresAt`; it is never moved forward (stored = min(old, new), absent stays absent).
    pub(crate) deadline: Option<Moment>,
}

/// The credentials document with new tokens in it; everything else, layout included, as it was.
///
/// # Errors
/// Where the document is not one that can be patched; the message has no content.
pub(crate) fn patch(text: &str, new: &NewTokens) -> Result<String, String> {
    let body = json::without_bom(text);
    let mut doc = Doc::parse(body)?;
    let oauth = doc.get_mut("claudeAiOauth").ok_or("it has no `claudeAiOauth`")?;
    if !matches!(oauth, Doc::Object(_)) {
        return Err("its `claudeAiOauth` is no object".into());
    }
    oauth.set("accessToken", Doc::string(new.access.expose()));
    oauth.set("refreshToken", Doc::string(new.refresh.expose()));
    oauth.set("expiresAt", Doc::number(new.expires.ms()));
    if let State::SignedIn(Grant {
        deadline: Some(old), ..
    }) = parse(body)
        && let Some(deadline) = new.deadline
        && deadline < old
    {
        oauth.set("refreshTokenExpiresAt", Doc::number(deadline.ms()));
    }
    let layout = json::layout_of(body);
    let mut out = doc.to_text(layout);
    if !body.ends_with('\n') && out.ends_with('\n') {
        out.pop();
    }
    Ok(out)
}

/// `Claude Code-credentials`, with a hash of the directory where `CLAUDE_CONFIG_DIR` is set.
fn service_name(place: &Place) -> String {
    match &place.dir_var {
        None => "Claude Code-credentials".into(),
        Some(dir) => {
            let hash = Sha256::digest(dir.as_bytes());
            format!(
                "Claude Code-credentials-{:02x}{:02x}{:02x}{:02x}",
                hash[0], hash[1], hash[2], hash[3]
            )
        }
    }
}

/// What the user's settings and the managed ones put before the login. A byte order mark does not keep Claude Code from reading
/// them, a comment does (2.1.330).
fn shadows_in_settings(host: &Host, dir: &Path) -> Vec<Shadow> {
    let managed = match host.macos {
        true => "/Library/Application Support/ClaudeCode/managed-settings.json",
        false => "/etc/claude-code/managed-settings.json",
    };
    let mut found = shadows_in(&dir.join("settings.json"), "settings.json");
    found.extend(shadows_in(Path::new(managed), managed));
    found
}

fn shadows_in(path: &Path, name: &str) -> Vec<Shadow> {
    match files::read(path) {
        Ok(snapshot) => std::str::from_utf8(&snapshot.bytes).map_or_else(|_| Vec::new(), |text| shadows_of(text, name)),
        Err(_) => Vec::new(),
    }
}

fn shadows_of(text: &str, file: &str) -> Vec<Shadow> {
    let Ok(settings) = Fields::parse(json::without_bom(text)) else {
        return Vec::new();
    };
    let shadow = |rival, flaw| Shadow {
        rival,
        file: Some(file.to_owned()),
        flaw,
    };
    let mut found = Vec::new();
    let helper = settings.get(Rival::KeyHelper.name()).and_then(|value| value.str());
    if helper.is_some_and(|text| !text.is_empty()) {
        found.push(shadow(Rival::KeyHelper, None));
    }
    if let Some(env) = settings.get("env").and_then(|v| v.object()) {
        let sets = |rival: &Rival| {
            let text = env.get(rival.name()).and_then(|value| value.coerced());
            text.is_some_and(|text| rival.is_set_by(&text))
        };
        found.extend(Rival::VARS.into_iter().filter(sets).map(|rival| {
            let value = env.get(rival.name()).and_then(|value| value.str());
            let token = value.filter(|_| rival == Rival::Token);
            shadow(
                rival,
                token.and_then(|text| shape::flaw("anthropic", KeptAs::Token, &text)),
            )
        }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(text: &str) -> Grant {
        match parse(text) {
            State::SignedIn(grant) => grant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_claude_code_writes_and_what_it_leaves_behind() {
        let whole = grant(
            r#"{"claudeAiOauth":{"accessToken":"A","refreshToken":"R","expiresAt":1769000000000,"refreshTokenExpiresAt":1771592000000,"scopes":["user:inference"],"subscriptionType":"max"},"mcpOAuth":{}}"#,
        );
        assert_eq!(
            (whole.expires, whole.deadline, whole.blanked),
            (Some(Moment::at(1769000000000)), Some(Moment::at(1771592000000)), false)
        );
        assert_eq!(whole.subscription.as_deref(), Some("max"));

        let blank = grant(
            r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0,"loginEnded":"time_limit","scopes":[]}}"#,
        );
        assert!(blank.blanked && blank.ended_by_limit && blank.access.is_none() && blank.refresh == Refresh::Blank);

        let half = grant(r#"{"claudeAiOauth":{"accessToken":"A","refreshToken":"","expiresAt":"1769000000000"}}"#);
        assert_eq!(
            (half.blanked, &half.refresh, half.expires),
            (false, &Refresh::Blank, Some(Moment::at(1769000000000)))
        );
        assert_eq!(half.scopes, None);

        assert_eq!(
            grant(r#"{"claudeAiOauth":{"refreshToken":null,"expiresAt":"2026-01-01"}}"#).expires,
            None
        );
        for (text, state) in [
            ("{}", State::SignedOut),
            (r#"{"claudeAiOauth":null}"#, State::SignedOut),
            (r#"{"claudeAiOauth":[]}"#, State::SignedOut),
        ] {
            assert_eq!(parse(text), state);
        }
        for text in ["", "[1]", "{\"claudeAiOauth\":{\"acc", "\u{0}"] {
            assert!(
                matches!(
                    parse(text),
                    State::Unreadable {
                        fault: Fault::Content,
                        ..
                    }
                ),
                "{text}"
            );
        }
        let marked = parse("\u{feff}{\"claudeAiOauth\":{}}");
        assert!(
            matches!(
                marked,
                State::Unreadable {
                    fault: Fault::ByteOrderMark,
                    ..
                }
            ),
            "{marked:?}"
        );
    }

    #[test]
    fn settings_shadow_as_claude_code_reads_them() {
        for (text, want) in [
            (
                r#"{"env":{"CLAUDE_CODE_SIMPLE":"1","X":"y"}}"#,
                &["CLAUDE_CODE_SIMPLE in s"][..],
            ),
            (
                "\u{feff}{\"env\":{\"ANTHROPIC_BASE_URL\":\"http://x\"}}",
                &["ANTHROPIC_BASE_URL in s"],
            ),
            (
                r#"{"apiKeyHelper":"/k","env":{"ANTHROPIC_API_KEY":""}}"#,
                &["apiKeyHelper in s"],
            ),
            ("{// mine\n\"env\":{\"CLAUDE_CODE_SIMPLE\":\"1\"}}", &[]),
            // numbers are taken for their text, and a flag that is not set to a word for "yes" is not set
            (r#"{"env":{"CLAUDE_CODE_SIMPLE":1}}"#, &["CLAUDE_CODE_SIMPLE in s"]),
            (r#"{"env":{"CLAUDE_CODE_SIMPLE":0}}"#, &[]),
        ] {
            let found: Vec<String> = shadows_of(text, "s").iter().map(Shadow::to_string).collect();
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn a_patch_keeps_siblings_layout_and_the_deadline() {
        let new = NewTokens {
            access: Secret::new("A2"),
            refresh: Secret::new("R2"),
            expires: Moment::at(9),
            deadline: Some(Moment::at(2000)),
        };
        let compact = r#"{"x":1.0,"claudeAiOauth":{"accessToken":"A","refreshToken":"R","expiresAt":1,"refreshTokenExpiresAt":1000,"later":{}},"mcpOAuth":{"a":1}}"#;
        assert_eq!(
            patch(compact, &new).unwrap(),
            r#"{"x":1.0,"claudeAiOauth":{"accessToken":"A2","refreshToken":"R2","expiresAt":9,"refreshTokenExpiresAt":1000,"later":{}},"mcpOAuth":{"a":1}}"#
        );
        let pretty = "{\n  \"claudeAiOauth\": {\n    \"accessToken\": \"A\",\n    \"expiresAt\": 1,\n    \"refreshToken\": \"R\"\n  }\n}";
        assert_eq!(
            patch(pretty, &new).unwrap(),
            "{\n  \"claudeAiOauth\": {\n    \"accessToken\": \"A2\",\n    \"expiresAt\": 9,\n    \"refreshToken\": \"R2\"\n  }\n}"
        );
        assert!(patch("{}", &new).is_err());
    }

    #[test]
    fn a_deadline_only_ever_comes_nearer() {
        for (stored, new, wanted) in [
            ("9", Some(8), "8"),
            ("9.0", Some(9), "9.0"),
            ("9", Some(10), "9"),
            ("9", None, "9"),
        ] {
            let new = NewTokens {
                access: Secret::new("A2"),
                refresh: Secret::new("R2"),
                expires: Moment::at(1),
                deadline: new.map(Moment::at),
            };
            let text = |deadline: &str, n: &str| {
                format!(
                    r#"{{"claudeAiOauth":{{"accessToken":"A{n}","refreshToken":"R{n}","expiresAt":1,"refreshTokenExpiresAt":{deadline}}}}}"#
                )
            };
            assert_eq!(patch(&text(stored, ""), &new), Ok(text(wanted, "2")));
        }
    }

    #[test]
    fn what_is_in_a_logins_place_is_told() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::new("claude", home.path(), false);
        let said = || match read(&place).0 {
            State::Unreadable { why, fault } => (fault, why),
            other => panic!("{other:?}"),
        };
        std::fs::create_dir(place.file()).unwrap();
        assert_eq!(said(), (Fault::Directory, "a directory is in its place".to_owned()));
        std::fs::remove_dir(place.file()).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, place.file(), rustix::fs::Mode::RWXU).unwrap();
        assert_eq!(said().0, Fault::Special);
        for (text, words) in [
            (" \n", "the file is empty ("),
            ("[", "not an object"),
            ("{", "it ends too early"),
        ] {
            let State::Unreadable { why, fault } = parse(text) else {
                panic!("{text}")
            };
            assert!(fault == Fault::Content && why.starts_with(words), "{why}");
        }
        for (bytes, is) in [
            (&b"{}"[..], true),
            (b"\xef\xbb\xbf{}", true),
            (b"7", true),
            (b"{", false),
            (b"", false),
            (b"\xff", false),
        ] {
            assert_eq!(whole(bytes), is, "{bytes:?}");
        }
    }

    /// Root is kept out by nobody; of another user's files root makes no more of it.
    #[test]
    fn who_keeps_a_reader_out_of_a_login_is_told() {
        use std::os::unix::fs::{PermissionsExt, chown};
        let home = tempfile::tempdir().unwrap();
        let said = |place: &Place| match read(place).0 {
            State::Unreadable { why, fault } => (fault, why),
            other => panic!("{other:?}"),
        };
        let too_long = Place::new("claude", home.path().join("a".repeat(300)), false);
        assert_eq!(said(&too_long).0, Fault::Refused);
        let place = Place::new("claude", home.path(), false);
        assert_eq!(foreign_owner(&place), None);
        let roots = Place::new("claude", "/", false);
        let wanted = (!files::is_root()).then(|| (PathBuf::from("/"), 0));
        assert_eq!(foreign_owner(&roots), wanted);
        std::fs::write(place.file(), "{}").unwrap();
        if chown(place.file(), Some(files::our_uid() + 7), None).is_ok() {
            assert_eq!(foreign_owner(&place), None);
        } else {
            std::fs::set_permissions(place.file(), std::fs::Permissions::from_mode(0o000)).unwrap();
            let (fault, why) = said(&place);
            assert!(fault == Fault::Mode && why.ends_with(OWN_MODE), "{why}");
            // root's own directory, where it is closed to others
            let roots = Place::new("claude", "/root", false);
            if let State::Unreadable { why, fault } = read(&roots).0 {
                let ours = files::our_uid();
                assert_eq!(why, format!("it belongs to user 0, and this is user {ours}"));
                assert_eq!(fault, Fault::Foreign);
            }
        }
    }

    #[test]
    fn a_login_is_seen_with_its_link_and_what_a_refresh_left() {
        let home = tempfile::tempdir().unwrap();
        let host = Host {
            home: home.path().into(),
            env: Default::default(),
            cwd: home.path().into(),
            name: "t".into(),
            macos: false,
            own: Vec::new(),
        };
        let place = Place::new("claude", home.path().join(".claude"), false);
        std::fs::create_dir(&place.dir).unwrap();
        let target = home.path().join("creds.json");
        let text = r#"{"claudeAiOauth":{"accessToken":"A","refreshToken":"R","expiresAt":1,"scopes":["a"]}}"#;
        std::fs::write(&target, text).unwrap();
        assert_eq!(look(&host, &place).link, None);
        std::os::unix::fs::symlink(&target, place.file()).unwrap();
        let login = look(&host, &place);
        assert_eq!(
            (login.link, login.abandoned, login.dead_lock),
            (Some(target), false, None)
        );
        // a lock that nobody touches any more, and then what its holder wrote down without it
        std::fs::create_dir(place.refresh_lock()).unwrap();
        assert_eq!(look(&host, &place).dead_lock, None);
        let old =
            std::fs::FileTimes::new().set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600));
        std::fs::File::open(place.refresh_lock())
            .unwrap()
            .set_times(old)
            .unwrap();
        let dead = look(&host, &place).dead_lock.map(|(path, _)| path);
        assert_eq!(dead, Some(place.refresh_lock()));
        std::fs::write(place.owner_record(), "7").unwrap();
        assert!(!look(&host, &place).abandoned);
        std::fs::remove_dir(place.refresh_lock()).unwrap();
        assert!(look(&host, &place).abandoned);
    }

    #[test]
    fn further_directories_are_looked_at_once_and_given_to_nobody() {
        let host = crate::notify::testing::host(&[("CLAUDE_CONFIG_DIR", "/c")]);
        let further = ["/c", "/home/u/.claude", "/x"].map(PathBuf::from);
        let found = places_with(&host, &[], &further);
        let found: Vec<_> = found
            .iter()
            .map(|place| {
                (
                    place.dir.to_str().unwrap(),
                    place.dir_var.as_deref(),
                    place.agents.is_some(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("/c", Some("/c"), false),
                ("/home/u/.claude", None, true),
                ("/x", Some("/x"), true)
            ]
        );
    }

    #[test]
    fn the_directory_is_chosen_as_claude_code_chooses_it() {
        let host = |vars: &[(&str, &str)]| Host {
            home: "/h".into(),
            env: vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            cwd: "/w".into(),
            name: "t".into(),
            macos: false,
            own: vec!["nolapse".into()],
        };
        for (vars, dir, id) in [
            (&[][..], "/h/.claude", "claude"),
            (&[("CLAUDE_CONFIG_DIR", "/c")][..], "/c", "c"),
            (&[("CLAUDE_CONFIG_DIR", "rel")][..], "/w/rel", "rel"),
            (&[("CLAUDE_CONFIG_DIR", "")][..], "/w/", "w"),
            (
                &[("CLAUDE_CONFIG_DIR", "/c"), ("CLAUDE_SECURESTORAGE_CONFIG_DIR", "/s")][..],
                "/s",
                "s",
            ),
            (
                &[("CLAUDE_CONFIG_DIR", "/c"), ("CLAUDE_SECURESTORAGE_CONFIG_DIR", "")][..],
                "/h/.claude",
                "claude",
            ),
        ] {
            let found = places(&host(vars), &[]);
            assert_eq!(
                (found[0].dir.as_path(), found[0].id.as_str()),
                (Path::new(dir), id),
                "{vars:?}"
            );
        }
        let more = |dir: &str| crate::rules::policy::LoginConfig {
            dir: dir.into(),
            name: None,
            agents: None,
            profile: None,
        };
        let found = places(
            &host(&[]),
            &[more("/x/.claude"), more("/h/.claude"), more("/y/.claude")],
        );
        assert_eq!(
            found.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(),
            ["claude", "claude-2", "claude-3"]
        );
        assert_eq!(service_name(&found[0]), "Claude Code-credentials");
        assert_eq!(service_name(&found[1]).len(), "Claude Code-credentials-01234567".len());
    }

    /// `security` as a script: what it was asked goes to a file, its answer is the exit code and the text.
    fn with_keychain(code: u8, text: &str) -> (tempfile::TempDir, Host) {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let script = home.path().join("security");
        let body = format!("#!/bin/sh\necho \"$@\" > \"$HOME/asked\"\ncat <<'EOF'\n{text}\nEOF\nexit {code}\n");
        std::fs::write(&script, body).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let var = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let path = format!("{}:/usr/bin:/bin", home.path().display());
        let env = [
            var("PATH", &path),
            var("HOME", home.path().to_str().unwrap()),
            var("USER", "ada"),
        ];
        let host = Host {
            home: home.path().into(),
            env: env.into(),
            cwd: home.path().into(),
            name: "t".into(),
            macos: true,
            own: vec!["nolapse".into()],
        };
        (home, host)
    }

    #[test]
    fn on_a_mac_the_keychain_comes_first_and_the_file_when_it_has_nothing() {
        let item = r#"{"claudeAiOauth":{"accessToken":"K","refreshToken":"R","expiresAt":9,"scopes":[]}}"#;
        let file = item.replace("\"K\"", "\"F\"");
        for (code, source, access) in [
            (0, Source::Keychain, Some("K")),
            (44, Source::File, Some("F")),
            (36, Source::Keychain, None),
            (1, Source::File, Some("F")),
        ] {
            let (home, host) = with_keychain(code, item);
            std::fs::create_dir(home.path().join(".claude")).unwrap();
            std::fs::write(home.path().join(".claude/.credentials.json"), &file).unwrap();
            let login = look(&host, &places(&host, &[])[0]);
            let found = login.grant().and_then(|grant| grant.access.clone());
            assert_eq!((login.source, found), (source, access.map(Secret::new)), "exit {code}");
            let asked = std::fs::read_to_string(home.path().join("asked")).unwrap();
            assert_eq!(asked, "find-generic-password -a ada -w -s Claude Code-credentials\n");
        }
    }
}
