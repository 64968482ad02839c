//! Bodies that are small documents, read whole.

use super::super::error::{Code, S3Error};
use crate::context::Context;
use crate::driver::Source;

/// Bytes asked for at a time where the size is not known.
const STEP_BYTES: usize = 16 * 1024;

/// Reads a body of at most `limit` bytes and checks what was promised about it.
///
/// # Errors
/// `MaxMessageLengthExceeded` if it is longer, and the answer to any [`BodyError`](crate::driver::BodyError).
pub async fn read_document<S: Source>(
    ctx: &Context,
    source: &mut S,
    limit: usize,
) -> Result<Vec<u8>, S3Error> {
    let size = source.size().map(|size| usize::try_from(size).unwrap_or(usize::MAX));
    if size.is_some_and(|size| size > limit) {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let mut document = Vec::new();
    loop {
        let start = document.len();
        // One more than may come, so that the end shows itself.
        let room = size.map_or(STEP_BYTES, |size| (size - start.min(size)).min(STEP_BYTES) + 1);
        document.resize(start + room, 0);
        let filled = source.read(ctx, &mut document[start..]).await?;
        document.truncate(start + filled);
        if filled == 0 {
            break;
        }
        if document.len() > limit {
            return Err(Code::MaxMessageLengthExceeded.into());
        }
    }
    source.finish(ctx).await?;
    Ok(document)
}
