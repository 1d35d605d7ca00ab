//! Doubly linked lists of entries, with the links inside the slots.

use std::marker::PhantomData;

use crate::entry::{Entry, Links};
use crate::slots::Slots;

/// Selects the links of an entry that a list uses.
pub(crate) trait Thread {
    fn links(entry: &mut Entry) -> &mut Links;
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ByUse;

impl Thread for ByUse {
    fn links(entry: &mut Entry) -> &mut Links {
        &mut entry.by_use
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct ByDeadline;

impl Thread for ByDeadline {
    fn links(entry: &mut Entry) -> &mut Links {
        &mut entry.by_deadline
    }
}

/// A circular list of entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct List<T> {
    first: Option<u32>,
    thread: PhantomData<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            first: None,
            thread: PhantomData,
        }
    }
}

impl<T: Thread> List<T> {
    pub(crate) fn first(&self) -> Option<u32> {
        self.first
    }

    pub(crate) fn push_back(&mut self, slots: &mut Slots, slot: u32) {
        let Some(first) = self.first else {
            *T::links(&mut slots[slot]) = Links {
                previous: slot,
                next: slot,
            };
            self.first = Some(slot);
            return;
        };
        let last = T::links(&mut slots[first]).previous;
        *T::links(&mut slots[slot]) = Links {
            previous: last,
            next: first,
        };
        T::links(&mut slots[last]).next = slot;
        T::links(&mut slots[first]).previous = slot;
    }

    pub(crate) fn unlink(&mut self, slots: &mut Slots, slot: u32) {
        let Links { previous, next } = *T::links(&mut slots[slot]);
        if next == slot {
            self.first = None;
            return;
        }
        T::links(&mut slots[previous]).next = next;
        T::links(&mut slots[next]).previous = previous;
        if self.first == Some(slot) {
            self.first = Some(next);
        }
    }

    /// Moves the first entry to the end.
    pub(crate) fn rotate(&mut self, slots: &mut Slots) {
        self.first = self.first.map(|first| T::links(&mut slots[first]).next);
    }

    /// Updates the links to an entry that moved from one slot to another.
    pub(crate) fn relocate(&mut self, slots: &mut Slots, from: u32, to: u32) {
        let Links { previous, next } = *T::links(&mut slots[to]);
        if next == from {
            *T::links(&mut slots[to]) = Links { previous: to, next: to };
        } else {
            T::links(&mut slots[previous]).next = to;
            T::links(&mut slots[next]).previous = to;
        }
        if self.first == Some(from) {
            self.first = Some(to);
        }
    }
}
