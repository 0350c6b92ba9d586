//! Termux's own commands, and Android's `am` behind them: where they are, what they need, and what their silence means.
//!
//! Every `termux-*` command of Termux:API ends in `am`, which is `app_process`: without `BOOTCLASSPATH` in its environment it dies
//! at once, while the command itself waits for an answer for ever (termux-api-package 0.59.1, `termux-api.c`). So each call has a
//! deadline and the environment of [`Host::child_env`], and a silence quotes what the child wrote to stderr.

use crate::edge::files;
use crate::edge::host::Host;
use crate::edge::subprocess::{self, Output, Spec, Status};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Termux lives (the app's own directory; `$PREFIX` where it is set).
pub(crate) const PREFIX: &str = "/data/data/com.termux/files/usr";

/// How long a command of Termux:API may take: it starts its app first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a command brought nothing about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such command here.
    Missing(String),
    /// It did not answer, or ended badly; in words.
    Failed(String),
}

/// Termux's `$PREFIX`.
pub(crate) fn prefix(host: &Host) -> &Path {
    Path::new(host.var_nonblank("PREFIX").unwrap_or(PREFIX))
}

/// The absolute path of one of Termux's programs: below `$PREFIX/bin`, else on `PATH` (proot-distro puts Termux's directory at the
/// end of it), else where Termux would have it.
pub(crate) fn tool(host: &Host, name: &str) -> PathBuf {
    let home = prefix(host).join("bin").join(name);
    let on_path = std::env::split_paths(host.var("PATH").unwrap_or_default())
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name));
    std::iter::once(home.clone())
        .chain(on_path)
        .find(|path| files::is_file(path))
        .unwrap_or(home)
}

/// The program behind Termux:API's commands, which makes notification channels; its scripts cannot make a loud one.
pub(crate) fn api(host: &Host) -> Option<PathBuf> {
    let beside = |path: PathBuf| Some(path.parent()?.parent()?.join("libexec/termux-api"));
    std::iter::once(prefix(host).join("libexec/termux-api"))
        .chain(beside(tool(host, "termux-notification")))
        .find(|path| files::is_file(path))
}

/// Runs one of Termux's programs with nothing on stdin and a deadline of ten seconds.
///
/// # Errors
/// It is not there, it did not answer, or it ended with a code other than 0.
pub(crate) async fn call(host: &Host, program: &Path, args: &[String]) -> Result<Output, Failure> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let spec = Spec {
        args: args.iter().map(Into::into).collect(),
        env: host.child([]),
        timeout: PATIENCE,
        ..Spec::new(program)
    };
    match subprocess::run(spec).await {
        Ok(output) => match output.status {
            Status::Exit(0) => Ok(output),
            Status::Exit(code) => Err(Failure::Failed(format!(
                "`{name}` ended with exit code {code}{}",
                said(&output)
            ))),
            Status::Signal(signal) => Err(Failure::Failed(format!("`{name}` was ended by signal {signal}"))),
            Status::TimedOut => Err(Failure::Failed(silence(host, &name, &output))),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::Missing(name)),
        Err(error) => Err(Failure::Failed(format!(
            "`{name}` could not be started: {}",
            files::io_words(&error)
        ))),
    }
}

/// What no answer within the deadline means. An app that is known to be installed is not said to be missing.
pub(crate) fn silence(host: &Host, name: &str, output: &Output) -> String {
    let app = match host.var_nonblank("TERMUX_API_APP__VERSION_NAME") {
        Some(version) => format!("the app Termux:API {version} is installed: open it once"),
        None => "install the app Termux:API from where Termux came from, and open it once".into(),
    };
    let class_path = match host.var_nonblank("BOOTCLASSPATH") {
        Some(_) => "",
        None => "; `BOOTCLASSPATH` is not set, so no command of Android can start",
    };
    format!(
        "`{name}` did not answer within {} s{}{class_path}; {app}",
        PATIENCE.as_secs(),
        said(output)
    )
}

/// The first line that a child wrote to stderr, short and on one line.
fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("");
    let line: String = line.chars().filter(|c| !c.is_control()).take(200).collect();
    match line.is_empty() {
        true => String::new(),
        false => format!(" (it said: {line})"),
    }
}

/// Termux's library that lets scripts with `#!/usr/bin/env` start, where it is installed. A notification's action and a job get no
/// `LD_PRELOAD` from the app.
pub(crate) fn exec_library(host: &Host) -> Option<PathBuf> {
    ["libtermux-exec-ld-preload.so", "libtermux-exec.so"]
        .iter()
        .map(|name| prefix(host).join("lib").join(name))
        .find(|path| files::is_file(path))
}

/// The phone's model, for a host whose own name is `localhost` as on most phones.
pub(crate) async fn model(host: &Host) -> Option<String> {
    let program = [prefix(host).join("bin/getprop"), "/system/bin/getprop".into()]
        .into_iter()
        .find(|path| files::is_file(path))?;
    let output = call(host, &program, &["ro.product.model".into()]).await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let name: String = text.trim().chars().filter(|c| !c.is_control()).take(40).collect();
    (!name.is_empty()).then_some(name)
}

/// The arguments of `am` that open a terminal of Termux with `program` in it (TermuxService, called directly: the same user). The
/// service splits arguments at commas; `\,` is a comma.
pub(crate) fn terminal(program: &Path, args: &[String]) -> Vec<String> {
    let joined: Vec<String> = args.iter().map(|arg| arg.replace(',', "\\,")).collect();
    [
        "startservice",
        "--user",
        "0",
        "-n",
        "com.termux/com.termux.app.TermuxService",
        "-a",
        "com.termux.service_execute",
        "-d",
        &format!("com.termux.file:{}", program.display()),
        "--esa",
        "com.termux.execute.arguments",
        &joined.join(","),
        "--ez",
        "com.termux.execute.background",
        "false",
        "--es",
        "com.termux.execute.session_action",
        "0",
    ]
    .map(String::from)
    .into()
}

/// The arguments of `am` that bring Termux to the front.
pub(crate) fn front() -> Vec<String> {
    activity("com.termux/com.termux.app.TermuxActivity")
}

/// The arguments of `am` that open Termux:API's own screen, with its buttons for permissions and battery.
pub(crate) fn api_screen() -> Vec<String> {
    activity("com.termux.api/.activities.TermuxAPIMainActivity")
}

fn activity(name: &str) -> Vec<String> {
    ["start", "--user", "0", "-n", name].map(String::from).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn phone(dir: &Path, more: &[(&str, &str)]) -> Host {
        let prefix = dir.to_str().unwrap().to_owned();
        let mut env: std::collections::BTreeMap<String, String> =
            more.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        env.insert("PREFIX".into(), prefix);
        Host {
            home: dir.join("home"),
            env,
            cwd: "/".into(),
            name: "localhost".into(),
            macos: false,
            own: vec!["/bin/nolapse".into()],
        }
    }

    fn script(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn a_child_gets_what_am_needs_and_its_words_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bin/termux-toast");
        script(
            &path,
            "echo \"$BOOTCLASSPATH|$EXTERNAL_STORAGE|$SECRET\"; echo 'Boot classpath is empty' >&2; exit 7",
        );
        let host = phone(
            dir.path(),
            &[
                ("BOOTCLASSPATH", "/boot"),
                ("EXTERNAL_STORAGE", "/sd"),
                ("SECRET", "canary"),
            ],
        );
        assert_eq!(
            call(&host, &path, &[]).await,
            Err(Failure::Failed(
                "`termux-toast` ended with exit code 7 (it said: Boot classpath is empty)".into()
            ))
        );
        script(&path, "echo \"$BOOTCLASSPATH|$EXTERNAL_STORAGE|$SECRET\"");
        assert_eq!(call(&host, &path, &[]).await.unwrap().stdout, b"/boot|/sd|\n");
        let gone = call(&host, &dir.path().join("bin/none"), &[]).await;
        assert_eq!(gone, Err(Failure::Missing("none".into())));
    }

    #[test]
    fn a_silence_blames_no_app_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let silent = Output {
            status: Status::TimedOut,
            stdout: Vec::new(),
            stderr: b"\nam: nothing\x1b[2J to do\n".to_vec(),
        };
        let there = phone(
            dir.path(),
            &[("TERMUX_API_APP__VERSION_NAME", "0.53"), ("BOOTCLASSPATH", "/b")],
        );
        let words = silence(&there, "termux-toast", &silent);
        assert!(
            words.contains("Termux:API 0.53 is installed") && words.contains("am: nothing[2J to do"),
            "{words}"
        );
        assert!(!words.contains("BOOTCLASSPATH"), "{words}");
        let bare = silence(&phone(dir.path(), &[]), "termux-toast", &silent);
        assert!(
            bare.contains("install the app") && bare.contains("`BOOTCLASSPATH` is not set"),
            "{bare}"
        );
    }

    #[tokio::test]
    async fn tools_are_found_below_the_prefix_and_the_model_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other/bin");
        script(&other.join("termux-toast"), "");
        let host = phone(&dir.path().join("usr"), &[("PATH", other.to_str().unwrap())]);
        assert_eq!(tool(&host, "termux-toast"), other.join("termux-toast"));
        assert_eq!(tool(&host, "am"), dir.path().join("usr/bin/am"));
        assert_eq!(model(&host).await, None);
        script(
            &dir.path().join("usr/bin/getprop"),
            "[ \"$1\" = ro.product.model ] && echo 'Pixel 8'",
        );
        assert_eq!(model(&host).await.as_deref(), Some("Pixel 8"));
        assert_eq!(exec_library(&host), None);
    }

    #[test]
    fn a_terminal_keeps_commas_in_its_arguments() {
        let args = terminal(Path::new("/p/bin/ssh"), &["-t".into(), "gw".into(), "a,b c".into()]);
        assert!(args.contains(&"-t,gw,a\\,b c".to_owned()), "{args:?}");
        assert!(args.contains(&"com.termux.file:/p/bin/ssh".to_owned()), "{args:?}");
    }
}
