//! GetObjectTagging: no object has tags.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>

use crate::context::Context;
use crate::driver::Target;
use crate::engine::Selection;
use crate::model::ReadConditions;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::xml::Xml;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let bucket = call.bucket()?;
    let target = Target { container: &bucket, key: call.key()? };
    call.engine().head(ctx, target, &ReadConditions::default(), Selection::Whole).await?;
    let mut xml = Xml::new("Tagging", 256);
    xml.open("TagSet");
    xml.close("TagSet");
    Ok(Answer::document(xml))
}
