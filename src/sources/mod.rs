//! Where logins come from. Claude Code is the one source so far; another CLI would be another file here.

pub mod claude;
pub mod owner;
pub mod providers;
pub mod save;
