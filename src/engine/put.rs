//! Writing and deleting.

use crate::context::Context;
use crate::driver::{Deletion, Driver, DriverError, Source, Target, WriteSpec};
use crate::model::{ContainerName, WriteCondition, WriteReceipt};

use super::{AnyDriver, Engine, EngineError};

impl Engine {
    /// Stores an artifact from `source`; durable and visible on return, or without a trace.
    ///
    /// # Errors
    /// The driver's; [`DriverError::Unsupported`] for a condition that it cannot decide.
    pub async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, EngineError> {
        let driver = self.drivers.driver(target.container);
        allowed(driver, spec.condition)?;
        Ok(driver.put(ctx, target, spec, source).await?)
    }

    /// Deletes artifacts of one container, durable on return; one result each, in order.
    ///
    /// # Errors
    /// The driver's, if it could do none of them.
    pub async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), EngineError>>, EngineError> {
        let driver = self.drivers.driver(container);
        for deletion in deletions {
            allowed(driver, deletion.condition)?;
        }
        let results = driver.delete(ctx, container, deletions).await?;
        Ok(results.into_iter().map(|result| result.map_err(EngineError::from)).collect())
    }
}

/// Refuses a condition that the driver would not decide at commit.
pub(super) fn allowed(driver: &AnyDriver, condition: WriteCondition) -> Result<(), EngineError> {
    if condition == WriteCondition::None || driver.capabilities().conditional_writes {
        Ok(())
    } else {
        Err(DriverError::Unsupported.into())
    }
}
