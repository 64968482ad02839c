//! GetBucketVersioning: no bucket is, so the configuration is empty.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketVersioning.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::xml::Xml;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    call.engine().head_container(ctx, &call.bucket()?).await?;
    Ok(Answer::document(Xml::new("VersioningConfiguration", 256)))
}
