//! Writing and deleting artifacts.

use super::Core;
use crate::context::Context;
use crate::driver::{Deletion, DriverError, Source, Target, WriteSpec};
use crate::io::{Clock, Disk};
use crate::model::{ContainerName, WriteReceipt};
use crate::shard::commit::{Answer, NewPut, Request};

/// Most deletions of one commit. More are several commits, each atomic.
const DELETIONS_MAX: usize = 500;

impl<D: Disk, C: Clock> Core<D, C> {
    pub(super) async fn put<S: Source>(
        &self,
        ctx: &Context,
        target: Target<'_>,
        spec: WriteSpec,
        source: &mut S,
    ) -> Result<WriteReceipt, DriverError> {
        // The owner looks again; this spares the body of a write that cannot succeed.
        self.in_index(ctx, || self.container(ctx, target.container).map(drop))?;
        self.refuse_if_poisoned()?;
        let taken = self.take_body(ctx, source).await?;
        let inline = taken.inline();
        let (shard, subject) = self.subject(ctx, target.container);
        let put = NewPut {
            key: target.key.as_str().into(),
            body: taken.body,
            metadata: spec.metadata,
            condition: spec.condition,
        };
        match self.commit(ctx, shard, Request::Put(subject, Box::new(put))).await? {
            Answer::Written { receipt, id } => {
                if let Some(bytes) = inline {
                    self.cache.insert(id, bytes);
                }
                Ok(receipt)
            }
            _ => Err(DriverError::Unsupported),
        }
    }

    pub(super) async fn delete(
        &self,
        ctx: &Context,
        container: &ContainerName,
        deletions: &[Deletion<'_>],
    ) -> Result<Vec<Result<(), DriverError>>, DriverError> {
        let (shard, subject) = self.subject(ctx, container);
        self.in_index(ctx, || self.container(ctx, container).map(drop))?;
        let mut results = Vec::with_capacity(deletions.len());
        for some in deletions.chunks(DELETIONS_MAX) {
            let owned = some.iter().map(|one| (one.key.as_str().into(), one.condition)).collect();
            match self.commit(ctx, shard, Request::Delete(subject, owned)).await? {
                Answer::Deleted(of_these) => {
                    results.extend(of_these.into_iter().map(|one| one.map_err(DriverError::from)));
                }
                _ => return Err(DriverError::Unsupported),
            }
        }
        Ok(results)
    }
}
