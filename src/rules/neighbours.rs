//! Whether the processes that hold OpenClaw's locks can be seen from here.
//!
//! Its lock files name a process by its number alone, and its own versions reclaim one by that (2026.3.13, 2026.5.12). From
//! another PID namespace neither side can tell a live holder from a dead one, once the lock is older than its limit: an
//! exchange that takes that long would be posted twice.

/// What the process list shows of OpenClaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Where this process is.
    pub(crate) place: Sight,
    /// OpenClaw's processes in our own namespace.
    pub(crate) here: usize,
    /// Those in a namespace below ours: a container of this host.
    pub(crate) below: usize,
}

/// Where a process is, as far as its list of processes goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// In the host's own namespace, or on a system without any: what runs on it can be seen.
    Host,
    /// The same, and other users' processes are hidden (`hidepid`).
    HostHidden,
    /// In a container: what runs beside it cannot be seen.
    Container,
}

/// Whether OpenClaw's processes and we see each other.
///
/// Not guaranteed: another host, or a virtual machine, that has the same files.
///
/// # Errors
/// Why that is not known.
pub(crate) fn seen(neighbours: Neighbours) -> Result<(), &'static str> {
    match neighbours {
        Neighbours { below: 1.., .. } => Err("OpenClaw runs in a container of its own, with numbers of its own"),
        Neighbours { here: 1.., .. } => Ok(()),
        Neighbours { place, .. } => match place {
            Sight::Host => Ok(()),
            Sight::HostHidden => {
                Err("other users' processes are hidden here (hidepid), and none of OpenClaw is to be seen")
            }
            Sight::Container => Err("nolapse runs in a container, and no OpenClaw is to be seen in it"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_not_known() {
        for (place, here, below, known) in [
            (Sight::Host, 0, 0, true),
            (Sight::Host, 2, 0, true),
            (Sight::Host, 0, 1, false),
            (Sight::Host, 2, 1, false),
            (Sight::HostHidden, 0, 0, false),
            (Sight::HostHidden, 1, 0, true),
            (Sight::Container, 0, 0, false),
            (Sight::Container, 1, 0, true),
            (Sight::Container, 1, 1, false),
        ] {
            let neighbours = Neighbours { place, here, below };
            assert_eq!(seen(neighbours).is_ok(), known, "{neighbours:?}");
        }
    }
}
