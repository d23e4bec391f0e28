//! Places for lookups of names: so many over all names, and fewer for each, so that names whose servers hang keep their own
//! places and not all of them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{RESOLVE_COUNT_MAX, RESOLVE_COUNT_PER_NAME_MAX};

/// The places of all names.
#[derive(Debug)]
pub(super) struct LookupPlaces {
    all: Arc<Semaphore>,
    /// Names that are being looked up or wait for it; nobody else is kept here.
    names: Arc<Mutex<HashMap<String, NamePlaces>>>,
}

#[derive(Debug)]
struct NamePlaces {
    places: Arc<Semaphore>,
    /// Callers that hold a place of the name or wait for one.
    caller_count: usize,
}

/// One lookup's place. It is given back when the value is dropped.
#[derive(Debug)]
pub(super) struct LookupPlace {
    // In this order: the name's place first, so that whoever waits for it finds room among all.
    _of_name: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
    _caller: Caller,
}

impl Default for LookupPlaces {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(RESOLVE_COUNT_MAX)),
            names: Arc::default(),
        }
    }
}

impl LookupPlaces {
    /// Waits for a place for a lookup of `name`. While it waits for one of the name's it takes none of all.
    ///
    /// # Errors
    /// None as long as the process lives: the semaphores are never closed.
    pub(super) async fn take(&self, name: &str) -> io::Result<LookupPlace> {
        let (caller, places) = self.call(name);
        let of_name = places.acquire_owned().await.map_err(io::Error::other)?;
        let all = Arc::clone(&self.all);
        let of_all = all.acquire_owned().await.map_err(io::Error::other)?;
        Ok(LookupPlace {
            _of_name: of_name,
            _of_all: of_all,
            _caller: caller,
        })
    }

    fn call(&self, name: &str) -> (Caller, Arc<Semaphore>) {
        let mut names = self.names.lock();
        let entry = names.entry(name.to_owned()).or_insert_with(|| NamePlaces {
            places: Arc::new(Semaphore::new(RESOLVE_COUNT_PER_NAME_MAX)),
            caller_count: 0,
        });
        entry.caller_count = entry.caller_count.saturating_add(1);
        let caller = Caller {
            name: name.to_owned(),
            names: Arc::clone(&self.names),
        };
        (caller, Arc::clone(&entry.places))
    }
}

/// Counts a caller for as long as it lives, also one that gives up waiting.
#[derive(Debug)]
struct Caller {
    name: String,
    names: Arc<Mutex<HashMap<String, NamePlaces>>>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(entry) = names.get_mut(&self.name) {
            entry.caller_count = entry.caller_count.saturating_sub(1);
            if entry.caller_count == 0 {
                names.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use futures_util::FutureExt as _;

    use super::*;

    fn take(places: &LookupPlaces, name: &str) -> Option<LookupPlace> {
        places.take(name).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn names_that_hang_keep_their_own_places_only() {
        let places = LookupPlaces::default();
        let mut held = Vec::new();
        for name in ["hangs.example", "hangs.too.example"] {
            for _ in 0..2 * RESOLVE_COUNT_MAX {
                held.extend(take(&places, name));
            }
        }
        assert_eq!(held.len(), 2 * RESOLVE_COUNT_PER_NAME_MAX);
        // Each other name finds the places that are left.
        let left = RESOLVE_COUNT_MAX - held.len();
        let others = (0..=left).map(|number| take(&places, &format!("{number}.example")));
        let others: Vec<_> = others.flatten().collect();
        assert_eq!(others.len(), left);
    }

    #[test]
    fn a_place_comes_back_and_a_name_is_forgotten() {
        let places = LookupPlaces::default();
        let held: Vec<_> = (0..RESOLVE_COUNT_PER_NAME_MAX)
            .map(|_| take(&places, "a.example").unwrap())
            .collect();
        let mut waits = Box::pin(places.take("a.example"));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(held);
        assert!(waits.now_or_never().unwrap().is_ok());
        // One that gives up is not counted for ever.
        let held: Vec<_> = (0..RESOLVE_COUNT_PER_NAME_MAX)
            .map(|_| take(&places, "a.example").unwrap())
            .collect();
        assert!(take(&places, "a.example").is_none());
        drop(held);
        assert!(places.names.lock().is_empty());
        assert_eq!(places.all.available_permits(), RESOLVE_COUNT_MAX);
    }
}
