//! Other hosts, with a stand-in for `ssh` that checks how it is called and then runs the command here, on another home.
//! `scripts/check-remotes` does the same with a real sshd.

use crate::home::{DAY, HOUR, Home, now};
use std::fs;
use std::os::unix::fs::PermissionsExt;

const CONFIG: &str = r#"
[[remote]]
name = "gw"
ssh = "u@gw"
every = "1m"
grace = "0s"
[[channel]]
type = "command"
command = ["/bin/sh", "-c", "cat >> $HOME/told; echo >> $HOME/told"]
"#;

/// A home that watches another one.
fn pair() -> (Home, Home) {
    let (mut here, there) = (Home::new(), Home::new());
    here.config(CONFIG).login("here", now() + 8 * HOUR);
    there.login("there", now() + 8 * HOUR);
    let ssh = here.write(
        "bin/ssh",
        format!(
            "#!/bin/sh\n[ \"$*\" = '-T -o BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR -- u@gw nolapse status --json' ] || exit 64\n\
             [ ! -e {0}/fault ] || . {0}/fault\nHOME={0} exec {1} status --json\n",
            there.path().display(),
            env!("CARGO_BIN_EXE_nolapse"),
        ),
    );
    fs::set_permissions(ssh, fs::Permissions::from_mode(0o755)).unwrap();
    here.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", here.at("bin").display()));
    (here, there)
}

/// Lets the time between two questions pass.
fn pass(here: &Home) -> Vec<serde_json::Value> {
    let path = ".local/state/nolapse/ledger.json";
    if here.at(path).exists() {
        let mut ledger = here.json(path);
        ledger["remotes"]["gw"]["asked_at"] = 0.into();
        here.write(path, ledger.to_string());
    }
    let ran = here.run(&["run"]);
    let firing = here.status(&[])["remotes"][0]["firing"].as_u64().unwrap_or(0) > 0;
    // what fires there counts here, and of a host that is silent nobody can tell
    let wanted = match (firing, ran.stdout.contains("does not answer")) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    };
    assert_eq!(ran.code, wanted, "{ran:?}");
    let told = fs::read_to_string(here.at("told")).unwrap_or_default();
    let _ = fs::remove_file(here.at("told"));
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_login_that_ends_there_is_told_here_and_so_is_its_recovery() {
    let (here, there) = pair();
    assert_eq!(pass(&here), Vec::<serde_json::Value>::new());
    there.write(
        ".claude/.credentials.json",
        crate::home::credentials("x", now() - 40 * DAY, Some(now() - 10 * DAY)).to_string(),
    );
    let told = pass(&here);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["alert_id"], "remote:gw:login:claude");
    assert_eq!(told[0]["title"], "Claude login `claude` has ended on gw");
    assert_eq!(told[0]["commands"][0], "nolapse login --login claude");
    assert!(
        told[0]["message"]
            .as_str()
            .unwrap()
            .contains("to fix it, run on gw:\nnolapse login --login claude")
    );
    assert_eq!(pass(&here).len(), 0);
    let status = here.run(&["status"]);
    assert!(status.stdout.contains("remotes\n  gw  1 firing"), "{status:?}");
    let remotes = &here.status(&[])["remotes"];
    assert_eq!(
        (&remotes[0]["name"], &remotes[0]["firing"]),
        (&"gw".into(), &1.into()),
        "{remotes}"
    );
    there.login("new", now() + 8 * HOUR);
    let told = pass(&here);
    assert_eq!((told.len(), &told[0]["status"]), (1, &"resolved".into()), "{told:?}");
}

#[test]
fn many_hosts_are_twenty_messages_however_their_answers_come() {
    let (here, there) = pair();
    there.write(
        ".claude/.credentials.json",
        crate::home::credentials("x", now() - 40 * DAY, Some(now() - 10 * DAY)).to_string(),
    );
    let answer = here.write("answer", there.run(&["status", "--json"]).stdout);
    let path = format!("exec cat {}\n", answer.display());
    // ten at a time
    let script = "#!/bin/sh\nfor host; do case $host in u@h*) n=${host#u@h};; esac; done\nsleep 0.$((n / 10 * 3))\n";
    let ssh = here.write("bin/ssh", script.to_owned() + &path);
    fs::set_permissions(ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let channel = &CONFIG[CONFIG.find("[[channel]]").unwrap()..];
    let hosts: String = (0..40)
        .map(|n| format!("[[remote]]\nname = \"h{n}\"\nssh = \"u@h{n}\"\n"))
        .collect();
    here.config(&(hosts + channel));
    here.run(&["run"]);
    let told = here.read("told");
    assert_eq!(told.lines().count(), 20, "{told}");
    assert!(told.contains("21 more alerts"), "{told}");
    fs::remove_file(here.at("told")).unwrap();
    here.run(&["run"]);
    assert!(!here.at("told").exists());
}

#[test]
fn a_silent_host_is_told_with_the_reason() {
    for (fault, words) in [
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "its host key is unknown",
        ),
        (
            "echo 'u@gw: Permission denied (publickey).' >&2; exit 255",
            "does not accept a login without a password",
        ),
        (
            "echo 'connect to host gw port 22: Connection refused' >&2; exit 255",
            "cannot be reached: connect to host gw port 22",
        ),
        ("exit 127", "no `nolapse` there"),
        ("echo hello; exit 0", "not a `nolapse.status/1`"),
        ("yes | head -c 5000000; exit 0", "not a `nolapse.status/1`"),
    ] {
        let (here, there) = pair();
        there.write("fault", fault);
        let told = pass(&here);
        assert_eq!(told.len(), 1, "{fault}: {told:?}");
        assert_eq!(told[0]["alert_id"], "remote:gw:host");
        assert_eq!(told[0]["title"], "Nolapse does not answer on gw");
        assert!(told[0]["message"].as_str().unwrap().contains(words), "{told:?}");
        assert_eq!(told[0]["commands"][0], "ssh u@gw nolapse status --json");
        assert!(here.status(&[])["remotes"][0]["silence"].is_string());
        fs::remove_file(there.at("fault")).unwrap();
        assert_eq!(pass(&here)[0]["status"], "resolved");
    }
}

#[test]
fn a_changed_host_key_and_a_broken_configuration_there_say_what_to_do() {
    let (here, there) = pair();
    there.write(
        "fault",
        "echo '@  WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @' >&2\n\
         echo 'Host key for [gw]:22 has changed and you have requested strict checking.' >&2; exit 255",
    );
    let told = pass(&here);
    assert_eq!(told[0]["commands"][0], "ssh-keygen -R '[gw]:22'", "{told:?}");
    there.write("fault", "echo Welcome to gw");
    assert_eq!(pass(&here)[0]["status"], "resolved");
    // a typo there: what it saw before still counts
    there.write(
        ".claude/.credentials.json",
        crate::home::credentials("x", now() - 40 * DAY, Some(now() - 10 * DAY)).to_string(),
    );
    assert_eq!(pass(&here)[0]["alert_id"], "remote:gw:login:claude");
    there.config("[sync]\nenabeld = true\n");
    let told = pass(&here);
    assert_eq!(
        (told.len(), &told[0]["alert_id"]),
        (1, &"remote:gw:config".into()),
        "{told:?}"
    );
    assert!(told[0]["message"].as_str().unwrap().contains("enabeld"), "{told:?}");
    assert_eq!(here.status(&[])["remotes"][0]["silence"], "config_broken");
}

#[test]
fn a_host_that_hangs_is_given_up_and_a_remote_that_is_none_is_refused() {
    let (here, there) = pair();
    here.config(&CONFIG.replace("every = \"1m\"", "timeout = \"1s\""));
    there.write("fault", "exec sleep 60");
    let begun = std::time::Instant::now();
    let told = pass(&here);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    assert!(
        told[0]["message"].as_str().unwrap().contains("it took too long"),
        "{told:?}"
    );
    for (config, words) in [
        ("ssh = \"u@gw\"", "`remote[1].name` is missing"),
        ("name = \"a\"\nssh = \"-oProxyCommand=x\"", "no host"),
        ("name = \"a b\"\nssh = \"x\"", "`a b`"),
        ("name = \"a\"\nssh = \"x\"\nevery = \"1s\"", "use `1m` to `1d`"),
    ] {
        here.config(&format!("[[remote]]\n{config}\n"));
        let ran = here.run(&["config", "check"]);
        assert!(ran.code == 3 && ran.stderr.contains(words), "{config}: {ran:?}");
    }
}

/// A phone without a login of its own is judged by the hosts it watches, in every command.
#[test]
fn a_host_that_only_watches_is_judged_by_what_it_watches() {
    let (mut here, there) = pair();
    fs::remove_file(here.at(".claude/.credentials.json")).unwrap();
    pass(&here);
    for args in [&["run"][..], &["check"], &["status", "--check"]] {
        let ran = here.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        assert!(!ran.stdout.contains("found neither"), "{args:?}: {ran:?}");
    }
    assert_eq!(here.status(&[])["health"], "ok");
    assert!(here.run(&["status"]).stdout.contains("watches 1 other host"));
    there.login("there", now() - HOUR);
    fs::write(there.at(".claude/.credentials.json"), "{}").unwrap();
    pass(&here);
    for args in [&["check"][..], &["status", "--check"], &["run"]] {
        let ran = here.run(args);
        assert_eq!(ran.code, 1, "{args:?}: {ran:?}");
        assert!(
            args == ["status", "--check"] || ran.stdout.contains(" on gw"),
            "{args:?}: {ran:?}"
        );
    }
    // without a host to watch there is nothing at all
    here.env
        .insert("XDG_CONFIG_HOME".into(), here.at("none").display().to_string());
    assert_eq!(here.run(&["check"]).code, 1);
}
