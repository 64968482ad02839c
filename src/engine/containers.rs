//! Containers.

use crate::context::Context;
use crate::driver::Driver;
use crate::model::{ContainerInfo, ContainerName, ContainerPage, ContainerQuery};

use super::{AnyDriver, Engine, EngineError};

impl Engine {
    /// Creates a container, durable on return.
    ///
    /// # Errors
    /// The driver's.
    pub async fn create_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), EngineError> {
        Ok(self.drivers.driver(name).create_container(ctx, name).await?)
    }

    /// Describes a container.
    ///
    /// # Errors
    /// The driver's.
    pub async fn head_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<ContainerInfo, EngineError> {
        Ok(self.drivers.driver(name).head_container(ctx, name).await?)
    }

    /// Deletes an empty container, durable on return.
    ///
    /// # Errors
    /// The driver's.
    pub async fn delete_container(
        &self,
        ctx: &Context,
        name: &ContainerName,
    ) -> Result<(), EngineError> {
        Ok(self.drivers.driver(name).delete_container(ctx, name).await?)
    }

    /// Lists the tenant's containers over all drivers, in order of their names. A container that
    /// lies with a driver which the rules no longer choose for it is not listed, as it cannot be
    /// reached either.
    ///
    /// # Errors
    /// Any driver's: a page with holes would be a lie.
    pub async fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, EngineError> {
        let mut merged = ContainerPage::default();
        for (index, driver) in self.drivers.all().enumerate() {
            let own = self.list_of_driver(ctx, index, driver, query).await?;
            merged.truncated |= own.truncated;
            merged.containers.extend(own.containers);
        }
        merged.containers.sort_unstable_by_key(|info| info.name);
        merged.truncated |= query.limit > 0 && merged.containers.len() > query.limit;
        merged.containers.truncate(query.limit);
        Ok(merged)
    }

    /// A page of what one driver has and is still chosen for.
    async fn list_of_driver(
        &self,
        ctx: &Context,
        index: usize,
        driver: &AnyDriver,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, EngineError> {
        let mut query = query.clone();
        let mut kept = ContainerPage::default();
        loop {
            let page = driver.list_containers(ctx, &query).await?;
            let last = page.containers.last().map(|info| info.name.as_str().to_owned());
            let own = page.containers.into_iter();
            kept.containers.extend(own.filter(|info| self.drivers.keeps(index, &info.name)));
            kept.truncated = page.truncated;
            if !page.truncated || kept.containers.len() >= query.limit || last.is_none() {
                return Ok(kept);
            }
            query.after = last;
        }
    }
}
