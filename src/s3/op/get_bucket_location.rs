//! GetBucketLocation: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::xml::Xml;

/// The region whose constraint is written as nothing.
const REGION_UNNAMED: &str = "us-east-1";

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    call.engine().head_container(ctx, &call.bucket()?).await?;
    let region = call.service.config.region.as_str();
    let mut xml = Xml::new("LocationConstraint", 256);
    xml.content(if region == REGION_UNNAMED { "" } else { region });
    Ok(Answer::document(xml))
}
