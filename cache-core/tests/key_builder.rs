//! Two calls have the same key if and only if they are equal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::box_collection)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cache_core::{Error, ErrorKind, FunctionCall, KeyBuilder, KeyName, ReadableCall};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

fn identity<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    FunctionCall::new("m", "f")
        .argument("a", value)
        .unwrap()
        .identity()
        .to_vec()
}

fn readable<T: Serialize + ?Sized>(value: &T) -> String {
    let call = FunctionCall::new("m", "f").argument("a", value).unwrap();
    let name = ReadableCall.build(&call).unwrap();
    let text = name.as_str().strip_prefix(r#"m:f:{"a":"#).unwrap();
    text.strip_suffix('}').unwrap().to_owned()
}

/// Everything that serde's data model can express.
#[derive(Debug, Clone, PartialEq, Serialize)]
enum Any {
    Unit,
    Integer(i32),
    Text(String),
    Pair(Box<Any>, Box<Any>),
    List(Vec<Any>),
    Map(BTreeMap<String, Any>),
    Maybe(Option<Box<Any>>),
    Fields {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        b: Option<String>,
    },
    Newtype(Newtype),
    Untagged(Untagged),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Newtype(String);

/// Serialises as its content, so that variants differ only in the type of the content.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
enum Untagged {
    Nothing,
    Byte(u8),
    Word(u16),
    Character(char),
    Text(String),
    Bytes(Octets),
    List(Vec<u8>),
    Pair(u8, u8),
    Newtype(Newtype),
    Map(BTreeMap<u8, u8>),
}

#[derive(Debug, Clone, PartialEq)]
struct Octets(Vec<u8>);

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

fn any_text() -> impl Strategy<Value = String> {
    "[\0\u{10}ab]{0,3}"
}

fn any_untagged() -> impl Strategy<Value = Untagged> {
    let byte = || 0_u8..3;
    prop_oneof![
        Just(Untagged::Nothing),
        byte().prop_map(Untagged::Byte),
        (0_u16..3).prop_map(Untagged::Word),
        prop::char::range('\0', '\u{3}').prop_map(Untagged::Character),
        any_text().prop_map(Untagged::Text),
        vec(byte(), 0..3).prop_map(|bytes| Untagged::Bytes(Octets(bytes))),
        vec(byte(), 0..3).prop_map(Untagged::List),
        (byte(), byte()).prop_map(|(a, b)| Untagged::Pair(a, b)),
        any_text().prop_map(|text| Untagged::Newtype(Newtype(text))),
        btree_map(byte(), byte(), 0..3).prop_map(Untagged::Map),
    ]
}

fn any_value() -> impl Strategy<Value = Any> {
    let leaf = prop_oneof![
        Just(Any::Unit),
        (-2..2).prop_map(Any::Integer),
        any_text().prop_map(Any::Text),
        (prop::option::of(any_text()), prop::option::of(any_text())).prop_map(|(a, b)| Any::Fields { a, b }),
        any_text().prop_map(|text| Any::Newtype(Newtype(text))),
        any_untagged().prop_map(Any::Untagged),
    ];
    leaf.prop_recursive(3, 8, 3, |value| {
        prop_oneof![
            (value.clone(), value.clone()).prop_map(|(a, b)| Any::Pair(a.into(), b.into())),
            vec(value.clone(), 0..3).prop_map(Any::List),
            btree_map(any_text(), value.clone(), 0..3).prop_map(Any::Map),
            prop::option::of(value).prop_map(|value| Any::Maybe(value.map(Box::new))),
        ]
    })
}

/// A map with its entries in this order.
struct InOrder<'a, K, V>(&'a [(K, V)]);

impl<K: Serialize, V: Serialize> Serialize for InOrder<'_, K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn values_have_the_same_identity_if_they_are_equal(a in any_value(), b in any_value()) {
        prop_assert_eq!(identity(&a) == identity(&b), a == b);
        prop_assert_eq!(identity(&a), identity(&a.clone()));
    }

    #[test]
    fn untagged_values_have_the_same_identity_if_they_are_equal(a in any_untagged(), b in any_untagged()) {
        prop_assert_eq!(identity(&a) == identity(&b), a == b);
    }

    #[test]
    fn parts_of_a_call_never_run_into_each_other(
        a in (any_text(), any_text(), vec(any_text(), 0..3), vec((any_text(), any_text()), 0..3)),
        b in (any_text(), any_text(), vec(any_text(), 0..3), vec((any_text(), any_text()), 0..3)),
    ) {
        let identity = |(module, function, instances, arguments): &(String, String, Vec<String>, Vec<(_, String)>)| {
            let mut call = FunctionCall::new(module, function);
            for instance in instances {
                call = call.instance(instance);
            }
            for (name, value) in arguments {
                let name: &String = name;
                call = call.argument(name, value).unwrap();
            }
            call.identity().to_vec()
        };
        prop_assert_eq!(identity(&a) == identity(&b), a == b);
    }

    #[test]
    fn the_order_of_a_map_does_not_matter(
        entries in btree_map(any_value().prop_map(|key| identity(&key)), any_value(), 0..6)
            .prop_map(Vec::from_iter)
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle())),
    ) {
        prop_assert_eq!(identity(&InOrder(&entries.0)), identity(&InOrder(&entries.1)));
    }

    #[test]
    fn every_value_can_be_shown(value in any_value()) {
        prop_assert!(!readable(&value).is_empty());
    }
}

#[test]
fn maps_are_sorted_inside_maps() {
    let nested = |order: [u8; 2]| {
        let inner = |n: u8| order.map(|key| (key, n));
        let (a, b) = (inner(1), inner(2));
        let mut outer = [(InOrder(&a), "x"), (InOrder(&b), "y")];
        if order[0] > order[1] {
            outer.reverse();
        }
        identity(&InOrder(&outer))
    };
    assert_eq!(nested([1, 2]), nested([2, 1]));
    let hash_maps: Vec<_> = (0..8)
        .map(|_| identity(&HashMap::<u32, u32>::from_iter((0..50).map(|n| (n, n * n)))))
        .collect();
    assert!(hash_maps.iter().all(|map| *map == hash_maps[0]));
}

#[test]
fn the_order_of_a_list_matters() {
    assert_ne!(identity(&[1, 2]), identity(&[2, 1]));
    assert_eq!(identity(&BTreeSet::from([1, 2])), identity(&BTreeSet::from([2, 1])));
    assert_ne!(
        identity(&InOrder(&[(1, "a"), (1, "b")])),
        identity(&InOrder(&[(1, "b"), (1, "a")]))
    );
}

#[test]
fn floats_are_their_bits() {
    assert_eq!(identity(&f64::NAN), identity(&f64::NAN));
    let floats = [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN];
    let different: BTreeSet<_> = floats.iter().map(identity).collect();
    assert_eq!(different.len(), floats.len());
}

#[test]
fn a_reference_is_what_it_refers_to() {
    assert_eq!(identity("a"), identity(&String::from("a")));
    assert_eq!(identity(&&7_u8), identity(&Box::new(7_u8)));
    assert_eq!(identity(&[1_u8, 2][..]), identity(&vec![1_u8, 2]));
}

#[test]
fn text_of_any_length_that_is_written_piece_by_piece_is_text() {
    struct Displayed(String);
    impl Serialize for Displayed {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{}{}", &self.0[..1], &self.0[1..]))
        }
    }
    for length in [1, 127, 128, 129, 16_383, 16_384, 70_000] {
        let text = "x".repeat(length);
        assert_eq!(identity(&Displayed(text.clone())), identity(&text), "{length} bytes");
    }
}

#[test]
fn an_argument_that_cannot_be_serialised_is_named() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("the lock is poisoned"))
        }
    }
    let error = FunctionCall::new("shop::users", "find")
        .argument("id", &1)
        .unwrap()
        .argument("filter", &[Broken])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert_eq!(
        error.message(),
        r#"the argument "filter" of shop::users::find cannot be part of a key: the lock is poisoned"#
    );
}

#[test]
fn nothing_is_allocated_for_an_argument() {
    let call = FunctionCall::new("shop::users", "find");
    let mut built = None;
    let allocated = allocation_counter::measure(|| {
        let call = call
            .argument("id", &42_u64)
            .and_then(|call| call.argument("lang", &Some(("en", 1.5, 'x'))));
        built = Some(call.unwrap());
    });
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
}

#[test]
fn readable_names_are_nearly_json() {
    let fields = Any::Fields {
        a: Some("x".into()),
        b: None,
    };
    assert_eq!(readable(&fields), r#"{"Fields":{"a":"x"}}"#);
    assert_eq!(readable(&Any::Unit), r#""Unit""#);
    assert_eq!(
        readable(&("a\"\\\n\u{1}é", true, 'c', -1_i128, ())),
        r#"["a\"\\\n\u0001é",true,"c",-1,null]"#
    );
    assert_eq!(readable(&[1.0, 1e300, f64::NAN]), "[1.0,1e300,NaN]");
    assert_eq!(readable(&Octets(vec![0xc0, 0xff, 0xee])), "h'c0ffee'");
    assert_eq!(
        readable(&BTreeMap::from([((1, 2), Some("x")), ((3, 4), None)])),
        r#"{[1,2]:"x",[3,4]:null}"#
    );
    assert_eq!(
        readable(&Any::Pair(Any::Integer(1).into(), Any::List(vec![]).into())),
        r#"{"Pair":[{"Integer":1},{"List":[]}]}"#
    );
    assert_eq!(readable(&Newtype("[".into())), r#""[""#);
    let call = FunctionCall::new("m", "f").instance("a::B<u8>").instance("u64");
    assert_eq!(ReadableCall.build(&call).unwrap().as_str(), "m:f<a::B<u8>><u64>:{}");
}

#[test]
fn builders_can_be_closures_and_trait_objects() {
    let builders: [Box<dyn for<'a> KeyBuilder<FunctionCall<'a>>>; 2] = [
        Box::new(ReadableCall),
        Box::new(|call: &FunctionCall<'_>| -> Result<KeyName, Error> { Ok(call.module().into()) }),
    ];
    let call = FunctionCall::new("m", "f");
    let names = builders.map(|builder| builder.build(&call).unwrap());
    assert_eq!(names.each_ref().map(KeyName::as_str), ["m:f:{}", "m"]);
}

#[cfg(feature = "md5")]
mod hashed {
    use cache_core::HashedCall;

    use super::*;

    /// A change of these keys would lose every stored entry.
    #[test]
    fn names_stay_as_they_are() {
        let call = FunctionCall::new("shop::users", "find")
            .instance("Postgres")
            .argument("id", &42_u64)
            .unwrap()
            .argument("lang", &Some("en"))
            .unwrap();
        let identity =
            b"\x0bshop::users\x04find\x01\x08Postgres\x02\x02id\x0b\0\0\0\0\0\0\0\x2a\x02\x04lang\x13\x10\x02en";
        assert_eq!(call.identity(), identity);
        let name = HashedCall.build(&call).unwrap();
        assert_eq!(name.as_str(), "d2d071e7981cfd7ba5508b6bdc773ebf");
        assert_eq!(name.identity(), identity);
    }

    #[test]
    fn calls_of_different_functions_have_different_names() {
        let name = |module, function, instance| {
            let call = FunctionCall::new(module, function).instance(instance);
            HashedCall.build(&call).unwrap().as_str().to_owned()
        };
        let names = [
            name("a", "f", "T"),
            name("b", "f", "T"),
            name("a", "g", "T"),
            name("a", "f", "U"),
            name("af", "", "T"),
        ];
        assert_eq!(BTreeSet::from(names.clone()).len(), names.len());
    }
}

mod sets {
    use super::*;

    fn sets_of(elements: &[&str]) -> Vec<HashSet<String>> {
        // Each has hash keys of its own, and so an order of its own.
        (0..8)
            .map(|_| elements.iter().map(ToString::to_string).collect())
            .collect()
    }

    #[derive(Serialize)]
    struct Filter {
        tags: HashSet<String>,
        more: Option<Box<HashSet<String>>>,
    }

    #[test]
    fn the_order_of_a_set_does_not_matter_wherever_it_is() {
        let elements: Vec<String> = (0..40).map(|n| n.to_string()).collect();
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        let sets = sets_of(&elements);
        let orders: BTreeSet<Vec<&String>> = sets.iter().map(|set| set.iter().collect()).collect();
        assert!(orders.len() > 1, "the control: they are walked in different orders");
        let mut identities = BTreeSet::new();
        for set in &sets {
            let filter = Filter {
                tags: set.clone(),
                more: Some(Box::new(set.clone())),
            };
            identities.insert((
                identity(set),
                identity(&Some(set)),
                identity(&vec![set.clone()]),
                identity(&filter),
                identity(&HashMap::from([(1, set)])),
            ));
        }
        assert_eq!(identities.len(), 1);
    }

    #[test]
    fn sets_with_other_elements_and_lists_in_another_order_differ() {
        let set = |elements: &[u8]| identity(&elements.iter().copied().collect::<HashSet<u8>>());
        assert_ne!(set(&[1, 2]), set(&[1, 3]));
        assert_ne!(set(&[1]), set(&[]));
        assert_ne!(identity(&vec![1, 2]), identity(&vec![2, 1]));
    }

    #[test]
    fn a_set_is_shown_as_a_list() {
        assert_eq!(readable(&BTreeSet::from([2, 1])), "[1,2]");
    }
}

mod long_arguments {
    use super::*;

    fn call<T: Serialize + ?Sized>(value: &T) -> FunctionCall<'static> {
        FunctionCall::new("m", "f").argument("a", value).unwrap()
    }

    #[test]
    fn they_are_kept_as_a_digest() {
        let text = "x".repeat(1 << 20);
        let long = call(&text);
        assert!(long.identity().len() < 64, "{}", long.identity().len());
        assert_eq!(long.identity(), call(text.as_str()).identity());
        // The control: a short argument is not replaced by a digest.
        assert!(call(&"x".repeat(200)).identity().len() > 200);
    }

    #[test]
    fn the_digest_tells_them_apart() {
        let text = "x".repeat(1 << 20);
        let mut other = text.clone();
        other.replace_range((1 << 19)..=(1 << 19), "y");
        assert_ne!(call(&text).identity(), call(&other).identity());
        assert_ne!(call(&text).identity(), call(&text[1..]).identity());
        assert_ne!(call(&text).identity(), call(text.as_bytes()).identity());
    }

    #[test]
    fn it_is_a_sha_256_of_the_byte_form() {
        let call = call(&"x".repeat(300));
        let name = ReadableCall.build(&call).unwrap();
        assert_eq!(
            name.as_str(),
            "m:f:{\"a\":sha256'6af7e7062954e955273ea48293b0c3bc5211f4d683680fb9c072f5e50d92f0b3'}"
        );
    }

    #[test]
    fn no_value_looks_like_the_digest_of_another() {
        let digest = call(&"x".repeat(300)).identity().to_vec();
        let short = call(&Octets(digest.clone()));
        assert_ne!(short.identity(), digest);
    }
}

#[test]
fn what_is_compared_only_is_not_in_the_name() {
    let call = |id: &[u8]| {
        FunctionCall::new("m", "f")
            .compared_by(id)
            .argument("a", &1)
            .unwrap()
            .instance("T")
    };
    let plain = FunctionCall::new("m", "f").argument("a", &1).unwrap().instance("T");
    assert_eq!(call(b"1").named(), call(b"2").named());
    assert_eq!(call(b"1").named(), plain.identity());
    assert_ne!(call(b"1").identity(), call(b"2").identity());
    let names = [call(b"1"), plain].map(|call| ReadableCall.build(&call).unwrap());
    assert_eq!(names[0].as_str(), names[1].as_str());
    assert_ne!(names[0].identity(), names[1].identity());
}
