//! A bound on the attempts at a conditional write.

use cache_core::{Error, ErrorKind};

/// The largest number of attempts. Each one fails only because another writer was faster, so a few are enough, unless the
/// store refuses writes that it should accept.
const MOST: usize = 32;

/// The attempts at a conditional write.
#[derive(Debug, Default)]
pub(crate) struct Attempts(usize);

impl Attempts {
    /// Begins another attempt.
    ///
    /// # Errors
    /// There were too many.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        if self.0 == MOST {
            let message = format!("refused {MOST} times in a row, whatever the condition");
            return Err(Error::new(ErrorKind::Conflict, message).with_operation("set"));
        }
        self.0 += 1;
        Ok(())
    }
}
