//! Names by small numbers, so that a million messages of one queue hold its name once.

use std::collections::HashMap;
use std::sync::Arc;

/// The number of a name; [`NO_NAME`] stands for none.
pub(super) type NameId = u32;

/// Stands for no name.
pub(super) const NO_NAME: NameId = 0;

/// Names with the number of their uses. A name without a use is forgotten and its number used again.
#[derive(Debug, Default, Clone)]
pub(super) struct Names {
    ids: HashMap<Arc<str>, NameId>,
    /// Each name with its uses.
    used: HashMap<NameId, (Arc<str>, u64)>,
    free: Vec<NameId>,
}

impl Names {
    /// Returns the number of a name and counts one more use.
    pub(super) fn take(&mut self, name: &str) -> NameId {
        if let Some(id) = self.ids.get(name) {
            if let Some((_, uses)) = self.used.get_mut(id) {
                *uses = uses.saturating_add(1);
            }
            return *id;
        }
        let fresh =
            u32::try_from(self.used.len()).map_or(u32::MAX, |count| count.saturating_add(1));
        let id = self.free.pop().unwrap_or(fresh);
        let name: Arc<str> = Arc::from(name);
        self.ids.insert(Arc::clone(&name), id);
        self.used.insert(id, (name, 1));
        id
    }

    /// Gives one use back.
    pub(super) fn give_back(&mut self, id: NameId) {
        let Some((name, uses)) = self.used.get_mut(&id) else {
            return;
        };
        *uses = uses.saturating_sub(1);
        if *uses == 0 {
            let name = Arc::clone(name);
            self.ids.remove(&name);
            self.used.remove(&id);
            self.free.push(id);
        }
    }

    pub(super) fn name(&self, id: NameId) -> Option<&Arc<str>> {
        self.used.get(&id).map(|(name, _)| name)
    }

    pub(super) fn id(&self, name: &str) -> Option<NameId> {
        self.ids.get(name).copied()
    }

    /// Returns each name with its number and its uses.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NameId, &str, u64)> {
        self.used
            .iter()
            .map(|(id, (name, uses))| (*id, &**name, *uses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lives_as_long_as_its_last_use() {
        let mut names = Names::default();
        let first = names.take("a");
        assert_eq!(names.take("a"), first);
        let second = names.take("b");
        assert_ne!(first, second);
        names.give_back(first);
        assert_eq!(names.id("a"), Some(first));
        names.give_back(first);
        assert_eq!(names.id("a"), None);
        assert_eq!(names.take("c"), first, "its number is free again");
        assert_eq!(names.name(second).map(|name| &**name), Some("b"));
    }
}
