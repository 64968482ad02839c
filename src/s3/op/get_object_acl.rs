//! GetObjectAcl: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAcl.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::Selection;
use crate::model::ReadConditions;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

use super::get_bucket_acl::private;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    call.engine().head(ctx, target, &ReadConditions::default(), Selection::Whole).await?;
    Ok(private(call))
}
