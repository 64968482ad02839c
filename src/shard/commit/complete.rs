//! Decides the completion of an upload: one artifact record that lists the parts, and the upload's removal, in one frame.

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use crc_fast::CrcAlgorithm;

use super::batch::{Aftermath, Batch, Later};
use super::request::{Answer, NewCompletion, Subject};
use crate::model::{
    Checksum, ChecksumAlgorithm, ChecksumKind, CompletePart, UploadId, WriteReceipt,
};
use crate::shard::error::ShardError;
use crate::shard::index::key;
use crate::shard::index::parts::{self, Part};
use crate::shard::index::value::{Artifact, Content, NewArtifact, NewContent, Upload};

type Decided = Result<Answer, ShardError>;

impl Batch<'_> {
    pub(super) fn complete(
        &mut self,
        shard: u8,
        subject: &Subject,
        completion: &NewCompletion,
    ) -> Result<Decided, Later> {
        let container = match self.container(shard, subject) {
            Ok(container) => container,
            Err(error) => return Ok(Err(error)),
        };
        // A part's place in the log is known only once it is durable.
        if self.has_pending(shard, &key::parts(container, completion.upload)) {
            return Err(Later);
        }
        Ok(self.complete_in(shard, container, completion))
    }

    fn complete_in(
        &mut self,
        shard: u8,
        container: u64,
        completion: &NewCompletion,
    ) -> Result<Answer, ShardError> {
        let name = completion.key.as_bytes();
        let upload_stem = key::upload(container, name, completion.upload);
        let artifact_stem = key::artifact(container, name);
        let upload = self.look(shard, &upload_stem, |_, place, value| {
            Upload::decode(place, value).map(|upload| upload.checksum)
        });
        let Some(wanted) = upload else {
            return self.repeated(shard, &artifact_stem, completion.upload);
        };
        let wanted = wanted.ok_or(ShardError::Corrupt)?;
        let named = self.named_parts(shard, container, completion)?;
        let size = named.iter().map(|part| part.size).sum();
        let checksum = checksum_of(wanted, &named);
        if completion.size.is_some_and(|declared| declared != size)
            || completion.checksum.is_some_and(|declared| checksum != Some(declared))
        {
            return Err(ShardError::CompletionMismatch);
        }
        self.check(shard, &artifact_stem, completion.condition)?;

        let list = parts::encode(&named);
        let artifact = NewArtifact {
            size,
            modified_ms: self.now_ms,
            etag: completion.etag,
            checksum,
            metadata: completion.metadata.encoded(),
            content: NewContent::Composite {
                count: u16::try_from(named.len()).unwrap_or(u16::MAX),
                upload: completion.upload,
                length: u32::try_from(list.len()).unwrap_or(u32::MAX),
                crc: crc_fast::crc32_iscsi(&list),
            },
        };
        self.set_artifact(shard, artifact_stem, &artifact, list.into());
        self.remove(shard, upload_stem);
        let taken = named.iter().map(|part| part.number).collect();
        let upload = completion.upload;
        self.aftermath.push(Aftermath::EndUpload { shard, container, upload, taken });
        let receipt =
            WriteReceipt { etag: completion.etag, checksum, modified_ms: self.now_ms, size };
        Ok(Answer::Written { receipt, id: 0 })
    }

    /// What an earlier completion was told, if its artifact is current.
    fn repeated(&self, shard: u8, stem: &[u8], upload: UploadId) -> Decided {
        let receipt = self.look(shard, stem, |sequence, place, value| {
            let artifact = Artifact::decode(shard, sequence, place, value)?;
            let Content::Composite(list) = artifact.content else { return None };
            (list.upload == upload).then_some(WriteReceipt {
                etag: artifact.etag,
                checksum: artifact.checksum,
                modified_ms: artifact.modified_ms,
                size: artifact.size,
            })
        });
        let receipt = receipt.flatten().ok_or(ShardError::NoSuchUpload)?;
        Ok(Answer::Written { receipt, id: 0 })
    }

    fn named_parts(
        &self,
        shard: u8,
        container: u64,
        completion: &NewCompletion,
    ) -> Result<Vec<Part>, ShardError> {
        if !completion.parts.is_sorted_by(|one, next| one.number < next.number) {
            return Err(ShardError::InvalidPartOrder);
        }
        if completion.parts.is_empty() {
            return Err(ShardError::InvalidPart(0));
        }
        let find = |named: &CompletePart| {
            let stored = self.stored_part(shard, container, completion.upload, named.number)?;
            let same = |stored: &Part| {
                stored.etag == named.etag
                    && named.checksum.is_none_or(|checksum| stored.checksum == Some(checksum))
            };
            stored.filter(same).ok_or(ShardError::InvalidPart(named.number))
        };
        let named = completion.parts.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let size_min = completion.part_size_min;
        let all_but_last = &named[..named.len() - 1];
        match all_but_last.iter().find(|part| part.size < size_min) {
            Some(part) => {
                Err(ShardError::PartTooSmall { number: part.number, size: part.size, size_min })
            }
            None => Ok(named),
        }
    }

    fn stored_part(
        &self,
        shard: u8,
        container: u64,
        upload: UploadId,
        number: u16,
    ) -> Result<Option<Part>, ShardError> {
        let stem = key::part(container, upload, number);
        let part = self.look(shard, &stem, |sequence, place, value| {
            let part = Artifact::decode(shard, sequence, place, value)?;
            let Content::Whole(location) = part.content else { return None };
            let Artifact { size, etag, checksum, .. } = part;
            Some(Part { number, size, etag, checksum, location })
        });
        part.map(|part| part.ok_or(ShardError::Corrupt)).transpose()
    }
}

/// The checksum of the whole, of the kind that the upload named; else the CRC-64/NVME of all bytes if every part
/// has one, and none if not.
fn checksum_of(
    wanted: Option<(ChecksumAlgorithm, ChecksumKind)>,
    parts: &[Part],
) -> Option<Checksum> {
    let default = (ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject);
    let (algorithm, kind) = wanted.unwrap_or(default);
    let of_part = |part: &Part| part.checksum.filter(|checksum| checksum.algorithm == algorithm);
    let value = match kind {
        ChecksumKind::Composite => {
            let mut joined = Vec::with_capacity(parts.len() * algorithm.length());
            for part in parts {
                joined.extend_from_slice(of_part(part)?.value());
            }
            hash(algorithm, &joined)
        }
        ChecksumKind::FullObject => {
            let crc = crc(algorithm)?;
            let mut whole = None;
            for part in parts {
                let value = big_endian(of_part(part)?.value());
                whole = Some(match whole {
                    None => value,
                    Some(before) => crc_fast::checksum_combine(crc, before, value, part.size),
                });
            }
            whole?.to_be_bytes()[8 - algorithm.length()..].to_vec()
        }
    };
    Checksum::new(algorithm, kind, &value)
}

fn crc(algorithm: ChecksumAlgorithm) -> Option<CrcAlgorithm> {
    match algorithm {
        ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
        ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
        ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn hash(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Vec<u8> {
    match (crc(algorithm), algorithm) {
        (Some(crc), _) => {
            let value = crc_fast::checksum(crc, bytes).to_be_bytes();
            value[8 - algorithm.length()..].to_vec()
        }
        (None, ChecksumAlgorithm::Sha1) => {
            digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
        }
        (None, _) => digest::digest(&SHA256, bytes).as_ref().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ETag;
    use crate::shard::index::value::Location;

    fn part(number: u16, bytes: &[u8], algorithm: ChecksumAlgorithm) -> Part {
        let value = hash(algorithm, bytes);
        Part {
            number,
            size: bytes.len() as u64,
            etag: ETag { hash: [0; 16], parts: 0 },
            checksum: Checksum::new(algorithm, ChecksumKind::FullObject, &value),
            location: Location::OwnFile { id: 1 },
        }
    }

    #[test]
    fn the_parts_crcs_combine_to_that_of_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
        for algorithm in
            [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme]
        {
            let parts: Vec<_> =
                (1..).zip(whole.chunks(33_333)).map(|(n, c)| part(n, c, algorithm)).collect();
            let combined = checksum_of(Some((algorithm, ChecksumKind::FullObject)), &parts);
            assert_eq!(combined.unwrap().value(), hash(algorithm, &whole), "{algorithm:?}");
        }
    }

    #[test]
    fn a_part_without_the_checksum_leaves_the_whole_without() {
        let mut parts = vec![part(1, b"a", ChecksumAlgorithm::Crc64Nvme)];
        assert!(checksum_of(None, &parts).is_some());
        parts.push(part(2, b"b", ChecksumAlgorithm::Sha256));
        assert!(checksum_of(None, &parts).is_none());
    }
}
