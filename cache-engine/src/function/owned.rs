//! Clones of borrowed arguments, for detached loads.

use std::borrow::Borrow;

/// A type that a detached load clones if its function borrows it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is borrowed by a load that outlives the call, and cannot be cloned for it",
    label = "borrowed here, and must be `Clone + Send + Sync + 'static`",
    note = "with `stale_while_revalidate` or `detached`, the load goes on when the call has ended, so it clones what it borrows",
    note = "make the type `Clone`, take an `Arc`, or write `detached = false`: one caller then waits for the refresh"
)]
pub trait Own: ToOwned {}

#[diagnostic::do_not_recommend]
impl<T> Own for T
where
    T: ToOwned + ?Sized,
    T::Owned: Send + Sync + 'static,
{
}

/// Returns a clone.
#[must_use]
pub fn own<T: Own + ?Sized>(borrowed: &T) -> T::Owned {
    borrowed.to_owned()
}

/// Borrows from a clone.
#[must_use]
pub fn borrow<T: ?Sized, O: Borrow<T>>(owned: &O) -> &T {
    owned.borrow()
}
