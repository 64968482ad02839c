//! ListObjects: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

use super::listing::{Listing, describe};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let listing = Listing::of(call)?;
    let marker = call.query.get("marker").unwrap_or_default();
    let page = listing.page(ctx, call, Some(marker)).await?;
    let mut xml = listing.begin(ctx, call, "ListBucketResult", &page).await?;
    xml.key("Marker", marker, listing.url_encoded);
    listing.middle(&mut xml, &page);
    // Without a delimiter the client goes on from the last key that it got.
    if let Some(next) = Listing::next(&page).filter(|_| !listing.delimiter.is_empty()) {
        xml.key("NextMarker", next, listing.url_encoded);
    }
    listing.entries(&mut xml, &page, "Contents", |xml, info| {
        describe(xml, info);
        call.owner(xml, "Owner");
        xml.plain("StorageClass", "STANDARD");
    });
    Ok(Answer::document(xml))
}
