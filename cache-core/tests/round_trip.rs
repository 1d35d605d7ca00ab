//! A coder decodes what it encoded, or refuses to encode it.
#![cfg(feature = "json")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fmt::Debug;

use cache_core::{Coder, ErrorKind, Json};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    value: f64,
    small: f32,
    history: Vec<f64>,
    by_name: BTreeMap<String, Option<f64>>,
    pair: (f64, i128),
    shape: Shape,
    boxed: Option<Box<Reading>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(f64, f64),
    Rectangle { width: f64, height: f64 },
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>()
            .prop_map(f64::from_bits)
            .prop_filter("finite", |float| float.is_finite()),
        -1e6..1e6_f64,
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        finite().prop_map(Shape::Circle),
        (finite(), finite()).prop_map(|(a, b)| Shape::Line(a, b)),
        (finite(), finite()).prop_map(|(width, height)| Shape::Rectangle { width, height }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    let small = any::<u32>()
        .prop_map(f32::from_bits)
        .prop_filter("finite", |float| float.is_finite());
    let by_name = prop::collection::btree_map(any::<String>(), prop::option::of(finite()), 0..4);
    let history = prop::collection::vec(finite(), 0..8);
    (
        finite(),
        small,
        history,
        by_name,
        (finite(), any::<i128>()),
        shape(),
        any::<bool>(),
    )
        .prop_map(|(value, small, history, by_name, pair, shape, nested)| {
            let mut reading = Reading {
                value,
                small,
                history,
                by_name,
                pair,
                shape,
                boxed: None,
            };
            if nested {
                reading.boxed = Some(Box::new(reading.clone()));
            }
            reading
        })
}

fn refused<T: Serialize + DeserializeOwned>(coder: &impl Coder<T>, value: &T, why: &str) {
    let error = coder.encode(value).expect_err("it has no encoding");
    assert_eq!(error.kind(), ErrorKind::Codec);
    assert!(error.to_string().contains(why), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_finite_number_comes_back_to_the_last_bit(float in finite(), reading in reading()) {
        let decoded: f64 = Json.decode(&Json.encode(&float).unwrap()).unwrap();
        prop_assert_eq!(decoded.to_bits(), float.to_bits());
        let bytes = Json.encode(&reading).unwrap();
        let decoded: Reading = Json.decode(&bytes).unwrap();
        prop_assert_eq!(format!("{decoded:?}"), format!("{reading:?}"));
        let len = Json.encoded_len(&reading).unwrap();
        prop_assert_eq!(len, bytes.len());
    }
}

/// The encoding is that of serde_json: nothing but refusals is added.
#[test]
fn the_encoding_is_plain_json() {
    #[derive(Serialize, Deserialize)]
    struct Everything<'a> {
        #[serde(borrow)]
        text: &'a str,
        unit: (),
        none: Option<u8>,
        some: Option<u8>,
        tuple: (u8, char),
        list: Vec<Option<bool>>,
    }
    let everything = Everything {
        text: "ä\n",
        unit: (),
        none: None,
        some: Some(1),
        tuple: (2, 'x'),
        list: vec![None, Some(true)],
    };
    // `Json` takes what can be owned, so the same fields by themselves.
    assert_eq!(
        Json.encode(&(
            everything.text.to_owned(),
            (),
            None::<u8>,
            Some(1_u8),
            (2_u8, 'x'),
            vec![None, Some(true)]
        ))
        .unwrap(),
        r#"["ä\n",null,null,1,[2,"x"],[null,true]]"#
    );
    assert_eq!(serde_json::to_string(&everything).unwrap().matches("null").count(), 3);
    assert_eq!(
        Json.encode(&Shape::Rectangle {
            width: 1.0,
            height: 0.5
        })
        .unwrap(),
        r#"{"Rectangle":{"width":1.0,"height":0.5}}"#
    );
}

#[test]
fn numbers_that_json_does_not_have_are_refused_wherever_they_are() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(&Json, &number, "has no encoding");
        refused(&Json, &(number as f32), "has no encoding");
        refused(&Json, &Some(number), "has no encoding");
        refused(&Json, &vec![1.0, number], "has no encoding");
        refused(&Json, &BTreeMap::from([("a".to_owned(), number)]), "has no encoding");
        refused(&Json, &(1, number), "has no encoding");
        refused(&Json, &Shape::Circle(number), "has no encoding");
        refused(&Json, &Shape::Line(1.0, number), "has no encoding");
        refused(
            &Json,
            &Shape::Rectangle {
                width: number,
                height: 1.0,
            },
            "has no encoding",
        );
        // A store that keeps objects as they are only weighs them.
        assert!(Json.encoded_len(&number).is_ok());
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<u8>);

#[test]
fn what_would_come_back_as_none_is_refused() {
    let why = "read as `None`";
    refused(&Json, &Some(None::<u8>), why);
    refused(&Json, &Some(()), why);
    refused(&Json, &Some(Nothing), why);
    refused(&Json, &Some(Wrapped(None)), why);
    refused(&Json, &vec![Some(None::<u8>)], why);
    for value in [None, Some(Some(1_u8))] {
        let decoded: Option<Option<u8>> = Json.decode(&Json.encode(&value).unwrap()).unwrap();
        assert_eq!(decoded, value);
    }
    let value = Some(vec![None, Some(1_u8)]);
    let decoded: Option<Vec<Option<u8>>> = Json.decode(&Json.encode(&value).unwrap()).unwrap();
    assert_eq!(decoded, value, "a list in a `Some` may hold `None`");
}

#[cfg(feature = "cbor")]
#[test]
fn cbor_takes_all_numbers_and_refuses_what_would_come_back_as_none() {
    use cache_core::Cbor;

    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE] {
        let decoded: f64 = Cbor.decode(&Cbor.encode(&number).unwrap()).unwrap();
        assert!(decoded.to_bits() == number.to_bits() || (decoded.is_nan() && number.is_nan()));
    }
    let why = "read as `None`";
    refused(&Cbor, &Some(None::<u8>), why);
    refused(&Cbor, &Some(()), why);
    refused(&Cbor, &vec![Some(None::<u8>)], why);
}
