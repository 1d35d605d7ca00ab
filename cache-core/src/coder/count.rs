//! Counts the bytes of an encoding without storing them.

use std::io;

/// A writer that counts what is written to it.
#[derive(Default)]
pub(super) struct Count(pub(super) usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
