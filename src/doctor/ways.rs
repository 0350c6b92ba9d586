//! The ways in which nolapse runs automatically, and whether the platform says that they are switched on.

use super::{PATIENCE, spot};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::subprocess::{self, Spec, Status};
use crate::install::{self, Call, Done, Entry, Manifest, Platform};
use crate::rules::doctor::{On, Spot, Way};
use crate::{layout, notify};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::task::JoinSet;

/// Termux:API starts its app first.
const TERMUX_PATIENCE: Duration = Duration::from_secs(4);

/// The user's own, as `crontab -l` shows it.
const USERS: &str = "the crontab";

/// A way, and what asks the platform about it.
pub(super) type Found = (Way, Option<Call>);

/// Every way in which it is installed, as files say it.
pub(super) fn find(ctx: &Ctx, place: &install::Site) -> Vec<Found> {
    let mut found = written_down(ctx, place);
    let more = enabled_units(ctx, place, &found);
    found.extend(more);
    found.extend(system_timer(place));
    found.extend(system_crontabs(ctx, place));
    found
}

/// What the platform says of them, asked at once; the crontab may add one.
pub(super) async fn ask_all(ctx: &Ctx, mut found: Vec<Found>) -> Vec<Way> {
    let mut asked = JoinSet::new();
    for (i, (_, probe)) in found.iter().enumerate() {
        if let Some(call) = probe.clone() {
            let spec = spec(ctx, &call);
            asked.spawn(async move { (i, ask(&call, spec).await) });
        }
    }
    let (answers, crontab) = tokio::join!(asked.join_all(), crontab(ctx));
    for (i, on) in answers {
        found[i].0.on = on;
    }
    let mut ways = found.into_iter().map(|(way, _)| way).collect();
    by_cron(ctx, &mut ways, crontab.as_deref());
    ways
}

/// What the crontab says counts for what was installed as that.
fn by_cron(ctx: &Ctx, ways: &mut Vec<Way>, crontab: Option<&str>) {
    let at = ways.iter().position(|way| way.platform == "cron" && way.name == USERS);
    match (crontab.map(cron_line), at) {
        (Some(Some(line)), at) => {
            let way = Way {
                on: On::Yes,
                ..way("cron", USERS, program(ctx, line))
            };
            match at {
                Some(at) => ways[at] = way,
                None => ways.push(way),
            }
        }
        (Some(None), Some(at)) => ways[at].on = On::No,
        (None, Some(at)) => ways[at].on = On::Untold("`crontab -l` did not answer".into()),
        (_, None) => {}
    }
}

/// What `install` wrote down.
fn written_down(ctx: &Ctx, place: &install::Site) -> Vec<Found> {
    let manifest: Manifest = files::read_ours(&ctx.state_dir.join("install.json"))
        .ok()
        .and_then(|file| serde_json::from_slice(&file.bytes).ok())
        .unwrap_or_default();
    let entry = |&platform: &Platform| {
        let entry = manifest.installed.get(platform.word())?;
        Some(entered(ctx, place, platform, entry))
    };
    Platform::value_variants().iter().filter_map(entry).collect()
}

fn entered(ctx: &Ctx, place: &install::Site, platform: Platform, entry: &Entry) -> Found {
    let plan = install::plan(platform, entry.daemon, place);
    let once = |path: &Path| plan.files.iter().any(|file| file.once && file.path == *path);
    let gone = entry
        .files
        .iter()
        .filter(|file| !files::exists(&file.path) && !once(&file.path))
        .count();
    let texts = entry.files.iter().filter_map(|file| files::read(&file.path).ok());
    let program = texts
        .filter_map(|file| program(ctx, &String::from_utf8_lossy(&file.bytes)))
        .next();
    let name = match (platform, entry.daemon) {
        (Platform::Systemd, false) => "the systemd timer",
        (Platform::Systemd, true) => "the systemd daemon",
        (Platform::Termux, false) => "the job of Termux",
        (Platform::Termux, true) => "the job and the service of Termux",
        (Platform::Cron, _) => USERS,
        (Platform::Launchd, _) => "the agent of launchd",
        (Platform::Openrc, _) => "the service of OpenRC",
        (Platform::Runit, _) => "the service of runit",
    };
    let way = Way {
        daemon: entry.daemon,
        gone,
        ..way(platform.word(), name, program)
    };
    (way, plan.probe)
}

/// A way that a file speaks of.
fn way(platform: &'static str, name: impl Into<String>, program: Option<(Spot, bool)>) -> Way {
    Way {
        platform,
        name: name.into(),
        daemon: false,
        program,
        gone: 0,
        on: On::Likely,
    }
}

/// systemd's units for users that are enabled and not among `known`: a package's, or made by hand.
fn enabled_units(ctx: &Ctx, place: &install::Site, known: &[Found]) -> Vec<Found> {
    let own = place.config_home.join("systemd/user");
    let mut found = Vec::new();
    for (unit, dir, daemon) in [
        ("nolapse.timer", "timers.target.wants", false),
        ("nolapse-daemon.service", "default.target.wants", true),
    ] {
        let enabled = [own.clone(), "/etc/systemd/user".into()]
            .iter()
            .any(|at| files::exists(&at.join(dir).join(unit)));
        let known = known
            .iter()
            .any(|(way, _)| way.platform == "systemd" && way.daemon == daemon);
        if !enabled || known {
            continue;
        }
        let service = if daemon { unit } else { "nolapse.service" };
        let places = [
            own.clone(),
            "/etc/systemd/user".into(),
            "/usr/local/lib/systemd/user".into(),
            "/usr/lib/systemd/user".into(),
        ];
        let text = places.iter().find_map(|at| files::read(&at.join(service)).ok());
        let words = ["systemctl", "--user", "is-active", "--quiet", unit];
        let program = text.and_then(|file| program(ctx, &String::from_utf8_lossy(&file.bytes)));
        let way = Way {
            daemon,
            ..way("systemd", format!("the systemd unit {unit}"), program)
        };
        found.push((way, Some(Call::new("systemd", Done::Success, &words))));
    }
    found
}

/// The system's timer for this user.
fn system_timer(place: &install::Site) -> Option<Found> {
    let template = format!("nolapse@{}.timer", place.user.as_deref().unwrap_or_default());
    let enabled = Path::new("/etc/systemd/system/timers.target.wants").join(&template);
    files::exists(&enabled).then(|| (way("systemd", format!("the system's unit {template}"), None), None))
}

/// The system's crontabs that run it as this user (crontab(5): the sixth field of a line is the user).
fn system_crontabs(ctx: &Ctx, place: &install::Site) -> Vec<Found> {
    let user = place.user.as_deref().unwrap_or_default();
    let dir = Path::new("/etc/cron.d");
    let paths = files::list(dir).into_iter().map(|name| dir.join(name));
    let mut found = Vec::new();
    for path in paths.chain([PathBuf::from("/etc/crontab")]) {
        let Ok(file) = files::read(&path) else { continue };
        let text = String::from_utf8_lossy(&file.bytes);
        if let Some(line) = text.lines().find(|line| runs_it(line) && runs_as(line, user)) {
            let name = format!("`{}`", path.display());
            found.push((way("cron", name, program(ctx, line)), None));
        }
    }
    found
}

/// Whether a line of a system's crontab is one of this user's: after five fields of time, or one as in `@hourly`.
fn runs_as(line: &str, user: &str) -> bool {
    let fields = if line.trim_start().starts_with('@') { 1 } else { 5 };
    line.split_whitespace().nth(fields) == Some(user)
}

/// The program in a unit, script or crontab: the first path to a `nolapse`, as it is quoted there.
fn program(ctx: &Ctx, text: &str) -> Option<(Spot, bool)> {
    const NAME: &str = "/nolapse";
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    for line in lines {
        for (at, _) in line.match_indices(NAME) {
            let (before, after) = (&line[..at], &line[at + NAME.len()..]);
            let begin = match after.chars().next() {
                Some(quote @ ('\'' | '"')) => before.rfind(quote).map(|i| i + 1),
                Some('<') => before.rfind('>').map(|i| i + 1),
                None | Some(' ' | '\t') => before.rfind([' ', '\t', '=']).map_or(Some(0), |i| Some(i + 1)),
                Some(_) => None,
            };
            let path = begin.map(|begin| format!("{}{NAME}", &before[begin..]));
            if let Some(path) = path.filter(|path| path.starts_with('/')) {
                let path = PathBuf::from(path.replace("%%", "%").replace("$$", "$"));
                let there = files::is_executable(&path);
                return Some((spot(ctx, &files::real(&path).unwrap_or(path)), there));
            }
        }
    }
    None
}

/// The line of a crontab that runs nolapse.
fn cron_line(text: &str) -> Option<&str> {
    text.lines().find(|line| runs_it(line))
}

fn runs_it(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.contains("nolapse") && line.contains(" run")
}

/// The user's crontab; empty where there is none, `None` where it could not be asked.
async fn crontab(ctx: &Ctx) -> Option<String> {
    notify::find_program(&ctx.host, "crontab")?;
    let call = Call::new("cron", Done::Success, &["crontab", "-l"]);
    let output = subprocess::run(spec(ctx, &call)).await.ok()?;
    (output.status != Status::TimedOut).then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn spec(ctx: &Ctx, call: &Call) -> Spec {
    let (program, args) = call.words.split_first().map_or(("", &[][..]), |(a, b)| (a.as_str(), b));
    let more = ["XDG_CONFIG_HOME", "SVDIR"].into_iter();
    let more = more.filter_map(|name| Some((name, ctx.host.var(name)?)));
    Spec {
        args: args.iter().map(Into::into).collect(),
        env: ctx.host.child(more),
        timeout: match program.starts_with("termux-") {
            true => TERMUX_PATIENCE,
            false => PATIENCE,
        },
        ..Spec::new(program)
    }
}

/// What the platform says of one way.
async fn ask(call: &Call, spec: Spec) -> On {
    let output = match subprocess::run(spec).await {
        Ok(output) => output,
        Err(error) => return On::Untold(format!("`{}`: {}", call.line(), files::io_words(&error))),
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match (output.status, call.done) {
        (Status::TimedOut, _) => On::Untold(format!("`{}` does not answer", call.line())),
        (Status::Exit(0), Done::Success) => On::Yes,
        (_, Done::Says(what)) if said(&output.stdout).contains(what) => On::Yes,
        // no session, so no service manager to ask: as under sudo or cron
        (_, Done::Success) if said(&output.stderr).contains("connect to") => On::Untold(format!(
            "`{}`: {}",
            call.line(),
            layout::one_line(&said(&output.stderr))
        )),
        _ => On::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_crontab_is_read_as_cron_does() {
        for (line, runs, whose) in [
            ("*/4 * * * * u /usr/bin/nolapse run", true, Some("u")),
            ("@hourly u nolapse run >/dev/null", true, Some("u")),
            ("*/4 * * * * root /usr/bin/nolapse run", true, Some("root")),
            ("# */4 * * * * u /usr/bin/nolapse run", false, None),
            ("*/4 * * * * u /usr/bin/nolapse status", false, Some("u")),
            ("", false, None),
        ] {
            assert_eq!(runs_it(line), runs, "{line}");
            assert_eq!(runs_as(line, "u"), whose == Some("u"), "{line}");
        }
    }
}
