//! Which partition a record goes to. Pure: the same key and the same partition count give the same partition, everywhere and
//! for ever, as in Kafka's default partitioner, so that producers of both agree.
//!
//! A record with a key goes to `(murmur2(key) & 0x7fff_ffff) % partition_count`. Records without a key stick to one partition
//! for a batch, so that batches fill; [`StickyChooser`] chooses it anew for each batch.

use std::num::NonZeroU32;

const SEED: u32 = 0x9747_B28C;
const MULTIPLIER: u32 = 0x5BD1_E995;
const SHIFT: u32 = 24;

/// Returns the 32-bit `MurmurHash2` of `bytes` with the seed that Kafka uses.
#[must_use]
pub fn murmur2(bytes: &[u8]) -> u32 {
    // Kafka starts from the low 32 bits of the length.
    let length = u32::try_from(bytes.len() & 0xFFFF_FFFF).unwrap_or(0);
    let mut hash = SEED ^ length;
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = word_of(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut last = [0; 4];
        for (place, byte) in last.iter_mut().zip(tail) {
            *place = *byte;
        }
        hash = (hash ^ word_of(last)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[expect(
    clippy::little_endian_bytes,
    reason = "the hash is defined over little-endian words"
)]
fn word_of(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// Returns the index of the partition that records with this key go to.
#[must_use]
pub fn partition_of_key(key: &[u8], partition_count: NonZeroU32) -> u32 {
    (murmur2(key) & 0x7FFF_FFFF) % partition_count
}

/// Chooses partitions for records without a key.
///
/// Who holds it asks for the current partition with each record, and for the next one when a batch was begun. The order is
/// random by its seed, and never the same partition twice in a row when there are others.
#[derive(Debug, Clone)]
pub struct StickyChooser {
    random: u64,
    current: u32,
}

impl StickyChooser {
    /// Starts with a partition that the seed decides.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut chooser = Self {
            random: seed,
            current: 0,
        };
        chooser.current = chooser.draw();
        chooser
    }

    /// Returns the index of the partition that records without a key go to now.
    #[must_use]
    pub fn current(&self, partition_count: NonZeroU32) -> u32 {
        self.current % partition_count
    }

    /// Moves on to another partition, because a batch is full or sent, and returns its index.
    pub fn advance(&mut self, partition_count: NonZeroU32) -> u32 {
        let current = self.current(partition_count);
        let drawn = self.draw();
        self.current = match NonZeroU32::new(partition_count.get().saturating_sub(1)) {
            None => 0,
            // One of the others: a draw among all but one, counted from behind the current one.
            Some(others) => {
                let step = u64::from(drawn % others) + 1;
                let next = (u64::from(current) + step) % u64::from(partition_count.get());
                u32::try_from(next).unwrap_or(0)
            }
        };
        self.current
    }

    /// `SplitMix64`: small, and good enough to spread batches.
    fn draw(&mut self) -> u32 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kafka's own test vectors, as Java's signed numbers, and one for each length of the tail.
    const VECTORS: [(&[u8], i32); 16] = [
        (b"", 275_646_681),
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (
            b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        (b"abc", 479_470_107),
        (b"1", -1_993_445_489),
        (b"12", 126_087_238),
        (b"123", -267_702_483),
        (b"1234", -1_614_185_708),
        (b"12345", -1_188_365_604),
        (b"kafka", -798_503_068),
        (b"string-fo-25-chars-length", 1_269_511_650),
        (b"string-foo-26-chars-length", 119_165_628),
        (b"string-last-27-chars-length", 1_089_971_754),
    ];

    fn count(partitions: u32) -> NonZeroU32 {
        NonZeroU32::new(partitions).unwrap()
    }

    #[test]
    fn murmur2_gives_kafkas_vectors() {
        for (key, expected) in VECTORS {
            let found = murmur2(key).cast_signed();
            assert_eq!(found, expected, "{}", key.escape_ascii());
        }
    }

    #[test]
    fn the_partition_is_the_positive_hash_by_the_count() {
        // -790332482 & 0x7fffffff = 1357151166, and not its absolute value.
        assert_eq!(partition_of_key(b"foobar", count(50)), 1_357_151_166 % 50);
        for (key, _) in VECTORS {
            assert_eq!(partition_of_key(key, count(1)), 0);
            for partitions in [2, 3, 8, 1_000] {
                assert!(partition_of_key(key, count(partitions)) < partitions);
            }
        }
    }

    #[test]
    fn the_chooser_stays_until_it_advances_and_then_never_stays() {
        let mut chooser = StickyChooser::new(7);
        for partitions in [1, 2, 3, 8, 8, 3, 1, 1_000] {
            let stays = chooser.current(count(partitions));
            assert_eq!(chooser.current(count(partitions)), stays);
            let next = chooser.advance(count(partitions));
            assert!(next < partitions);
            assert_eq!(chooser.current(count(partitions)), next);
            assert_eq!(next == stays, partitions == 1, "of {partitions}");
        }
    }

    #[test]
    fn the_chooser_spreads_evenly_and_by_its_seed_alone() {
        let run = |seed| {
            let mut chooser = StickyChooser::new(seed);
            (0..8_000)
                .map(|_| chooser.advance(count(8)))
                .collect::<Vec<_>>()
        };
        let chosen = run(1);
        assert_eq!(chosen, run(1));
        assert_ne!(chosen, run(2));
        for partition in 0..8 {
            let times = chosen.iter().filter(|p| **p == partition).count();
            assert!(
                (900..1_100).contains(&times),
                "{partition} was chosen {times} times"
            );
        }
    }
}
