//! The `nolapse` command.
fn main() {}
