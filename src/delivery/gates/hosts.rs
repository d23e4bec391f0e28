//! The destinations by name. Each has a number for as long as somebody uses it: what is done for every attempt finds it by that.

use std::collections::HashMap;
use std::sync::Arc;

use super::host::Host;

/// Number of a destination. Another one gets it when nobody uses this one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HostId(usize);

#[derive(Debug, Default)]
pub(super) struct Hosts {
    ids: HashMap<Arc<str>, HostId>,
    places: Vec<Option<(Arc<str>, Host)>>,
    free: Vec<HostId>,
}

impl Hosts {
    /// Returns the number of a destination that is in use, and its name as it is kept.
    pub(super) fn find(&self, name: &str) -> Option<(&Arc<str>, HostId)> {
        self.ids.get_key_value(name).map(|(name, id)| (name, *id))
    }

    /// Returns the number of a destination, which may come into use.
    pub(super) fn id(&mut self, name: &Arc<str>) -> HostId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let host = Some((Arc::clone(name), Host::default()));
        let free = self.free.pop();
        let id = free.unwrap_or(HostId(self.places.len()));
        match self.places.get_mut(id.0) {
            Some(place) => *place = host,
            None => self.places.push(host),
        }
        self.ids.insert(Arc::clone(name), id);
        id
    }

    pub(super) fn get(&self, id: HostId) -> Option<&Host> {
        self.places.get(id.0)?.as_ref().map(|(_, host)| host)
    }

    pub(super) fn get_mut(&mut self, id: HostId) -> Option<&mut Host> {
        self.places.get_mut(id.0)?.as_mut().map(|(_, host)| host)
    }

    /// Forgets a destination that nobody uses.
    pub(super) fn forget_unused(&mut self, id: HostId) {
        if !self.get(id).is_some_and(Host::is_empty) {
            return;
        }
        if let Some((name, _)) = self.places.get_mut(id.0).and_then(Option::take) {
            self.ids.remove(&name);
            self.free.push(id);
        }
    }

    /// Returns those that are in use, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (HostId, &Host)> {
        let ids = self.ids.values();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
