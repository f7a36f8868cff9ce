//! Folders of numbered single-page files.

use crate::failure::{bad, system};
use hgv::Result;
use std::path::{Path, PathBuf};

/// A file name as text before its last number, the number, and the text behind.
type Numbered = (String, u128, String);

/// The TIFF files of a folder in the order of their numbers; notices about gaps.
///
/// # Errors
/// No numbered TIFF files, or more than one series of them.
pub(super) fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let mut found: Vec<(Numbered, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| system(folder, e))? {
        let entry = entry.map_err(|e| system(folder, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(numbered) = numbered(&name) {
            found.push((numbered, entry.path()));
        }
    }
    found.sort_by(|a, b| a.0.1.cmp(&b.0.1).then_with(|| a.1.cmp(&b.1)));
    if found.is_empty() {
        return Err(bad(
            folder,
            "the folder holds no numbered .tif files; name a file or a folder of slices",
        ));
    }
    one_series(folder, &found)?;
    let notices = gap_notice(&found);
    Ok((found.into_iter().map(|(_, path)| path).collect(), notices))
}

/// Fails if the names differ in more than the number, or a number comes twice.
fn one_series(folder: &Path, found: &[(Numbered, PathBuf)]) -> Result<()> {
    let series = |n: &Numbered| (n.0.clone(), n.2.clone());
    if let Some((_, other)) = found.iter().find(|(n, _)| series(n) != series(&found[0].0)) {
        let name = |p: &Path| {
            p.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        return Err(bad(
            folder,
            format!(
                "the folder holds several series ({} and {}); keep one in a folder",
                name(&found[0].1),
                name(other)
            ),
        ));
    }
    if let Some(w) = found.windows(2).find(|w| w[0].0.1 == w[1].0.1) {
        return Err(bad(
            &w[1].1,
            format!("number {} occurs twice in the folder", w[0].0.1),
        ));
    }
    Ok(())
}

fn gap_notice(found: &[(Numbered, PathBuf)]) -> Vec<String> {
    let gap = found.windows(2).find(|w| w[1].0.1 - w[0].0.1 != 1);
    gap.map(|w| {
        format!(
            "the numbers of the slices jump from {} to {}; they are taken as neighbours",
            w[0].0.1, w[1].0.1
        )
    })
    .into_iter()
    .collect()
}

fn numbered(name: &str) -> Option<Numbered> {
    let (stem, suffix) = name.rsplit_once('.')?;
    let tiff = matches!(suffix.to_lowercase().as_str(), "tif" | "tiff");
    if name.starts_with('.') || !tiff {
        return None;
    }
    let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = stem[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| {
            at + stem[at..].chars().next().map_or(1, char::len_utf8)
        });
    let number = stem[start..end].parse().ok()?;
    Some((stem[..start].to_owned(), number, stem[end..].to_owned()))
}
