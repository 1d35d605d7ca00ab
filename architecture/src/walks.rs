//! Checks the walks in `ARCHITECTURE.md`: the file and the function of each step must exist.

use std::path::{Path, PathBuf};

/// Checks the rows of the tables in `text`: after a file, as in `` `tier/read.rs`: `Tier::read` ``, each name must be
/// defined in that file. The file is searched in the `src` of all `crates`.
pub(crate) fn faults(root: &Path, crates: &[String], text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (line, row) in (1..).zip(text.lines()) {
        if !row.starts_with('|') {
            continue;
        }
        let mut files: Option<Vec<PathBuf>> = None;
        // The code spans are the odd parts between back-quotes. A new cell starts without a file.
        for (part, span) in row.split('`').enumerate() {
            if part % 2 == 0 {
                files = files.filter(|_| !span.contains('|'));
            } else if span.ends_with(".rs") {
                let found = crates.iter().map(|folder| root.join(folder).join("src").join(span));
                let found: Vec<PathBuf> = found.filter(|path| path.is_file()).collect();
                if found.is_empty() {
                    faults.push(format!("ARCHITECTURE.md:{line}: there is no file `{span}`"));
                }
                files = Some(found);
            } else if let Some(files) = files.as_ref().filter(|files| !files.is_empty()) {
                let name = span.rsplit("::").next().unwrap_or(span);
                if !files.iter().any(|file| defines(file, name)) {
                    faults.push(format!(
                        "ARCHITECTURE.md:{line}: the file before `{span}` does not define it"
                    ));
                }
            }
        }
    }
    faults
}

fn defines(file: &Path, name: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    ["fn", "struct", "enum", "trait"].iter().any(|kind| {
        let start = format!("{kind} {name}");
        text.match_indices(&start)
            .any(|(at, _)| !text[at + start.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    })
}
