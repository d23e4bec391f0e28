//! Topics over logs: what the broker knows of a topic and of its partitions.

pub mod partitioner;
