//! What a broker runs on. A simulation brings all of it along.

use std::sync::Arc;

use storage::disk::Disk;

use crate::clock::SharedClock;
use crate::engine::WorkPool;

/// What a broker runs on.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its disk.
    pub disk: Arc<dyn Disk>,
    /// Its clocks.
    pub clock: SharedClock,
    /// Who does what blocks on the disk.
    pub pool: WorkPool,
}
