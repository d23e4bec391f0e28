//! Segment files: their names, their header, walking over their batches, and finding the next sound batch behind damage.

pub mod file_name;
pub mod header;
pub mod resync;
pub mod walk;

pub use header::{
    SEGMENT_HEADER_BYTES, SEGMENT_HEADER_BYTES_U64, SegmentHeader, SegmentHeaderError,
};
pub use resync::{Tail, examine_tail};
pub use walk::{Chain, Step, Walker};
