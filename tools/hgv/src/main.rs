//! The `hgv` command.
fn main() {}
