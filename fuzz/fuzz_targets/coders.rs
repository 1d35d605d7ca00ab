//! Decoding foreign bytes never panics and takes bounded memory, and what was decoded comes back.
#![no_main]

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use cache_core::{Coder, MessagePack, Postcard};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    id: u64,
    name: String,
    price: Option<i32>,
    nothing: Vec<()>,
    stock: BTreeMap<String, bool>,
    state: State,
    parts: Vec<Item>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum State {
    Active,
    Renamed(String),
    Moved { from: i64, to: i128 },
    Next(Box<State>),
}

fuzz_target!(|input: &[u8]| {
    let bytes = Bytes::copy_from_slice(input);
    comes_back::<Item>(&MessagePack, &bytes);
    comes_back::<Item>(&Postcard, &bytes);
    comes_back::<Vec<()>>(&Postcard, &bytes);
    comes_back::<State>(&Postcard, &bytes);
    comes_back::<State>(&MessagePack, &bytes);
});

fn comes_back<T: Debug + PartialEq>(coder: &impl Coder<T>, bytes: &Bytes) {
    let Ok(value) = coder.decode(bytes) else { return };
    let encoded = coder.encode(&value).expect("what decodes can be encoded");
    assert_eq!(coder.decode(&encoded).expect("it comes back"), value);
}
