//! Zero-sized types that carry information about other types.

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident<$($parameter:ident),*>;)*) => {$(
        $(#[$doc])*
        pub struct $name<$($parameter),*>(::std::marker::PhantomData<fn() -> ($($parameter,)*)>);

        impl<$($parameter),*> $name<$($parameter),*> {
            #[allow(clippy::new_without_default)]
            #[must_use]
            pub const fn new() -> Self {
                Self(::std::marker::PhantomData)
            }
        }

        impl<$($parameter),*> Clone for $name<$($parameter),*> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<$($parameter),*> Copy for $name<$($parameter),*> {}

        impl<$($parameter),*> ::std::fmt::Debug for $name<$($parameter),*> {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}
pub(crate) use markers;
