//! The batches of a load, encoded once.

use bytes::Bytes;
use storage::batch::{BatchBuilder, BuildOptions, Codec, NewRecord};

use super::super::error::CliError;
use super::LoadArgs;
use crate::clock::{Clock, SystemClock};

/// Bytes in flight on a connection, unless the load says how many batches.
const WINDOW_BYTES: usize = 16 << 20;

/// A load as batches: all alike but the last, which has what is left.
#[derive(Debug, Clone)]
pub(super) struct Batches {
    whole: Bytes,
    last: Option<Bytes>,
    whole_count: u64,
}

impl Batches {
    /// Encodes the batches for `records` records.
    pub(super) fn encode(load: &LoadArgs, records: u64) -> Result<Self, CliError> {
        let per_batch = u64::from(load.batch);
        let last_records = u32::try_from(records % per_batch).unwrap_or(u32::MAX);
        Ok(Self {
            whole: encode(load, load.batch)?,
            last: (last_records > 0)
                .then(|| encode(load, last_records))
                .transpose()?,
            whole_count: records / per_batch,
        })
    }

    /// Returns the batches in turn; they share their bytes.
    pub(super) fn iter(&self) -> impl Iterator<Item = Bytes> {
        let whole = (0..self.whole_count).map(|_| self.whole.clone());
        whole.chain(self.last.clone())
    }

    /// Returns how many batches a connection has in flight.
    pub(super) fn window(&self, load: &LoadArgs) -> usize {
        let chosen = load.window.and_then(|window| usize::try_from(window).ok());
        chosen.unwrap_or_else(|| (WINDOW_BYTES / self.whole.len().max(1)).clamp(4, 128))
    }

    /// Returns the bytes of the largest batch.
    pub(super) fn batch_bytes(&self) -> usize {
        self.whole.len()
    }
}

/// Returns how many of the records a connection sends.
pub(super) fn share(load: &LoadArgs, index: u32) -> u64 {
    let connections = u64::from(load.connections);
    let extra = u64::from(u64::from(index) < load.records % connections);
    load.records / connections + extra
}

fn encode(load: &LoadArgs, records: u32) -> Result<Bytes, CliError> {
    let mut value = vec![0; usize::try_from(load.size).unwrap_or(usize::MAX)];
    let timestamp = SystemClock::new().now();
    let mut builder = BatchBuilder::new(Codec::None);
    let too_large = |error| {
        let message = format!(
            "{records} records of {} bytes are no batch: {error}",
            load.size
        );
        CliError::usage(message)
    };
    for index in 0..records {
        // Not all the same, and nothing that packs well; what it is does not matter.
        let mut state = u64::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for chunk in value.chunks_mut(8) {
            state = state.rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ 0x5bd1;
            for (place, byte) in chunk.iter_mut().zip(state.to_be_bytes()) {
                *place = byte;
            }
        }
        let record = NewRecord {
            timestamp,
            key: None,
            value: Some(&value),
            headers: &[],
        };
        builder.push(&record).map_err(too_large)?;
    }
    let batch = builder.build(BuildOptions::default()).map_err(too_large)?;
    Ok(Bytes::from(batch))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use proptest::prelude::*;
    use storage::batch::BatchHeader;

    use super::*;
    use crate::cli::topic::DurabilityArg;

    proptest! {
        #[test]
        fn the_shares_of_all_connections_are_the_load(
            records in 1_u64..500, batch in 1_u32..50, connections in 1_u32..20,
        ) {
            let load = LoadArgs {
                records, size: 10, batch, connections, partitions: 1,
                acks: DurabilityArg::Synced, window: None, segment_bytes: None,
            };
            let mut sent = 0;
            for index in 0..connections {
                let batches = Batches::encode(&load, share(&load, index)).unwrap();
                for bytes in batches.iter() {
                    let header = BatchHeader::decode(&bytes).unwrap();
                    prop_assert!(header.record_count <= batch);
                    sent += u64::from(header.record_count);
                }
            }
            prop_assert_eq!(sent, records);
        }
    }
}
