//! Whether the processes that hold OpenClaw's locks can be seen from here.
//!
//! Its lock files name a process by its number alone, and its own versions reclaim one by that (2026.3.13, 2026.5.12). From
//! another PID namespace neither side can tell a live holder from a dead one, once the lock is older than its limit: an
//! exchange that takes that long would be posted twice.

/// What the process list shows of OpenClaw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbours {
    /// Where this process is.
    pub(crate) place: Sight,
    /// Of each of OpenClaw's processes how many namespaces it is below ours; those of a container of this host are.
    pub(crate) levels: Vec<usize>,
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

/// Whether a command line is one of OpenClaw's, by the names that its processes have: `openclaw`, `openclaw-gateway`, or node with
/// the package's own file.
pub(crate) fn is_openclaw(command: &[u8]) -> bool {
    let mut words = command.split(|byte| *byte == 0).take(2).map(String::from_utf8_lossy);
    words.any(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        name.starts_with("openclaw") || word.contains("/node_modules/openclaw/")
    })
}

/// Whether OpenClaw's processes and we see each other.
///
/// Not guaranteed: another host, or a virtual machine, that has the same files.
///
/// # Errors
/// Why that is not known.
pub(crate) fn seen(neighbours: &Neighbours) -> Result<(), &'static str> {
    match (neighbours.levels.iter().max(), neighbours.place) {
        (Some(1..), _) => Err("OpenClaw runs in a container of its own, with numbers of its own"),
        (Some(0), _) | (None, Sight::Host) => Ok(()),
        (None, Sight::HostHidden) => {
            Err("other users' processes are hidden here (hidepid), and none of OpenClaw is to be seen")
        }
        (None, Sight::Container) => Err("nolapse runs in a container, and no OpenClaw is to be seen in it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_not_known() {
        for (place, levels, known) in [
            (Sight::Host, &[][..], true),
            (Sight::Host, &[0, 0], true),
            (Sight::Host, &[1], false),
            (Sight::Host, &[0, 1, 0], false),
            (Sight::HostHidden, &[], false),
            (Sight::HostHidden, &[0], true),
            (Sight::Container, &[], false),
            (Sight::Container, &[0], true),
            (Sight::Container, &[2, 0], false),
        ] {
            let levels = levels.to_vec();
            let neighbours = Neighbours { place, levels };
            assert_eq!(seen(&neighbours).is_ok(), known, "{neighbours:?}");
        }
    }

    #[test]
    fn openclaw_is_known_by_its_name_or_its_package() {
        for (command, its) in [
            ("openclaw\0", true),
            ("openclaw-gateway\0--force\0", true),
            ("/usr/local/bin/openclaw\0gateway\0", true),
            ("node\0/usr/lib/node_modules/openclaw/dist/index.js\0gateway\0", true),
            ("/bin/sh\0/home/me/.openclaw/run\0", false),
            ("node\0index.js\0/node_modules/openclaw/\0", false),
            ("cat\0-n\0openclaw\0", false),
            ("less\0./openclaw-notes/a\0", false),
            ("", false),
        ] {
            assert_eq!(is_openclaw(command.as_bytes()), its, "{command:?}");
        }
    }
}
