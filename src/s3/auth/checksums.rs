//! What the head of a request promises about the checksums of its body.

use super::super::error::{Code, S3Error};
use crate::http::RequestHead;
use crate::model::{Checksum, ChecksumAlgorithm, ChecksumKind, ETagHash};
use crate::stdx::base64;

const PREFIX: &str = "x-amz-checksum-";

/// Fields that begin like checksums and are none.
const NOT_VALUES: [&str; 3] = ["algorithm", "mode", "type"];

/// What the operation wants of a body's checksum besides what the client says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumPlan {
    /// The algorithm of the upload that the body is a part of: computed if the client names none,
    /// and another is refused.
    pub required: Option<ChecksumAlgorithm>,
    /// What the entity tag is made of.
    pub etag: ETagHash,
}

/// What follows `x-amz-checksum-` for an algorithm.
#[must_use]
pub fn checksum_suffix(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "crc32",
        ChecksumAlgorithm::Crc32c => "crc32c",
        ChecksumAlgorithm::Crc64Nvme => "crc64nvme",
        ChecksumAlgorithm::Sha1 => "sha1",
        ChecksumAlgorithm::Sha256 => "sha256",
    }
}

/// The algorithm that this word names, in any case.
#[must_use]
pub fn checksum_of_name(word: &str) -> Option<ChecksumAlgorithm> {
    ChecksumAlgorithm::ALL
        .into_iter()
        .find(|algorithm| checksum_suffix(*algorithm).eq_ignore_ascii_case(word))
}

/// Reads a checksum's value; `None` if it is not base64 of the right length.
#[must_use]
pub(super) fn parse_value(algorithm: ChecksumAlgorithm, text: &str) -> Option<Checksum> {
    let value = base64::decode(text, algorithm.length())?;
    Checksum::new(algorithm, ChecksumKind::FullObject, &value[..algorithm.length()])
}

/// The word after [`PREFIX`] in a field's name.
fn suffix(name: &str) -> Option<&str> {
    let (start, suffix) = name.split_at_checked(PREFIX.len())?;
    start.eq_ignore_ascii_case(PREFIX).then_some(suffix)
}

/// The promises of a head.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Promises {
    /// `Content-MD5`.
    pub(super) md5: Option<[u8; 16]>,
    /// A checksum in the head.
    pub(super) checksum: Option<Checksum>,
    /// The algorithm of the checksum that the trailer will have.
    pub(super) trailer: Option<ChecksumAlgorithm>,
}

impl Promises {
    /// Reads them; `trailers` says whether the body's form has a trailer.
    pub(super) fn read(head: &RequestHead<'_>, trailers: bool) -> Result<Self, S3Error> {
        let promises = Self {
            md5: content_md5(head)?,
            checksum: checksum(head)?,
            trailer: trailer(head, trailers)?,
        };
        if promises.checksum.is_some() && promises.trailer.is_some() {
            return Err(several());
        }
        promises.check_announced(head)?;
        Ok(promises)
    }

    /// The algorithm that the client chose.
    pub(super) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.map(|checksum| checksum.algorithm).or(self.trailer)
    }

    /// `x-amz-sdk-checksum-algorithm` must fit what there is.
    fn check_announced(&self, head: &RequestHead<'_>) -> Result<(), S3Error> {
        let Some(word) = head.headers.get("x-amz-sdk-checksum-algorithm") else { return Ok(()) };
        let Some(announced) = checksum_of_name(word) else {
            return Err(invalid(
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
            ));
        };
        match self.algorithm() {
            Some(algorithm) if algorithm == announced => Ok(()),
            Some(_) => Err(invalid("Value for x-amz-sdk-checksum-algorithm header is invalid.")),
            None => Err(invalid(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
            )),
        }
    }
}

fn invalid(message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidRequest, message)
}

fn several() -> S3Error {
    invalid("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

fn content_md5(head: &RequestHead<'_>) -> Result<Option<[u8; 16]>, S3Error> {
    let refusal =
        || S3Error::new(Code::InvalidDigest, "The Content-MD5 you specified was invalid.");
    if !head.headers.has("content-md5") {
        return Ok(None);
    }
    let value = head.headers.get("content-md5").and_then(|text| base64::decode(text, 16));
    let value = value.and_then(|value| value.first_chunk::<16>().copied());
    value.map(Some).ok_or_else(refusal)
}

fn checksum(head: &RequestHead<'_>) -> Result<Option<Checksum>, S3Error> {
    let mut found = None;
    for (name, value) in head.headers.iter() {
        let Some(suffix) = suffix(name) else { continue };
        if NOT_VALUES.iter().any(|other| other.eq_ignore_ascii_case(suffix)) {
            continue;
        }
        let algorithm = checksum_of_name(suffix).ok_or_else(|| {
            invalid("The algorithm type you specified in x-amz-checksum- header is invalid.")
        })?;
        let value = std::str::from_utf8(value).unwrap_or_default().trim();
        let checksum = parse_value(algorithm, value).ok_or_else(|| {
            let header = checksum_suffix(algorithm);
            let message = format!("Value for {PREFIX}{header} header is invalid.");
            S3Error::new(Code::InvalidRequest, message)
        })?;
        if found.replace(checksum).is_some() {
            return Err(several());
        }
    }
    Ok(found)
}

fn trailer(head: &RequestHead<'_>, trailers: bool) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let mut found = None;
    for (_, value) in
        head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-amz-trailer"))
    {
        let value = std::str::from_utf8(value).unwrap_or("?");
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let algorithm = suffix(name).and_then(checksum_of_name).ok_or_else(|| {
                invalid("The value specified in the x-amz-trailer header is not supported")
            })?;
            if found.replace(algorithm).is_some() {
                return Err(several());
            }
        }
    }
    if found.is_some() && !trailers {
        return Err(invalid(
            "The x-amz-trailer header needs an x-amz-content-sha256 that ends in -TRAILER.",
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn read(fields: &[(&str, &str)], trailers: bool) -> Result<Promises, Code> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
            .collect();
        let headers = Headers::new(&fields);
        let head = RequestHead { method: "PUT", path: "/b/k", query: "", headers };
        Promises::read(&head, trailers).map_err(|error| error.code)
    }

    #[test]
    fn good_heads() {
        let none =
            read(&[("x-amz-checksum-type", "FULL_OBJECT"), ("x-amz-checksum-mode", "x")], false);
        assert_eq!(none.unwrap().algorithm(), None);
        let md5 = read(&[("Content-MD5", "CZIVxbATYbnKXFGr0Bxy1w==")], false).unwrap().md5;
        assert_eq!(md5.map(|md5| md5[0]), Some(9));
        let fields =
            [("X-Amz-Checksum-Crc32", "y/Q5Jg=="), ("x-amz-sdk-checksum-algorithm", "CRC32")];
        let promises = read(&fields, false).unwrap();
        assert_eq!(
            promises.checksum.map(|sum| sum.value().to_vec()),
            Some(vec![0xcb, 0xf4, 0x39, 0x26])
        );
        let fields = [("x-amz-trailer", "x-amz-checksum-SHA256")];
        assert_eq!(read(&fields, true).unwrap().algorithm(), Some(ChecksumAlgorithm::Sha256));
    }

    #[test]
    fn bad_heads() {
        const CRC: (&str, &str) = ("x-amz-checksum-crc32", "y/Q5Jg==");
        type Case = (&'static [(&'static str, &'static str)], bool, Code);
        let cases: [Case; 11] = [
            (&[("content-md5", "")], false, Code::InvalidDigest),
            (&[("content-md5", "CZIVxbATYbnKXFGr0Bxy")], false, Code::InvalidDigest),
            (&[("x-amz-checksum-crc32", "y/Q5Jg")], false, Code::InvalidRequest),
            (&[("x-amz-checksum-sha256", "y/Q5Jg==")], false, Code::InvalidRequest),
            (&[("x-amz-checksum-xxhash64", "y/Q5Jg==")], false, Code::InvalidRequest),
            (&[CRC, ("x-amz-checksum-crc32c", "y/Q5Jg==")], false, Code::InvalidRequest),
            (&[CRC, ("x-amz-trailer", "x-amz-checksum-crc32c")], true, Code::InvalidRequest),
            (&[("x-amz-trailer", "x-amz-checksum-crc32c")], false, Code::InvalidRequest),
            (&[("x-amz-trailer", "x-amz-meta-a")], true, Code::InvalidRequest),
            (&[CRC, ("x-amz-sdk-checksum-algorithm", "SHA1")], false, Code::InvalidRequest),
            (&[("x-amz-sdk-checksum-algorithm", "CRC32")], false, Code::InvalidRequest),
        ];
        for (fields, trailers, code) in cases {
            assert_eq!(read(fields, trailers).err(), Some(code), "{fields:?}");
        }
    }
}
