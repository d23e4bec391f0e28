//! Reads and writes the fixed fields of a header one after the other. All numbers are big-endian.

/// Reads fields one after the other. What lies behind the bytes reads as zero: the caller has checked that
/// the layout ends with them.
#[derive(Debug)]
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn new(header: &'a [u8]) -> Self {
        Self(header)
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((head, rest)) = self.0.split_first_chunk::<N>() else {
            return [0; N];
        };
        self.0 = rest;
        *head
    }

    pub(super) fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.take())
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take())
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }

    pub(super) fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
}

/// Writes fields one after the other.
#[derive(Debug)]
pub(super) struct Output<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Default for Output<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            at: 0,
        }
    }
}

impl<const N: usize> Output<N> {
    pub(super) fn bytes(&self) -> &[u8; N] {
        &self.bytes
    }

    pub(super) fn put(&mut self, field: &[u8]) {
        let end = self.at.saturating_add(field.len());
        if let Some(place) = self.bytes.get_mut(self.at..end) {
            place.copy_from_slice(field);
        }
        self.at = end;
    }
}
