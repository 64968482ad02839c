//! What the model holds, and the single steps on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::driver::DriverError;
use crate::model::{
    ArtifactInfo, Checksum, ContainerInfo, ContainerName, PartInfo, TenantId, UploadId, UploadInfo,
    WriteCondition, WriteReceipt,
};

use super::body::Body;

/// All containers of all tenants.
#[derive(Debug, Default)]
pub(super) struct State {
    containers: BTreeMap<(TenantId, ContainerName), Container>,
    last_upload_order: u64,
}

/// A container.
#[derive(Debug, Default)]
pub(super) struct Container {
    pub(super) created_ms: i64,
    pub(super) artifacts: BTreeMap<String, Arc<Artifact>>,
    /// Ids ascend with the time of creation.
    pub(super) uploads: BTreeMap<(String, UploadId), Upload>,
}

/// One version of an artifact.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) info: ArtifactInfo,
    pub(super) body: Body,
    pub(super) completed: Option<Completed>,
}

/// How an artifact was completed.
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) upload: UploadId,
    /// Size and checksum of each part, in order.
    pub(super) parts: Vec<(u64, Option<Checksum>)>,
}

/// An upload in progress.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) info: UploadInfo,
    pub(super) parts: BTreeMap<u16, Part>,
}

/// A stored part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) info: PartInfo,
    pub(super) body: Body,
}

impl State {
    pub(super) fn container(
        &mut self,
        tenant: TenantId,
        name: &ContainerName,
    ) -> Result<&mut Container, DriverError> {
        self.containers.get_mut(&(tenant, *name)).ok_or(DriverError::NoSuchContainer)
    }

    pub(super) fn create_container(
        &mut self,
        tenant: TenantId,
        name: &ContainerName,
        created_ms: i64,
    ) -> Result<(), DriverError> {
        if self.containers.contains_key(&(tenant, *name)) {
            return Err(DriverError::ContainerExists);
        }
        let container = Container { created_ms, ..Container::default() };
        self.containers.insert((tenant, *name), container);
        Ok(())
    }

    pub(super) fn delete_container(
        &mut self,
        tenant: TenantId,
        name: &ContainerName,
    ) -> Result<(), DriverError> {
        if !self.container(tenant, name)?.artifacts.is_empty() {
            return Err(DriverError::ContainerNotEmpty);
        }
        self.containers.remove(&(tenant, *name));
        Ok(())
    }

    pub(super) fn containers_of(
        &self,
        wanted: TenantId,
    ) -> impl Iterator<Item = ContainerInfo> + '_ {
        let own = self.containers.iter().filter(move |((tenant, _), _)| *tenant == wanted);
        own.map(|((_, name), container)| ContainerInfo {
            name: *name,
            created_ms: container.created_ms,
        })
    }

    /// An id that nobody can guess and that sorts after all earlier ones: milliseconds and a
    /// counter in the upper half, randomness in the lower.
    pub(super) fn next_upload_id(&mut self, created_ms: i64) -> UploadId {
        let by_time = u64::try_from(created_ms).unwrap_or(0) << 16;
        self.last_upload_order = by_time.max(self.last_upload_order + 1);
        let mut random = [0; 8];
        // It fails only where the kernel has no randomness at all; the order keeps the id unique.
        let _ = aws_lc_rs::rand::fill(&mut random);
        let random = u64::from_le_bytes(random);
        UploadId(u128::from(self.last_upload_order) << 64 | u128::from(random))
    }
}

impl Container {
    pub(super) fn current(&self, key: &str) -> Option<&Arc<Artifact>> {
        self.artifacts.get(key)
    }

    pub(super) fn store(&mut self, key: &str, artifact: Artifact) {
        self.artifacts.insert(key.to_owned(), Arc::new(artifact));
    }

    pub(super) fn remove(&mut self, key: &str) {
        self.artifacts.remove(key);
    }

    pub(super) fn begin_upload(&mut self, key: &str, id: UploadId, info: UploadInfo) {
        self.uploads.insert((key.to_owned(), id), Upload { info, parts: BTreeMap::new() });
    }

    pub(super) fn upload(&mut self, key: &str, id: UploadId) -> Result<&mut Upload, DriverError> {
        self.uploads.get_mut(&(key.to_owned(), id)).ok_or(DriverError::NoSuchUpload)
    }

    pub(super) fn end_upload(&mut self, key: &str, id: UploadId) -> Result<(), DriverError> {
        let ended = self.uploads.remove(&(key.to_owned(), id));
        ended.map(drop).ok_or(DriverError::NoSuchUpload)
    }

    /// What an earlier completion of this upload was told, if its artifact is current.
    pub(super) fn receipt_of_completion(&self, key: &str, id: UploadId) -> Option<WriteReceipt> {
        let artifact = self.current(key)?;
        let same = artifact.completed.as_ref()?.upload == id;
        same.then(|| receipt(&artifact.info))
    }
}

/// Decides a condition. One that asks for an artifact where there is none finds no artifact; any
/// other that does not hold is a failed precondition.
pub(super) fn decide(
    condition: WriteCondition,
    current: Option<&Arc<Artifact>>,
) -> Result<(), DriverError> {
    match current {
        _ if condition.holds(current.map(|artifact| artifact.info.etag)) => Ok(()),
        Some(_) => Err(DriverError::PreconditionFailed),
        None => Err(DriverError::NoSuchArtifact),
    }
}

/// What the writer of an artifact is told.
pub(super) fn receipt(info: &ArtifactInfo) -> WriteReceipt {
    WriteReceipt {
        etag: info.etag,
        checksum: info.checksum,
        modified_ms: info.modified_ms,
        size: info.size,
    }
}
