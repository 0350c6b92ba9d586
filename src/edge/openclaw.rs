//! OpenClaw's own program: which one it is, and running it. What nolapse may not write itself goes through it.
//!
//! Source: openclaw 2026.6.6 to 2026.9.6 from npm: `bin/openclaw` is a link to `openclaw.mjs` of the package, beside whose
//! `package.json` names the version; it needs Node.js, which a service's `PATH` often lacks.

use super::files;
use super::host::Host;
use super::subprocess::{self, Output, Spec};
use crate::rules::openclaw::Version;
use crate::secret::Secret;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest that one command may take: 16 s were seen on a busy machine with two cores.
const TIMEOUT: Duration = Duration::from_secs(120);

/// An installed OpenClaw.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// As it is called.
    pub(crate) path: PathBuf,
    /// From its `package.json`; `None` if there is no such file beside it.
    pub(crate) version: Option<Version>,
    /// The Node.js that runs it; `None` where it is no script for Node.js.
    pub(crate) node: Option<PathBuf>,
    /// The longest that one command may take.
    pub(crate) timeout: Duration,
}

/// Why there is no program to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No `openclaw` anywhere.
    Program,
    /// This one needs Node.js, which is nowhere.
    Node(PathBuf),
}

impl Missing {
    /// The cause, and what to do.
    pub(crate) fn words(&self, host: &Host) -> (String, &'static str) {
        match self {
            Self::Program => (
                "`openclaw` is not on PATH, nor where npm puts it".into(),
                "install it, or run nolapse with the PATH that your shell has",
            ),
            Self::Node(path) => (
                format!("`{}` needs Node.js, which is not found", host.tilde(path)),
                "install Node.js, or run nolapse with the PATH that your shell has",
            ),
        }
    }
}

/// The first `openclaw` of `PATH`, else of the places where npm, nvm, pnpm, Bun, Volta and Homebrew put programs.
pub(crate) fn find(host: &Host) -> Result<Program, Missing> {
    let dirs = dirs(host);
    let path = dirs
        .iter()
        .map(|dir| dir.join("openclaw"))
        .find(|path| files::is_executable(path));
    let path = path.ok_or(Missing::Program)?;
    let real = files::real_or_same(&path);
    let script = real
        .extension()
        .is_some_and(|end| matches!(end.to_str(), Some("mjs" | "js" | "cjs")));
    let node = match script {
        false => None,
        true => {
            // a version manager puts both into one directory
            let beside = path.parent().map(|dir| dir.join("node"));
            let all = beside.into_iter().chain(dirs.iter().map(|dir| dir.join("node")));
            let node = all.into_iter().find(|path| files::is_executable(path));
            Some(node.ok_or_else(|| Missing::Node(path.clone()))?)
        }
    };
    Ok(Program {
        version: version(&real),
        path,
        node,
        timeout: TIMEOUT,
    })
}

fn dirs(host: &Host) -> Vec<PathBuf> {
    const BELOW_HOME: [&str; 6] = [
        ".npm-global/bin",
        ".local/bin",
        ".local/share/pnpm",
        ".bun/bin",
        ".volta/bin",
        ".openclaw/bin",
    ];
    let named = std::env::split_paths(host.var("PATH").unwrap_or_default()).filter(|dir| dir.is_absolute());
    let mut dirs: Vec<PathBuf> = named.collect();
    dirs.extend(BELOW_HOME.iter().map(|dir| host.home.join(dir)));
    let nvm = host.home.join(".nvm/versions/node");
    let mut versions = files::list(&nvm);
    versions.reverse();
    dirs.extend(versions.iter().map(|version| nvm.join(version).join("bin")));
    dirs.extend(["/usr/local/bin", "/opt/homebrew/bin", "/usr/bin"].map(PathBuf::from));
    dirs
}

/// `version` of the package that the program is in.
fn version(real: &Path) -> Option<Version> {
    let bytes = files::read(&real.parent()?.join("package.json")).ok()?.bytes;
    let package: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    (package["name"] == "openclaw").then(|| Version::parse(package["version"].as_str()?))?
}

/// Which installation's state a command works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    /// The state directory.
    pub(crate) dir: &'a Path,
    /// Its config file, if there is one.
    pub(crate) config: Option<&'a Path>,
}

/// Runs one command to its end, bounded in time and output. A secret goes in on stdin alone.
///
/// # Errors
/// In words: it could not be started, or took too long.
pub(crate) async fn run(
    host: &Host,
    program: &Program,
    of: Of<'_>,
    args: &[String],
    stdin: Option<&Secret>,
) -> Result<Output, String> {
    let (first, mut all) = match &program.node {
        Some(node) => (node, vec![OsString::from(&program.path)]),
        None => (&program.path, Vec::new()),
    };
    all.extend(args.iter().map(OsString::from));
    let mut env: Vec<(OsString, OsString)> = host
        .child_env()
        .filter(|(name, _)| *name != "PATH")
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let node_dir = program.node.as_deref().and_then(Path::parent).map(Path::to_owned);
    let path = std::env::split_paths(host.var("PATH").unwrap_or("/usr/bin:/bin"));
    if let Ok(path) = std::env::join_paths(node_dir.into_iter().chain(path)) {
        env.push(("PATH".into(), path));
    }
    env.push(("OPENCLAW_STATE_DIR".into(), of.dir.into()));
    if let Some(config) = of.config {
        env.push(("OPENCLAW_CONFIG_PATH".into(), config.into()));
    }
    env.push(("NO_COLOR".into(), "1".into()));
    let output = subprocess::run(Spec {
        args: all,
        env,
        stdin: stdin
            .map(|secret| format!("{}\n", secret.expose()).into_bytes())
            .unwrap_or_default(),
        timeout: program.timeout,
        grace: Duration::from_secs(5),
        cwd: Some(host.home.clone()),
        ..Spec::new(first)
    })
    .await;
    match output {
        Ok(output) if output.status == subprocess::Status::TimedOut => Err(format!(
            "`openclaw` did not end within {} s and was ended",
            program.timeout.as_secs()
        )),
        Ok(output) => Ok(output),
        Err(error) => Err(format!("`openclaw` could not be started: {}", files::io_words(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_command_that_never_ends_is_ended() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("openclaw");
        std::fs::write(&path, "#!/bin/sh\nwhile :; do sleep 1000; done\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let host = Host {
            home: home.path().into(),
            env: [("PATH".to_owned(), format!("{}:/usr/bin:/bin", home.path().display()))].into(),
            cwd: home.path().into(),
            name: "t".into(),
            macos: false,
            own: vec!["nolapse".into()],
        };
        let program = Program {
            timeout: Duration::from_millis(500),
            ..find(&host).unwrap()
        };
        let of = Of {
            dir: home.path(),
            config: None,
        };
        let ended = run(&host, &program, of, &[], None).await;
        assert!(ended.is_err_and(|why| why.contains("did not end")));
    }
}
