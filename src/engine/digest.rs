//! Hashing of bodies: every digest that is asked for, in one pass over each buffer while it is warm.

use crate::model::ChecksumAlgorithm;

/// Running digests of one body.
pub struct Digester {
    _private: (),
}

/// Finished digests.
#[derive(Clone, Debug, Default)]
pub struct DigestValues {
    /// The MD5, if asked for.
    pub md5: Option<[u8; 16]>,
    /// Per algorithm asked for, its raw big-endian value.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

impl Digester {
    /// Digests with these algorithms, and MD5 if `md5`.
    #[must_use]
    pub fn new(md5: bool, algorithms: &[ChecksumAlgorithm]) -> Self {
        let _ = (md5, algorithms);
        unimplemented!()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let _ = bytes;
        unimplemented!()
    }

    /// The digests of all bytes added.
    #[must_use]
    pub fn finish(self) -> DigestValues {
        unimplemented!()
    }
}
