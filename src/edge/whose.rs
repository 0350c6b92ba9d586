//! Whose files may be read: our own, root's and those of the home's owner.

use std::sync::OnceLock;

/// Whether tokens in a file of this owner would be a third user's: neither ours, nor root's, nor those of the home's owner
/// (some file systems show a home, and all in it, under another number than ours).
pub(crate) fn is_third(uid: u32) -> bool {
    let ours = rustix::process::geteuid().as_raw();
    uid != 0 && uid != ours && (ours == 0 || HOME_OWNER.get() != Some(&uid))
}

/// Set once, by `edge/identity`.
pub(super) static HOME_OWNER: OnceLock<u32> = OnceLock::new();
