//! What each platform needs to run nolapse automatically: files from `contrib` with the real paths filled in, and the commands
//! that switch them on and off. [`plan`] only says it; `cli/install` does it and keeps the [`Manifest`].

use crate::edge::host::Host;
use crate::edge::{files, termux};
use crate::notify;
use crate::notify::termux::{LOUD, QUIET};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where nolapse can be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Platform {
    /// A user service with a timer, or the daemon
    Systemd,
    /// Android's job scheduler, Termux:Boot and Termux:Widget; with --daemon also termux-services
    Termux,
    /// A line in the crontab
    Cron,
    /// An agent of macOS
    Launchd,
    /// A user service of OpenRC 0.60 or later; the daemon
    Openrc,
    /// A service below the user's own runsvdir; the daemon
    Runit,
}

impl Platform {
    /// Its word on the command line and in the manifest.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Termux => "termux",
            Self::Cron => "cron",
            Self::Launchd => "launchd",
            Self::Openrc => "openrc",
            Self::Runit => "runit",
        }
    }
}

/// What this system has to run it.
pub(crate) fn here(host: &Host) -> Platform {
    let there = |path: &str| files::is_dir(Path::new(path));
    if host.termux() {
        Platform::Termux
    } else if cfg!(target_os = "macos") {
        Platform::Launchd
    } else if there("/run/systemd/system") {
        Platform::Systemd
    } else if there("/run/openrc") {
        Platform::Openrc
    } else if notify::find_program(host, "crontab").is_some() {
        Platform::Cron
    } else if notify::find_program(host, "runsvdir").is_some() {
        Platform::Runit
    } else {
        Platform::Systemd
    }
}

/// The host as far as an installation needs it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The user's home.
    pub(crate) home: PathBuf,
    /// `$XDG_CONFIG_HOME`.
    pub(crate) config_home: PathBuf,
    /// `$XDG_DATA_HOME`.
    pub(crate) data_home: PathBuf,
    /// Termux's `$PREFIX`.
    pub(crate) prefix: PathBuf,
    /// The program that makes notification channels of Termux:API, if it is there.
    pub(crate) termux_api: Option<PathBuf>,
    /// Where a user's runsvdir looks, `$SVDIR` or `~/service`.
    pub(crate) svdir: PathBuf,
    /// The user's number.
    pub(crate) uid: u32,
    /// The user's name, if the environment says it.
    pub(crate) user: Option<String>,
    /// The program, and the global options that it is to be run with.
    pub(crate) words: Vec<String>,
    /// The directory of the Claude Code CLI, where no service would find it by itself.
    pub(crate) claude_dir: Option<String>,
}

/// What is to be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Files, in the order in which they are written.
    pub(crate) files: Vec<Planned>,
    /// A block of lines for the user's crontab.
    pub(crate) crontab: Option<String>,
    /// Tells whether it is switched on, by succeeding.
    pub(crate) probe: Option<Call>,
    /// Switch it on.
    pub(crate) on: Vec<Call>,
    /// Switch it off, before the files are removed.
    pub(crate) off: Vec<Call>,
    /// And afterwards.
    pub(crate) off_after: Vec<Call>,
    /// What the service manager makes beside the files, which goes with them.
    pub(crate) made_by_service: Vec<PathBuf>,
    /// What it makes elsewhere for this unit alone, directories included, which goes too.
    pub(crate) made_elsewhere: Vec<PathBuf>,
    /// Says when the next pass is.
    pub(crate) next: Option<Call>,
    /// The same in words, where no command says it.
    pub(crate) next_words: &'static str,
    /// What only a person can do, said at the end.
    pub(crate) by_hand: &'static [&'static str],
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Where.
    pub(crate) path: PathBuf,
    /// What.
    pub(crate) text: String,
    /// Permission bits.
    pub(crate) mode: u32,
    /// The service manager takes it away; it is not put back.
    pub(crate) once: bool,
}

/// One command of the platform's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// When it counts as done.
    pub(crate) done: Done,
    /// The package or app that has it, for a hint.
    pub(crate) from: &'static str,
}

/// When a command counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// It ends with code 0.
    Success,
    /// Its output holds this; its exit code says nothing.
    Says(&'static str),
    /// Whatever it says: the state it is to bring about may be there already.
    Anyhow,
}

impl Call {
    /// `words`, of the package or app `from`.
    pub(crate) fn new(from: &'static str, done: Done, words: &[&str]) -> Self {
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            done,
            from,
        }
    }

    /// As a person would type it.
    pub(crate) fn line(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| sh_word(word)).collect();
        words.join(" ")
    }
}

/// What was installed, by platform: what an uninstall may remove.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    /// By [`Platform::word`].
    pub(crate) installed: BTreeMap<String, Entry>,
    /// What the pass at the installation made in the state directory, which was empty before.
    pub(crate) state: Vec<Written>,
    /// Directories that were made for the state directory, outermost first.
    pub(crate) state_dirs: Vec<PathBuf>,
}

/// One installed platform.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Whether it is the daemon.
    pub(crate) daemon: bool,
    /// What was written.
    #[serde(default)]
    pub(crate) files: Vec<Written>,
    /// Directories that were made for it, outermost first.
    #[serde(default)]
    pub(crate) dirs: Vec<PathBuf>,
    /// What was put into the crontab.
    pub(crate) crontab: Option<String>,
    /// There was no crontab before.
    #[serde(default)]
    pub(crate) crontab_made: bool,
}

/// One file as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    /// Where.
    pub(crate) path: PathBuf,
    /// SHA-256 of what, in hex digits.
    pub(crate) sha256: String,
}

/// SHA-256 in hex digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of our job with Android's job scheduler.
const JOB_ID: &str = "4624";

/// What `platform` needs. `daemon` asks for the resident form where there are two.
pub(crate) fn plan(platform: Platform, daemon: bool, place: &Site) -> Plan {
    match platform {
        Platform::Systemd => systemd(daemon, place),
        Platform::Termux => termux(daemon, place),
        Platform::Cron => cron(place),
        Platform::Launchd => launchd(daemon, place),
        Platform::Openrc => openrc(place),
        Platform::Runit => runit(place),
    }
}

fn systemd(daemon: bool, place: &Site) -> Plan {
    let dir = place.config_home.join("systemd/user");
    let fill = |text: &str| {
        let path = place.claude_dir.as_ref().map(|dir| dir.replace('%', "%%"));
        with_path(text, path.as_deref()).replace(PROGRAM, &systemd_words(&place.words))
    };
    let file = |name: &str, text: &str| planned(dir.join(name), fill(text), 0o644);
    let failed = file(
        "nolapse-failed@.service",
        include_str!("../contrib/systemd/nolapse-failed@.service"),
    );
    let (files, unit) = match daemon {
        false => {
            let service = include_str!("../contrib/systemd/nolapse.service");
            let timer = include_str!("../contrib/systemd/nolapse.timer");
            (
                vec![file("nolapse.service", service), file("nolapse.timer", timer), failed],
                "nolapse.timer",
            )
        }
        true => {
            let service = include_str!("../contrib/systemd/nolapse-daemon.service");
            (
                vec![file("nolapse-daemon.service", service), failed],
                "nolapse-daemon.service",
            )
        }
    };
    let user = |words: &[&str]| Call::new("systemd", Done::Success, &[&["systemctl", "--user"], words].concat());
    let reload = user(&["daemon-reload"]);
    Plan {
        files,
        probe: Some(user(&["is-active", "--quiet", unit])),
        on: vec![reload.clone(), user(&["enable", "--now", unit])],
        off: vec![user(&["disable", "--now", unit])],
        off_after: vec![reload],
        // when a timer with Persistent= fired last
        made_elsewhere: match daemon {
            false => vec![place.data_home.join("systemd/timers/stamp-nolapse.timer")],
            true => Vec::new(),
        },
        next: (!daemon).then(|| user(&["list-timers", "--no-pager", "--no-legend", unit])),
        next_words: "when a watched file changes, and on the schedule of the configuration",
        ..Plan::default()
    }
}

/// A file of `contrib` with this installation's paths.
fn termux_text(place: &Site, text: &str) -> String {
    let prefix = place.prefix.to_string_lossy();
    let text = text
        .replace("'/usr/bin/nolapse'", &sh_words(&place.words))
        .replace("/data/data/com.termux/files/usr", &prefix);
    match &place.claude_dir {
        Some(dir) => text.replace("PATH=$PREFIX/bin\n", &format!("PATH={}:$PREFIX/bin\n", sh_word(dir))),
        None => text,
    }
}

fn termux_files(daemon: bool, place: &Site) -> Vec<Planned> {
    let home = |name: &str, text: &str| planned(place.home.join(name), termux_text(place, text), 0o700);
    vec![
        home(".termux/nolapse-job", include_str!("../contrib/termux/job")),
        home(
            ".termux/boot/nolapse",
            match daemon {
                false => include_str!("../contrib/termux/boot"),
                true => include_str!("../contrib/termux/boot-daemon"),
            },
        ),
        home(
            ".shortcuts/tasks/nolapse-status",
            include_str!("../contrib/termux/status"),
        ),
        home(
            ".shortcuts/tasks/nolapse-check",
            include_str!("../contrib/termux/check"),
        ),
        home(
            ".shortcuts/tasks/nolapse-sign-in",
            include_str!("../contrib/termux/sign-in"),
        ),
        home(".shortcuts/nolapse-reauth", include_str!("../contrib/termux/reauth")),
    ]
}

fn termux(daemon: bool, place: &Site) -> Plan {
    let mut files = termux_files(daemon, place);
    let api = "the app Termux:API and `pkg install termux-api`";
    let job = place.home.join(".termux/nolapse-job");
    let mut on = vec![Call::new(
        api,
        Done::Says("response 1"),
        &[
            "termux-job-scheduler",
            "--script",
            &job.to_string_lossy(),
            "--job-id",
            JOB_ID,
            "--period-ms",
            "900000",
            "--network",
            "any",
            "--battery-not-low",
            "false",
            "--persisted",
            "true",
        ],
    )];
    on.extend(termux_notifications(place, api));
    let mut off = vec![Call::new(
        api,
        Done::Anyhow,
        &["termux-job-scheduler", "--cancel", "--job-id", JOB_ID],
    )];
    off.push(Call::new(api, Done::Anyhow, &["termux-notification-remove", HELLO]));
    let mut made_by_service = Vec::new();
    if daemon {
        let dir = place.prefix.join("var/service/nolapse");
        files.push(Planned {
            once: true,
            ..planned(dir.join("down"), String::new(), 0o600)
        });
        let log = termux_text(place, include_str!("../contrib/termux/sv/log/run"));
        files.push(planned(dir.join("log/run"), log, 0o700));
        let run = termux_text(place, include_str!("../contrib/termux/sv/run"));
        files.push(planned(dir.join("run"), run, 0o700));
        let services = "`pkg install termux-services`, then a new session";
        on.push(Call::new(services, Done::Anyhow, &["sv-enable", "nolapse"]));
        off.insert(0, Call::new(services, Done::Anyhow, &["sv-disable", "nolapse"]));
        made_by_service = vec![dir.join("supervise"), dir.join("log/supervise")];
        off.push(Call::new(
            services,
            Done::Anyhow,
            &["sv", "exit", &dir.to_string_lossy()],
        ));
        // what sv-disable leaves
        made_by_service.push(dir.join("down"));
    }
    Plan {
        files,
        probe: Some(Call::new(api, Done::Says(JOB_ID), &["termux-job-scheduler", "-p"])),
        on,
        off,
        made_by_service,
        next_words: "within 15 minutes, when Android allows it; after a restart, by Termux:Boot",
        by_hand: &[
            "Termux:API's screen is open now; if not, open it. Allow, there and for Termux too:",
            "  notifications (Android 13 and later; \"Restricted setting\": allow it in the app's settings first)",
            "  no battery optimisation: otherwise Android may run the job only 3 times a day",
            "You should see a notification from nolapse now. If not: `nolapse doctor`",
        ],
        ..Plan::default()
    }
}

/// The id of the first message.
const HELLO: &str = "nolapse-installed";

/// Our two channels, a first message in the loud one, and the screen with the permissions. Android 13 and later ask for permission
/// when a screen of the app opens after it has made a channel.
fn termux_notifications(place: &Site, from: &'static str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut hello: Vec<String> = [
        "termux-notification",
        "-t",
        "nolapse watches your logins",
        "-c",
        "You get a notification like this one when you must sign in again.",
        "-i",
        HELLO,
        "--priority",
        "high",
    ]
    .map(String::from)
    .into();
    if let Some(program) = &place.termux_api {
        for loudness in [LOUD, QUIET] {
            calls.push(Call {
                words: std::iter::once(program.display().to_string())
                    .chain(loudness.arguments())
                    .collect(),
                done: Done::Anyhow,
                from,
            });
        }
        hello.extend(["--channel", LOUD.id].map(String::from));
    }
    let am = place.prefix.join("bin/am").display().to_string();
    let screen = std::iter::once(am).chain(termux::api_screen()).collect();
    for words in [hello, screen] {
        calls.push(Call {
            words,
            done: Done::Anyhow,
            from,
        });
    }
    calls
}

fn cron(place: &Site) -> Plan {
    let percent = |text: &str| text.replace('%', "\\%");
    let dir = place.claude_dir.as_deref().map(|dir| percent(&sh_word(dir)));
    let text = with_path(include_str!("../contrib/cron/nolapse"), dir.as_deref())
        .replace("'/usr/bin/nolapse'", &percent(&sh_words(&place.words)))
        .replace("/run/user/0", &format!("/run/user/{}", place.uid));
    Plan {
        crontab: Some(text),
        next_words: "within 4 minutes, by cron",
        ..Plan::default()
    }
}

fn launchd(daemon: bool, place: &Site) -> Plan {
    let text = match daemon {
        false => include_str!("../contrib/launchd/nolapse.plist"),
        true => include_str!("../contrib/launchd/nolapse-daemon.plist"),
    };
    let string = |word: &String| format!("<string>{}</string>", xml(word));
    let strings: String = place.words.iter().map(string).collect();
    let text = with_path(text, place.claude_dir.as_deref().map(xml).as_deref())
        .replace("<string>/usr/bin/nolapse</string>", &strings);
    let path = place.home.join("Library/LaunchAgents/nolapse.plist");
    let (domain, service) = (format!("gui/{}", place.uid), format!("gui/{}/nolapse", place.uid));
    let call = |done, words: &[&str]| Call::new("macOS", done, words);
    Plan {
        probe: Some(call(Done::Success, &["launchctl", "print", &service])),
        on: vec![
            call(Done::Anyhow, &["launchctl", "bootout", &service]),
            call(
                Done::Success,
                &["launchctl", "bootstrap", &domain, &path.to_string_lossy()],
            ),
        ],
        off: vec![call(Done::Anyhow, &["launchctl", "bootout", &service])],
        files: vec![planned(path, text, 0o644)],
        next_words: match daemon {
            false => "at once, then every 4 minutes",
            true => "on the schedule of the configuration",
        },
        ..Plan::default()
    }
}

fn openrc(place: &Site) -> Plan {
    let (program, options) = place
        .words
        .split_first()
        .map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
    let mut args: Vec<String> = options.iter().map(|word| sh_word(word)).collect();
    args.push("daemon".into());
    // OpenRC evaluates command_args once more
    let text = include_str!("../contrib/openrc/nolapse")
        .replace("command='/usr/bin/nolapse'", &format!("command={}", sh_quoted(program)))
        .replace(
            "command_args=daemon",
            &format!("command_args={}", sh_word(&args.join(" "))),
        );
    let call = |done, words: &[&str]| Call::new("OpenRC 0.60 or later", done, words);
    Plan {
        files: vec![planned(place.config_home.join("rc/init.d/nolapse"), text, 0o755)],
        probe: Some(call(Done::Success, &["rc-service", "-U", "nolapse", "status"])),
        on: vec![
            call(Done::Success, &["rc-update", "-U", "add", "nolapse", "default"]),
            call(Done::Success, &["rc-service", "-U", "nolapse", "start"]),
        ],
        off: vec![
            call(Done::Anyhow, &["rc-service", "-U", "nolapse", "stop"]),
            call(Done::Anyhow, &["rc-update", "-U", "del", "nolapse", "default"]),
        ],
        next_words: "on the schedule of the configuration",
        ..Plan::default()
    }
}

fn runit(place: &Site) -> Plan {
    let dir = place.svdir.join("nolapse");
    let name = dir.to_string_lossy().into_owned();
    let fill = |text: &str| text.replace("'/usr/bin/nolapse'", &sh_words(&place.words));
    let call = |done, words: &[&str]| Call::new("runit", done, words);
    Plan {
        files: vec![
            planned(
                dir.join("log/run"),
                fill(include_str!("../contrib/runit/log/run")),
                0o755,
            ),
            // the last one: runsvdir starts a directory that it finds
            planned(dir.join("run"), fill(include_str!("../contrib/runit/run")), 0o755),
        ],
        probe: Some(call(Done::Success, &["sv", "status", &name])),
        on: vec![call(Done::Anyhow, &["sv", "up", &name])],
        off: vec![call(Done::Anyhow, &["sv", "-w", "180", "exit", &name])],
        made_by_service: vec![dir.join("supervise"), dir.join("log/supervise")],
        next_words: "on the schedule of the configuration, once runsvdir has seen it (5 s)",
        ..Plan::default()
    }
}

/// The program's path in the files of `contrib`.
const PROGRAM: &str = "/usr/bin/nolapse";

/// The search path in the files of `contrib`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn with_path(text: &str, dir: Option<&str>) -> String {
    match dir {
        Some(dir) => text.replace(PATH, &format!("{dir}:{PATH}")),
        None => text.to_owned(),
    }
}

fn planned(path: PathBuf, text: String, mode: u32) -> Planned {
    Planned {
        path,
        text,
        mode,
        once: false,
    }
}

/// systemd.service(5), command lines: double quotes, with `%` and `$` doubled.
fn systemd_words(words: &[String]) -> String {
    let word = |word: &String| {
        let text = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        let text = text.replace('$', "$$");
        match plain(word) {
            true => text,
            false => format!("\"{text}\""),
        }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn sh_words(words: &[String]) -> String {
    words.iter().map(|word| sh_quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as the shell reads it, quoted where it needs to be.
fn sh_word(word: &str) -> String {
    match plain(word) {
        true => word.to_owned(),
        false => sh_quoted(word),
    }
}

fn sh_quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn plain(word: &str) -> bool {
    !word.is_empty()
        && word
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c))
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The directories that must be made before `path` can be written, outermost first, as `is_dir` sees it.
pub(crate) fn missing_dirs(path: &Path, is_dir: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = path
        .ancestors()
        .skip(1)
        .take_while(|dir| !dir.as_os_str().is_empty() && !is_dir(dir))
        .map(Into::into)
        .collect();
    missing.reverse();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    fn place(words: &[&str]) -> Site {
        Site {
            home: "/home/u".into(),
            config_home: "/home/u/.config".into(),
            data_home: "/home/u/.local/share".into(),
            prefix: "/data/data/com.termux/files/usr".into(),
            termux_api: None,
            svdir: "/home/u/service".into(),
            uid: 1000,
            user: Some("u".into()),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            claude_dir: None,
        }
    }

    #[test]
    fn with_the_packaged_path_the_files_are_those_of_contrib() {
        let place = place(&["/usr/bin/nolapse"]);
        for &platform in Platform::value_variants() {
            for daemon in [false, true] {
                for file in plan(platform, daemon, &place).files.iter().filter(|file| !file.once) {
                    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib");
                    let mut texts = Vec::new();
                    for sub in [
                        "systemd",
                        "termux",
                        "termux/sv",
                        "termux/sv/log",
                        "launchd",
                        "openrc",
                        "runit",
                        "runit/log",
                    ] {
                        for entry in std::fs::read_dir(Path::new(dir).join(sub)).unwrap().flatten() {
                            if entry.path().is_file() {
                                texts.push(std::fs::read_to_string(entry.path()).unwrap());
                            }
                        }
                    }
                    assert!(texts.contains(&file.text), "{}", file.path.display());
                }
            }
        }
    }

    #[test]
    fn odd_paths_are_quoted_as_each_reader_wants_it() {
        let mut place = place(&["/opt/a b/no'l%$apse", "--config", "/x&<y"]);
        place.claude_dir = Some("/opt/50% off/bin".into());
        let text = |platform| {
            let plan = plan(platform, false, &place);
            let files: String = plan.files.iter().map(|file| file.text.as_str()).collect();
            files + plan.crontab.as_deref().unwrap_or("")
        };
        let systemd = text(Platform::Systemd);
        assert!(
            systemd.contains("ExecStart=\"/opt/a b/no'l%%$$apse\" --config \"/x&<y\" run"),
            "{systemd}"
        );
        assert!(systemd.contains(":/opt/50%% off/bin:/usr/local/bin"), "{systemd}");
        let cron = text(Platform::Cron);
        assert!(
            cron.contains(r"'/opt/a b/no'\''l\%$apse' '--config' '/x&<y' run"),
            "{cron}"
        );
        assert!(cron.contains(r"PATH='/opt/50\% off/bin':/usr/local/bin"), "{cron}");
        assert!(cron.contains("/run/user/1000"));
        let launchd = text(Platform::Launchd);
        assert!(
            launchd
                .contains("<string>/opt/a b/no'l%$apse</string><string>--config</string><string>/x&amp;&lt;y</string>"),
            "{launchd}"
        );
        let openrc = text(Platform::Openrc);
        assert!(openrc.contains(r"command='/opt/a b/no'\''l%$apse'"), "{openrc}");
        assert!(
            openrc.contains(r"command_args='--config '\''/x&<y'\'' daemon'"),
            "{openrc}"
        );
        for platform in [Platform::Termux, Platform::Runit] {
            assert!(text(platform).contains(r"'/opt/a b/no'\''l%$apse' '--config' '/x&<y' "));
        }
    }

    #[test]
    fn the_directories_to_be_made_are_told_outermost_first() {
        let there = |dir: &Path| dir == Path::new("/home/u") || dir == Path::new("/");
        assert_eq!(
            missing_dirs(Path::new("/home/u/.config/systemd/x"), there),
            [PathBuf::from("/home/u/.config"), "/home/u/.config/systemd".into()]
        );
    }
}
