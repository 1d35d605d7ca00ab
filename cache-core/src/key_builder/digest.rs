//! Replaces a long argument by a digest.

use sha2::{Digest, Sha256};

use super::{serializer, tag};

/// Arguments whose byte form is longer than this are replaced by their digest.
pub(super) const LONGEST_ARGUMENT: usize = 256;

/// Replaces the argument that begins at `start` by its digest, if it is long.
pub(super) fn shorten(identity: &mut Vec<u8>, start: usize) {
    let length = identity.len() - start;
    if length <= LONGEST_ARGUMENT {
        return;
    }
    let digest = Sha256::digest(&identity[start..]);
    identity.truncate(start);
    identity.push(tag::DIGEST);
    identity.extend_from_slice(&digest);
    serializer::write_length(identity, length);
}
