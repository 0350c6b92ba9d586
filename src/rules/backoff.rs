//! How long after a failure the same thing is tried again.

use crate::types::{HOUR, MINUTE, Ms};

/// After the `n`th failure in a row: 1, 2, 5, 10, 30, 60 min, then hourly, [`Ms`].
pub(crate) fn gap(failures: u32) -> Ms {
    match failures {
        0 | 1 => MINUTE,
        2 => 2 * MINUTE,
        3 => 5 * MINUTE,
        4 => 10 * MINUTE,
        5 => 30 * MINUTE,
        _ => HOUR,
    }
}
