//! ListBuckets: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>

use crate::context::Context;
use crate::model::{ContainerPage, ContainerQuery};
use crate::s3::call::{Answer, Call};
use crate::s3::error::S3Error;

use super::token;

/// Most buckets of a page.
const BUCKETS_MAX: usize = 10_000;

pub(crate) async fn serve(ctx: &Context, call: &Call<'_>) -> Result<Answer, S3Error> {
    let region = &call.service.config.region;
    let query = ContainerQuery {
        prefix: call.query.get("prefix").unwrap_or_default().to_owned(),
        after: token::of_query(&call.query)?,
        limit: call.query.count("max-buckets", 1, BUCKETS_MAX, BUCKETS_MAX)?,
    };
    let elsewhere = call.query.non_empty("bucket-region").is_some_and(|other| other != region);
    let page = if elsewhere {
        ContainerPage::default()
    } else {
        call.engine().list_containers(ctx, &query).await?
    };
    let mut xml =
        call.xml(ctx, "ListAllMyBucketsResult", 512 + page.containers.len() * 192).await?;
    call.owner(&mut xml, "Owner");
    xml.open("Buckets");
    for info in &page.containers {
        xml.open("Bucket");
        xml.text("Name", info.name.as_str());
        xml.time("CreationDate", info.created_ms);
        xml.text("BucketRegion", region);
        xml.close("Bucket");
    }
    xml.close("Buckets");
    if !query.prefix.is_empty() {
        xml.text("Prefix", &query.prefix);
    }
    if let Some(last) = page.containers.last().filter(|_| page.truncated) {
        xml.text("ContinuationToken", &token::encode(last.name.as_str()));
    }
    Ok(Answer::document(xml))
}
