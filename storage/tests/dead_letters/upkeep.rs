//! Retention and checkpoints, as a broker does them by itself.

use storage::log_id::LogKind;
use storage::offset::Offset;

use crate::machine::{EVERYTHING, Machine, NOW};
use crate::mutants::Order;
use crate::oracle::{Flight, Oracle, Stop};

impl Machine<'_> {
    pub fn retain(&mut self, kind: LogKind, oracle: &mut Oracle) -> Result<(), Stop> {
        let plan = {
            let partition = self.owner.lock();
            match kind {
                LogKind::Main => partition.plan_main_retention(&EVERYTHING, NOW),
                _ => partition.plan_dead_letter_retention(&EVERYTHING, NOW),
            }
        };
        let Some(start) = plan else { return Ok(()) };
        self.move_start(kind, start, oracle)
    }

    /// Makes a log start durable, and only then takes the segments below it away.
    pub fn move_start(
        &mut self,
        kind: LogKind,
        start: Offset,
        oracle: &mut Oracle,
    ) -> Result<(), Stop> {
        oracle.flight = Some(match kind {
            LogKind::Main => Flight::MainStart(start),
            _ => Flight::LetterStart(start),
        });
        if self.order == Order::UnlinkBeforeCheckpoint {
            self.unlink(kind, start)?;
        }
        self.checkpoint(Some((kind, start)))?;
        match kind {
            LogKind::Main => oracle.main_start = start,
            _ => oracle.letter_start = start,
        }
        oracle.flight = None;
        if self.order != Order::UnlinkBeforeCheckpoint {
            self.watch.phase.set("unlink");
            self.unlink(kind, start)?;
        }
        Ok(())
    }

    fn unlink(&self, kind: LogKind, start: Offset) -> Result<(), Stop> {
        let unlink = self.owner.lock().apply_log_start(kind, start).unwrap();
        unlink.run().map_err(|error| self.watch.stop(&error))
    }

    /// Stores a checkpoint. A log that is not durable as far as it is written keeps its older entry.
    pub fn checkpoint(&mut self, start: Option<(LogKind, Offset)>) -> Result<(), Stop> {
        let newest = {
            let partition = self.owner.lock();
            let letters = partition
                .dead_letters()
                .map(|log| log.log().reader().durable_end());
            let durable = [Some(partition.main().reader().durable_end()), letters];
            let entries = [
                Some(partition.main_checkpoint()),
                partition.dead_letter_checkpoint(),
            ];
            entries
                .into_iter()
                .zip(durable)
                .filter_map(|(entry, durable)| Some((entry?, durable?)))
                .collect::<Vec<_>>()
        };
        for (mut entry, durable) in newest {
            if self.order == Order::SettledTooEarly && entry.id.kind == LogKind::Main {
                let log_end = entry.durable_end.0.to_be_bytes();
                entry.state[1..9].copy_from_slice(&log_end);
            }
            if entry.durable_end <= durable || self.order == Order::CheckpointBeforeSync {
                self.stored.insert(entry.id.kind, entry);
            }
        }
        if let Some((kind, start)) = start {
            self.stored.get_mut(&kind).unwrap().log_start = start;
        }
        let entries: Vec<_> = self.stored.values().cloned().collect();
        self.store
            .write(&entries)
            .map_err(|error| self.watch.stop(&error))
    }
}
