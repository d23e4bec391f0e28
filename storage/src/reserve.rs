//! Free space that those who append from outside leave to everything else: to dead letters, deliveries and deletions.
//!
//! Segments are allocated in steps, so that every step is a decision: the disk is asked how much is free, and whoever may not
//! touch the reserve gets no more than what lies above it. Nobody can run ahead of the last measurement then, however fast,
//! and an append into what is allocated asks for nothing. One after the other: two that saw the same free space would take it
//! twice. On a file system that cannot allocate, what is not yet written counts as free.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// The reserve of one disk.
#[derive(Debug)]
pub struct Reserve {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    bytes: u64,
    /// Held while a file grows.
    lack: Mutex<Lack>,
}

/// What those who append lack since they were last refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lack {
    Nothing,
    /// So many bytes above the reserve.
    Room(u64),
    /// The system has found no space although it had named enough: only a file that grows shows that there is some.
    Unnamed,
}

/// How a file is to grow: lengths, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth {
    /// What is allocated.
    pub(crate) from: u64,
    /// What must be.
    pub(crate) needed: u64,
    /// What is wished for; not below what is needed.
    pub(crate) wanted: u64,
}

impl Reserve {
    /// Keeps `bytes` free on the disk that holds `root`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, root: PathBuf, bytes: u64) -> Self {
        Self {
            disk,
            root,
            bytes,
            lack: Mutex::new(Lack::Nothing),
        }
    }

    /// Returns how many bytes are to stay free.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Measures the free space.
    ///
    /// # Errors
    /// Any error of the disk.
    pub fn measure(&self) -> io::Result<u64> {
        self.measure_for(&mut self.lack.lock())
    }

    /// Returns whether those who were refused for want of space would be again, as far as is known.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        *self.lack.lock() > Lack::Nothing
    }

    /// Notes that no space was found for something else than the growth of a segment.
    pub fn note_lack(&self) {
        let mut lack = self.lack.lock();
        if *lack == Lack::Nothing {
            *lack = Lack::Unnamed;
        }
    }

    /// Lets a file grow as far as the reserve allows. Returns the length that is allocated.
    ///
    /// # Errors
    /// `StorageFull` when what is needed would reach into the reserve; or as [`DiskFile::allocate`].
    pub(crate) fn allocate(&self, file: &dyn DiskFile, growth: Growth) -> io::Result<u64> {
        let mut lack = self.lack.lock();
        // A disk that does not say what is free is no reason to refuse.
        let free = self.measure_for(&mut lack).unwrap_or(u64::MAX);
        let room = free.saturating_sub(self.bytes);
        let least = growth.needed.saturating_sub(growth.from);
        let grown = if room < least && self.bytes > 0 {
            Err(self.refusal())
        } else {
            growth.allocate(file, room)
        };
        match &grown {
            Ok(_) if *lack == Lack::Unnamed => *lack = Lack::Nothing,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                let missed = if room < least {
                    Lack::Room(least)
                } else {
                    Lack::Unnamed
                };
                *lack = missed.max(*lack);
            }
            Ok(_) | Err(_) => {}
        }
        grown
    }

    fn measure_for(&self, lack: &mut Lack) -> io::Result<u64> {
        let free = self.disk.free_bytes(&self.root)?;
        if let Lack::Room(bytes) = *lack
            && bytes <= free.saturating_sub(self.bytes)
        {
            *lack = Lack::Nothing;
        }
        Ok(free)
    }

    fn refusal(&self) -> io::Error {
        let message = format!("fewer than {} bytes would be free on the disk", self.bytes);
        io::Error::new(io::ErrorKind::StorageFull, message)
    }
}

impl Growth {
    /// Allocates what is wanted, but no more than `room` bytes unless more are needed; and what is needed alone where there is
    /// no space for more. Returns the length that is allocated.
    pub(crate) fn allocate(&self, file: &dyn DiskFile, room: u64) -> io::Result<u64> {
        let most = self.from.saturating_add(room);
        let most = self.wanted.min(most).max(self.needed);
        match file.allocate(most) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && self.needed < most => {
                file.allocate(self.needed)?;
                Ok(self.needed)
            }
            allocated => allocated.map(|()| most),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use std::path::Path;

    use super::*;
    use crate::disk::fault::{Effect, FaultDisk, OpClass, Rule};
    use crate::disk::sim::SimDisk;
    use crate::disk::{FileLayer, OpenMode};

    const FULL: io::ErrorKind = io::ErrorKind::StorageFull;
    const RESERVE: u64 = 1000;

    fn create(disk: &dyn Disk, path: &str) -> Arc<dyn DiskFile> {
        disk.open(Path::new(path), OpenMode::CreateNew).unwrap()
    }

    /// A disk that has so many bytes free above the reserve, and a file on it.
    fn with_room(room: u64) -> (SimDisk, FaultDisk, Reserve, Arc<dyn DiskFile>) {
        let sim = SimDisk::new(1);
        sim.set_capacity_bytes(Some(RESERVE + room));
        let disk = FaultDisk::new(Arc::new(sim.clone()));
        let reserve = Reserve::new(Arc::new(disk.clone()), "/".into(), RESERVE);
        let file = create(&disk, "/file");
        (sim, disk, reserve, file)
    }

    fn growth(from: u64, needed: u64, wanted: u64) -> Growth {
        Growth {
            from,
            needed,
            wanted,
        }
    }

    fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> io::ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn a_wish_ends_at_the_reserve_and_a_need_is_refused_there() {
        let (_, _, reserve, file) = with_room(500);
        let file = file.as_ref();
        assert_eq!(reserve.allocate(file, growth(0, 100, 300)).unwrap(), 300);
        assert_eq!(reserve.allocate(file, growth(300, 301, 900)).unwrap(), 500);
        assert_eq!(kind(reserve.allocate(file, growth(500, 501, 900))), FULL);
        assert_eq!(file.byte_count().unwrap(), 500);
        assert_eq!(reserve.measure().unwrap(), RESERVE);
    }

    #[test]
    fn the_reserve_is_there_for_who_is_not_held_to_it_to_the_last_byte() {
        let (sim, _, _, file) = with_room(0);
        let all = growth(0, 100, 5000).allocate(file.as_ref(), u64::MAX);
        assert_eq!(all.unwrap(), 100, "where the wish finds no space");
        sim.set_capacity_bytes(Some(150));
        let more = growth(100, 151, 5000).allocate(file.as_ref(), u64::MAX);
        assert_eq!(kind(more), FULL);
    }

    #[test]
    fn what_was_lacking_is_so_until_as_much_is_free() {
        let (sim, _, reserve, file) = with_room(50);
        let (file, other) = (file.as_ref(), create(&sim, "/other"));
        assert!(!reserve.is_lacking());
        reserve.allocate(file, growth(0, 100, 100)).unwrap_err();
        reserve.allocate(file, growth(0, 60, 60)).unwrap_err();
        assert!(reserve.is_lacking());
        // What finds its little room does not say that there is as much as was asked for.
        reserve.allocate(other.as_ref(), growth(0, 9, 9)).unwrap();
        sim.set_capacity_bytes(Some(RESERVE + 9 + 99));
        reserve.measure().unwrap();
        assert!(reserve.is_lacking());
        sim.set_capacity_bytes(Some(RESERVE + 9 + 100));
        reserve.measure().unwrap();
        assert!(!reserve.is_lacking());
    }

    #[test]
    fn a_measurement_does_not_end_what_it_does_not_show() {
        let (_, disk, reserve, file) = with_room(500);
        let file = file.as_ref();
        disk.add(Rule::new(OpClass::Allocate, Effect::Fail(FULL)).forever());
        assert_eq!(kind(reserve.allocate(file, growth(0, 100, 300))), FULL);
        reserve.measure().unwrap();
        assert!(reserve.is_lacking(), "it said before that there was room");
        disk.heal();
        assert_eq!(reserve.allocate(file, growth(0, 100, 300)).unwrap(), 300);
        assert!(!reserve.is_lacking());
        reserve.note_lack();
        reserve.measure().unwrap();
        assert!(reserve.is_lacking());
        reserve.allocate(file, growth(300, 301, 301)).unwrap();
        assert!(!reserve.is_lacking());
    }

    #[test]
    fn without_a_reserve_the_system_says_no() {
        let (sim, disk, _, file) = with_room(0);
        sim.set_capacity_bytes(Some(50));
        let none = Reserve::new(Arc::new(disk), "/".into(), 0);
        let refused = none.allocate(file.as_ref(), growth(0, 60, 90));
        assert!(refused.unwrap_err().get_ref().is_none(), "as the disk says");
        assert!(none.is_lacking());
        let grown = none.allocate(file.as_ref(), growth(0, 40, 90));
        assert_eq!(grown.unwrap(), 50, "all that there is");
    }

    #[test]
    fn a_disk_that_does_not_say_what_is_free_refuses_nobody() {
        let (_, disk, reserve, file) = with_room(500);
        disk.add(Rule::new(OpClass::FreeBytes, Effect::Fail(io::ErrorKind::Other)).forever());
        let grown = reserve.allocate(file.as_ref(), growth(0, 600, 600));
        assert_eq!(grown.unwrap(), 600);
    }

    /// A file that looks, while it grows, whether others may measure.
    #[derive(Debug)]
    struct Watched(Arc<dyn DiskFile>, Arc<Reserve>);

    impl FileLayer for Watched {
        fn below(&self) -> &dyn DiskFile {
            &*self.0
        }

        fn allocate(&self, bytes: u64) -> io::Result<()> {
            assert!(self.1.lack.is_locked(), "others see what is being taken");
            self.0.allocate(bytes)
        }
    }

    #[test]
    fn nobody_measures_while_a_file_grows() {
        let (_, _, reserve, file) = with_room(500);
        let reserve = Arc::new(reserve);
        let file = Watched(file, Arc::clone(&reserve));
        assert_eq!(reserve.allocate(&file, growth(0, 100, 300)).unwrap(), 300);
    }

    #[test]
    fn those_who_grow_at_once_leave_the_reserve_together() {
        let (sim, _, reserve, _) = with_room(10_000);
        std::thread::scope(|scope| {
            for at in 0..8 {
                let (sim, reserve) = (&sim, &reserve);
                scope.spawn(move || {
                    let file = create(sim, &format!("/{at}"));
                    let mut from = 0;
                    while let Ok(grown) =
                        reserve.allocate(file.as_ref(), growth(from, from + 7, from + 90))
                    {
                        from = grown;
                    }
                });
            }
        });
        let free = reserve.measure().unwrap();
        assert!((RESERVE..RESERVE + 7).contains(&free), "{free}");
    }
}
