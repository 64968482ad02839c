//! GetBucketPolicy, GetBucketTagging, GetObjectLockConfiguration and others whose honest answer is
//! that nothing is set.

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::{Code, S3Error};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>, code: Code) -> Result<Answer, S3Error> {
    call.engine().head_container(ctx, &call.bucket()?).await?;
    Err(code.into())
}
