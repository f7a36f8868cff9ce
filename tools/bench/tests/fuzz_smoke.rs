//! A few seconds of mutated inputs (`HGV_FUZZ_SECONDS`, default 5) as part of the tests.

use std::path::Path;
use std::process::Command;

#[test]
fn mutated_inputs_break_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let status = Command::new(env!("CARGO_BIN_EXE_hgv-fuzz-smoke"))
        .current_dir(root)
        .status();
    assert!(status.is_ok_and(|s| s.success()));
}
