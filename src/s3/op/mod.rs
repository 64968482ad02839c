//! The operations, one file each.

pub(super) mod abort_multipart_upload;
pub(super) mod complete_multipart_upload;
pub(super) mod copy_object;
pub(super) mod create_bucket;
pub(super) mod create_multipart_upload;
pub(super) mod delete_bucket;
pub(super) mod delete_object;
pub(super) mod delete_objects;
pub(super) mod get_bucket_acl;
pub(super) mod get_bucket_location;
pub(super) mod get_bucket_setting;
pub(super) mod get_bucket_versioning;
pub(super) mod get_object;
pub(super) mod get_object_acl;
pub(super) mod get_object_attributes;
pub(super) mod get_object_lock;
pub(super) mod get_object_tagging;
pub(super) mod head_bucket;
pub(super) mod head_object;
pub(super) mod list_buckets;
pub(super) mod list_multipart_uploads;
pub(super) mod list_object_versions;
pub(super) mod list_objects;
pub(super) mod list_objects_v2;
pub(super) mod list_parts;
pub(super) mod put_object;
pub(super) mod upload_part;
pub(super) mod upload_part_copy;

// What several of them share.
mod copy_source;
mod listing;
mod token;
mod write;
