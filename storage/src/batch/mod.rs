//! Record batches: bytes <-> values, with no input or output.

pub mod header;
