//! ListObjectsV2: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use crate::context::Context;
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

use super::listing::{Listing, describe};
use super::token;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let listing = Listing::of(call)?;
    let start_after = call.query.non_empty("start-after");
    let after = token::of_query(&call.query)?;
    let with_owner =
        call.query.get("fetch-owner").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let page = listing.page(ctx, call, after.as_deref().or(start_after)).await?;
    let mut xml = listing.begin(ctx, call, "ListBucketResult", &page).await?;
    if let Some(start_after) = start_after {
        xml.key("StartAfter", start_after, listing.url_encoded);
    }
    xml.number("KeyCount", page.entries.len() as u64);
    listing.middle(&mut xml, &page);
    if let Some(token) = call.query.get("continuation-token") {
        xml.text("ContinuationToken", token);
    }
    if let Some(next) = Listing::next(&page) {
        xml.text("NextContinuationToken", &token::encode(next));
    }
    listing.entries(&mut xml, &page, "Contents", |xml, info| {
        describe(xml, info);
        if with_owner {
            call.owner(xml, "Owner");
        }
        xml.plain("StorageClass", "STANDARD");
    });
    Ok(Answer::document(xml))
}
