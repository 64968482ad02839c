//! Bodies that are small documents, read whole.

use super::super::error::{Code, S3Error};
use crate::context::Context;
use crate::driver::Source;

/// Least bytes asked for at a time where the size is not known.
const STEP_BYTES: usize = 16 * 1024;

/// Reads a body of at most `limit` bytes and checks what was promised about it. Before the document
/// takes more memory, `grow` is told how much that will be in all: what has not arrived takes none,
/// so that slow clients hold little.
///
/// # Errors
/// `MaxMessageLengthExceeded` if it is longer, those of `grow`, and the answer to any
/// [`BodyError`](crate::driver::BodyError).
pub async fn read_document<S: Source>(
    ctx: &Context,
    source: &mut S,
    limit: usize,
    mut grow: impl AsyncFnMut(usize) -> Result<(), S3Error>,
) -> Result<Vec<u8>, S3Error> {
    let size = source.size().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if size.is_some_and(|size| size > limit) {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let mut document = Vec::new();
    let mut filled = 0;
    while size != Some(0) {
        if filled == document.len() {
            let rest = size.unwrap_or(limit).saturating_sub(filled);
            // One more than may come, so that the end shows itself.
            let step = rest.min(filled.max(STEP_BYTES)) + 1;
            grow(filled + step).await?;
            document.reserve_exact(step);
            document.resize(filled + step, 0);
        }
        let count = source.read(ctx, &mut document[filled..]).await?;
        if count == 0 {
            break;
        }
        filled += count;
        if filled > limit {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
    }
    source.finish(ctx).await?;
    document.truncate(filled);
    Ok(document)
}
