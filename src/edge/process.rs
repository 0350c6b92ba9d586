//! A process by more than its number: a number is used again, and means another process in another PID namespace (a container).
//!
//! Linux and Android tell the start of a process, the boot and the namespace in `/proc`. Elsewhere there is the number alone.

use super::files;
use rustix::process::Pid;
use std::path::Path;

/// What tells one process from all others, as far as this system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Its number, as its own namespace counts.
    pub(crate) pid: u32,
    /// When it started, in the kernel's ticks since the boot (proc(5), field 22 of `stat`).
    pub(crate) start: Option<u64>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: Option<String>,
    /// The inode of its PID namespace.
    pub(crate) namespace: Option<u64>,
}

/// What is known about a recorded process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs.
    Lives,
    /// It ended.
    Gone,
    /// Another boot, host or namespace: its number says nothing here.
    Elsewhere,
}

impl Identity {
    /// The process that has this number here and now.
    pub(crate) fn of(pid: u32) -> Self {
        Self {
            pid,
            start: stat(pid).map(|stat| stat.start),
            boot: boot(),
            namespace: namespace(),
        }
    }

    /// This process.
    pub(crate) fn ours() -> Self {
        Self::of(std::process::id())
    }

    /// Whether it still runs. What was not written down is not compared.
    pub(crate) fn fate(&self) -> Fate {
        let other = |then: bool, same: bool| then && !same;
        if other(self.boot.is_some(), self.boot == boot())
            || other(self.namespace.is_some(), self.namespace == namespace())
        {
            return Fate::Elsewhere;
        }
        let now = stat(self.pid).map(|stat| stat.start);
        let reused = self.start.zip(now).is_some_and(|(then, now)| then != now);
        match is_alive(self.pid) && !reused {
            true => Fate::Lives,
            false => Fate::Gone,
        }
    }
}

/// This host's name, as the kernel has it.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a process with this number runs here. A zombie has ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Some(number) = i32::try_from(pid).ok().filter(|pid| *pid > 0).and_then(Pid::from_raw) else {
        return false;
    };
    // EPERM: it lives and is another user's
    !matches!(rustix::process::test_kill_process(number), Err(rustix::io::Errno::SRCH))
        && stat(pid).is_none_or(|stat| !stat.ended)
}

/// How long the process with this number has run, in seconds, suspends included; `None` where that is not told.
pub(crate) fn age(pid: u32) -> Option<u64> {
    // the kernel shows its ticks to all programs as hundredths (`USER_HZ`)
    let start = stat(pid)?.start / 100;
    let now = u64::try_from(uptime()?).ok()?;
    Some(now.saturating_sub(start))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn uptime() -> Option<i64> {
    Some(rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn uptime() -> Option<i64> {
    None
}

/// When the process with this number started, in the kernel's ticks since the boot.
pub(crate) fn start(pid: u32) -> Option<u64> {
    stat(pid).map(|stat| stat.start)
}

/// The inode of this process's PID namespace.
pub(crate) fn namespace() -> Option<u64> {
    namespace_of("self")
}

/// The inode of the PID namespace of the process with this name in `/proc`; `None` where this user may not know.
fn namespace_of(process: &str) -> Option<u64> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// This boot of this kernel.
pub(crate) fn boot() -> Option<String> {
    let bytes = files::read(Path::new("/proc/sys/kernel/random/boot_id")).ok()?.bytes;
    Some(String::from_utf8(bytes).ok()?.trim().to_owned()).filter(|id| !id.is_empty())
}

/// The host's own PID namespace (`PROC_PID_INIT_INO` of the kernel's `proc_ns.h`).
const HOST: u64 = 0xEFFF_FFFC;

/// Where this process is: in no namespace, or in the host's, or in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PidSpace {
    /// In the host's, or the system has none.
    Host,
    /// In one below it.
    Below,
}

/// Where this process is.
pub(crate) fn place() -> PidSpace {
    match namespace() {
        None | Some(HOST) => PidSpace::Host,
        Some(_) => PidSpace::Below,
    }
}

/// Whether other users' processes are hidden from us (`hidepid`). On Android they always are, and there are no containers.
pub(crate) fn others_are_hidden() -> bool {
    namespace().is_some() && !cfg!(target_os = "android") && stat(1).is_none()
}

/// The processes whose command line `which` says yes to, each with how many namespaces it is below ours (0: it is in ours). This
/// process is not among them.
pub(crate) fn levels(which: impl Fn(&[u8]) -> bool) -> Vec<usize> {
    let names = files::list(Path::new("/proc")).into_iter();
    names
        .filter_map(|name| name.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| {
            let read = |name: &str| Some(files::read(Path::new(&format!("/proc/{pid}/{name}"))).ok()?.bytes);
            let wanted = which(&read("cmdline")?);
            wanted.then(|| read("status").as_deref().map(level)).flatten()
        })
        .collect()
}

/// `NSpid:` has a number for each namespace from ours down to the process's own (proc(5)).
fn level(status: &[u8]) -> usize {
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.map_or(0, |numbers| numbers.split_whitespace().count().saturating_sub(1))
}

struct Stat {
    start: u64,
    ended: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let bytes = files::read(Path::new(&format!("/proc/{pid}/stat"))).ok()?.bytes;
    parse_stat(&String::from_utf8_lossy(&bytes))
}

/// The name in it may hold spaces and brackets; what follows the last bracket does not.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    Some(Stat {
        ended: matches!(state, "Z" | "X" | "x"),
        start: fields.nth(18)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_stat_line_is_read_behind_any_name() {
        let line = |name: &str, state: &str| {
            format!("7 ({name}) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 99 1 18446744073709551615")
        };
        for (name, state, ended) in [
            ("sh", "S", false),
            ("a) Z (b", "R", false),
            ("sh", "Z", true),
            ("sh", "X", true),
        ] {
            let stat = parse_stat(&line(name, state)).unwrap();
            assert_eq!((stat.start, stat.ended), (4711, ended), "{name} {state}");
        }
        assert!(parse_stat("7 (sh) S 1").is_none() && parse_stat("").is_none());
    }

    #[test]
    fn a_process_in_a_container_has_a_number_for_each_namespace() {
        for (status, want) in [
            ("Name:\tnode\nNSpid:\t4711\n", 0),
            ("NSpid:\t4711\t7\nNSpgid:\t4711\t7\n", 1),
            ("NSpid:\t4711\t7\t1\n", 2),
            ("Name:\tnode\n", 0),
        ] {
            assert_eq!(level(status.as_bytes()), want, "{status}");
        }
        // an argument that no other process has; the kernel shows it a moment after the start
        let time = format!("61.{}", std::process::id());
        let mut child = Command::new("sleep").arg(&time).spawn().unwrap();
        if namespace().is_some() {
            let line = format!("sleep\0{time}\0");
            let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
            let mut found = Vec::new();
            while found.is_empty() && std::time::Instant::now() < until {
                found = levels(|other| other == line.as_bytes());
                std::thread::yield_now();
            }
            assert_eq!(found, [0]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_is_told_from_the_one_that_has_its_number_later() {
        let ours = Identity::ours();
        assert_eq!(ours.fate(), Fate::Lives);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let it = Identity::of(child.id());
        assert_eq!(it.fate(), Fate::Lives);
        // dead and not waited for yet
        child.kill().unwrap();
        rustix::process::waitid(
            rustix::process::WaitId::Pid(Pid::from_child(&child)),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert_eq!(it.fate(), Fate::Gone);
        child.wait().unwrap();
        assert_eq!(it.fate(), Fate::Gone);
        if ours.start.is_some() {
            let reused = Identity {
                start: ours.start.map(|start| start + 1),
                ..ours.clone()
            };
            assert_eq!(reused.fate(), Fate::Gone);
            assert!(age(ours.pid).unwrap() < 24 * 3600);
        }
        for elsewhere in [
            Identity {
                boot: Some("another".into()),
                ..ours.clone()
            },
            Identity {
                namespace: Some(1),
                ..ours.clone()
            },
        ] {
            let told = ours.boot.is_some() || elsewhere.namespace == Some(1);
            assert!(!told || elsewhere.fate() == Fate::Elsewhere, "{elsewhere:?}");
        }
        let bare = Identity {
            start: None,
            boot: None,
            namespace: None,
            ..ours
        };
        assert_eq!(bare.fate(), Fate::Lives);
    }
}
