//! `daemon`.

use super::{Fatal, Setup};
use crate::daemon;
use crate::report::Exit;

pub(super) fn daemon(setup: &Setup) -> Result<Exit, Fatal> {
    let ctx = setup.ctx(None)?;
    let load = || setup.ctx(None).map_err(|error| error.to_string());
    daemon::run(ctx, &load).map_err(|why| {
        Fatal::Usage(
            why,
            "see `[daemon] schedule` in `nolapse config init --stdout`; `0 */4 * * * *` is every four minutes".into(),
        )
    })?;
    Ok(Exit::Fine)
}
