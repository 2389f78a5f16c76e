//! A buffer with an end. Never holds or allocates more than its limit.

use std::io;

/// Bytes up to a limit.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    bytes_max: usize,
}

/// The limit was met.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Output {
    /// Holds so many bytes and no more.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes: Vec::new(), bytes_max }
    }

    /// Adds all of these bytes or none.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let held = self.bytes.len();
        let needed = held.checked_add(bytes.len()).filter(|needed| *needed <= self.bytes_max);
        let needed = needed.ok_or(Full)?;
        if needed > self.bytes.capacity() {
            let wanted = needed.max(held.saturating_mul(2)).min(self.bytes_max);
            self.bytes.reserve_exact(wanted - held);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Adds a value as compact JSON.
    pub(super) fn put_json(&mut self, value: &impl serde::Serialize) -> Result<(), Full> {
        // Values and texts always serialise: only the end of the buffer can fail.
        serde_json::to_writer(self, value).map_err(|_full| Full)
    }

    /// How much there is.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All of it.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// All of it, where only text was put.
    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.bytes).expect("only whole texts were put")
    }
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(|Full| io::Error::other("the output is full"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_held_or_allocated() {
        let mut output = Output::new(10);
        for _ in 0..3 {
            output.put(b"abc").expect("fits");
            assert!(output.bytes.capacity() <= 10);
        }
        assert_eq!(output.put(b"de"), Err(Full));
        assert_eq!(output.put(b"d"), Ok(()));
        assert_eq!((output.len(), output.bytes.capacity()), (10, 10));
        assert_eq!(output.put_json(&1), Err(Full));
        assert_eq!(output.into_text(), "abcabcabcd");
    }
}
