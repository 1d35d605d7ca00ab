//! The list of the variants of a URL, which limits their number.

use std::sync::Arc;

use cache_engine::cache_core::{FreshnessWindows, Key};
use cache_engine::{Fill, Found, Lookup, StoreOutcome};
use cache_http::Reason;

use crate::entry::lifetime::marker_windows;
use crate::entry::stored::Stored;
use crate::entry::variant_index::VariantIndex;
use crate::request::shared::Shared;
use crate::response::detail::Detail;

const UNCOUNTED: Detail = Detail::Rule(Reason::TooManyVariants);

/// A variant that is about to be stored, and so must be in the list of its URL.
pub(crate) struct Listing<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) primary: &'a Key,
    /// The list by which the variant was looked up.
    pub(crate) known: &'a VariantIndex,
    pub(crate) name: &'a str,
    /// How long the variant is kept.
    pub(crate) kept: &'a FreshnessWindows,
}

impl Listing<'_> {
    /// Lists the variant, and removes the variants that make room for it. Returns the reason if the variant may not be
    /// stored.
    ///
    /// The order makes the limit strict. Each stored variant was listed before, by a write that fails if the list has
    /// changed since it was read. A variant that is no longer listed is removed, together with the lease of a load that is
    /// about to store it again.
    pub(crate) async fn list(&self) -> Result<(), Detail> {
        // The list that the request was looked up by may be outdated.
        let found = self.shared.adapter().read::<Stored>(self.primary).await;
        let found = found.map_err(|_| Detail::Outage)?;
        if self.current(found.as_ref())?.lists(self.name) {
            return Ok(());
        }
        tokio::time::timeout(self.shared.config.max_wait, self.list_anew())
            .await
            .unwrap_or(Err(UNCOUNTED))
    }

    async fn list_anew(&self) -> Result<(), Detail> {
        if self.shared.config.max_variants == 0 {
            return Err(UNCOUNTED);
        }
        let _turn = self.shared.variant_uses.turn(self.primary).await;
        loop {
            match self.shared.part_adapter().lookup_anew::<Stored>(self.primary).await {
                // Another process has changed the list in the meantime.
                Lookup::Hit { found, .. } => {
                    if self.current(Some(&found))?.lists(self.name) {
                        return Ok(());
                    }
                }
                Lookup::Miss(fill) => match self.change(fill).await? {
                    StoreOutcome::Stored => return Ok(()),
                    // The list was invalidated or changed since it was read. The next lookup shows which.
                    StoreOutcome::Fenced => {}
                    StoreOutcome::Unavailable => return Err(Detail::Outage),
                    _ => return Err(Detail::StoreFailed),
                },
                // The list was softly invalidated, and a new one is to be started.
                Lookup::Stale { .. } => return Err(Detail::Invalidated),
                _ => return Err(UNCOUNTED),
            }
        }
    }

    /// Writes the changed list, and then removes the variants that it no longer names.
    async fn change(&self, mut fill: Fill<Stored>) -> Result<StoreOutcome, Detail> {
        let Self {
            shared, primary, known, ..
        } = *self;
        fill.depend_as_stale();
        let Some(found) = fill.stale().cloned() else {
            return Err(Detail::Invalidated);
        };
        let variants = self.current(Some(&found))?;
        let uses: Vec<_> = variants
            .listed
            .iter()
            .map(|name| shared.variant_uses.last_use(known.generation, name))
            .collect();
        let last_use = |name: &str| {
            let at = variants.listed.iter().position(|listed| **listed == *name)?;
            uses[at]
        };
        let (changed, evicted) = variants.with_listed(self.name, shared.config.max_variants, last_use);
        // The list leads to other variants, which may live longer.
        let mut windows = marker_windows(self.kept);
        let left = found.fresh_for(shared.now());
        windows.fresh = windows.fresh.zip(left).map(|(new, left)| new.max(left));
        let coder = shared.cache.adapter().coder();
        let outcome = fill.store(Arc::new(Stored::Index(changed)), coder, windows).await;
        if !outcome.is_stored() {
            return Ok(outcome);
        }
        // The list now records their order.
        for (name, last) in variants.listed.iter().zip(uses) {
            if let Some(last) = last {
                shared.variant_uses.forget(known.generation, name, last);
            }
        }
        let mut removal = shared.invalidation(false);
        for name in &evicted {
            removal = removal.add_key(variants.listed_key(&shared.cache, primary, name));
        }
        removal.run().await.map_err(|_| Detail::Outage)?;
        Ok(outcome)
    }

    /// Returns the stored list, if it is still the one that leads to the variant.
    fn current<'f>(&self, found: Option<&'f Found<Stored>>) -> Result<&'f VariantIndex, Detail> {
        match found.map(|found| &*found.value) {
            Some(Stored::Index(variants)) if variants.generation == self.known.generation => Ok(variants),
            _ => Err(Detail::Invalidated),
        }
    }
}
