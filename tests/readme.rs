//! The README and continuous integration name the same test command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

#[test]
fn the_readme_names_the_test_command_of_ci() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).expect(name);
    let script = read(".ci/run");
    let line = script.lines().find_map(|l| l.strip_prefix("test_command="));
    let command = line.expect("test_command in .ci/run").trim_matches('"');
    assert!(command.starts_with("cargo test"));
    assert!(
        read("README.md").contains(command),
        "README.md lacks {command:?}"
    );
}
