//! Each coder decodes what it encoded, refuses other bytes, and knows the length of its output.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Debug;

use bytes::Bytes;
use cache_core::{Coder, ErrorKind, Raw};
use proptest::prelude::*;

#[cfg(any(feature = "json", feature = "cbor", feature = "messagepack", feature = "postcard"))]
mod item {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) struct Item {
        id: u64,
        name: String,
        price: Option<i32>,
        tags: Vec<String>,
        stock: BTreeMap<String, bool>,
        state: State,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub(crate) enum State {
        Active,
        Renamed(String),
        Moved { from: i64, to: i64 },
    }

    pub(crate) fn any_item() -> impl Strategy<Value = Item> {
        let state = prop_oneof![
            Just(State::Active),
            any::<String>().prop_map(State::Renamed),
            any::<(i64, i64)>().prop_map(|(from, to)| State::Moved { from, to }),
        ];
        let stock = prop::collection::btree_map(any::<String>(), any::<bool>(), 0..4);
        (any::<(u64, String, Option<i32>, Vec<String>)>(), stock, state).prop_map(
            |((id, name, price, tags), stock, state)| Item {
                id,
                name,
                price,
                tags,
                stock,
                state,
            },
        )
    }
}

/// A value comes back as it was, and its encoding is as long as it was said to be.
fn comes_back<T: Debug + PartialEq>(coder: &impl Coder<T>, value: &T) -> Result<(), TestCaseError> {
    let bytes = coder.encode(value).unwrap();
    prop_assert_eq!(coder.encoded_len(value).unwrap(), bytes.len());
    prop_assert_eq!(&coder.decode(&bytes).unwrap(), value);
    Ok(())
}

/// Bytes that are cut short or followed by others are an error.
#[cfg(any(feature = "json", feature = "cbor", feature = "messagepack", feature = "postcard"))]
fn must_be_whole<T: Debug>(coder: &impl Coder<T>, value: &T, more: &[u8]) {
    let bytes = coder.encode(value).unwrap();
    let longer = Bytes::from([&bytes[..], more].concat());
    let shorter = bytes.slice(..bytes.len() - 1);
    for wrong in [longer, shorter, Bytes::new()] {
        let error = coder.decode(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Codec, "{wrong:?}: {error}");
    }
}

#[cfg(feature = "json")]
mod json {
    use std::collections::BTreeMap;

    use cache_core::Json;

    use super::item::{Item, any_item};
    use super::*;

    proptest! {
        #[test]
        fn values_come_back(item in any_item()) {
            comes_back(&Json, &item)?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let decoded: Result<Item, _> = Json.decode(&bytes.into());
            prop_assert!(decoded.is_err());
        }
    }

    #[test]
    fn wrong_bytes_are_an_error_that_names_the_type() {
        must_be_whole::<Vec<u8>>(&Json, &vec![1, 2], b"]");
        let error = Coder::<Item>::decode(&Json, &Bytes::from_static(b"{}")).unwrap_err();
        assert!(error.message().contains("Item as JSON"), "{error}");
        assert_eq!(error.operation(), Some("decode"));
    }

    #[test]
    fn what_json_cannot_hold_is_an_error() {
        let map = BTreeMap::from([((1, 2), 3)]);
        let coder: &dyn Coder<BTreeMap<(i32, i32), i32>> = &Json;
        assert_eq!(coder.encode(&map).unwrap_err().kind(), ErrorKind::Codec);
        assert_eq!(coder.encoded_len(&map).unwrap_err().kind(), ErrorKind::Codec);
    }
}

#[cfg(feature = "cbor")]
mod cbor {
    use std::collections::BTreeMap;

    use cache_core::Cbor;

    use super::item::{Item, any_item};
    use super::*;

    proptest! {
        #[test]
        fn values_come_back(item in any_item()) {
            comes_back(&Cbor, &item)?;
        }

        #[test]
        fn floats_and_maps_with_any_keys_come_back(float: f64, map: BTreeMap<(u8, bool), i128>) {
            comes_back(&Cbor, &map)?;
            let decoded: f64 = Cbor.decode(&Cbor.encode(&float).unwrap()).unwrap();
            prop_assert!(decoded == float || decoded.is_nan() && float.is_nan());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let decoded: Result<Item, _> = Cbor.decode(&bytes.into());
            prop_assert!(decoded.is_err());
        }
    }

    #[test]
    fn wrong_bytes_are_an_error_that_names_the_type() {
        must_be_whole::<Vec<u8>>(&Cbor, &vec![1, 2], b"\0");
        let error = Coder::<Item>::decode(&Cbor, &Bytes::from_static(b"\xa0")).unwrap_err();
        assert!(error.message().contains("Item as CBOR"), "{error}");
        assert_eq!(error.operation(), Some("decode"));
    }
}

#[cfg(feature = "messagepack")]
mod messagepack {
    use std::collections::BTreeMap;

    use cache_core::MessagePack;

    use super::item::{Item, any_item};
    use super::*;

    proptest! {
        #[test]
        fn values_come_back(item in any_item()) {
            comes_back(&MessagePack, &item)?;
        }

        #[test]
        fn numbers_and_maps_with_any_keys_come_back(float: u64, small: u32, map: BTreeMap<(u8, bool), i128>, wide: (u128, char)) {
            comes_back(&MessagePack, &map)?;
            comes_back(&MessagePack, &wide)?;
            let (float, small) = (f64::from_bits(float), f32::from_bits(small));
            let decoded: (f64, f32) = MessagePack.decode(&MessagePack.encode(&(float, small)).unwrap()).unwrap();
            prop_assert_eq!((decoded.0.to_bits(), decoded.1.to_bits()), (float.to_bits(), small.to_bits()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let decoded: Result<Item, _> = MessagePack.decode(&bytes.into());
            prop_assert!(decoded.is_err());
        }
    }

    #[test]
    fn wrong_bytes_are_an_error_that_names_the_type() {
        must_be_whole::<Vec<u8>>(&MessagePack, &vec![1, 2], b"\0");
        let error = Coder::<Item>::decode(&MessagePack, &Bytes::from_static(b"\x80")).unwrap_err();
        assert!(error.message().contains("Item as MessagePack"), "{error}");
        assert_eq!(error.operation(), Some("decode"));
    }
}

#[cfg(feature = "postcard")]
mod postcard {
    use std::collections::BTreeMap;

    use cache_core::Postcard;

    use super::item::{Item, any_item};
    use super::*;

    proptest! {
        #[test]
        fn values_come_back(item in any_item()) {
            comes_back(&Postcard, &item)?;
        }

        #[test]
        fn options_of_options_come_back(value: Option<Option<Option<()>>>, wide: (u128, i128, char), map: BTreeMap<(u8, bool), i128>) {
            comes_back(&Postcard, &value)?;
            comes_back(&Postcard, &wide)?;
            comes_back(&Postcard, &map)?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _: Result<Item, _> = Postcard.decode(&bytes.clone().into());
            let decoded: Result<Vec<(u8, String)>, _> = Postcard.decode(&bytes.into());
            if let Ok(decoded) = decoded {
                prop_assert!(decoded.len() < 100);
            }
        }
    }

    #[test]
    fn wrong_bytes_are_an_error_that_names_the_type() {
        must_be_whole::<Vec<u8>>(&Postcard, &vec![1, 2], b"\0");
        let error = Coder::<Item>::decode(&Postcard, &Bytes::from_static(b"\0\0\0\0")).unwrap_err();
        assert!(error.message().contains("Item as Postcard"), "{error}");
        assert_eq!(error.operation(), Some("decode"));
    }
}

mod raw {
    use super::*;

    proptest! {
        #[test]
        fn bytes_and_text_come_back(bytes: Vec<u8>, text: String) {
            comes_back(&Raw, &Bytes::from(bytes.clone()))?;
            comes_back(&Raw, &bytes)?;
            comes_back(&Raw, &text)?;
        }

        #[test]
        fn text_is_what_is_utf_8(bytes: Vec<u8>) {
            let decoded: Option<String> = Raw.decode(&bytes.clone().into()).ok();
            prop_assert_eq!(decoded, String::from_utf8(bytes).ok());
        }
    }

    #[test]
    fn bytes_are_not_copied() {
        let bytes = Bytes::from(vec![1, 2, 3]);
        let encoded = Raw.encode(&bytes).unwrap();
        let decoded: Bytes = Raw.decode(&encoded).unwrap();
        assert_eq!(decoded.as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn text_that_is_not_utf_8_is_an_error() {
        let decoded: Result<String, _> = Raw.decode(&Bytes::from_static(b"\xff"));
        assert_eq!(decoded.unwrap_err().kind(), ErrorKind::Codec);
    }
}
