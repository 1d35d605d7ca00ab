//! Bytes of a store are foreign bytes: decoding them takes no more stack, memory or time than they are long.
#![cfg(all(feature = "messagepack", feature = "postcard"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use cache_core::{Coder, ErrorKind, MessagePack, Postcard};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Tree {
    children: Vec<Tree>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Term {
    Zero,
    Next(Box<Term>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List(Option<Box<List>>);

fn refused<T: Debug>(coder: &impl Coder<T>, bytes: Vec<u8>, why: &str) {
    let error = coder.decode(&Bytes::from(bytes)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.message().contains(why), "{error}");
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let million = |byte: u8| vec![byte; 1_000_000];
    refused::<Tree>(&Postcard, million(1), "");
    refused::<Term>(&Postcard, million(1), "");
    refused::<List>(&Postcard, million(1), "");
    refused::<Vec<Tree>>(&MessagePack, million(0x91), "nested too deep");
    // Arrays of one in arrays of one.
    let map = b"\x81\xa8children\x91".repeat(100_000);
    refused::<Tree>(&MessagePack, map, "nested too deep");
    refused::<List>(&MessagePack, million(0), "");
}

#[test]
fn values_within_the_bound_come_back() {
    let mut term = Term::Zero;
    for _ in 0..60 {
        term = Term::Next(Box::new(term));
    }
    assert_eq!(
        Coder::<Term>::decode(&Postcard, &Postcard.encode(&term).unwrap()).unwrap(),
        term
    );
    assert_eq!(
        Coder::<Term>::decode(&MessagePack, &MessagePack.encode(&term).unwrap()).unwrap(),
        term
    );
}

#[test]
fn lengths_that_are_not_there_cost_nothing() {
    // 2^63 parts of no bytes, with a digest.
    let many = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0];
    refused::<Vec<()>>(&Postcard, many.to_vec(), "more parts than bytes");
    refused::<Vec<u8>>(&Postcard, many.to_vec(), "");
    refused::<String>(&Postcard, many.to_vec(), "");
    refused::<BTreeMap<(), ()>>(&Postcard, many.to_vec(), "more parts than bytes");
    for marker in [0xc6, 0xdb, 0xdd, 0xdf] {
        let bytes = vec![marker, 0xff, 0xff, 0xff, 0xff];
        refused::<Vec<u64>>(&MessagePack, bytes.clone(), "");
        refused::<String>(&MessagePack, bytes.clone(), "");
        refused::<BTreeMap<u64, u64>>(&MessagePack, bytes, "");
    }
}

proptest! {
    /// What was changed on its way is an error or a value, and never a panic.
    #[test]
    fn changed_bytes_never_panic(
        value: (Vec<(u16, Option<String>)>, BTreeMap<String, i64>),
        at: prop::sample::Index,
        byte: u8,
    ) {
        type Value = (Vec<(u16, Option<String>)>, BTreeMap<String, i64>);
        for coder in [&Postcard as &dyn Coder<Value>, &MessagePack] {
            let mut bytes = coder.encode(&value).unwrap().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
            let _ = coder.decode(&bytes.into());
        }
    }
}
