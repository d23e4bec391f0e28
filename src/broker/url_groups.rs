//! URL groups: adding and removing endpoints. A group is there while it has endpoints.

use std::sync::Arc;

use storage::control::push::{Endpoint, PushEntry, UrlGroup};
use storage::limits::URL_GROUP_ENDPOINT_COUNT_MAX;

use super::Broker;
use crate::names::UrlGroupName;
use crate::protocol::error_code::{ErrorCode, Refusal};

/// Which endpoints: those that match all that is given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointMatch {
    /// With this name.
    pub name: Option<String>,
    /// With this URL.
    pub url: Option<String>,
}

impl Broker {
    /// Adds endpoints to a URL group, which is created if it is not there. The URLs are taken as they are: the caller has
    /// parsed them. A name or a URL stands in a group once: an endpoint whose name is there gets the new URL, one whose URL is
    /// there gets the new name. Blocks on the disk, unless nothing changes.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSettings`] without an endpoint, for more endpoints than a group has, or for a name or URL of a wrong
    /// length; [`ErrorCode::LimitExceeded`] for one group too many; or the control log's.
    pub fn add_endpoints(
        &self,
        name: &UrlGroupName,
        added: &[Endpoint],
    ) -> Result<Arc<UrlGroup>, Refusal> {
        check_count(name, added.len())?;
        let now = self.clock.now();
        self.change_push(now, |state| {
            let known = state.url_group(name.as_str());
            let before = known.map_or(&[][..], |group| &group.endpoints);
            let endpoints = with_added(before, added);
            if let Some(group) = known
                && group.endpoints == endpoints
            {
                return Ok((None, Arc::clone(group)));
            }
            let group = UrlGroup {
                created: known.map_or(now, |group| group.created),
                updated: now,
                endpoints,
            };
            Ok(set(name, group))
        })
    }

    /// Removes endpoints from a URL group; what matches none is left out. A group without endpoints is deleted, and `None` is
    /// returned. Blocks on the disk, unless nothing changes.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] when there is no such group; [`ErrorCode::InvalidSettings`] without a match, or for one that gives
    /// neither name nor URL; or the control log's.
    pub fn remove_endpoints(
        &self,
        name: &UrlGroupName,
        removed: &[EndpointMatch],
    ) -> Result<Option<Arc<UrlGroup>>, Refusal> {
        check_count(name, removed.len())?;
        if removed.iter().any(|one| *one == EndpointMatch::default()) {
            let message = "an endpoint to remove has neither name nor url, one of them is needed";
            return Err(Refusal::new(ErrorCode::InvalidSettings, message));
        }
        let now = self.clock.now();
        self.change_push(now, |state| {
            let known = state.url_group(name.as_str());
            let known = known.ok_or_else(|| no_group(name))?;
            let is_kept = |endpoint: &&Endpoint| !removed.iter().any(|one| one.matches(endpoint));
            let endpoints: Vec<_> = known.endpoints.iter().filter(is_kept).cloned().collect();
            if endpoints == known.endpoints {
                return Ok((None, Some(Arc::clone(known))));
            }
            if endpoints.is_empty() {
                return Ok((Some(deleted(name)), None));
            }
            let group = UrlGroup {
                created: known.created,
                updated: now,
                endpoints,
            };
            let (entry, group) = set(name, group);
            Ok((entry, Some(group)))
        })
    }

    /// Deletes a URL group. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], or the control log's.
    pub fn delete_url_group(&self, name: &UrlGroupName) -> Result<(), Refusal> {
        self.change_push(self.clock.now(), |state| {
            let known = state.url_group(name.as_str());
            known.ok_or_else(|| no_group(name))?;
            Ok((Some(deleted(name)), ()))
        })
    }

    /// Returns a URL group. Never blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub fn url_group(&self, name: &UrlGroupName) -> Result<Arc<UrlGroup>, Refusal> {
        let settings = self.control.push().borrow();
        let group = settings.state.url_group(name.as_str());
        group.cloned().ok_or_else(|| no_group(name))
    }

    /// Lists the URL groups, by name. Never blocks on the disk.
    #[must_use]
    pub fn list_url_groups(&self) -> Vec<(String, Arc<UrlGroup>)> {
        let settings = self.push_settings();
        let groups = settings.state.url_groups();
        groups
            .map(|(name, group)| (name.to_owned(), Arc::clone(group)))
            .collect()
    }
}

impl EndpointMatch {
    fn matches(&self, endpoint: &Endpoint) -> bool {
        let is_name = |name: &String| endpoint.name.as_ref() == Some(name);
        self.name.as_ref().is_none_or(is_name)
            && self.url.as_ref().is_none_or(|url| endpoint.url == *url)
    }
}

/// Returns the endpoints with others added, in the order given, each name and each URL once.
fn with_added(before: &[Endpoint], added: &[Endpoint]) -> Vec<Endpoint> {
    let mut endpoints = before.to_vec();
    for endpoint in added {
        let by_name = endpoints
            .iter()
            .position(|known| known.name.is_some() && known.name == endpoint.name);
        let by_url = endpoints.iter().position(|known| known.url == endpoint.url);
        let Some(place) = by_name.or(by_url) else {
            endpoints.push(endpoint.clone());
            continue;
        };
        if let Some(known) = endpoints.get_mut(place) {
            known.url.clone_from(&endpoint.url);
            if endpoint.name.is_some() {
                known.name.clone_from(&endpoint.name);
            }
        }
        // The name and the URL were those of two endpoints, which are one now.
        if let Some(other) = by_url.filter(|other| *other != place) {
            endpoints.remove(other);
        }
    }
    endpoints
}

/// Checks how many endpoints a request names before they are compared with each other.
fn check_count(name: &UrlGroupName, count: usize) -> Result<(), Refusal> {
    let max = usize::try_from(URL_GROUP_ENDPOINT_COUNT_MAX).unwrap_or(usize::MAX);
    if (1..=max).contains(&count) {
        return Ok(());
    }
    let message = format!("{count} endpoints of URL group {name} are named, 1 to {max} may be");
    Err(Refusal::new(ErrorCode::InvalidSettings, message))
}

fn set(name: &UrlGroupName, group: UrlGroup) -> (Option<PushEntry>, Arc<UrlGroup>) {
    let entry = PushEntry::UrlGroupSet {
        name: name.to_string(),
        group: group.clone(),
    };
    (Some(entry), Arc::new(group))
}

fn deleted(name: &UrlGroupName) -> PushEntry {
    PushEntry::UrlGroupDeleted {
        name: name.to_string(),
    }
}

fn no_group(name: &UrlGroupName) -> Refusal {
    Refusal::new(ErrorCode::NotFound, format!("there is no URL group {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints<const N: usize>(all: [(&str, &str); N]) -> Vec<Endpoint> {
        let one = |(name, url): (&str, &str)| Endpoint {
            name: (!name.is_empty()).then(|| name.to_owned()),
            url: url.to_owned(),
        };
        all.map(one).to_vec()
    }

    #[test]
    fn a_name_or_a_url_stands_in_a_group_once() {
        let before = endpoints([("a", "1"), ("b", "2"), ("", "3")]);
        let cases = [
            // New.
            (
                endpoints([("c", "4"), ("", "5")]),
                endpoints([("a", "1"), ("b", "2"), ("", "3"), ("c", "4"), ("", "5")]),
            ),
            // By name: the URL changes.
            (
                endpoints([("a", "9")]),
                endpoints([("a", "9"), ("b", "2"), ("", "3")]),
            ),
            // By URL: the name changes, and is not taken away.
            (
                endpoints([("c", "3")]),
                endpoints([("a", "1"), ("b", "2"), ("c", "3")]),
            ),
            (endpoints([("", "1")]), before.clone()),
            // By the name of one and the URL of another: they become one.
            (endpoints([("b", "1")]), endpoints([("b", "1"), ("", "3")])),
            (endpoints([("a", "3")]), endpoints([("a", "3"), ("b", "2")])),
            // Two without a name are two.
            (
                endpoints([("", "6"), ("", "7"), ("", "6")]),
                endpoints([("a", "1"), ("b", "2"), ("", "3"), ("", "6"), ("", "7")]),
            ),
        ];
        for (added, after) in cases {
            assert_eq!(with_added(&before, &added), after, "{added:?}");
        }
    }
}
