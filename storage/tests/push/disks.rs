//! Disks that are full or damaged: the partition heals, or says what it cannot read.
