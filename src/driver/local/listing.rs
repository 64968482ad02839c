//! Listings of containers and artifacts.

use super::Core;
use crate::context::{Context, Stage};
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::model::{ContainerName, ContainerPage, ContainerQuery, ListPage, ListQuery};
use crate::shard::index::list::{self, ListError};

impl<D: Disk, C: Clock> Core<D, C> {
    pub(super) fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        self.in_index(ctx, || Ok(list::containers(&self.shared.index, ctx.tenant(), query)))
    }

    pub(super) async fn list(
        &self,
        ctx: &Context,
        name: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        let began = self.clock.now();
        ctx.check(began)?;
        let _pin = self.pins.pin();
        let (shard, container) = self.container(ctx, name)?;
        let map = self.shared.index.shard(shard);
        let page = list::artifacts(map, shard, container.id, query, self.finder.reader()).await;
        ctx.trace().add(Stage::Index, self.clock.now().since(began));
        Ok(page.map_err(|error| match error {
            ListError::Malformed(malformed) => malformed.into(),
            ListError::Run(error) => self.shared.run_failed(error),
        })?)
    }
}
