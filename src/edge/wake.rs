//! What wakes a resident process: an alarm on the wall clock, changed files, signals. Nothing else does: between two of
//! them it costs no processor time at all.

use crate::types::{Moment, Ms};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

/// What has changed in the directories that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    /// Databases alone: most of what is written to them concerns others.
    Databases,
    /// A file, or a directory itself.
    Files,
}

/// An alarm on the wall clock, which notices a suspend and a clock that is set.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod alarm {
    use super::{Moment, Ms, io};
    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use std::os::fd::OwnedFd;
    use tokio::io::unix::AsyncFd;

    /// The alarm. Make it within the runtime.
    pub(crate) struct Alarm(AsyncFd<OwnedFd>);

    impl Alarm {
        /// An alarm that is not set.
        ///
        /// # Errors
        /// What the system refuses.
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an owned descriptor is open for as long as it is registered"
        )]
        pub(crate) fn new() -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            Ok(Self(AsyncFd::new(fd)?))
        }

        /// Waits until the wall clock says `at`, or the clock is set. Returns at once where `at` is not within `most` from
        /// now: the clock was set before the alarm could know.
        ///
        /// # Errors
        /// What the system refuses.
        pub(crate) async fn until(&self, at: Moment, most: Ms) -> io::Result<()> {
            let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
            // a time of zero would switch the alarm off
            let at = at.max(Moment::at(1));
            let value = Timespec {
                tv_sec: at.ms() / 1000,
                tv_nsec: (at.ms() % 1000 * 1_000_000) as _,
            };
            let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
            let set = timerfd_settime(
                self.0.get_ref(),
                flags,
                &Itimerspec {
                    it_interval: zero,
                    it_value: value,
                },
            );
            match set {
                // the clock was set since the alarm was set last, and nobody waited for it then
                Err(Errno::CANCELED) => return Ok(()),
                other => other?,
            };
            // asked after the alarm was set, so that no setting of the clock falls between the two
            if !(1..=most).contains(&(at - crate::edge::host::Clock::System.now())) {
                return Ok(());
            }
            loop {
                let mut ready = self.0.readable().await?;
                let mut count = [0; 8];
                match ready.try_io(|fd| rustix::io::read(fd.get_ref(), &mut count).map_err(io::Error::from)) {
                    // ECANCELED: the clock was set
                    Ok(_) => return Ok(()),
                    Err(_would_block) => {}
                }
            }
        }
    }
}

/// Elsewhere the alarm looks at the wall clock every minute.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod alarm {
    use super::{Moment, Ms, io};
    use std::time::Duration;

    /// The alarm.
    pub(crate) struct Alarm;

    impl Alarm {
        /// An alarm that is not set.
        ///
        /// # Errors
        /// None.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits until the wall clock says `at`, to within a minute after a suspend; at once where that is not within `most`.
        ///
        /// # Errors
        /// None.
        pub(crate) async fn until(&self, at: Moment, most: Ms) -> io::Result<()> {
            loop {
                let left = at - crate::edge::host::Clock::System.now();
                if !(1..=most).contains(&left) {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(left.clamp(1, 60_000).unsigned_abs())).await;
            }
        }
    }
}

/// Changes of files, by inotify.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod watch {
    use super::{BTreeSet, Changed, PathBuf, io};
    use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};
    use std::collections::HashMap;
    use std::os::fd::AsRawFd;
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    /// The directories watched.
    pub(crate) struct Watch {
        inotify: Inotify,
        watched: HashMap<PathBuf, WatchDescriptor>,
    }

    impl Watch {
        /// Watches nothing yet.
        ///
        /// # Errors
        /// What the system refuses.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self {
                inotify: Inotify::init()?,
                watched: HashMap::new(),
            })
        }

        /// Watches these directories and no others; one that is not there is left out, and asked for again next time.
        pub(crate) fn set(&mut self, dirs: &BTreeSet<PathBuf>) {
            let mask = WatchMask::CLOSE_WRITE
                | WatchMask::MOVED_TO
                | WatchMask::MOVED_FROM
                | WatchMask::DELETE
                | WatchMask::CREATE
                // whoever keeps a database open writes and never closes it
                | WatchMask::MODIFY
                | WatchMask::DELETE_SELF
                | WatchMask::MOVE_SELF;
            let gone: Vec<PathBuf> = self
                .watched
                .keys()
                .filter(|dir| !dirs.contains(*dir))
                .cloned()
                .collect();
            for dir in gone {
                if let Some(descriptor) = self.watched.remove(&dir) {
                    let _ = self.inotify.watches().remove(descriptor);
                }
            }
            for dir in dirs {
                // adding again finds a directory that was created again; for the same one it changes nothing
                match self.inotify.watches().add(dir, mask) {
                    Ok(descriptor) => {
                        self.watched.insert(dir.clone(), descriptor);
                    }
                    Err(_) => {
                        self.watched.remove(dir);
                    }
                }
            }
        }

        /// Waits for a change of a file with one of `names`, or of a directory itself. What is written while nobody waits here wakes
        /// nobody: the descriptor is registered for this long alone.
        ///
        /// # Errors
        /// What the system refuses.
        #[expect(
            deprecated,
            reason = "its successor is unsafe; inotify's own descriptor is open for as long as it is registered"
        )]
        pub(crate) async fn changed(&mut self, names: &[&str]) -> io::Result<Changed> {
            let registered = AsyncFd::with_interest(self.inotify.as_raw_fd(), Interest::READABLE)?;
            loop {
                let mut ready = registered.readable().await?;
                let seen = ready.try_io(|_| drain(&mut self.inotify, names));
                if let Ok(seen) = seen
                    && let Some(seen) = seen?
                {
                    return Ok(seen);
                }
            }
        }

        /// Forgets what has changed so far.
        pub(crate) fn forget(&mut self) {
            let _ = drain(&mut self.inotify, &[]);
        }

        /// What has changed so far, without waiting.
        pub(crate) fn seen(&mut self, names: &[&str]) -> Option<Changed> {
            // nothing is queued, or it cannot be read: the next wait says so
            drain(&mut self.inotify, names).unwrap_or(None)
        }
    }

    /// Reads all that is queued; what of it counts. `WouldBlock` where nothing is queued.
    fn drain(inotify: &mut Inotify, names: &[&str]) -> io::Result<Option<Changed>> {
        let mut buffer = [0; 4096];
        let mut counts = None;
        let mut first = true;
        loop {
            match inotify.read_events(&mut buffer) {
                Ok(events) => {
                    for event in events {
                        let itself =
                            EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::Q_OVERFLOW | EventMask::ISDIR;
                        let named = event.name.and_then(|name| name.to_str());
                        // a lock directory comes and goes with every look of an agent
                        let lock = named.is_some_and(|name| name.ends_with(".lock"));
                        let known = named.filter(|name| names.contains(name));
                        let database = known.is_some_and(|name| name.ends_with(".sqlite") || name.ends_with("-wal"));
                        let seen = match known {
                            _ if !lock && event.mask.intersects(itself) => Changed::Files,
                            // SQLite opens a `-wal` for writing to read it, as our own look does: a close that no write came before
                            Some(_) if database && event.mask == EventMask::CLOSE_WRITE => continue,
                            Some(_) if database => Changed::Databases,
                            // its writer closes it, or puts another in its place
                            Some(_) if event.mask != EventMask::MODIFY => Changed::Files,
                            _ => continue,
                        };
                        counts = counts.max(Some(seen));
                    }
                    first = false;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !first => return Ok(counts),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::io::Write;

    #[test]
    fn a_database_counts_once_it_is_written_and_not_when_it_is_read() {
        const WAL: &str = "openclaw-agent.sqlite-wal";
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(WAL);
        std::fs::write(&path, "").unwrap();
        let mut watch = Watch::new().unwrap();
        watch.set(&[dir.path().to_owned()].into());
        let mut seen = || watch.seen(&[WAL]);
        assert_eq!(seen(), None, "nothing is queued");
        let open = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
        drop(open());
        assert_eq!(seen(), None, "opened for writing, read and closed");
        let mut writer = open();
        writer.write_all(b"x").unwrap();
        assert_eq!(seen(), Some(Changed::Databases), "written, and kept open");
        drop(writer);
        assert_eq!(seen(), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            seen(),
            Some(Changed::Databases),
            "its writer has put all of it into the database"
        );
    }
}

/// Elsewhere changes are noticed at the next pass.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod watch {
    use super::{BTreeSet, Changed, PathBuf, io};

    /// Watches nothing.
    pub(crate) struct Watch;

    impl Watch {
        /// Watches nothing.
        ///
        /// # Errors
        /// None.
        pub(crate) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Does nothing.
        pub(crate) fn set(&mut self, _: &BTreeSet<PathBuf>) {}

        /// Never ends.
        ///
        /// # Errors
        /// None.
        pub(crate) async fn changed(&mut self, _: &[&str]) -> io::Result<Changed> {
            std::future::pending().await
        }

        /// Does nothing.
        pub(crate) fn forget(&mut self) {}

        /// Nothing.
        pub(crate) fn seen(&mut self, _: &[&str]) -> Option<Changed> {
            None
        }
    }
}

pub(crate) use alarm::Alarm;
pub(crate) use watch::Watch;

/// What a person or the service manager asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGTERM or SIGINT: finish and go.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: a pass now.
    Pass,
}

/// The signals. From the moment they are made, none of them ends the process by itself.
pub(crate) struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
    usr1: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens. Make it within the runtime.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
        })
    }

    /// Waits for the next one; many of a kind count once.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            biased;
            _ = self.term.recv() => Asked::Stop,
            _ = self.int.recv() => Asked::Stop,
            _ = self.hup.recv() => Asked::Reload,
            _ = self.usr1.recv() => Asked::Pass,
        }
    }
}

/// Tells systemd; silent where it does not ask. Elsewhere there is nobody to tell.
#[cfg(all(unix, not(target_os = "android")))]
pub(crate) mod manager {
    use std::time::Duration;

    /// Ready, with a status line.
    pub(crate) fn ready(status: &str) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
    }

    /// Alive, with a status line.
    pub(crate) fn alive(status: &str) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog, sd_notify::NotifyState::Status(status)]);
    }

    /// On the way out.
    pub(crate) fn stopping() {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    }

    /// How often it wants a sign of life, halved as its manual asks.
    pub(crate) fn watchdog() -> Option<Duration> {
        sd_notify::watchdog_enabled().map(|limit| limit / 2)
    }
}

/// Tells nobody.
#[cfg(not(all(unix, not(target_os = "android"))))]
pub(crate) mod manager {
    use std::time::Duration;

    /// Nothing.
    pub(crate) fn ready(_: &str) {}

    /// Nothing.
    pub(crate) fn alive(_: &str) {}

    /// Nothing.
    pub(crate) fn stopping() {}

    /// Never.
    pub(crate) fn watchdog() -> Option<Duration> {
        None
    }
}
