//! Walking over what is visible.
//!
//! A walk is no snapshot: it shows each key as it was at some moment of the walk, so that no key that existed all
//! the while is left out when it is replaced meanwhile.

use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::key::{self, KeyBytes};
use super::table::Table;
use super::{Entry, Handle};
use crate::stdx::sync::AtomicU64;

/// Walks over the visible entries of a table whose keys have a prefix, one version of each stem.
pub(crate) struct Cursor<'a> {
    table: &'a Table,
    published: &'a AtomicU64,
    prefix: KeyBytes,
    next: Option<Handle<'a>>,
}

/// An entry that a walk shows.
pub(crate) struct Visible<'a>(Handle<'a>);

impl Visible<'_> {
    pub(crate) fn stem(&self) -> &[u8] {
        key::split(self.0.key()).0
    }

    pub(crate) fn sequence(&self) -> u64 {
        key::split(self.0.key()).1
    }

    pub(crate) fn entry(&self) -> &Entry {
        self.0.value()
    }

    pub(super) fn handle(&self) -> &Handle<'_> {
        &self.0
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        table: &'a Table,
        published: &'a AtomicU64,
        prefix: KeyBytes,
        from: &[u8],
    ) -> Self {
        let next = table.seek(from.max(&prefix[..]));
        Self { table, published, prefix, next }
    }

    /// Goes on at the first key that is not less than `from`. Only forward.
    pub(crate) fn seek(&mut self, from: &[u8]) {
        self.next = self.table.seek(from);
    }

    /// The next visible entry.
    pub(crate) fn next(&mut self) -> Option<Visible<'a>> {
        loop {
            let found = self.next_of_all()?;
            if !found.entry().is_tombstone() {
                return Some(found);
            }
        }
    }

    /// The next visible entry or tombstone.
    pub(crate) fn next_of_all(&mut self) -> Option<Visible<'a>> {
        loop {
            let first = self.next.take()?;
            if !first.key().starts_with(&self.prefix) {
                return None;
            }
            if let Some(found) = self.newest_visible(first) {
                return Some(found);
            }
        }
    }

    /// The newest visible one of the versions that begin with `first`; leaves the cursor at the next stem.
    fn newest_visible(&mut self, first: Handle<'a>) -> Option<Visible<'a>> {
        let published = self.published.load(Ordering::Acquire);
        let mut pending = SmallVec::<[Handle<'a>; 2]>::new();
        let mut chosen: Option<Handle<'a>> = None;
        let mut version = first;
        loop {
            let next = version.next();
            let goes_on = next
                .as_ref()
                .is_some_and(|next| key::split(next.key()).0 == key::split(version.key()).0);
            if key::split(version.key()).1 <= published {
                chosen = Some(version);
            } else {
                pending.push(version);
            }
            match next {
                Some(next) if goes_on => version = next,
                next => {
                    self.next = next;
                    break;
                }
            }
        }
        // The version that was visible at first may have been replaced and removed before we came to it.
        chosen
            .or_else(|| {
                let published = self.published.load(Ordering::Acquire);
                pending.into_iter().rev().find(|version| key::split(version.key()).1 <= published)
            })
            .map(Visible)
    }
}
