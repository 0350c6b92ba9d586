//! `daemon`.

use super::{Fatal, Setup, usage};
use crate::daemon::{self, Failed};
use crate::report::Exit;

pub(super) fn daemon(setup: &Setup) -> Result<Exit, Fatal> {
    let ctx = setup.ctx_or_kept(None)?;
    setup.keep(&ctx);
    let load = || {
        let ctx = setup.ctx_or_kept(None).map_err(|error| error.to_string())?;
        setup.keep(&ctx);
        Ok(ctx)
    };
    let Err(failed) = daemon::run(ctx, &load) else {
        return Ok(Exit::Fine);
    };
    let hint = match failed {
        Failed::Schedule(_) => {
            "see `[daemon] schedule` in `nolapse config init --stdout`; `0 */4 * * * *` is every four minutes"
        }
        Failed::Hung(_) => "start it again, as a service manager does; `nolapse -vv run` shows where a pass waits",
        Failed::Io(_) => "see the limits of this user: `ulimit -n`, `sysctl fs.inotify`",
    };
    Err(usage(failed.to_string(), hint))
}
