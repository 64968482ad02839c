//! Hashing of bodies: every digest that is asked for, in one pass over each buffer while it is
//! warm; and the checksums of a whole that follow from those of its parts.

use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use crc_fast::CrcAlgorithm;
use smallvec::SmallVec;

use super::crc;
use super::md5::{self, Md5};
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, ETagHash};

enum Running {
    /// The state of a CRC, without the final inversion.
    Crc(ChecksumAlgorithm, CrcAlgorithm, u64),
    Sha(ChecksumAlgorithm, Context),
}

impl Running {
    fn new(algorithm: ChecksumAlgorithm) -> Self {
        match crc_of(algorithm) {
            Some(crc) => Self::Crc(algorithm, crc, crc_fast::Digest::new(crc).get_state()),
            None if algorithm == ChecksumAlgorithm::Sha1 => {
                Self::Sha(algorithm, Context::new(&SHA1_FOR_LEGACY_USE_ONLY))
            }
            None => Self::Sha(algorithm, Context::new(&SHA256)),
        }
    }

    fn algorithm(&self) -> ChecksumAlgorithm {
        match self {
            Self::Crc(algorithm, ..) | Self::Sha(algorithm, _) => *algorithm,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, algorithm, state) => *state = crc::update(*algorithm, *state, bytes),
            Self::Sha(_, context) => context.update(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(algorithm, crc, state) => {
                let value = crc_fast::Digest::new_with_init_state(crc, state).finalize();
                value.to_be_bytes()[8 - algorithm.length()..].to_vec()
            }
            Self::Sha(_, context) => context.finish().as_ref().to_vec(),
        }
    }
}

fn crc_of(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

/// Bytes that one algorithm after the other passes over.
const PIECE: usize = 16 << 10;

/// Running digests of one body.
pub struct Digester {
    md5: Option<Md5>,
    running: SmallVec<[Running; 2]>,
}

/// Finished digests.
#[derive(Clone, Debug, Default)]
pub struct DigestValues {
    /// The MD5, if asked for.
    pub md5: Option<[u8; 16]>,
    /// Per algorithm asked for, its raw big-endian value.
    pub checksums: Vec<(ChecksumAlgorithm, Vec<u8>)>,
}

impl DigestValues {
    /// The entity tag of the whole body, of so many bytes, if what it is made of was asked for.
    #[must_use]
    pub fn etag(&self, made_of: ETagHash, length: u64) -> Option<ETag> {
        match made_of {
            ETagHash::Md5 => self.md5.map(|hash| ETag { hash, parts: 0 }),
            ETagHash::Crc64 => {
                let crc = self.checksum(ChecksumAlgorithm::Crc64Nvme)?;
                let crc = crc.value().try_into().map(u64::from_be_bytes).ok()?;
                Some(ETag::from_crc64(crc, length))
            }
        }
    }

    /// The value of one algorithm over the whole body, if it was asked for.
    #[must_use]
    pub fn checksum(&self, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
        let (_, value) = self.checksums.iter().find(|(asked, _)| *asked == algorithm)?;
        Checksum::new(algorithm, ChecksumKind::FullObject, value)
    }
}

impl Digester {
    /// What the entity tag needs, and this algorithm; MD5 also if somebody wants to check it.
    #[must_use]
    pub fn for_etag(made_of: ETagHash, algorithm: ChecksumAlgorithm, check_md5: bool) -> Self {
        match made_of {
            ETagHash::Md5 => Self::new(true, &[algorithm]),
            ETagHash::Crc64 => Self::new(check_md5, &[algorithm, ChecksumAlgorithm::Crc64Nvme]),
        }
    }

    /// Digests with these algorithms (each once, however often it is named), and MD5 if `md5`.
    #[must_use]
    pub fn new(md5: bool, algorithms: &[ChecksumAlgorithm]) -> Self {
        let mut running = SmallVec::<[Running; 2]>::new();
        for &algorithm in algorithms {
            if running.iter().all(|other| other.algorithm() != algorithm) {
                running.push(Running::new(algorithm));
            }
        }
        Self { md5: md5.then(Md5::default), running }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        // Pieces that stay in the first-level cache while each algorithm passes over them.
        for piece in bytes.chunks(PIECE) {
            self.update_checksums(piece);
            if let Some(md5) = &mut self.md5 {
                md5.update(piece);
            }
        }
    }

    /// Adds bytes to all but the MD5, which is to be given them too, with [`Digester::update_md5`].
    pub fn update_checksums(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            for running in &mut self.running {
                running.update(piece);
            }
        }
    }

    /// Adds the `range` of `bytes` to the MD5, if that was asked for, together with those of other bodies. `yield_now`
    /// lets the core's other tasks run once.
    ///
    /// # Cancel safety
    /// Dropping the future drops the bytes, and the digester has no MD5 any more.
    pub async fn update_md5<B: AsRef<[u8]> + 'static>(
        &mut self,
        bytes: B,
        range: Range<usize>,
        yield_now: impl AsyncFn(),
    ) -> B {
        let Some(md5) = self.md5.take() else { return bytes };
        let (md5, bytes) = md5::update_together(md5, bytes, range, yield_now).await;
        self.md5 = Some(md5);
        bytes
    }

    /// The digests of all bytes added.
    #[must_use]
    pub fn finish(self) -> DigestValues {
        let checksums = self.running.into_iter().map(|one| (one.algorithm(), one.finish()));
        DigestValues { md5: self.md5.map(Md5::finish), checksums: checksums.collect() }
    }
}

/// The CRC of `a` followed by `b`, from the CRCs of both and the length of `b` in bytes; `None`
/// for an algorithm that is no CRC.
#[must_use]
pub fn combine_crc(
    algorithm: ChecksumAlgorithm,
    crc_a: u64,
    crc_b: u64,
    len_b: u64,
) -> Option<u64> {
    Some(crc_fast::checksum_combine(crc_of(algorithm)?, crc_a, crc_b, len_b))
}

/// [`combine_crc`] for checksum values; `None` also if the algorithms differ.
#[must_use]
pub fn combine(a: &Checksum, b: &Checksum, len_b: u64) -> Option<Checksum> {
    if a.algorithm != b.algorithm {
        return None;
    }
    let number = |value: &[u8]| value.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    let whole = combine_crc(a.algorithm, number(a.value()), number(b.value()), len_b)?;
    let value = &whole.to_be_bytes()[8 - a.algorithm.length()..];
    Checksum::new(a.algorithm, ChecksumKind::FullObject, value)
}

/// The checksum of the parts' checksums, as a multipart upload of the composite kind has it:
/// `algorithm` over their raw values, one after the other.
///
/// # Panics
/// Never: the digest has the length of its algorithm.
#[must_use]
pub fn composite<'a>(
    algorithm: ChecksumAlgorithm,
    parts: impl Iterator<Item = &'a Checksum>,
) -> Checksum {
    let mut running = Running::new(algorithm);
    for part in parts {
        running.update(part.value());
    }
    Checksum::new(algorithm, ChecksumKind::Composite, &running.finish())
        .expect("a digest has its algorithm's length")
}

#[cfg(test)]
mod tests {
    use super::super::base64;
    use super::*;

    /// The check values of the CRC catalogue, FIPS 180 and RFC 1321, of "123456789".
    #[test]
    fn known_values_however_the_input_is_cut() {
        for cut in 0..=9 {
            let mut digester = Digester::new(true, &ChecksumAlgorithm::ALL);
            digester.update(&b"123456789"[..cut]);
            digester.update(&b"123456789"[cut..]);
            let values = digester.finish();
            let text: Vec<_> =
                values.checksums.iter().map(|(_, value)| base64::encode(value)).collect();
            assert_eq!(
                text,
                [
                    "y/Q5Jg==",
                    "4waSgw==",
                    "rosUhgp5mIg=",
                    "98O8HYCOBHMq32eZZczDTKeuNEE=",
                    "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="
                ]
            );
            assert_eq!(
                values.md5.map(|md5| base64::encode(&md5)).as_deref(),
                Some("JfnnlDI7RTiF9RgfG2JNCw==")
            );
        }
    }

    #[test]
    fn whole_from_parts() {
        for algorithm in ChecksumAlgorithm::ALL {
            let of = |bytes: &[u8]| {
                let mut digester = Digester::new(false, &[algorithm, algorithm]);
                digester.update(bytes);
                digester.finish().checksum(algorithm).unwrap()
            };
            let (a, b) = (of(b"1234"), of(b"56789"));
            let whole = combine(&a, &b, 5);
            assert_eq!(whole, crc_of(algorithm).map(|_| of(b"123456789")), "{algorithm:?}");
            let both = composite(algorithm, [&a, &b].into_iter());
            assert_eq!(both.kind, ChecksumKind::Composite);
            assert_eq!(both.value(), of(&[a.value(), b.value()].concat()).value());
        }
    }
}
