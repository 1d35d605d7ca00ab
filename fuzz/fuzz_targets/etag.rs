//! Parsing an entity-tag never panics, and a parsed tag survives writing and parsing.
#![no_main]

use cache_http::{ETag, EntityTags};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    if let Some(tag) = ETag::parse(value) {
        assert_eq!(ETag::parse(tag.to_bytes()), Some(tag.clone()));
        assert!(tag.weak_eq(&tag));
        assert_eq!(tag.strong_eq(&tag), !tag.is_weak());
    }

    // The lines of one field are one list.
    let lines: Vec<&[u8]> = value.split(|&byte| byte == b'\n').collect();
    let list = EntityTags::parse(&lines);
    if let EntityTags::Tags(tags) = &list {
        let joined = tags.iter().map(ETag::to_bytes).collect::<Vec<_>>().join(&b", "[..]);
        assert_eq!(EntityTags::parse([joined]), list);
        for tag in tags {
            assert!(list.matches_weak(Some(tag)));
            assert!(tags.len() <= value.len());
        }
    }
});
