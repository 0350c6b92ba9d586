//! Asks other hosts how they fare: `ssh HOST nolapse status --json`, a few at a time. What it means is judged in
//! `rules/remote`.

use crate::config::RemoteConfig;
use crate::ctx::Ctx;
use crate::edge::progress;
use crate::edge::subprocess::{self, Spec, Status};
use crate::rules::alert::Alert;
use crate::rules::memory::Ledger;
use crate::rules::remote::{self, Failed, HostStatus, Silence, Way};
use crate::types::Moment;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// So many hosts are asked at the same time.
const AT_ONCE: usize = 32;

/// The most that is taken of an answer, in bytes.
const LIMIT: usize = 4 << 20;

/// What one remote said, by its name.
pub(crate) type Heard = (String, Result<HostStatus, Failed>);

/// Hosts that are being asked. Holds no lock: an answer may take its time.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    asked: JoinSet<Heard>,
    /// Answers that came, and that nobody took yet.
    gathered: Vec<Heard>,
}

/// Begins to ask those whose turn it is, and marks them, so that a pass that begins meanwhile does not ask them again.
pub(crate) fn ask(ctx: &Ctx, ledger: &mut Ledger, now: Moment) -> Asking {
    let due = |remote: &&RemoteConfig| {
        ledger.remotes.get(&remote.name).is_none_or(|memory| {
            // a clock that was set back must not hold a question for ever
            memory.asked_at > now || now - memory.asked_at >= remote.every
        })
    };
    let due: Vec<&RemoteConfig> = ctx.config.remotes.iter().filter(due).collect();
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut asked = JoinSet::new();
    for remote in due {
        ledger.remotes.entry(remote.name.clone()).or_default().asked_at = now;
        let (name, spec, room) = (remote.name.clone(), spec(ctx, remote), room.clone());
        asked.spawn(async move {
            let _room = room.acquire_owned().await;
            let waiting = progress::waiting(|| format!("{name} to answer"));
            let heard = one(spec).await;
            drop(waiting);
            (name, heard)
        });
    }
    Asking {
        asked,
        gathered: Vec::new(),
    }
}

impl Asking {
    /// Whether every host has answered, or will not any more.
    pub(crate) fn over(&self) -> bool {
        self.asked.is_empty() && self.gathered.is_empty()
    }

    /// The next answers: one, and those that come within `together` of it. What came is kept where this is dropped while it waits.
    pub(crate) async fn some(&mut self, together: Duration) -> Vec<Heard> {
        if self.gathered.is_empty() {
            let first = self.asked.join_next().await;
            self.gathered.extend(first.into_iter().flatten());
        }
        let until = tokio::time::Instant::now() + together;
        while let Ok(Some(next)) = tokio::time::timeout_at(until, self.asked.join_next()).await {
            self.gathered.extend(next);
        }
        std::mem::take(&mut self.gathered)
    }
}

/// Forgets remotes that are not configured any more.
pub(crate) fn forget(ctx: &Ctx, ledger: &mut Ledger) {
    let configured = |name: &str| ctx.config.remotes.iter().any(|remote| remote.name == name);
    ledger.remotes.retain(|name, _| configured(name));
}

/// Remembers what was heard, and forgets remotes that are not configured any more.
pub(crate) fn note(ctx: &Ctx, ledger: &mut Ledger, heard: Vec<Heard>, now: Moment) {
    forget(ctx, ledger);
    for (name, answer) in heard {
        remote::note(ledger.remotes.entry(name.clone()).or_default(), &name, answer, now);
    }
}

/// What needs a human on other hosts.
pub(crate) fn alerts(ctx: &Ctx, ledger: &Ledger, now: Moment) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for remote in &ctx.config.remotes {
        if let Some(memory) = ledger.remotes.get(&remote.name) {
            let way = Way {
                name: &remote.name,
                ssh: &remote.ssh,
                command: &remote.command,
                grace: remote.grace,
            };
            alerts.extend(remote::alerts(way, memory, now));
        }
    }
    alerts
}

fn spec(ctx: &Ctx, remote: &RemoteConfig) -> Spec {
    let agent = ctx.host.var("SSH_AUTH_SOCK").map(|socket| ("SSH_AUTH_SOCK", socket));
    // `LogLevel`: a banner would stand before what went wrong
    let options = ["BatchMode=yes", "ConnectTimeout=10", "LogLevel=ERROR"];
    let options = options.into_iter().flat_map(|option| ["-o", option]);
    let args = ["-T"]
        .into_iter()
        .chain(options)
        .chain(["--", &remote.ssh, &remote.command]);
    Spec {
        args: args.map(Into::into).collect(),
        env: ctx.host.child(agent),
        timeout: Duration::from_millis(remote.timeout.unsigned_abs()),
        max_output: LIMIT + 1,
        ..Spec::new("ssh")
    }
}

async fn one(spec: Spec) -> Result<HostStatus, Failed> {
    let output = subprocess::run(spec).await.map_err(|_| Silence::NoSsh)?;
    let answer = match output.stdout.len() <= LIMIT {
        true => remote::parse(&output.stdout),
        false => Err(Silence::Nonsense),
    };
    match output.status {
        // it may say what it sees and end with what that means
        Status::Exit(0..=3) if answer.is_ok() => Ok(answer?),
        Status::Exit(code) => Err(Failed::of(code, &String::from_utf8_lossy(&output.stderr))),
        Status::TimedOut => Err(Silence::TimedOut.into()),
        Status::Signal(_) => Err(Silence::Unreachable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{HOUR, Ms};

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn remote(name: &str) -> RemoteConfig {
        RemoteConfig {
            name: name.into(),
            ssh: "u@gw".into(),
            command: "nolapse status --json".into(),
            every: HOUR,
            timeout: 7000,
            grace: HOUR,
        }
    }

    /// Nothing runs before it is waited for.
    #[tokio::test(flavor = "current_thread")]
    async fn those_whose_turn_it_is_are_asked_and_marked() {
        let mut ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        let asked_at: [(&str, Option<Ms>, bool); 5] = [
            ("never", None, true),
            ("now", Some(0), false),
            ("soon", Some(1 - HOUR), false),
            ("due", Some(-HOUR), true),
            ("ahead", Some(1), true),
        ];
        let mut ledger = Ledger::default();
        for (name, at, _) in asked_at {
            ctx.config.remotes.push(remote(name));
            if let Some(at) = at {
                ledger.remotes.entry(name.to_owned()).or_default().asked_at = NOW + at;
            }
        }
        ledger.remotes.entry("gone".to_owned()).or_default();
        let asking = ask(&ctx, &mut ledger, NOW);
        assert_eq!(asking.asked.len(), 3);
        for (name, at, due) in asked_at {
            let marked = if due { 0 } else { at.unwrap_or_default() };
            assert_eq!(ledger.remotes[name].asked_at, NOW + marked, "{name}");
        }
        assert!(!asking.over() && Asking::default().over());
        let heard = vec![("now".to_owned(), Err(Failed::from(Silence::TimedOut)))];
        note(&ctx, &mut ledger, heard, NOW);
        assert_eq!(ledger.remotes["now"].silence, Some(Silence::TimedOut));
        assert!(!ledger.remotes.contains_key("gone") && ledger.remotes.len() == 5);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn answers_that_come_together_are_taken_together() {
        let mut asking = Asking::default();
        for (name, after) in [("quick", 0), ("slow", 50)] {
            asking.asked.spawn(async move {
                tokio::time::sleep(Duration::from_millis(after)).await;
                (name.to_owned(), Err(Failed::from(Silence::TimedOut)))
            });
        }
        let names = |heard: Vec<Heard>| heard.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(asking.some(Duration::from_secs(60)).await), ["quick", "slow"]);
        assert!(asking.over());
    }

    #[test]
    fn a_host_is_asked_without_questions_and_within_bounds() {
        let mut ctx = crate::act::tests::ctx(std::path::Path::new("/h"));
        ctx.host.env.insert("SSH_AUTH_SOCK".into(), "/agent".into());
        let spec = spec(&ctx, &remote("gw"));
        let args: Vec<_> = spec.args.iter().map(|arg| arg.to_string_lossy()).collect();
        assert!(
            args.join(" ")
                .ends_with("BatchMode=yes -o ConnectTimeout=10 -o LogLevel=ERROR -- u@gw nolapse status --json")
        );
        assert!(spec.env.contains(&("SSH_AUTH_SOCK".into(), "/agent".into())));
        assert_eq!((spec.timeout, spec.max_output), (Duration::from_secs(7), LIMIT + 1));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_answer_counts_whatever_it_ends_with_and_one_that_is_too_long_is_none() {
        let answer = r#"{"schema":"nolapse.status/1","logins":[],"agents":[]}"#;
        let say = |script: String| async {
            let spec = Spec {
                args: ["-c".to_owned(), script].map(Into::into).into(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                max_output: LIMIT + 1,
                ..Spec::new("sh")
            };
            one(spec).await.map(drop).map_err(|failed| failed.silence)
        };
        for (script, wanted) in [
            (format!("echo '{answer}'"), Ok(())),
            (format!("echo '{answer}'; exit 3"), Ok(())),
            (format!("echo '{answer}'; exit 4"), Err(Silence::Nonsense)),
            ("exit 3".to_owned(), Err(Silence::ConfigBroken)),
            (
                format!("echo '{answer}'; head -c {LIMIT} /dev/zero"),
                Err(Silence::Nonsense),
            ),
        ] {
            assert_eq!(say(script.clone()).await, wanted, "{script}");
        }
    }
}
