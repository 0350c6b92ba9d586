//! Our own configuration.

use super::{About, spot};
use crate::config;
use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::doctor::ConfigFact;

pub(super) fn gather(ctx: &Ctx, about: &About<'_>) -> ConfigFact {
    let loose = config::loose_secrets(about.config_path, &ctx.host);
    ConfigFact {
        shown: ctx.host.tilde(about.config_path),
        there: files::exists(about.config_path),
        error: about.config_error.as_ref().map(|error| {
            let place = error.place.strip_prefix(&*about.config_path.to_string_lossy());
            let place = place.map(|line| format!("{}{line}", ctx.host.tilde(about.config_path)));
            (
                place.unwrap_or_else(|| error.place.clone()),
                error.message.clone(),
                error.hint.clone(),
            )
        }),
        open: config::trusted(about.config_path, &ctx.host)
            .err()
            .filter(|_| files::exists(about.config_path))
            .map(|error| (error.message, error.hint)),
        loose: loose
            .into_iter()
            .map(|(path, meta)| (spot(ctx, &path), meta.mode, meta.uid == files::our_uid()))
            .collect(),
    }
}
