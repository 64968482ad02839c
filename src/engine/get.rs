//! Reading: which version, whether at all, and which of its bytes.

use crate::context::Context;
use crate::driver::{Driver, DriverError, OpenArtifact, Target};
use crate::model::{
    ArtifactInfo, ByteRange, Checksum, ContainerName, ListPage, ListQuery, PartQuery, PartSpan,
    RangeRequest, ReadConditions, ReadVerdict,
};

use super::{AnyOpen, AnyReader, Engine, EngineError};

/// Which bytes to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Selection {
    /// All.
    #[default]
    Whole,
    /// A range.
    Range(RangeRequest),
    /// A part, by its number from 1.
    Part(u16),
}

/// An artifact found, and what of it was selected. `R` is its reader, or `()` for a HEAD.
#[derive(Debug)]
pub struct Opened<R> {
    /// Its description.
    pub info: ArtifactInfo,
    /// The selected bytes.
    pub range: ByteRange,
    /// Whether a range or part was asked for, so that the answer is a 206.
    pub partial: bool,
    /// Number of parts it was completed from.
    pub part_count: Option<u16>,
    /// The checksum of what was selected: the artifact's if that is all of it, a part's own.
    pub checksum: Option<Checksum>,
    /// Yields the selected bytes.
    pub reader: R,
}

impl Engine {
    /// Opens the selected bytes of the current version, if the conditions hold. It can be read to
    /// its end even if it is overwritten or deleted meanwhile.
    ///
    /// # Errors
    /// [`EngineError::NotModified`], [`EngineError::PreconditionFailed`],
    /// [`EngineError::RangeNotSatisfiable`], [`EngineError::NoSuchPart`], or the driver's.
    pub async fn get(
        &self,
        ctx: &Context,
        target: Target<'_>,
        conditions: &ReadConditions,
        selection: Selection,
    ) -> Result<Opened<AnyReader>, EngineError> {
        let open = self.drivers.driver(target.container).open(ctx, target).await?;
        let Opened { info, range, partial, part_count, checksum, reader: () } =
            select(ctx, &open, conditions, selection).await?;
        let reader = open.read(ctx, range).await?;
        Ok(Opened { info, range, partial, part_count, checksum, reader })
    }

    /// As [`Engine::get`], without the bytes.
    ///
    /// # Errors
    /// Those of [`Engine::get`].
    pub async fn head(
        &self,
        ctx: &Context,
        target: Target<'_>,
        conditions: &ReadConditions,
        selection: Selection,
    ) -> Result<Opened<()>, EngineError> {
        let open = self.drivers.driver(target.container).open(ctx, target).await?;
        select(ctx, &open, conditions, selection).await
    }

    /// As [`Engine::head`] of the whole, with some of the parts that it was completed from; none if
    /// it was written in one piece.
    ///
    /// # Errors
    /// Those of [`Engine::head`].
    pub async fn head_parts(
        &self,
        ctx: &Context,
        target: Target<'_>,
        conditions: &ReadConditions,
        query: PartQuery,
    ) -> Result<(Opened<()>, Vec<PartSpan>), EngineError> {
        let open = self.drivers.driver(target.container).open(ctx, target).await?;
        let opened = select(ctx, &open, conditions, Selection::Whole).await?;
        let parts = match opened.part_count {
            Some(_) => open.parts(ctx, query).await?,
            None => Vec::new(),
        };
        Ok((opened, parts))
    }

    /// Lists artifacts of a container.
    ///
    /// # Errors
    /// The driver's.
    pub async fn list(
        &self,
        ctx: &Context,
        container: &ContainerName,
        query: &ListQuery,
    ) -> Result<ListPage, EngineError> {
        Ok(self.drivers.driver(container).list(ctx, container, query).await?)
    }
}

/// Evaluates conditions first, then the selection (RFC 9110, section 13.2.2).
async fn select(
    ctx: &Context,
    open: &AnyOpen,
    conditions: &ReadConditions,
    selection: Selection,
) -> Result<Opened<()>, EngineError> {
    let info = open.info();
    match conditions.evaluate(info) {
        ReadVerdict::Proceed => {}
        ReadVerdict::NotModified => return Err(EngineError::NotModified(Box::new(info.clone()))),
        ReadVerdict::Failed => return Err(EngineError::PreconditionFailed),
    }
    let size = info.size;
    let mut checksum = info.checksum;
    let range = match selection {
        Selection::Whole => ByteRange::whole(size),
        Selection::Range(range) => {
            let range =
                range.resolve(size).map_err(|_| EngineError::RangeNotSatisfiable { size })?;
            checksum = checksum.filter(|_| range.length == size);
            range
        }
        Selection::Part(number) => {
            let part = open.part(ctx, number).await?.ok_or(EngineError::NoSuchPart)?;
            checksum = part.checksum;
            part.range
        }
    };
    if range.end() > size {
        return Err(DriverError::Corrupt.into());
    }
    Ok(Opened {
        info: info.clone(),
        range,
        partial: selection != Selection::Whole,
        part_count: open.part_count(),
        checksum,
        reader: (),
    })
}
