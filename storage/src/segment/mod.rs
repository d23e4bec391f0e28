//! Segment files: their names, their header and what it must have held, walking over their batches, and finding the next sound
//! batch behind damage.

pub mod file_name;
pub mod header;
pub mod resync;
pub mod walk;
pub mod rebuild;

pub use header::{
    SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES_U64, SegmentHeader, SegmentHeaderError,
};
pub use rebuild::{Unproven, rebuild};
pub use resync::{Tail, examine_tail};
pub use walk::{Chain, Step, Walker};
