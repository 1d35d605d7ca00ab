//! What has come of a body: its pieces, joined where they are small.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces below this are joined. What it costs to keep a piece, some hundred bytes, is little against this.
const SMALL: usize = 4 * 1024;

/// How long joined pieces become.
const JOINED: usize = 16 * 1024;

/// The pieces of a body in their order, for one who collects them and one who reads them at the same time. Large ones are
/// never copied, and neither is the only one.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    chunks: VecDeque<Bytes>,
    /// Small pieces, which come after the chunks.
    tail: BytesMut,
    /// The chunk that is read next, or the tail, and how much of it has been read.
    next: usize,
    offset: usize,
    /// How much has been read in all.
    read: usize,
    /// What has been read is not kept.
    is_passing: bool,
}

impl Buffer {
    pub(crate) fn push(&mut self, piece: Bytes) {
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

    /// What has come and has not been read.
    pub(crate) fn read(&mut self) -> Option<Bytes> {
        while let Some(chunk) = self.chunks.get(self.next) {
            let piece = chunk.slice(self.offset..);
            self.offset = 0;
            if self.is_passing {
                self.chunks.pop_front();
            } else {
                self.next += 1;
            }
            if !piece.is_empty() {
                self.read += piece.len();
                return Some(piece);
            }
        }
        let piece = self.tail.get(self.offset..).filter(|piece| !piece.is_empty())?;
        // A slice of the tail would keep it from growing where it is.
        let piece = Bytes::copy_from_slice(piece);
        self.offset = self.tail.len();
        self.read += piece.len();
        Some(piece)
    }

    /// From now on, what has been read is let go.
    pub(crate) fn pass(&mut self) {
        self.is_passing = true;
        self.chunks.drain(..self.next);
        self.next = 0;
    }

    /// All the pieces, to be joined.
    pub(crate) fn pieces(&mut self) -> VecDeque<Bytes> {
        self.end_tail();
        self.chunks.clone()
    }

    /// Puts in place of all pieces what they are in one.
    pub(crate) fn replace(&mut self, whole: Bytes) {
        self.offset = self.read;
        self.next = 0;
        self.chunks = VecDeque::from([whole]);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::{Buffer, JOINED, SMALL};

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Read,
        Pass,
        Join,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let lengths = prop_oneof![1..8_usize, SMALL - 1..SMALL + 2, JOINED - 2..JOINED + 2];
        let step = prop_oneof![
            8 => lengths.prop_map(Step::Push),
            4 => Just(Step::Read),
            1 => Just(Step::Pass),
            1 => Just(Step::Join),
        ];
        proptest::collection::vec(step, 0..40)
    }

    fn whole(buffer: &mut Buffer) -> Vec<u8> {
        buffer.pieces().iter().flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn what_is_read_and_what_is_collected_is_what_came(steps in steps()) {
            let (mut buffer, mut all, mut read, mut passing) = (Buffer::default(), Vec::new(), Vec::new(), false);
            for step in steps {
                match step {
                    Step::Push(length) => {
                        let piece: Vec<u8> = (0..length).map(|at| (all.len() + at) as u8).collect();
                        all.extend_from_slice(&piece);
                        buffer.push(Bytes::from(piece));
                    }
                    Step::Read => read.extend(buffer.read().unwrap_or_default()),
                    Step::Pass => {
                        buffer.pass();
                        passing = true;
                    }
                    Step::Join if passing => {}
                    Step::Join => {
                        let whole = whole(&mut buffer);
                        prop_assert_eq!(&whole, &all);
                        buffer.replace(whole.into());
                    }
                }
            }
            while let Some(piece) = buffer.read() {
                read.extend(piece);
            }
            prop_assert_eq!(&read, &all);
            if !passing {
                prop_assert_eq!(whole(&mut buffer), all);
            }
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
