//! The code in the chapter "Write a backend" is this crate's, and what the chapter says about its length is true.
#![allow(clippy::unwrap_used)]

const SOURCES: [&str; 2] = [include_str!("../src/lib.rs"), include_str!("conformance.rs")];
const GUIDE: &str = include_str!("../../../docs/write-a-backend.md");

#[test]
fn code_of_the_guide_is_code_of_the_crate() {
    let blocks: Vec<&str> = GUIDE
        .split("```rust\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(blocks.len() > 5, "only {} blocks of code", blocks.len());
    for block in blocks {
        assert!(
            block
                .split("\n\n")
                .all(|part| SOURCES.iter().any(|source| source.contains(part.trim_end()))),
            "this is not in the source:\n{block}"
        );
    }
}

#[test]
fn backend_is_under_180_lines_of_code() {
    let code = SOURCES[0]
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .count();
    assert!(code < 180, "{code} lines");
}
