//! Byte ranges (RFC 9110, section 14; one range only).

/// A range as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeRequest {
    /// `bytes=first-last`, both inclusive.
    Between(u64, u64),
    /// `bytes=first-`
    From(u64),
    /// `bytes=-length`: the last bytes.
    Suffix(u64),
}

/// A resolved range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

/// The range lies outside the artifact (416).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range is not satisfiable")]
pub struct RangeUnsatisfiable;

impl RangeRequest {
    /// Resolves against a size.
    ///
    /// # Errors
    /// [`RangeUnsatisfiable`] if no byte of the artifact is in the range.
    pub fn resolve(self, size: u64) -> Result<ByteRange, RangeUnsatisfiable> {
        let (offset, end) = match self {
            Self::Between(first, last) if first <= last => {
                (first, last.saturating_add(1).min(size))
            }
            Self::Between(..) => return Err(RangeUnsatisfiable),
            Self::From(first) => (first, size),
            Self::Suffix(length) => (size.saturating_sub(length), size),
        };
        if offset >= end {
            return Err(RangeUnsatisfiable);
        }
        Ok(ByteRange { offset, length: end - offset })
    }
}

impl ByteRange {
    /// All of an artifact.
    #[must_use]
    pub fn whole(size: u64) -> Self {
        Self { offset: 0, length: size }
    }

    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_against_the_size() {
        let of_ten = |range: RangeRequest| range.resolve(10).map(|r| (r.offset, r.length));
        assert_eq!(of_ten(RangeRequest::Between(0, 0)), Ok((0, 1)));
        assert_eq!(of_ten(RangeRequest::Between(5, u64::MAX)), Ok((5, 5)));
        assert_eq!(of_ten(RangeRequest::Between(5, 4)), Err(RangeUnsatisfiable));
        assert_eq!(of_ten(RangeRequest::From(9)), Ok((9, 1)));
        assert_eq!(of_ten(RangeRequest::From(10)), Err(RangeUnsatisfiable));
        assert_eq!(of_ten(RangeRequest::Suffix(3)), Ok((7, 3)));
        assert_eq!(of_ten(RangeRequest::Suffix(30)), Ok((0, 10)));
        assert_eq!(of_ten(RangeRequest::Suffix(0)), Err(RangeUnsatisfiable));
        assert_eq!(RangeRequest::Suffix(1).resolve(0), Err(RangeUnsatisfiable));
    }
}
