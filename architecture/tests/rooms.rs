//! The check on small crates: it accepts correct ones, and finds each kind of fault.

#![allow(clippy::unwrap_used, reason = "a test that fails here says so")]

use std::path::Path;

use architecture_check::{Report, check};

/// Checks a crate `shop` with these rooms and files.
fn checked(order: &str, files: &[(&str, &str)]) -> Result<Report, String> {
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "ARCHITECTURE.md",
        &format!("# Rooms\n\n```rooms\n{order}\n```\n"),
    );
    write(root.path(), "shop/Cargo.toml", "[package]\nname = \"shop\"\n");
    for (path, text) in files {
        write(root.path(), &format!("shop/src/{path}"), text);
    }
    check(root.path())
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn faults(order: &str, files: &[(&str, &str)]) -> Vec<String> {
    checked(order, files).unwrap().faults
}

const ORDER: &str = "shop: store < cache\n    < front";
const LIB: (&str, &str) = (
    "lib.rs",
    "mod cache; mod front; mod store; pub use crate::front::Front;",
);
const STORE: (&str, &str) = ("store/mod.rs", "mod record; pub(crate) use self::record::Record;");
const RECORD: (&str, &str) = ("store/record.rs", "pub(crate) struct Record;");
const CACHE: (&str, &str) = ("cache.rs", "use crate::store::Record; pub(crate) struct Cache(Record);");
const FRONT: (&str, &str) = ("front.rs", "use crate::cache::Cache; pub struct Front(Cache);");

#[test]
fn a_house_in_order_passes() {
    let report = checked(ORDER, &[LIB, STORE, RECORD, CACHE, FRONT]).unwrap();
    assert_eq!(report.faults, Vec::<String>::new());
    // cache → record, through the re-export of the face; front → cache.
    assert_eq!((report.crates, report.files, report.arrows), (1, 5, 2));
}

#[test]
fn an_arrow_against_the_order_is_found_where_it_stands() {
    let record = (
        "store/record.rs",
        "\nuse crate::front::Front; pub(crate) struct Record(Option<Box<Front>>);",
    );
    let cache = ("cache.rs", "pub(crate) struct Cache;");
    assert_eq!(
        faults(ORDER, &[LIB, STORE, record, cache, FRONT]),
        [
            "shop/src/store/record.rs:2: uses `crate::front::Front` of shop/src/front.rs, but `store` does not stand after `front` in ARCHITECTURE.md"
        ]
    );
}

#[test]
fn a_re_export_hides_no_arrow() {
    let record = (
        "store/record.rs",
        "pub(crate) fn front() { drop(crate::Front::open()) }",
    );
    let cache = ("cache.rs", "pub(crate) struct Cache;");
    let found = faults(ORDER, &[LIB, STORE, record, cache, FRONT]);
    assert!(
        matches!(&found[..], [one] if one.contains("uses `crate::Front::open` of shop/src/front.rs")),
        "{found:?}"
    );
}

#[test]
fn a_macro_hides_no_arrow() {
    let record = (
        "store/record.rs",
        "fn show() { println!(\"{:?}\", [crate::front::open()]) }",
    );
    let front = ("front.rs", "pub fn open() {} pub struct Front;");
    let cache = ("cache.rs", "");
    let found = faults(ORDER, &[LIB, STORE, record, cache, front]);
    assert!(
        matches!(&found[..], [one] if one.contains("uses `crate::front::open`")),
        "{found:?}"
    );
}

#[test]
fn peers_do_not_use_each_other() {
    let found = faults("shop: store < cache, front", &[LIB, STORE, RECORD, CACHE, FRONT]);
    assert!(
        matches!(&found[..], [one] if one.contains("`front` does not stand after `cache`")),
        "{found:?}"
    );
}

#[test]
fn a_circle_within_a_room_is_found() {
    let store = (
        "store/mod.rs",
        "mod record; mod version; pub(crate) use self::record::Record;",
    );
    let record = (
        "store/record.rs",
        "use super::version::Version; pub(crate) struct Record(Version);",
    );
    let version = (
        "store/version.rs",
        "use super::Record; pub(crate) struct Version(Option<Box<Record>>);",
    );
    let found = faults(ORDER, &[LIB, store, record, version, CACHE, FRONT]);
    assert!(
        matches!(&found[..], [one] if one.starts_with("shop: 2 files in a circle:")),
        "{found:?}"
    );
}

#[test]
fn unit_tests_draw_no_arrows() {
    let record = (
        "store/record.rs",
        "pub(crate) struct Record; #[cfg(test)] mod tests { use crate::front::Front; fn front() -> Front { todo!() } }",
    );
    assert_eq!(faults(ORDER, &[LIB, STORE, record, CACHE, FRONT]), Vec::<String>::new());
}

#[test]
fn a_file_in_no_room_and_a_room_without_a_file_are_found() {
    let found = faults("shop: store < cache < attic", &[LIB, STORE, RECORD, CACHE, FRONT]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("`front` is no room of `shop`"), "{found:?}");
    assert!(found[1].contains("the room `attic` of `shop` has no file"), "{found:?}");
}

#[test]
fn a_walk_leads_through_what_is_there() {
    let walk = |step: &str| {
        let root = tempfile::tempdir().unwrap();
        let text = format!("```rooms\nshop: store\n```\n| room | step |\n|---|---|\n| store | {step} |\n");
        write(root.path(), "ARCHITECTURE.md", &text);
        write(root.path(), "shop/Cargo.toml", "");
        write(root.path(), "shop/src/lib.rs", "mod store;");
        write(
            root.path(),
            "shop/src/store.rs",
            "struct Store; impl Store { fn get_all() {} }",
        );
        check(root.path()).unwrap().faults
    };
    assert_eq!(walk("`store.rs`: `Store::get_all`"), Vec::<String>::new());
    assert_eq!(
        walk("`store.rs`: `Store::get`"),
        ["ARCHITECTURE.md:6: the file before `Store::get` does not define it"]
    );
    assert_eq!(
        walk("`shelf.rs`: `get`"),
        ["ARCHITECTURE.md:6: there is no file `shelf.rs`"]
    );
}

#[test]
fn an_order_that_cannot_be_read_is_an_error() {
    for (order, message) in [
        ("", "no code block marked `rooms`"),
        ("shop store", "no order of rooms"),
        ("shop: store < < cache", "a place without a room"),
        ("shop: store < cache < store", "names the room `store` twice"),
        ("shop: store\nshop: cache", "given twice"),
        ("cellar: wine", "`cellar`, which is no crate here"),
    ] {
        let error = checked(order, &[LIB, STORE, RECORD, CACHE, FRONT]).unwrap_err();
        assert!(error.contains(message), "{order}: {error}");
    }
}
