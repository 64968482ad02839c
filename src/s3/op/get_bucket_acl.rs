//! GetBucketAcl: the owner has full control, and nobody else has any.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;
use crate::s3::xml::Xml;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    call.engine().head_container(ctx, &call.bucket()?).await?;
    Ok(private(call))
}

/// The access-control list of everything.
pub(super) fn private(call: &Call<'_>) -> Answer {
    let mut xml = Xml::new("AccessControlPolicy", 1024);
    call.owner(&mut xml, "Owner");
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.open_with(
        "Grantee",
        &[
            ("xmlns:xsi", "http://www.w3.org/2001/XMLSchema-instance"),
            ("xsi:type", "CanonicalUser"),
        ],
    );
    xml.text("ID", call.owner_id());
    xml.text("DisplayName", "default");
    xml.close("Grantee");
    xml.text("Permission", "FULL_CONTROL");
    xml.close("Grant");
    xml.close("AccessControlList");
    Answer::document(xml)
}
