//! Where logins come from. Claude Code is the one source so far; another CLI would be another file here.

pub(crate) mod claude;
pub(crate) mod owner;
pub(crate) mod providers;
pub(crate) mod save;
