//! Checksums on the wire: their names, and their values in base64.

use base64_simd::STANDARD as BASE64;

use crate::http::{HeaderBlock, Headers};
use crate::model::{ArtifactInfo, Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::Xml;

use super::{invalid, single};

/// The names of an algorithm: as a value, as a header, as an element.
const NAMES: [(ChecksumAlgorithm, &str, &str, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32"),
    (ChecksumAlgorithm::Crc32c, "CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C"),
    (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME"),
    (ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1"),
    (ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256", "ChecksumSHA256"),
];

fn names(wanted: ChecksumAlgorithm) -> (&'static str, &'static str, &'static str) {
    let (_, value, header, element) = NAMES[usize::from(wanted as u8) - 1];
    (value, header, element)
}

/// The algorithm's name as a value, such as `CRC64NVME`.
#[must_use]
pub(crate) fn algorithm_name(algorithm: ChecksumAlgorithm) -> &'static str {
    names(algorithm).0
}

/// The algorithm whose element this is, such as `ChecksumSHA256`.
#[must_use]
pub(crate) fn of_element(element: &str) -> Option<ChecksumAlgorithm> {
    NAMES.iter().find(|names| names.3 == element).map(|names| names.0)
}

/// `FULL_OBJECT` or `COMPOSITE`.
#[must_use]
pub(crate) fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// The algorithm named by a header such as `x-amz-checksum-algorithm`.
///
/// # Errors
/// `InvalidRequest` if nobody knows it.
pub(crate) fn named(
    headers: &Headers<'_>,
    header: &str,
) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(text) = single(headers, header)? else { return Ok(None) };
    NAMES
        .iter()
        .find(|names| names.1.eq_ignore_ascii_case(text))
        .map(|names| Some(names.0))
        .ok_or_else(|| {
            S3Error::new(
                Code::InvalidRequest,
                "Checksum algorithm provided is unsupported. Please try again with any of the \
                 valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]",
            )
        })
}

/// The kind named by `x-amz-checksum-type`.
///
/// # Errors
/// `InvalidRequest` if nobody knows it.
pub(crate) fn kind(headers: &Headers<'_>) -> Result<Option<ChecksumKind>, S3Error> {
    match single(headers, "x-amz-checksum-type")? {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("FULL_OBJECT") => {
            Ok(Some(ChecksumKind::FullObject))
        }
        Some(text) if text.eq_ignore_ascii_case("COMPOSITE") => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(S3Error::new(
            Code::InvalidRequest,
            "Value for x-amz-checksum-type header is invalid.",
        )),
    }
}

/// The kind of an upload's checksum, where the client left it open.
///
/// # Errors
/// `InvalidRequest` if the algorithm does not have the kind: the hashes cannot be combined, and
/// CRC-64/NVME is only made over the whole.
pub(crate) fn upload_kind(
    algorithm: ChecksumAlgorithm,
    kind: Option<ChecksumKind>,
) -> Result<ChecksumKind, S3Error> {
    use ChecksumAlgorithm::{Crc64Nvme, Sha1, Sha256};
    match (algorithm, kind) {
        (Crc64Nvme, None) => Ok(ChecksumKind::FullObject),
        (_, None) => Ok(ChecksumKind::Composite),
        (Crc64Nvme, Some(ChecksumKind::Composite))
        | (Sha1 | Sha256, Some(ChecksumKind::FullObject)) => Err(S3Error::new(
            Code::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind.map(kind_name).unwrap_or_default(),
                algorithm_name(algorithm).to_ascii_lowercase()
            ),
        )),
        (_, Some(kind)) => Ok(kind),
    }
}

/// Reads a value; one over the parts may end with a hyphen and their number.
///
/// # Errors
/// `InvalidRequest` if it is not base64 of the right length.
pub(crate) fn value(
    algorithm: ChecksumAlgorithm,
    kind: Option<ChecksumKind>,
    text: &str,
) -> Result<Checksum, S3Error> {
    let (text, suffixed) = match text.rsplit_once('-') {
        Some((value, count)) if count.parse::<u16>().is_ok() => (value, true),
        _ => (text, false),
    };
    let kind =
        kind.unwrap_or(if suffixed { ChecksumKind::Composite } else { ChecksumKind::FullObject });
    BASE64
        .decode_to_vec(text)
        .ok()
        .and_then(|bytes| Checksum::new(algorithm, kind, &bytes))
        .ok_or_else(|| {
            S3Error::new(
                Code::InvalidRequest,
                format!("Value for {} header is invalid.", names(algorithm).1),
            )
        })
}

/// The one checksum that the headers give.
///
/// # Errors
/// `InvalidRequest` if it is malformed or not the only one.
pub(crate) fn of_headers(
    headers: &Headers<'_>,
    kind: Option<ChecksumKind>,
) -> Result<Option<Checksum>, S3Error> {
    let mut found = None;
    for (algorithm, _, header, _) in NAMES {
        let Some(text) = single(headers, header)? else { continue };
        if found.is_some() {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        found = Some(value(algorithm, kind, text)?);
    }
    Ok(found)
}

/// Whether the body of a request is protected by Content-MD5 or a checksum, in a header or a
/// trailer.
#[must_use]
pub(crate) fn protects_body(headers: &Headers<'_>) -> bool {
    headers.has("content-md5")
        || NAMES.iter().any(|names| headers.has(names.2))
        || headers
            .get("x-amz-trailer")
            .is_some_and(|trailer| NAMES.iter().any(|names| trailer.eq_ignore_ascii_case(names.2)))
}

/// The fields without the checksums, for the one operation whose checksums are not of its body: a
/// completion has those of the object to be.
#[must_use]
pub(crate) fn of_body_only<'a>(headers: &Headers<'a>) -> Vec<httparse::Header<'a>> {
    let other = |name: &str| {
        let of_body = NAMES.iter().all(|names| !name.eq_ignore_ascii_case(names.2));
        of_body && !name.eq_ignore_ascii_case("x-amz-sdk-checksum-algorithm")
    };
    let fields = headers.iter().filter(|(name, _)| other(name));
    fields.map(|(name, value)| httparse::Header { name, value }).collect()
}

/// Whether the answer is to carry the stored checksum.
///
/// # Errors
/// `InvalidArgument` unless the mode is `ENABLED`.
pub(crate) fn mode(headers: &Headers<'_>) -> Result<bool, S3Error> {
    match single(headers, "x-amz-checksum-mode")? {
        None => Ok(false),
        Some(mode) if mode.eq_ignore_ascii_case("ENABLED") => Ok(true),
        Some(_) => Err(invalid("x-amz-checksum-mode", "The checksum mode is not valid.")),
    }
}

/// A checksum's text: base64, and for one over parts their number.
#[must_use]
pub(crate) fn text(checksum: &Checksum, parts: u16) -> String {
    let mut text = BASE64.encode_to_string(checksum.value());
    if checksum.kind == ChecksumKind::Composite && parts > 0 {
        text.push('-');
        text.push_str(itoa::Buffer::new().format(parts));
    }
    text
}

/// Adds the checksum of a whole to an answer's headers.
pub(crate) fn push(headers: &mut HeaderBlock, checksum: Option<&Checksum>, parts: u16) {
    if let Some(checksum) = checksum {
        headers.push(names(checksum.algorithm).1, &text(checksum, parts));
        headers.push("x-amz-checksum-type", kind_name(checksum.kind));
    }
}

/// Adds the checksum of a part to an answer's headers.
pub(crate) fn push_part(headers: &mut HeaderBlock, checksum: Option<&Checksum>) {
    if let Some(checksum) = checksum {
        headers.push(names(checksum.algorithm).1, &text(checksum, 0));
    }
}

/// Writes a checksum as an element.
pub(crate) fn element(xml: &mut Xml, checksum: Option<&Checksum>, parts: u16) {
    if let Some(checksum) = checksum {
        xml.text(names(checksum.algorithm).2, &text(checksum, parts));
    }
}

/// Writes what a listing tells of a checksum.
pub(crate) fn listed(xml: &mut Xml, info: &ArtifactInfo) {
    if let Some(checksum) = &info.checksum {
        xml.plain("ChecksumAlgorithm", algorithm_name(checksum.algorithm));
        xml.plain("ChecksumType", kind_name(checksum.kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_numbers() {
        for (index, algorithm) in ChecksumAlgorithm::ALL.into_iter().enumerate() {
            assert_eq!(NAMES[index].0, algorithm);
            assert_eq!(of_element(NAMES[index].3), Some(algorithm));
        }
    }

    #[test]
    fn values_round_trip() {
        let crc = value(ChecksumAlgorithm::Crc32, None, "AAAAAQ==").expect("valid");
        assert_eq!((crc.value(), crc.kind), (&[0, 0, 0, 1][..], ChecksumKind::FullObject));
        let whole = value(ChecksumAlgorithm::Crc32, None, "AAAAAQ==-3").expect("valid");
        assert_eq!(whole.kind, ChecksumKind::Composite);
        assert_eq!(text(&whole, 3), "AAAAAQ==-3");
        assert_eq!(text(&crc, 3), "AAAAAQ==");
        for bad in ["", "AAAA", "!", "AAAAAAAAAAE="] {
            assert!(value(ChecksumAlgorithm::Crc32, None, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_fit_their_algorithms() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha256};
        use ChecksumKind::{Composite, FullObject};
        assert_eq!(upload_kind(Crc32, None).ok(), Some(Composite));
        assert_eq!(upload_kind(Crc32, Some(FullObject)).ok(), Some(FullObject));
        assert_eq!(upload_kind(Crc64Nvme, None).ok(), Some(FullObject));
        assert!(upload_kind(Crc64Nvme, Some(Composite)).is_err());
        assert!(upload_kind(Sha256, Some(FullObject)).is_err());
    }

    #[test]
    fn headers_give_one_checksum() {
        let field = |name, value| httparse::Header { name, value };
        let one = [field("X-Amz-Checksum-Crc32", &b"AAAAAQ=="[..])];
        let two = [one[0], field("x-amz-checksum-crc32c", b"AAAAAQ==")];
        assert!(of_headers(&Headers::new(&one), None).expect("one").is_some());
        assert!(of_headers(&Headers::new(&two), None).is_err());
        assert!(protects_body(&Headers::new(&one)));
        assert!(!protects_body(&Headers::new(&[])));
        let trailer = [field("x-amz-trailer", b"x-amz-checksum-sha1")];
        assert!(protects_body(&Headers::new(&trailer)));
    }
}
