//! Any text is a key, and no two keys are confused.

use std::collections::HashSet;

use crate::conformance::trial::{Trial, Verdict, ensure, matches_value};
use crate::key::{Key, Prefix};

/// Names that are special to some store, protocol, pattern language or encoding. All are different.
pub(super) const HOSTILE: &[&str] = &[
    "",
    " ",
    "  ",
    "a b",
    "a\tb",
    "\n",
    "\r\n",
    "a\r\nb",
    "\0",
    "a\0b",
    "\u{1}\u{1b}\u{7f}",
    "\u{80}\u{9f}",
    "*",
    "?",
    "[a-z]",
    "[^a]",
    "\\",
    "\\*",
    "{tag}",
    "{}",
    "{",
    "}{",
    ":",
    "::",
    "a:b",
    "%",
    "%3A",
    "%253A",
    "%0A",
    "!",
    "a!b",
    "%21",
    "'",
    "\"",
    "`$(reboot)`",
    "; DROP TABLE cache",
    "../../etc/passwd",
    "/",
    "#",
    "=",
    "=0A",
    "\\n",
    "~",
    "ä",
    "a\u{308}",
    "ß",
    "ẞ",
    "Ａ",
    "日本語",
    "🦀",
    "👩‍👩‍👧‍👦",
    "\u{200b}",
    "\u{feff}",
    "\u{202e}abc",
    "\u{ffff}",
    "\u{10ffff}",
];

/// Groups of names that some store or encoding might take for equal.
const LOOK_ALIKE: &[&str] = &[
    "user",
    "User",
    "USER",
    "user ",
    " user",
    "user\n",
    "user\r\n",
    "user\0",
    "user\t",
    "us er",
    "us\u{a0}er",
    "us\u{1}er",
    "us\u{2}er",
    "us\rer",
    "us\ner",
    "us%0Aer",
    "us%0aer",
    "us\\ner",
    "us+er",
    "us%20er",
    "us_er",
    "us-er",
    "us.er",
    "us*er",
    "us?er",
    "{user}",
    "user{}",
    "us\u{200b}er",
    "us\u{ad}er",
    "uſer",
    "ｕser",
    "é",
    "e\u{301}",
    "dXNlcg==",
    "75736572",
    "0x75736572",
    "us\\er",
    "us\\\\er",
    "us/er",
    "us:er",
    "us%3Aer",
    "us!er",
    "us%21er",
    "us%er",
    "us%25er",
];

/// Writes a different value under each key, then reads all of them, one by one and in a batch.
async fn all_are_apart(trial: &Trial, keys: &[Key]) -> Verdict {
    let distinct: HashSet<&Key> = keys.iter().collect();
    ensure!(distinct.len() == keys.len(), "the kit's own keys are not distinct");
    let value = |index: usize| format!("value {index}");
    for (index, key) in keys.iter().enumerate() {
        trial.lacks(key, "before it was written").await?;
        trial.put(key, value(index)).await?;
    }
    for (index, key) in keys.iter().enumerate() {
        trial.holds(key, value(index)).await?;
    }
    let records = trial.backend().get_many(keys).await?;
    ensure!(
        records.len() == keys.len(),
        "a batch read of {} keys has {} answers",
        keys.len(),
        records.len()
    );
    for (index, (key, record)) in keys.iter().zip(records).enumerate() {
        matches_value(key, record, value(index).as_bytes())?;
    }
    for (index, key) in keys.iter().enumerate() {
        trial.holds(key, value(index)).await?;
        let removed = trial.backend().delete(key).await?;
        ensure!(removed, "a delete of {key:?} reports that there was nothing");
        trial.lacks(key, "after it was deleted").await?;
    }
    Ok(())
}

pub(super) async fn keys_of_any_characters_come_back(trial: Trial) -> Verdict {
    let mut keys: Vec<Key> = HOSTILE.iter().map(|name| trial.key(name)).collect();
    keys.extend(
        HOSTILE
            .iter()
            .filter(|name| **name != "n")
            .map(|name| trial.namespace(name).key("name")),
    );
    keys.extend(
        HOSTILE
            .iter()
            .map(|name| trial.namespace(&format!("both {name}")).key(*name)),
    );
    all_are_apart(&trial, &keys).await
}

pub(super) async fn keys_that_look_alike_are_apart(trial: Trial) -> Verdict {
    let mut keys: Vec<Key> = LOOK_ALIKE.iter().map(|name| trial.key(name)).collect();
    keys.extend(LOOK_ALIKE.iter().map(|name| trial.namespace(name).key("x")));
    all_are_apart(&trial, &keys).await
}

pub(super) async fn key_text_is_never_a_command(trial: Trial) -> Verdict {
    let [victim, witness] = trial.keys(["victim", "witness"]);
    trial.put(&witness, "witness").await?;
    let text = victim.as_str();
    let names = [
        format!("x 0 0 1\r\na\r\nset {text} 0 0 5\r\nwrong"),
        format!("x\r\nset {text} 0 0 5\r\nwrong\r\n"),
        format!("x\r\nSET {text} wrong\r\n"),
        format!("x\r\n*3\r\n$3\r\nSET\r\n${}\r\n{text}\r\n$5\r\nwrong\r\n", text.len()),
        format!("x\nflush_all\nset {text} 0 0 5\nwrong\n"),
        format!("x' ; redis.call('SET', '{text}', 'wrong') --"),
        format!("x\0{text}"),
        format!("x {text}"),
    ];
    for (index, name) in names.iter().enumerate() {
        let key = trial.key(name);
        let value = format!("value {index}");
        trial.put(&key, value.clone()).await?;
        trial.holds(&key, &value).await?;
        trial
            .lacks(&victim, "after another key that contains its text was written")
            .await?;
        trial.holds(&witness, "witness").await?;
        trial.backend().delete(&key).await?;
        trial.holds(&witness, "witness").await?;
    }
    Ok(())
}

pub(super) async fn long_keys_come_back(trial: Trial) -> Verdict {
    let mut keys = Vec::new();
    for length in [200, 249, 250, 251, 255, 256, 300, 1024, 2048, 2049, 5000] {
        keys.push(trial.key(&"k".repeat(length)));
        // Three bytes each in UTF-8, so that a cut at a fixed byte falls inside a character.
        keys.push(trial.key(&format!("{length}{}", "日".repeat(length / 3))));
        keys.push(trial.namespace(&"s".repeat(length)).key("name"));
    }
    all_are_apart(&trial, &keys).await
}

pub(super) async fn long_keys_with_a_common_start_are_apart(trial: Trial) -> Verdict {
    let mut keys = Vec::new();
    for length in [250, 300, 1100, 2100, 5000] {
        let common = "c".repeat(length);
        for end in ["", "1", "2", "12", "\n"] {
            keys.push(trial.key(&format!("{common}{end}")));
        }
        // Names that differ only at the start, and names that differ only in the middle.
        keys.push(trial.key(&format!("1{common}")));
        keys.push(trial.key(&format!("{common}1{common}")));
        keys.push(trial.key(&format!("{common}2{common}")));
        keys.push(trial.namespace(&format!("{common}1")).key("name"));
        keys.push(trial.namespace(&format!("{common}2")).key("name"));
    }
    all_are_apart(&trial, &keys).await
}

pub(super) async fn namespaces_and_prefixes_are_apart(trial: Trial) -> Verdict {
    let mut keys = Vec::new();
    let prefixes: [Prefix; 2] = [trial.prefix(), trial.other_prefix()];
    for prefix in prefixes {
        for (namespace, name) in [
            ("", ""),
            ("", "a"),
            ("a", ""),
            ("a", "a"),
            ("a", "b:c"),
            ("a:b", "c"),
            ("a", ":b"),
            ("a:", "b"),
            ("a:b", ":c"),
            ("", "a:b"),
            ("", ":"),
            (":", ""),
        ] {
            keys.push(prefix.namespace(namespace).key(name));
        }
        let reserved = prefix.namespace("a").key("a").reserved("lease");
        keys.push(reserved);
    }
    all_are_apart(&trial, &keys).await
}
