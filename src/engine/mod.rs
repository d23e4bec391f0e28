//! The async side of a partition: the seam behind which another engine could stand. No file path leaves it.
//!
//! # Invariants
//! 1. The owner's lock is held for deciding and writing, never across a sync or an `.await`.
//! 2. A producer is answered only when its batch is as durable as was asked for; it is told so by the thread that synced.
//! 3. At most one sync of a log is queued or running on the pool; what is written meanwhile makes it go round again.

mod partition;
mod pool;
mod room;
mod unsynced;

pub use partition::{DurabilityWanted, PartitionHandle};
pub use pool::{Awaited, Begun, Job, Unfinished, WorkPool, Workers};
