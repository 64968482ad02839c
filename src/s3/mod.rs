//! The S3 wire: one dispatch. Bucket and object are words of this layer alone.

pub mod auth;
pub mod error;

mod call;
mod headers;
mod name;
mod op;
mod query;
mod route;
mod service;
mod time;
mod xml;

pub use service::{Outline, Reply, Service, ServiceConfig, refuse};

use crate::context::Context;
use crate::http::Body;

use call::{Answer, Call};
use error::{Code, S3Error};
use route::Verb;

/// What every answer gives as `x-amz-id-2`: there is one host.
pub(crate) const HOST_ID: &str = "dmF1bHRhaXJl";

/// The field that says so.
pub(crate) const HOST_ID_LINE: &str = "x-amz-id-2: dmF1bHRhaXJl\r\n";

/// Carries out what an authenticated request asks for.
async fn dispatch<B: Body>(
    ctx: &Context,
    call: &Call<'_>,
    body: &mut B,
) -> Result<Answer, S3Error> {
    match call.route.verb {
        Verb::GetObject => op::get_object::serve(ctx, call).await,
        Verb::HeadObject => op::head_object::serve(ctx, call).await,
        Verb::PutObject => op::put_object::serve(ctx, call, body).await,
        Verb::CopyObject => op::copy_object::serve(ctx, call).await,
        Verb::DeleteObject => op::delete_object::serve(ctx, call).await,
        Verb::DeleteObjects => op::delete_objects::serve(ctx, call, body).await,
        Verb::GetObjectAcl => op::get_object_acl::serve(ctx, call).await,
        Verb::GetObjectAttributes => op::get_object_attributes::serve(ctx, call).await,
        Verb::GetObjectLock => op::get_object_lock::serve(ctx, call).await,
        Verb::GetObjectTagging => op::get_object_tagging::serve(ctx, call).await,

        Verb::ListObjects => op::list_objects::serve(ctx, call).await,
        Verb::ListObjectsV2 => op::list_objects_v2::serve(ctx, call).await,
        Verb::ListObjectVersions => op::list_object_versions::serve(ctx, call).await,

        Verb::CreateMultipartUpload => op::create_multipart_upload::serve(ctx, call).await,
        Verb::UploadPart => op::upload_part::serve(ctx, call, body).await,
        Verb::UploadPartCopy => op::upload_part_copy::serve(ctx, call).await,
        Verb::CompleteMultipartUpload => {
            op::complete_multipart_upload::serve(ctx, call, body).await
        }
        Verb::AbortMultipartUpload => op::abort_multipart_upload::serve(ctx, call).await,
        Verb::ListParts => op::list_parts::serve(ctx, call).await,
        Verb::ListMultipartUploads => op::list_multipart_uploads::serve(ctx, call).await,

        Verb::ListBuckets => op::list_buckets::serve(ctx, call).await,
        Verb::CreateBucket => op::create_bucket::serve(ctx, call, body).await,
        Verb::HeadBucket => op::head_bucket::serve(ctx, call).await,
        Verb::DeleteBucket => op::delete_bucket::serve(ctx, call).await,
        Verb::GetBucketAcl => op::get_bucket_acl::serve(ctx, call).await,
        Verb::GetBucketLocation => op::get_bucket_location::serve(ctx, call).await,
        Verb::GetBucketVersioning => op::get_bucket_versioning::serve(ctx, call).await,
        Verb::GetBucketSetting(code) => op::get_bucket_setting::serve(ctx, call, code).await,

        Verb::NotImplemented => Err(Code::NotImplemented.into()),
        Verb::MethodNotAllowed => Err(Code::MethodNotAllowed.into()),
    }
}

#[cfg(test)]
mod tests;
