//! Multipart uploads.

use crate::context::Context;
use crate::driver::{Completion, Driver, Source, Target, UploadSpec};
use crate::model::{
    ContainerName, PartInfo, PartPage, PartQuery, UploadId, UploadInfo, UploadPage, UploadQuery,
    WriteReceipt,
};

use super::put::allowed;
use super::{Engine, EngineError};

impl Engine {
    /// Begins a multipart upload, durable on return.
    ///
    /// # Errors
    /// The driver's.
    pub async fn create_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: UploadSpec,
    ) -> Result<UploadId, EngineError> {
        Ok(self.drivers.driver(target.container).create_upload(ctx, target, spec).await?)
    }

    /// Describes an upload.
    ///
    /// # Errors
    /// The driver's.
    pub async fn head_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<UploadInfo, EngineError> {
        Ok(self.drivers.driver(target.container).head_upload(ctx, target, upload).await?)
    }

    /// Stores a part, replacing one of the same number; durable on return.
    ///
    /// # Errors
    /// The driver's.
    pub async fn put_part<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        number: u16,
        source: &mut S,
    ) -> Result<PartInfo, EngineError> {
        let driver = self.drivers.driver(target.container);
        Ok(driver.put_part(ctx, target, upload, number, source).await?)
    }

    /// Makes the artifact from its parts; durable on return. A repeated completion returns the
    /// same receipt while its artifact is current.
    ///
    /// # Errors
    /// The driver's.
    pub async fn complete_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        completion: &Completion<'_>,
    ) -> Result<WriteReceipt, EngineError> {
        let driver = self.drivers.driver(target.container);
        allowed(driver, completion.condition)?;
        Ok(driver.complete_upload(ctx, target, upload, completion).await?)
    }

    /// Gives an upload up and frees its parts; durable on return.
    ///
    /// # Errors
    /// The driver's.
    pub async fn abort_upload(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
    ) -> Result<(), EngineError> {
        Ok(self.drivers.driver(target.container).abort_upload(ctx, target, upload).await?)
    }

    /// Lists the parts of an upload.
    ///
    /// # Errors
    /// The driver's.
    pub async fn list_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        upload: UploadId,
        query: PartQuery,
    ) -> Result<PartPage, EngineError> {
        Ok(self.drivers.driver(target.container).list_parts(ctx, target, upload, query).await?)
    }

    /// Lists uploads in progress.
    ///
    /// # Errors
    /// The driver's.
    pub async fn list_uploads(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &UploadQuery,
    ) -> Result<UploadPage, EngineError> {
        Ok(self.drivers.driver(container).list_uploads(ctx, container, query).await?)
    }
}
