//! `Postcard` does not write what its bytes mean, and yet they are never read as something else.
#![cfg(feature = "postcard")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::{Bound, Range};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cache_core::{Coder, ErrorKind, Postcard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn comes_back<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: T) {
    let bytes = Postcard.encode(&value).unwrap();
    assert_eq!(Coder::<T>::decode(&Postcard, &bytes).unwrap(), value);
}

/// The types of the standard library write themselves as they read themselves.
#[test]
fn values_of_the_standard_library_come_back() {
    comes_back((Duration::from_millis(7), SystemTime::UNIX_EPOCH, NonZeroU32::MIN));
    comes_back::<[IpAddr; 2]>(["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()]);
    comes_back::<SocketAddr>("127.0.0.1:80".parse().unwrap());
    comes_back((PathBuf::from("/a"), c"b".to_owned(), 'c', "d".to_owned()));
    comes_back((Range { start: 1, end: 2 }, Bound::Included(3), Ok::<u8, String>(4)));
    comes_back((BTreeMap::from([(1, "a".to_owned())]), BTreeSet::from([2_i64])));
    comes_back((HashMap::from([("b".to_owned(), [1.5, 2.5])]), (), [(); 3], Box::new(7)));
    comes_back(bytes_of(b"abc"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(#[serde(with = "as_bytes")] Vec<u8>);

fn bytes_of(bytes: &[u8]) -> Wrapped {
    Wrapped(bytes.to_vec())
}

mod as_bytes {
    use serde::de::Visitor;
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_byte_buf(Read)
    }
}

#[test]
fn serde_attributes_that_a_format_without_names_can_take() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct User {
        #[serde(rename = "nummer")]
        user_id: u32,
        #[serde(skip)]
        secret: Option<String>,
        #[serde(default)]
        first_name: String,
        role: Role,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Role {
        Guest,
        Named(String),
        Both(u8, u8),
        Full { level: u8, until: Option<u64> },
    }
    for role in [
        Role::Guest,
        Role::Named("a".to_owned()),
        Role::Both(1, 2),
        Role::Full { level: 3, until: None },
    ] {
        comes_back(User {
            user_id: 7,
            secret: None,
            first_name: "Ada".to_owned(),
            role,
        });
    }
}

fn unreadable<A: Serialize + DeserializeOwned, B: Serialize + DeserializeOwned + Debug>(value: &A, what: &str) {
    let bytes = Postcard.encode(value).unwrap();
    let error = Coder::<B>::decode(&Postcard, &bytes).expect_err(what);
    assert_eq!(error.kind(), ErrorKind::Codec, "{what}");
}

/// A rolling deploy: a process reads what another version of the program has written.
#[test]
fn a_changed_type_never_reads_old_bytes() {
    mod old {
        use serde::{Deserialize, Serialize};
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct Account {
            pub(crate) balance: u32,
            pub(crate) limit: u32,
        }
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) enum State {
            Open,
            Closed,
        }
    }
    mod reordered {
        use serde::{Deserialize, Serialize};
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct Account {
            pub(crate) limit: u32,
            pub(crate) balance: u32,
        }
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) enum State {
            Closed,
            Open,
        }
    }
    mod renamed {
        use serde::{Deserialize, Serialize};
        #[derive(Debug, Serialize, Deserialize)]
        pub(crate) struct Account {
            pub(crate) balance_in_cents: u32,
            pub(crate) limit: u32,
        }
    }
    let account = old::Account { balance: 5, limit: 9 };
    unreadable::<_, reordered::Account>(&account, "reordered");
    unreadable::<_, renamed::Account>(&account, "renamed");
    unreadable::<_, (u32, u32)>(&account, "a tuple");
    unreadable::<_, [u16; 2]>(&account, "narrower");
    unreadable::<_, reordered::State>(&old::State::Open, "other variants");
    unreadable::<_, reordered::State>(&old::State::Closed, "other variants");
    unreadable::<_, u64>(&7_i64, "without a sign");
    unreadable::<_, Vec<u8>>(&"text".to_owned(), "bytes of a text");
    unreadable::<_, bool>(&Some(()), "a switch");
    // The controls: the same bytes in plain Postcard are read as the other type.
    let bytes = postcard::to_allocvec(&account).unwrap();
    let wrong: reordered::Account = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((wrong.balance, wrong.limit), (9, 5));
    let _: reordered::State = postcard::from_bytes(&postcard::to_allocvec(&old::State::Open).unwrap()).unwrap();
    let _: renamed::Account = postcard::from_bytes(&bytes).unwrap();
}

#[test]
fn a_field_that_may_be_left_out_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sparse {
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<u8>,
        id: u8,
        list: Vec<u8>,
    }
    comes_back(Sparse {
        note: Some(1),
        id: 2,
        list: vec![],
    });
    let sparse = Sparse {
        note: None,
        id: 1,
        list: vec![9, 0],
    };
    let error = Postcard.encode(&sparse).unwrap_err();
    assert!(error.to_string().contains("`note`"), "{error}");
    // The control: plain Postcard reads another value from it.
    let read: Sparse = postcard::from_bytes(&postcard::to_allocvec(&sparse).unwrap()).unwrap();
    assert_ne!(read, sparse);
}

#[test]
fn a_field_that_is_written_only_or_read_only_is_refused() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct OneWay {
        #[serde(skip_serializing, default)]
        secret: u8,
        id: u8,
        more: Vec<u8>,
    }
    let value = OneWay {
        secret: 0,
        id: 1,
        more: vec![0],
    };
    unreadable::<_, OneWay>(&value, "`secret` is not written");
}
