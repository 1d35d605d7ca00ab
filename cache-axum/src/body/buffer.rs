//! The pieces of a body that have arrived. Small pieces are joined.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces smaller than this are joined. The overhead of a piece, a few hundred bytes, is small compared with this.
const SMALL: usize = 4 * 1024;

/// The size up to which pieces are joined.
const JOINED: usize = 16 * 1024;

/// The pieces of a body in their order, for one collector and any number of concurrent readers, each at its own
/// [`Cursor`]. Large pieces are never copied, and neither is a single piece.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    chunks: VecDeque<Bytes>,
    /// Small pieces, which follow the chunks.
    tail: BytesMut,
    /// The number of the first chunk. The chunks before it have been released. The tail has the number of the chunk
    /// that it will become.
    first: u64,
    /// The number of the chunk into which all earlier pieces were joined.
    joined: Option<u64>,
    /// The number of bytes that are retained.
    kept: usize,
}

/// The position of a reader.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Cursor {
    /// The chunk to read next, and how much of it has been read.
    chunk: u64,
    offset: usize,
    /// How many bytes have been read in total.
    read: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.kept += piece.len();
        let is_first = self.chunks.is_empty() && self.tail.is_empty();
        if is_first || piece.len() >= SMALL {
            self.end_tail();
            self.chunks.push_back(piece);
            return;
        }
        if self.tail.len() + piece.len() > JOINED {
            self.end_tail();
        }
        self.tail.extend_from_slice(&piece);
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Returns the number of the tail.
    fn last(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    /// Returns data that has arrived and has not been read at `cursor`.
    pub(crate) fn read(&self, cursor: &mut Cursor) -> Option<Bytes> {
        if cursor.chunk < self.first {
            cursor.chunk = self.first;
            // Chunks are released only after they have been read.
            cursor.offset = if self.joined == Some(self.first) {
                cursor.read
            } else {
                0
            };
        }
        while let Some(chunk) = self.chunks.get(usize::try_from(cursor.chunk - self.first).ok()?) {
            let piece = chunk.slice(cursor.offset..);
            cursor.chunk += 1;
            cursor.offset = 0;
            if !piece.is_empty() {
                cursor.read += piece.len();
                return Some(piece);
            }
        }
        let piece = self.tail.get(cursor.offset..).filter(|piece| !piece.is_empty())?;
        // A slice of the tail would prevent it from growing in place.
        let piece = Bytes::copy_from_slice(piece);
        cursor.offset = self.tail.len();
        cursor.read += piece.len();
        Some(piece)
    }

    /// Releases what all of these cursors have read.
    pub(crate) fn release(&mut self, cursors: impl Iterator<Item = Cursor> + Clone) {
        while let Some(chunk) = self.chunks.front() {
            let reads =
                |cursor: Cursor| cursor.chunk < self.first || cursor.chunk == self.first && cursor.offset < chunk.len();
            if cursors.clone().any(reads) {
                break;
            }
            self.kept -= chunk.len();
            self.chunks.pop_front();
            self.first += 1;
        }
        let is_behind = |cursor: Cursor| cursor.chunk < self.first || cursor.offset < self.tail.len();
        if self.chunks.is_empty() && !self.tail.is_empty() && !cursors.clone().any(is_behind) {
            self.kept -= self.tail.len();
            self.tail.clear();
            self.first += 1;
        }
    }

    /// Returns the number of bytes that are retained.
    pub(crate) fn kept(&self) -> usize {
        self.kept
    }

    /// Returns all pieces, to be joined.
    pub(crate) fn pieces(&mut self) -> VecDeque<Bytes> {
        self.end_tail();
        self.chunks.clone()
    }

    /// Replaces all pieces by one piece with the same content. Nothing may have been released before.
    pub(crate) fn replace(&mut self, whole: Bytes) {
        // A number beyond everything that a cursor points to.
        self.first = self.last() + 1;
        self.joined = Some(self.first);
        self.chunks = VecDeque::from([whole]);
    }
}

impl Cursor {
    /// Returns how many bytes have been read in total.
    pub(crate) fn read(&self) -> usize {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Buffer, Cursor, JOINED, SMALL};

    const READERS: usize = 3;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Read(usize),
        Release,
        Join,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let lengths = prop_oneof![1..8_usize, SMALL - 1..SMALL + 2, JOINED - 2..JOINED + 2];
        let step = prop_oneof![
            8 => lengths.prop_map(Step::Push),
            8 => (0..READERS).prop_map(Step::Read),
            1 => Just(Step::Release),
            1 => Just(Step::Join),
        ];
        proptest::collection::vec(step, 0..60)
    }

    fn whole(buffer: &mut Buffer) -> Vec<u8> {
        buffer.pieces().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_each_reads_and_what_is_collected_is_what_came(steps in steps()) {
            let (mut buffer, mut all) = (Buffer::default(), Vec::new());
            let (mut cursors, mut read) = ([Cursor::default(); READERS], vec![Vec::new(); READERS]);
            let mut is_released = false;
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let piece: Vec<u8> = (0..length).map(|at| (all.len() + at) as u8).collect();
                        all.extend_from_slice(&piece);
                        buffer.push(Bytes::from(piece));
                    }
                    Step::Read(reader) => read[reader].extend(buffer.read(&mut cursors[reader]).unwrap_or_default()),
                    Step::Release => {
                        buffer.release(cursors.iter().copied());
                        is_released = true;
                    }
                    Step::Join if is_released => {}
                    Step::Join => {
                        let whole = whole(&mut buffer);
                        prop_assert_eq!(&whole, &all);
                        buffer.replace(whole.into());
                    }
                }
                let slowest = cursors.iter().map(Cursor::read).min().unwrap();
                prop_assert!(buffer.kept() >= all.len() - slowest);
            }
            for (cursor, read) in cursors.iter_mut().zip(&mut read) {
                while let Some(piece) = buffer.read(cursor) {
                    read.extend(piece);
                }
                prop_assert_eq!(&*read, &all);
            }
            if !is_released {
                prop_assert_eq!(whole(&mut buffer), all);
            }
            buffer.release(cursors.iter().copied());
            prop_assert_eq!(buffer.kept(), 0);
        }
    }

    #[test]
    fn small_pieces_are_joined_and_large_ones_are_not_copied() {
        let mut buffer = Buffer::default();
        for _ in 0..10 * JOINED {
            buffer.push(Bytes::from_static(b"0"));
        }
        let large = Bytes::from(vec![0; SMALL]);
        buffer.push(large.clone());
        let pieces = buffer.pieces();
        assert_eq!(pieces.len(), 1 + 10 + 1);
        assert_eq!(pieces[11].as_ptr(), large.as_ptr());
    }
}
