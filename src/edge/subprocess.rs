//! Running another program: its environment listed exactly, its output bounded, its whole process group ended when it
//! takes too long. Without a working Termux:API app every `termux-*` command blocks for ever, which is why no program is
//! ever run without a deadline.

use super::files;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

/// What to run. Start from [`Spec::new`].
#[derive(Clone)]
pub(crate) struct Spec {
    /// The program: a path, or a name that is looked up in the `PATH` of `env`.
    pub(crate) program: OsString,
    /// Its arguments.
    pub(crate) args: Vec<OsString>,
    /// Its whole environment; nothing of ours is handed on.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Its working directory; ours if `None`.
    pub(crate) cwd: Option<PathBuf>,
    /// What it reads on stdin; empty for `/dev/null`.
    pub(crate) stdin: Vec<u8>,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// How long it has after SIGTERM before SIGKILL, once `timeout` has passed. Zero kills at once.
    pub(crate) grace: Duration,
    /// The most that is kept of stdout and of stderr, in bytes each; what comes after is read and dropped.
    pub(crate) max_output: usize,
}

impl Spec {
    /// `program` without arguments, environment or input: 10 s, no grace, 64 kB of output.
    pub(crate) fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: Vec::new(),
            timeout: Duration::from_secs(10),
            grace: Duration::ZERO,
            max_output: 64 << 10,
        }
    }
}

/// Prints the program alone: arguments and environment may hold what nobody should read in a log.
impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spec({})", self.program.display())
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// By itself, with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It was ended by us after its time was up.
    TimedOut,
}

impl From<ExitStatus> for Status {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exit(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

/// What it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: Status,
    /// The first [`Spec::max_output`] bytes of stdout.
    pub(crate) stdout: Vec<u8>,
    /// The first [`Spec::max_output`] bytes of stderr.
    pub(crate) stderr: Vec<u8>,
}

/// How long output is still read once the program itself has ended: a helper that it left behind may hold the pipes open.
const LINGER: Duration = Duration::from_millis(200);

/// Runs `spec` in its own process group and waits for its end. If its time is up, or if the returned future is dropped,
/// the whole group is ended. A helper that outlives a program which ended by itself is not touched.
///
/// # Errors
/// The program could not be started.
pub(crate) async fn run(spec: Spec) -> io::Result<Output> {
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(if spec.stdin.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut pipes = Box::pin(async {
        let feed = async {
            if let Some(mut stdin) = stdin {
                // a program that does not read its input to the end is no failure of ours
                let _ = stdin.write_all(&spec.stdin).await;
            }
        };
        tokio::join!(
            feed,
            drain(stdout, &mut out, spec.max_output),
            drain(stderr, &mut err, spec.max_output)
        );
    });
    let mut closed = false;
    let ended = timeout(spec.timeout, async {
        tokio::select! {
            status = child.wait() => status,
            () = &mut pipes => {
                closed = true;
                child.wait().await
            }
        }
    })
    .await;
    let status = match ended {
        Ok(status) => {
            group.0 = None;
            status?.into()
        }
        Err(_) => {
            if !spec.grace.is_zero() {
                group.signal(Signal::TERM);
                let _ = timeout(spec.grace, child.wait()).await;
            }
            group.signal(Signal::KILL);
            let _ = child.wait().await;
            group.0 = None;
            Status::TimedOut
        }
    };
    if !closed {
        let _ = timeout(LINGER, &mut pipes).await;
    }
    drop(pipes);
    Ok(Output {
        status,
        stdout: out,
        stderr: err,
    })
}

/// A program that was started and is never ended by us.
#[derive(Debug)]
pub(crate) struct Left(tokio::process::Child);

/// Starts `spec` (its limits do not apply) and leaves it to itself: no input, no output, a session of its own so that neither a ^C
/// nor our own end reaches it, no pipe that could break under it.
///
/// A process group alone keeps ^C away, but when we end, the kernel sends SIGHUP to a group that is stopped and that nobody of its
/// session is left to continue (setpgid(2)). A new session takes setsid(1), which calls for no `unsafe` code; where that is not
/// installed (macOS), a group has to do.
///
/// # Errors
/// The program could not be started.
pub(crate) fn spawn_and_leave(spec: &Spec) -> io::Result<Left> {
    let mut command = match setsid(&spec.env) {
        // it executes the program in its own place unless it leads a group
        Some(setsid) => {
            let mut command = Command::new(setsid);
            command.arg(&spec.program);
            command
        }
        None => {
            let mut command = Command::new(&spec.program);
            command.process_group(0);
            command
        }
    };
    command
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(false);
    if let Some(cwd) = &spec.cwd {
        command.current_dir(cwd);
    }
    command.spawn().map(Left)
}

fn setsid(env: &[(OsString, OsString)]) -> Option<PathBuf> {
    let path = env.iter().find(|(name, _)| name == "PATH")?;
    std::env::split_paths(&path.1)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("setsid"))
        .find(|program| files::is_executable(program))
}

impl Left {
    /// Its process id; 0 once it was waited for.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id().unwrap_or(0)
    }

    /// Waits for its end, at most this long; `None` where it still runs. It is not ended.
    pub(crate) async fn wait(&mut self, patience: Duration) -> Option<Status> {
        let status = timeout(patience, self.0.wait()).await.ok()?.ok()?;
        Some(status.into())
    }
}

/// A process group that is killed when dropped, unless its leader was waited for.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>, most: usize) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 8 << 10];
    while let Ok(count) = pipe.read(&mut buffer).await
        && count > 0
    {
        let room = most - into.len();
        into.extend_from_slice(&buffer[..count.min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sh(script: &str, millis: u64) -> Spec {
        Spec {
            args: vec!["-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into()), ("GIVEN".into(), "yes".into())],
            timeout: Duration::from_millis(millis),
            ..Spec::new("/bin/sh")
        }
    }

    #[tokio::test]
    async fn a_program_gets_what_is_listed_and_its_end_is_told() {
        let spec = Spec {
            stdin: b"in".to_vec(),
            cwd: Some("/".into()),
            ..sh("cat; echo \"-$GIVEN-${HOME-none}-$PWD\"; echo bad >&2; exit 3", 5000)
        };
        let output = run(spec).await.unwrap();
        assert_eq!(output.status, Status::Exit(3));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "in-yes-none-/\n");
        assert_eq!(output.stderr, b"bad\n");
        let output = run(sh("read line; echo \"$?\"; kill -9 $$", 5000)).await.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_slice()),
            (Status::Signal(9), &b"1\n"[..])
        );
    }

    #[tokio::test]
    async fn a_program_that_blocks_is_ended_with_all_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("alive");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&fifo)
                .status()
                .unwrap()
                .success()
        );
        let mut alive = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        // the helper holds it open as long as it lives
        let script = format!("exec 9>{}; sleep 1000 & echo begun; wait", fifo.display());
        let begun = Instant::now();
        let output = run(sh(&script, 300)).await.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_slice()),
            (Status::TimedOut, &b"begun\n"[..])
        );
        assert!(begun.elapsed() < Duration::from_secs(3));
        let ended = timeout(Duration::from_secs(5), alive.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "a helper outlived the group");
    }

    #[tokio::test]
    async fn a_program_with_grace_may_tidy_up() {
        let spec = Spec {
            grace: Duration::from_secs(5),
            ..sh("trap 'echo tidy; exit 0' TERM; sleep 30 & wait", 300)
        };
        let output = run(spec).await.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_slice()),
            (Status::TimedOut, &b"tidy\n"[..])
        );
    }

    #[tokio::test]
    async fn a_helper_left_behind_does_not_hold_us() {
        let begun = Instant::now();
        let output = run(sh("sleep 20 & echo done", 10_000)).await.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_slice()),
            (Status::Exit(0), &b"done\n"[..])
        );
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn output_is_bounded_and_a_missing_program_is_an_error() {
        let spec = Spec {
            max_output: 10,
            ..sh("yes | head -c 1000000; echo end >&2", 5000)
        };
        let output = run(spec).await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr.as_slice()), (10, &b"end\n"[..]));
        let error = run(Spec::new("/nonexistent/program")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
