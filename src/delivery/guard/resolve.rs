//! The seam to the resolver, and the machine's own resolver behind it.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;

use super::limits::ADDRESS_COUNT_MAX;
use super::lookups::LookupPlaces;

/// A lookup under way.
pub type ResolveFuture<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Turns names into addresses.
pub trait Resolve: fmt::Debug + Send + Sync {
    /// Looks up the addresses of `name`, the preferred one first.
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a>;
}

/// The machine's resolver: `/etc/hosts`, then the name servers.
#[derive(Debug, Default)]
pub struct SystemResolver {
    places: LookupPlaces,
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> ResolveFuture<'a> {
        Box::pin(async move {
            let place = self.places.take(name).await?;
            let name = name.to_owned();
            // A task of its own: when the caller gives up, the thread of the lookup goes on, and so must its place.
            let lookup = tokio::spawn(async move {
                let found = tokio::net::lookup_host((name, 0)).await;
                drop(place);
                found.map(|all| {
                    all.take(ADDRESS_COUNT_MAX)
                        .map(|found| found.ip())
                        .collect()
                })
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}
