//! Root in another user's home, links in the place of our files, and files of a third user. Run by somebody else than root, the
//! same must hold of that user's own files.

use crate::daemon::Daemon;
use crate::endpoint::{Answer, Endpoint};
use crate::home::{DAY, HOUR, Home, MAIN, access, now, token};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};

/// No user of this host, in tests at least.
const ADA: u32 = 4242;
const ADAS: u32 = 4243;
const BOB: u32 = 4244;

const STATE: &str = ".local/state/nolapse";

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives all of a home to Ada, where this is root.
pub(super) fn give(home: &Path) {
    if !root() {
        return;
    }
    let mut all = vec![home.to_owned()];
    while let Some(path) = all.pop() {
        lchown(&path, Some(ADA), Some(ADAS)).unwrap();
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            all.extend(fs::read_dir(&path).unwrap().flatten().map(|entry| entry.path()));
        }
    }
}

fn a_home() -> Home {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("0", now() - DAY)}));
    home.config(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"log\"\nmin_severity = \"info\"\n[metrics]\ntextfile = \"~/nolapse.prom\"\n",
    );
    home
}

/// A directory that everybody may enter and only its owner change.
fn outside() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Every thread of the process, with all four ids, no group of root's and no capability.
#[test]
fn every_thread_is_the_users() {
    let home = a_home();
    give(home.path());
    let daemon = Daemon::start(&home);
    let mut threads = 0;
    for task in fs::read_dir(format!("/proc/{}/task", daemon.id())).unwrap().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap();
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let (uid, gid) = fs::metadata(home.path()).map(|meta| (meta.uid(), meta.gid())).unwrap();
        assert_eq!(of("Uid:"), vec![uid.to_string(); 4]);
        assert_eq!(of("Gid:"), vec![gid.to_string(); 4]);
        if root() {
            assert_eq!(of("Groups:"), Vec::<String>::new());
            assert_eq!(
                (of("CapEff:"), of("CapPrm:")),
                (vec!["0".repeat(16)], vec!["0".repeat(16)])
            );
        }
        threads += 1;
    }
    assert!(threads > 0);
}

/// The environment of children says whose they are, and nothing of root's session.
#[test]
fn children_are_the_users_too() {
    let mut home = a_home();
    home.write(
        "hook",
        "#!/bin/sh\ncat > /dev/null\n{ id -u; id -G; echo \"$HOME\"; echo \"${XDG_RUNTIME_DIR-none}\"; } > \"$HOME/said\"\n",
    );
    fs::set_permissions(home.at("hook"), fs::Permissions::from_mode(0o755)).unwrap();
    let hook = home.at("hook");
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"{}\"]\nmin_severity = \"info\"\n",
        hook.display()
    ));
    home.write(MAIN, "{");
    give(home.path());
    home.env.insert("XDG_RUNTIME_DIR".into(), "/run/user/0".into());
    let ran = home.run(&["run"]);
    let (uid, gid) = fs::metadata(home.path()).map(|meta| (meta.uid(), meta.gid())).unwrap();
    let said = home.read("said");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], uid.to_string(), "{ran:?}");
    assert_eq!(lines[2], home.path().display().to_string());
    if root() {
        assert_eq!((lines[1], lines[3]), (gid.to_string().as_str(), "none"));
    }
}

/// What a link leads to: its bytes, owner and mode, or that there is nothing.
fn target(path: &Path) -> Option<(Vec<u8>, u32, u32, u32)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((fs::read(path).unwrap_or_default(), meta.uid(), meta.gid(), meta.mode()))
}

#[derive(Clone, Copy, Debug)]
enum Leads {
    /// To a file of root's, or of this user where it is not root.
    ToRoots,
    /// To another file of the home's owner: nothing but `O_NOFOLLOW` keeps it.
    ToTheirOwn,
    /// Nowhere.
    Nowhere,
}

#[test]
fn no_link_in_the_place_of_our_files_is_followed() {
    let names = [
        "pass.lock",
        "ledger.json",
        "fences.json",
        "history.jsonl",
        "history.1.jsonl",
        "passes.json",
        "install.json",
        "rescue",
        ".ledger.json.nolapse-tmp",
        ".passes.json.nolapse-tmp",
        "../../../nolapse.prom",
        "../../../.nolapse.prom.nolapse-tmp",
        "../../../page.html",
        "../../../.page.html.nolapse-tmp",
    ];
    let mut tried = 0;
    for name in names {
        for leads in [Leads::ToRoots, Leads::ToTheirOwn, Leads::Nowhere] {
            let home = a_home();
            let outside = outside();
            let victim: PathBuf = match leads {
                Leads::ToRoots | Leads::Nowhere => outside.path().join("victim"),
                Leads::ToTheirOwn => home.at("victim"),
            };
            if !matches!(leads, Leads::Nowhere) {
                fs::write(&victim, "{\"schema\":\"nolapse.ledger/1\"}\n").unwrap();
                fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
            }
            let link = home.at(STATE).join(name);
            fs::create_dir_all(home.at(STATE)).unwrap();
            symlink(&victim, &link).unwrap();
            give(home.path());
            let was = target(&victim);
            for args in [
                &["run"][..],
                &["status", "--html", "page.html"],
                &["history"],
                &["refresh"],
            ] {
                let ran = home.run(args);
                assert!((0..=3).contains(&ran.code), "{name} {leads:?} {args:?}: {ran:?}");
            }
            assert_eq!(target(&victim), was, "{name} {leads:?}");
            tried += 1;
        }
    }
    assert_eq!(tried, 3 * names.len());
}

/// A store or login that a link leads to another user's: neither read nor written, and said.
#[test]
fn tokens_of_a_third_user_stay_theirs() {
    if !root() {
        // only root can make a file of somebody else's: of the one there is everywhere, root's own, nothing is to be refused
        let home = a_home();
        assert_eq!(home.run(&["sync"]).code, 0);
        return;
    }
    for (theirs, homes_owner) in [
        (".claude/.credentials.json", ADA),
        (MAIN, ADA),
        (MAIN, 0),
        (".claude", ADA),
    ] {
        let home = a_home();
        let outside = outside();
        let victim = outside.path().join("victim");
        match theirs {
            ".claude" => {
                fs::create_dir(&victim).unwrap();
                fs::rename(home.at(".claude/.credentials.json"), victim.join(".credentials.json")).unwrap();
                fs::remove_dir(home.at(".claude")).unwrap();
            }
            _ => fs::rename(home.at(theirs), &victim).unwrap(),
        }
        let file = if theirs == ".claude" {
            victim.join(".credentials.json")
        } else {
            victim.clone()
        };
        let text = fs::read_to_string(&file)
            .unwrap()
            .replace("-1\"", "-BOBS\"")
            .replace("-0\"", "-BOBS\"");
        fs::write(&file, text).unwrap();
        // open to all, so that nothing but the owner keeps it
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(outside.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for path in [&victim, &file] {
            chown(path, Some(BOB), Some(BOB)).unwrap();
        }
        symlink(&victim, home.at(theirs)).unwrap();
        if homes_owner == ADA {
            give(home.path());
        }
        let was = target(&file);
        let (status, sync) = (home.run(&["status"]), home.run(&["sync"]));
        assert!(
            format!("{status:?}{sync:?}").contains(&format!("belongs to user {BOB}")),
            "{theirs}: {status:?}{sync:?}"
        );
        assert_eq!(target(&file), was, "{theirs}");
        assert!(
            !fs::read_to_string(home.at(MAIN))
                .unwrap_or_default()
                .contains(&access("BOBS"))
                || theirs == MAIN,
            "{theirs}"
        );
    }
}

/// What root's hand left in a user's home can be read there; written, it would become the user's.
#[test]
fn a_store_of_roots_in_a_users_home_is_said_and_left() {
    let home = a_home();
    if !root() {
        // nobody but root can make what belongs to another user
        assert_eq!(home.run(&["sync"]).code, 0);
        return;
    }
    fs::set_permissions(home.at(MAIN), fs::Permissions::from_mode(0o644)).unwrap();
    give(home.path());
    lchown(home.at(MAIN), Some(0), Some(0)).unwrap();
    let was = target(&home.at(MAIN));
    let ran = home.run(&["sync"]);
    assert!(ran.stdout.contains("it belongs to another user"), "{ran:?}");
    assert!(ran.stdout.contains("sudo chown"), "{ran:?}");
    assert_eq!(target(&home.at(MAIN)), was);
}

/// The agents' own user must be able to clear what root's renewal leaves when it is killed.
#[test]
fn locks_belong_to_the_user_of_the_home() {
    let (answer, gate) = Answer::held();
    let server = Endpoint::start("1", vec![answer]);
    let home = a_home();
    home.login("1", now() - HOUR);
    home.config(&format!("{}always = true\n", server.config()));
    give(home.path());
    let child = home.spawn(&["run"]);
    let begun = std::time::Instant::now();
    while server.seen().is_empty() {
        assert!(begun.elapsed().as_secs() < 20, "nothing was posted");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let owner = |path: &str| fs::symlink_metadata(home.at(path)).unwrap().uid();
    for lock in [
        ".claude/.oauth_refresh.lock",
        ".claude.lock",
        ".claude/.oauth_refresh.lock.owner",
    ] {
        assert_eq!(owner(lock), owner(""), "{lock}");
    }
    gate.open();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// What lies outside the home is root's alone, or root does not use it.
#[test]
fn root_uses_no_state_or_configuration_of_others() {
    if !root() {
        let home = a_home();
        assert_eq!(home.run(&["--state-dir", "elsewhere", "sync"]).code, 0);
        return;
    }
    let home = a_home();
    let theirs = outside();
    fs::write(theirs.path().join("config.toml"), "[renew]\nmode = \"off\"\n").unwrap();
    for (option, path) in [("--state-dir", "state"), ("--config", "config.toml")] {
        let path = theirs.path().join(path);
        chown(theirs.path(), None, None).unwrap();
        let fine = home.run(&[option, path.to_str().unwrap(), "status"]);
        assert!(!fine.stderr.contains("root does not use"), "{fine:?}");
        chown(theirs.path(), Some(BOB), Some(BOB)).unwrap();
        let ran = home.run(&[option, path.to_str().unwrap(), "run"]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains("root does not use"), "{ran:?}");
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 1);
        chown(theirs.path(), Some(0), Some(0)).unwrap();
    }
    // a link that somebody else can turn elsewhere
    let link = theirs.path().join("home");
    symlink(home.path(), &link).unwrap();
    lchown(&link, Some(BOB), Some(BOB)).unwrap();
    let ran = home.run(&["--home", link.to_str().unwrap(), "run"]);
    assert_eq!(ran.code, 3, "{ran:?}");
}
