//! Two functions never share an entry, whatever their names are and wherever they are defined.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use cache_core::ManualClock;
use cache_engine::{Cache, cached};
use support::{Count, local};

fn cache() -> Cache {
    local(&ManualClock::new()).build()
}

#[tokio::test]
async fn functions_in_two_blocks_of_one_function_share_nothing() {
    async fn pick(cache: &Cache, first: bool, loads: &Count) -> u8 {
        if first {
            #[cached(cache = cache, skip(cache, loads))]
            async fn inner(cache: &Cache, loads: &Count) -> u8 {
                loads.up();
                1
            }
            inner(cache, loads).await
        } else {
            #[cached(cache = cache, skip(cache, loads))]
            async fn inner(cache: &Cache, loads: &Count) -> u8 {
                loads.up();
                2
            }
            inner(cache, loads).await
        }
    }

    let (cache, loads) = (cache(), Count::new());
    for _ in 0..2 {
        assert_eq!(pick(&cache, true, &loads).await, 1);
        assert_eq!(pick(&cache, false, &loads).await, 2);
    }
    assert_eq!(loads.get(), 2, "each has an entry of its own, and keeps it");
}

/// What tells these functions apart is outside of them.
#[tokio::test]
async fn functions_of_the_same_text_share_nothing() {
    macro_rules! numbers {
        ($($number:literal)*) => {
            [$({
                const NUMBER: u8 = $number;

                #[cached(cache = cache, skip(cache))]
                async fn number(cache: &Cache) -> u8 {
                    NUMBER
                }

                let cache: &Cache = &CACHE;
                (number(cache).await, number(cache).await, number_entry(cache).key().unwrap().clone())
            }),*]
        };
    }

    static CACHE: std::sync::LazyLock<Cache> = std::sync::LazyLock::new(cache);
    let [a, b, c] = numbers!(1 2 3);
    assert_eq!([(a.0, a.1), (b.0, b.1), (c.0, c.1)], [(1, 1), (2, 2), (3, 3)]);
    assert!(a.2 != b.2 && b.2 != c.2 && a.2 != c.2);
}

/// Written as a component of a user interface is. Its path is that of a type.
#[allow(non_snake_case)]
fn Page(cache: &Cache, first: bool) -> std::pin::Pin<Box<dyn Future<Output = u8> + '_>> {
    if first {
        #[cached(cache = cache, skip(cache))]
        async fn inner(cache: &Cache) -> u8 {
            1
        }
        Box::pin(inner(cache))
    } else {
        #[cached(cache = cache, skip(cache))]
        async fn inner(cache: &Cache) -> u8 {
            2
        }
        Box::pin(inner(cache))
    }
}

#[tokio::test]
async fn functions_in_two_blocks_of_a_component_share_nothing() {
    let cache = cache();
    for _ in 0..2 {
        assert_eq!((Page(&cache, true).await, Page(&cache, false).await), (1, 2));
    }
}

trait Numbered {
    async fn number(cache: &Cache) -> u8;
}

macro_rules! numbered {
    ($($name:ident = $number:literal)*) => {$(
        struct $name;

        const _: () = {
            #[cached(cache = cache, skip(cache))]
            async fn inner(cache: &Cache) -> u8 {
                $number
            }

            impl Numbered for $name {
                async fn number(cache: &Cache) -> u8 {
                    inner(cache).await
                }
            }
        };
    )*};
}

numbered!(One = 1 Two = 2);

#[tokio::test]
async fn functions_of_one_macro_call_share_nothing() {
    let cache = cache();
    for _ in 0..2 {
        assert_eq!((One::number(&cache).await, Two::number(&cache).await), (1, 2));
    }
}

#[tokio::test]
async fn methods_of_local_types_of_one_name_share_nothing() {
    async fn pick(cache: &Cache, first: bool) -> (u8, u8) {
        if first {
            struct Local;

            impl Local {
                #[cached(cache = cache, skip(self, cache))]
                async fn number(&self, cache: &Cache) -> u8 {
                    1
                }
            }

            impl Find for Local {
                #[cached(cache = cache, skip(self, cache), entry = false)]
                async fn find(&self, cache: &Cache) -> u8 {
                    3
                }
            }
            (Local.number(cache).await, Local.find(cache).await)
        } else {
            struct Local;

            impl Local {
                #[cached(cache = cache, skip(self, cache))]
                async fn number(&self, cache: &Cache) -> u8 {
                    2
                }
            }

            impl Find for Local {
                #[cached(cache = cache, skip(self, cache), entry = false)]
                async fn find(&self, cache: &Cache) -> u8 {
                    4
                }
            }
            (Local.number(cache).await, Local.find(cache).await)
        }
    }

    let cache = cache();
    for _ in 0..2 {
        assert_eq!(pick(&cache, true).await, (1, 3));
        assert_eq!(pick(&cache, false).await, (2, 4));
    }
}

trait Find {
    async fn find(&self, cache: &Cache) -> u8;

    #[cached(cache = cache, skip(self, cache))]
    async fn provided(&self, cache: &Cache) -> u8 {
        Self::NUMBER
    }

    const NUMBER: u8 = 0;
}

trait Kind: Default {
    const NUMBER: u8;
}

#[cached(cache = cache, skip(cache))]
async fn number_of<K: Kind>(cache: &Cache) -> u8 {
    K::NUMBER
}

#[derive(Default)]
struct Holder<K>(std::marker::PhantomData<K>);

impl<K: Kind> Holder<K> {
    #[cached(cache = cache, skip(self, cache))]
    async fn number(&self, cache: &Cache) -> u8 {
        K::NUMBER
    }
}

#[tokio::test]
async fn instances_for_local_types_of_one_name_share_nothing() {
    async fn pick(cache: &Cache, first: bool) -> [u8; 2] {
        if first {
            #[derive(Default)]
            struct Local;
            impl Kind for Local {
                const NUMBER: u8 = 1;
            }
            [
                number_of::<Local>(cache).await,
                Holder::<Local>::default().number(cache).await,
            ]
        } else {
            #[derive(Default)]
            struct Local;
            impl Kind for Local {
                const NUMBER: u8 = 2;
            }
            [
                number_of::<Local>(cache).await,
                Holder::<Local>::default().number(cache).await,
            ]
        }
    }

    let cache = cache();
    for _ in 0..2 {
        assert_eq!(pick(&cache, true).await, [1; 2]);
        assert_eq!(pick(&cache, false).await, [2; 2]);
    }
}

trait Nested {
    async fn inner(cache: &Cache) -> u8;
}

#[cached(cache = cache, skip(cache))]
async fn one_more_than<N: Nested>(cache: &Cache) -> u8 {
    N::inner(cache).await + 1
}

/// The keys of the two have one text, but the inner one does not wait for the outer one.
#[tokio::test]
async fn instances_for_local_types_of_one_name_can_be_nested() {
    fn pick(cache: &Cache, first: bool) -> std::pin::Pin<Box<dyn Future<Output = u8> + '_>> {
        if first {
            struct Local;
            impl Nested for Local {
                async fn inner(_: &Cache) -> u8 {
                    1
                }
            }
            Box::pin(one_more_than::<Local>(cache))
        } else {
            struct Local;
            impl Nested for Local {
                async fn inner(cache: &Cache) -> u8 {
                    pick(cache, true).await
                }
            }
            Box::pin(one_more_than::<Local>(cache))
        }
    }

    let cache = cache();
    for _ in 0..2 {
        assert_eq!((pick(&cache, false).await, pick(&cache, true).await), (3, 2));
    }
}

#[cached(cache = cache, skip(cache, load))]
async fn called<F: AsyncFn() -> u8>(cache: &Cache, load: F) -> u8 {
    load().await
}

#[cached(cache = cache, skip(cache, load))]
async fn called_hidden(cache: &Cache, load: impl AsyncFn() -> u8) -> u8 {
    load().await
}

#[tokio::test]
async fn two_closures_share_nothing() {
    let (cache, loads) = (cache(), Count::new());
    let one = async || {
        loads.up();
        1
    };
    let two = async || {
        loads.up();
        2
    };
    for _ in 0..2 {
        assert_eq!((called(&cache, &one).await, called(&cache, &two).await), (1, 2));
        assert_eq!(
            (called_hidden(&cache, &one).await, called_hidden(&cache, &two).await),
            (1, 2)
        );
    }
    assert_eq!(loads.get(), 4, "each has an entry of its own, and keeps it");
}

mod shop {
    use super::{Cache, cached};

    #[cached(cache = cache, skip(cache))]
    pub(super) async fn find(cache: &Cache, id: u64) -> u64 {
        id
    }

    pub(super) struct Users;

    impl Users {
        #[cached(cache = cache, skip(self, cache))]
        pub(super) async fn find(&self, cache: &Cache, id: u64) -> u64 {
            id
        }
    }
}

/// Keys are the same in every build and process, so they can be written down.
#[tokio::test]
async fn keys_of_functions_and_methods_stay_as_they_are() {
    let cache = cache();
    let call = shop::find_entry(&cache, 7);
    assert_eq!(call.key().unwrap().as_str(), "cache::60b28db16fc5191475c1b645a1539a3e");
    let call = shop::Users.find_entry(&cache, 7);
    assert_eq!(call.key().unwrap().as_str(), "cache::2a5b32497286659fcc3d2ff4fe6bf788");
}
