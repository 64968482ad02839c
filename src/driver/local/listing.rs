//! Listings of containers and artifacts.

use super::Core;
use crate::context::Context;
use crate::driver::DriverError;
use crate::io::{Clock, Disk};
use crate::model::{ContainerName, ContainerPage, ContainerQuery, ListPage, ListQuery};
use crate::shard::error::ShardError;
use crate::shard::index::list;

impl<D: Disk, C: Clock> Core<D, C> {
    pub(super) fn list_containers(
        &self,
        ctx: &Context,
        query: &ContainerQuery,
    ) -> Result<ContainerPage, DriverError> {
        self.in_index(ctx, || Ok(list::containers(&self.shared.index, ctx.tenant(), query)))
    }

    pub(super) fn list(
        &self,
        ctx: &Context,
        name: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, DriverError> {
        self.in_index(ctx, || {
            let (shard, container) = self.container(ctx, name)?;
            let map = self.shared.index.shard(shard);
            let page = list::artifacts(map, shard, container.id, query);
            Ok(page.map_err(ShardError::from)?)
        })
    }
}
