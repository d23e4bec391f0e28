//! How much is inside of a gate.

/// How much is inside, against a limit that the caller knows.
#[derive(Debug, Default)]
pub(super) struct Room {
    inside: usize,
}

impl Room {
    pub(super) fn inside(&self) -> usize {
        self.inside
    }

    pub(super) fn has_room(&self, places: usize, max: usize) -> bool {
        self.inside.saturating_add(places) <= max
    }

    pub(super) fn enter(&mut self, places: usize) {
        self.inside = self.inside.saturating_add(places);
    }

    pub(super) fn leave(&mut self, places: usize) {
        self.inside = self.inside.saturating_sub(places);
    }
}
