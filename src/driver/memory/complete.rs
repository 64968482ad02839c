//! Completion of an upload.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use crc_fast::CrcAlgorithm;

use crate::driver::{Completion, DriverError, composite_etag};
use crate::model::{
    ArtifactInfo, Checksum, ChecksumAlgorithm, ChecksumKind, CompletePart, UploadId,
};

use super::body::Body;
use super::state::{Artifact, Completed, Part, Upload};

/// The artifact that the named parts make.
///
/// # Errors
/// What is wrong with the list of parts, or that their sum differs from what was declared.
pub(super) fn assemble(
    upload: &Upload,
    id: UploadId,
    completion: &Completion<'_>,
    modified_ms: i64,
) -> Result<Artifact, DriverError> {
    let parts = named_parts(upload, completion)?;
    let mut body = Body::default();
    for part in &parts {
        body.append(&part.body);
    }
    let checksum = checksum(upload, &parts, &body);
    let size = body.size();
    if completion.size.is_some_and(|declared| declared != size)
        || completion.checksum.is_some_and(|declared| checksum != Some(declared))
    {
        return Err(DriverError::CompletionMismatch);
    }
    let info = ArtifactInfo {
        size,
        etag: composite_etag(parts.iter().map(|part| part.info.etag)),
        modified_ms,
        metadata: upload.info.metadata.clone(),
        checksum,
    };
    let parts = parts.iter().map(|part| (part.info.size, part.info.checksum)).collect();
    Ok(Artifact { info, body, completed: Some(Completed { upload: id, parts }) })
}

/// The stored parts that the completion names.
fn named_parts<'u>(
    upload: &'u Upload,
    completion: &Completion<'_>,
) -> Result<Vec<&'u Part>, DriverError> {
    if !completion.parts.is_sorted_by(|one, next| one.number < next.number) {
        return Err(DriverError::InvalidPartOrder);
    }
    if completion.parts.is_empty() {
        return Err(DriverError::InvalidPart(0));
    }
    let find = |named: &CompletePart| {
        let stored = upload.parts.get(&named.number).filter(|stored| {
            stored.info.etag == named.etag
                && named.checksum.is_none_or(|checksum| stored.info.checksum == Some(checksum))
        });
        stored.ok_or(DriverError::InvalidPart(named.number))
    };
    let parts = completion.parts.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    let size_min = completion.part_size_min;
    let all_but_last = parts.iter().rev().skip(1).rev();
    match all_but_last.map(|part| &part.info).find(|part| part.size < size_min) {
        Some(part) => {
            Err(DriverError::PartTooSmall { number: part.number, size: part.size, size_min })
        }
        None => Ok(parts),
    }
}

/// The checksum of the whole: of the kind that the upload named; else the CRC of all bytes, if
/// every part carries a CRC-64/NVME, and none if not.
fn checksum(upload: &Upload, parts: &[&Part], body: &Body) -> Option<Checksum> {
    let default = (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject);
    let (algorithm, kind) = upload.info.checksum.unwrap_or(default);
    let of_parts = parts.iter().map(|part| part.info.checksum);
    let of_parts = of_parts
        .map(|checksum| checksum.filter(|checksum| checksum.algorithm == algorithm))
        .collect::<Option<Vec<Checksum>>>()?;
    let value = match kind {
        ChecksumKind::Composite => hash(algorithm, of_parts.iter().map(Checksum::value)),
        ChecksumKind::FullObject => hash(algorithm, body.pieces().iter().map(|piece| &piece[..])),
    };
    Checksum::new(algorithm, kind, &value)
}

/// Hashes pieces as one.
fn hash<'p>(algorithm: ChecksumAlgorithm, pieces: impl Iterator<Item = &'p [u8]>) -> Vec<u8> {
    let (crc, length) = match algorithm {
        ChecksumAlgorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
        ChecksumAlgorithm::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
        ChecksumAlgorithm::Crc64Nvme => (CrcAlgorithm::Crc64Nvme, 8),
        ChecksumAlgorithm::Sha1 => return sha(&SHA1_FOR_LEGACY_USE_ONLY, pieces),
        ChecksumAlgorithm::Sha256 => return sha(&SHA256, pieces),
    };
    let mut running = crc_fast::Digest::new(crc);
    pieces.for_each(|piece| running.update(piece));
    running.finalize().to_be_bytes()[8 - length..].to_vec()
}

fn sha<'p>(
    algorithm: &'static digest::Algorithm,
    pieces: impl Iterator<Item = &'p [u8]>,
) -> Vec<u8> {
    let mut running = digest::Context::new(algorithm);
    pieces.for_each(|piece| running.update(piece));
    running.finish().as_ref().to_vec()
}
