//! ListObjectVersions, of a bucket that was never versioned: every object has one version, `null`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>

use crate::context::Context;
use crate::model::ListEntry;
use crate::s3::call::{Answer, Call, argument};
use crate::s3::error::S3Error;

use super::listing::{Listing, describe};

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let listing = Listing::of(call)?;
    let key_marker = call.query.get("key-marker").unwrap_or_default();
    let version_marker = call.query.get("version-id-marker").unwrap_or_default();
    if key_marker.is_empty() && !version_marker.is_empty() {
        return Err(argument(
            "version-id-marker",
            version_marker,
            "A version-id marker cannot be specified without a key marker.",
        ));
    }
    let page = listing.page(ctx, call, Some(key_marker)).await?;
    let mut xml = listing.begin(ctx, call, "ListVersionsResult", &page).await?;
    xml.key("KeyMarker", key_marker, listing.url_encoded);
    xml.text("VersionIdMarker", version_marker);
    listing.middle(&mut xml, &page);
    if let Some(next) = Listing::next(&page) {
        xml.key("NextKeyMarker", next, listing.url_encoded);
        if matches!(page.entries.last(), Some(ListEntry::Artifact(..))) {
            xml.text("NextVersionIdMarker", "null");
        }
    }
    listing.entries(&mut xml, &page, "Version", |xml, info| {
        xml.text("VersionId", "null");
        xml.boolean("IsLatest", true);
        describe(xml, info);
        call.owner(xml, "Owner");
        xml.plain("StorageClass", "STANDARD");
    });
    Ok(Answer::document(xml))
}
