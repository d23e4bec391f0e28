//! Handing out passes and places, and taking them back.
//!
//! Each that is given out comes back, also from a partition whose dispatcher has failed: otherwise its destinations would close
//! bit by bit for every partition.

use std::collections::HashSet;

use parking_lot::MutexGuard;
use storage::offset::TimestampMs;

use super::Push;
use super::desk::{Desk, Left};
use crate::delivery::gates::{Gates, Pass, Ticket};

impl Push {
    /// Keeps the place of who was let in in its turn. To be called before the gates are unlocked: who goes in behind it, ahead of
    /// its turn, may be ready first, and would take that place; and by the time that there is another, a pause or the end of a
    /// period may have come.
    pub(super) fn keep_place(&self, _gates: &MutexGuard<'_, Gates>, pass: &Pass) {
        if pass.is_in_turn() {
            self.places.lock().keep(pass.claim());
        }
    }

    /// Gives passes that the gates have just given to the partitions whose messages they are for.
    pub(super) fn hand_out(
        &self,
        gates: MutexGuard<'_, Gates>,
        passes: Vec<Pass>,
        now: TimestampMs,
    ) {
        let mut refused = self.grant(gates, passes);
        // One after the other, and not one within the other: a partition that has stopped may have a long backlog.
        while let Some(pass) = refused.pop() {
            let places = self.free_place(&pass, now);
            self.hand_out_places(places, now);
            let mut gates = self.gates.lock();
            let passes = gates.leave_unsent(&pass, now);
            refused.extend(self.grant(gates, passes));
        }
    }

    /// Gives places to the partitions whose attempts wait for them, for those who cannot make the attempts themselves.
    fn hand_out_places(&self, mut places: Vec<Pass>, now: TimestampMs) {
        while let Some(place) = places.pop() {
            let refused = match self.desk(place.ticket.partition) {
                Some(desk) => desk.place(place),
                None => Err(place),
            };
            if let Err(place) = refused {
                places.extend(self.places.lock().leave(&place, now));
            }
        }
    }

    /// Changes the gates, and hands out the passes that come of it.
    pub(super) fn change_gates(
        &self,
        now: TimestampMs,
        change: impl FnOnce(&mut Gates) -> Vec<Pass>,
    ) {
        let mut gates = self.gates.lock();
        let before = gates.next_tick();
        let passes = change(&mut gates);
        let next = gates.next_tick();
        self.hand_out(gates, passes, now);
        if next.is_some_and(|next| before.is_none_or(|before| next < before)) {
            // Who has waited for a place may now wait for the end of a period.
            self.ticks.notify_one();
        }
    }

    /// Gives a pass back whose place is given back by somebody else: no attempt was made with it.
    pub(super) fn give_back(&self, pass: &Pass, now: TimestampMs) {
        self.change_gates(now, |gates| gates.leave_unsent(pass, now));
    }

    /// Gives a pass back with which nothing was sent, and the place that was kept for it. Returns the places of those who may be
    /// sent now.
    pub(super) fn leave_unsent(&self, pass: &Pass, now: TimestampMs) -> Vec<Pass> {
        let next = self.free_place(pass, now);
        self.give_back(pass, now);
        next
    }

    /// Gives back the place of an attempt that has ended, and its pass. Returns the places of those who may be sent now.
    pub(super) fn end(&self, pass: &Pass, place: &Pass, now: TimestampMs) -> Vec<Pass> {
        // The place first: whoever has a pass that is not ahead of its turn finds a place at once.
        let next = self.places.lock().leave(place, now);
        self.change_gates(now, |gates| gates.leave(pass, now));
        next
    }

    /// Lets messages through whose flow-control period has ended. Returns when the next one ends that somebody waits for.
    pub(super) fn tick(&self, now: TimestampMs) -> Option<TimestampMs> {
        let mut gates = self.gates.lock();
        let passes = gates.tick(now);
        let next = gates.next_tick();
        self.hand_out(gates, passes, now);
        next
    }

    /// Takes messages out that wait for a pass or for a place.
    pub(super) fn withdraw(&self, gone: &HashSet<Ticket>, now: TimestampMs) {
        self.change_gates(now, |gates| gates.withdraw(gone, now));
        let places = self.places.lock().withdraw(gone, now);
        self.hand_out_places(places, now);
    }

    /// Takes back what lies before a partition whose dispatcher has failed, and lets it have nothing any more. Its intents stand:
    /// the next start of the broker makes those attempts.
    pub(super) fn stop(&self, desk: &Desk, now: TimestampMs) {
        let left = desk.stop();
        let is_its = |ticket: &Ticket| ticket.partition == desk.index;
        let mut gone: HashSet<_> = self.gates.lock().waiting().filter(is_its).collect();
        gone.extend(self.places.lock().waiting().filter(is_its));
        self.withdraw(&gone, now);
        let Left {
            granted,
            prepared,
            placed,
        } = left;
        for pass in granted {
            let places = self.leave_unsent(&pass, now);
            self.hand_out_places(places, now);
        }
        for start in prepared {
            // Whoever has its place finds that there is nothing to send.
            self.give_back(&start.pass, now);
        }
        self.hand_out_places(placed, now);
    }

    /// Grants passes. Returns those of partitions that take none any more.
    fn grant(&self, gates: MutexGuard<'_, Gates>, passes: Vec<Pass>) -> Vec<Pass> {
        for pass in &passes {
            self.keep_place(&gates, pass);
        }
        drop(gates);
        let grant = |pass: Pass| match self.desk(pass.ticket.partition) {
            Some(desk) => desk.grant(pass).err(),
            None => Some(pass),
        };
        passes.into_iter().filter_map(grant).collect()
    }

    /// Gives the place back that was kept for a pass, if one was.
    fn free_place(&self, pass: &Pass, now: TimestampMs) -> Vec<Pass> {
        if !pass.is_in_turn() {
            return Vec::new();
        }
        let mut places = self.places.lock();
        let place = places.take_kept(pass.ticket, pass.claim().clone());
        places.leave(&place, now)
    }
}
