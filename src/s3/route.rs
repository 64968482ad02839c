//! Which operation a request asks for: from its method, whether it names a bucket and a key, its
//! subresources and one header.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::event::Operation;
use crate::http::RequestHead;

use super::error::{Code, S3Error};
use super::name;
use super::query::Query;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetBucketAcl,
    GetBucketLocation,
    GetBucketVersioning,
    /// A configuration that no bucket has: the code that says so.
    GetBucketSetting(Code),
    ListObjects,
    ListObjectsV2,
    ListObjectVersions,
    ListMultipartUploads,
    DeleteObjects,
    GetObject,
    GetObjectAcl,
    GetObjectAttributes,
    GetObjectLock,
    GetObjectTagging,
    HeadObject,
    PutObject,
    CopyObject,
    DeleteObject,
    CreateMultipartUpload,
    UploadPart,
    UploadPartCopy,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    /// Known to the protocol or not, but not here: 501.
    NotImplemented,
    /// No resource has this method: 405.
    MethodNotAllowed,
}

/// A routed request. The names are decoded, and not checked yet; empty for none.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    /// What is asked for.
    pub(crate) verb: Verb,
    /// The bucket's name.
    pub(crate) bucket: Cow<'a, str>,
    /// The object's key.
    pub(crate) key: Cow<'a, str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Service,
    Bucket,
    Object,
}

/// The subresources of the protocol, sorted. A request may carry those of one row of [`verb`]; any
/// other combination is not implemented.
const SUBRESOURCES: &[&str] = &[
    "accelerate",
    "acl",
    "analytics",
    "append",
    "attributes",
    "cors",
    "delete",
    "encryption",
    "intelligent-tiering",
    "inventory",
    "legal-hold",
    "lifecycle",
    "location",
    "logging",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipControls",
    "partNumber",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "renameObject",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "session",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versioning",
    "versions",
    "website",
];

/// The parameters that may be empty without being taken for an unknown subresource.
const PARAMETERS: &[&str] = &[
    "bucket-region",
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-buckets",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "versionId",
];

/// Routes a request, in path style, or in virtual-host style under one of `domains`.
///
/// # Errors
/// `InvalidURI` if a name does not decode.
pub(crate) fn route<'a>(
    head: &RequestHead<'a>,
    query: &Query<'_>,
    domains: &[String],
) -> Result<Route<'a>, S3Error> {
    let path = head.path.strip_prefix('/').unwrap_or(head.path);
    let (bucket, key) = match virtual_host(head.headers.get("host").unwrap_or_default(), domains) {
        Some(bucket) => (Cow::Owned(bucket), path),
        None => {
            let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
            (name::decode(bucket)?, key)
        }
    };
    let key = name::decode(key)?;
    let level = match (bucket.is_empty(), key.is_empty()) {
        (true, true) => Level::Service,
        (true, false) => return Err(Code::InvalidBucketName.into()),
        (false, true) => Level::Bucket,
        (false, false) => Level::Object,
    };
    Ok(Route { verb: verb(head, level, query), bucket, key })
}

/// The bucket that a host name begins with, if the rest of it is one of `domains`.
fn virtual_host(host: &str, domains: &[String]) -> Option<String> {
    if domains.is_empty() {
        return None;
    }
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    domains.iter().find_map(|domain| {
        let dot = host.len().checked_sub(domain.len() + 1)?;
        let (bucket, rest) = host.split_at_checked(dot)?;
        let fits = rest.strip_prefix('.')?.eq_ignore_ascii_case(domain);
        (fits && !bucket.is_empty()).then(|| bucket.to_ascii_lowercase())
    })
}

fn verb(head: &RequestHead<'_>, level: Level, query: &Query<'_>) -> Verb {
    use Level::{Bucket, Object, Service};
    let Some(present) = subresources(query) else { return Verb::NotImplemented };
    let copies = head.headers.has("x-amz-copy-source");
    match (head.method, level, present.as_slice()) {
        ("GET", Service, []) => Verb::ListBuckets,

        ("GET", Bucket, []) => match query.get("list-type") {
            None => Verb::ListObjects,
            Some("2") => Verb::ListObjectsV2,
            Some(_) => Verb::NotImplemented,
        },
        ("GET", Bucket, ["versions"]) => Verb::ListObjectVersions,
        ("GET", Bucket, ["uploads"]) => Verb::ListMultipartUploads,
        ("GET", Bucket, ["location"]) => Verb::GetBucketLocation,
        ("GET", Bucket, ["versioning"]) => Verb::GetBucketVersioning,
        ("GET", Bucket, ["acl"]) => Verb::GetBucketAcl,
        ("GET", Bucket, [setting]) => {
            not_set(setting).map_or(Verb::NotImplemented, Verb::GetBucketSetting)
        }
        ("HEAD", Bucket, []) => Verb::HeadBucket,
        ("PUT", Bucket, []) => Verb::CreateBucket,
        ("DELETE", Bucket, []) => Verb::DeleteBucket,
        ("POST", Bucket, ["delete"]) => Verb::DeleteObjects,

        ("GET", Object, [] | ["partNumber"]) => Verb::GetObject,
        ("GET", Object, ["uploadId"]) => Verb::ListParts,
        ("GET", Object, ["acl"]) => Verb::GetObjectAcl,
        ("GET", Object, ["attributes"]) => Verb::GetObjectAttributes,
        ("GET", Object, ["tagging"]) => Verb::GetObjectTagging,
        ("GET", Object, ["legal-hold" | "retention"]) => Verb::GetObjectLock,
        ("HEAD", Object, [] | ["partNumber"]) => Verb::HeadObject,
        ("PUT", Object, []) if copies => Verb::CopyObject,
        ("PUT", Object, []) => Verb::PutObject,
        ("PUT", Object, ["partNumber", "uploadId"]) if copies => Verb::UploadPartCopy,
        ("PUT", Object, ["partNumber", "uploadId"]) => Verb::UploadPart,
        ("POST", Object, ["uploads"]) => Verb::CreateMultipartUpload,
        ("POST", Object, ["uploadId"]) => Verb::CompleteMultipartUpload,
        ("DELETE", Object, []) => Verb::DeleteObject,
        ("DELETE", Object, ["uploadId"]) => Verb::AbortMultipartUpload,

        ("GET" | "HEAD" | "PUT" | "POST" | "DELETE", Bucket | Object, _) => Verb::NotImplemented,
        (_, _, [_, ..]) => Verb::NotImplemented,
        _ => Verb::MethodNotAllowed,
    }
}

/// What is said of a configuration that is not set, where not set is all it can be.
fn not_set(setting: &str) -> Option<Code> {
    Some(match setting {
        "cors" => Code::NoSuchCORSConfiguration,
        "encryption" => Code::ServerSideEncryptionConfigurationNotFoundError,
        "lifecycle" => Code::NoSuchLifecycleConfiguration,
        "object-lock" => Code::ObjectLockConfigurationNotFoundError,
        "policy" => Code::NoSuchBucketPolicy,
        "tagging" => Code::NoSuchTagSet,
        _ => return None,
    })
}

/// The subresources that a query names, sorted; `None` if it names one that nobody knows.
/// A parameter that nobody knows but that has a value is let pass: clients and proxies add them.
fn subresources(query: &Query<'_>) -> Option<SmallVec<[&'static str; 2]>> {
    let mut present = SmallVec::new();
    for (parameter, value) in query.iter() {
        if let Ok(index) = SUBRESOURCES.binary_search(&parameter) {
            present.push(SUBRESOURCES[index]);
        } else if value.is_empty() && !is_parameter(parameter) {
            return None;
        }
    }
    present.sort_unstable();
    Some(present)
}

fn is_parameter(name: &str) -> bool {
    let extension = name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"));
    extension || PARAMETERS.binary_search(&name).is_ok()
}

impl Verb {
    /// What events call it.
    pub(crate) fn operation(self) -> Operation {
        match self {
            Self::ListBuckets => Operation::ListContainers,
            Self::CreateBucket => Operation::CreateContainer,
            Self::HeadBucket => Operation::HeadContainer,
            Self::DeleteBucket => Operation::DeleteContainer,
            Self::GetBucketAcl
            | Self::GetBucketLocation
            | Self::GetBucketVersioning
            | Self::GetBucketSetting(_) => Operation::GetContainerConfiguration,
            Self::ListObjects | Self::ListObjectsV2 | Self::ListObjectVersions => Operation::List,
            Self::ListMultipartUploads => Operation::ListUploads,
            Self::DeleteObjects => Operation::DeleteMany,
            Self::GetObject => Operation::Get,
            Self::GetObjectAcl
            | Self::GetObjectAttributes
            | Self::GetObjectLock
            | Self::GetObjectTagging
            | Self::HeadObject => Operation::Head,
            Self::PutObject => Operation::Put,
            Self::CopyObject => Operation::Copy,
            Self::DeleteObject => Operation::Delete,
            Self::CreateMultipartUpload => Operation::CreateUpload,
            Self::UploadPart => Operation::PutPart,
            Self::UploadPartCopy => Operation::CopyPart,
            Self::CompleteMultipartUpload => Operation::CompleteUpload,
            Self::AbortMultipartUpload => Operation::AbortUpload,
            Self::ListParts => Operation::ListParts,
            Self::NotImplemented => Operation::Unsupported,
            Self::MethodNotAllowed => Operation::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn routed(request: &str, host: &str) -> Result<(Verb, String, String), Code> {
        let (method, target) = request.split_once(' ').expect("method and target");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut fields = vec![httparse::Header { name: "Host", value: host.as_bytes() }];
        if method == "COPY" {
            fields.push(httparse::Header { name: "X-Amz-Copy-Source", value: b"/b/k" });
        }
        let method = if method == "COPY" { "PUT" } else { method };
        let head = RequestHead { method, path, query, headers: Headers::new(&fields) };
        let query = Query::parse(query).map_err(|error| error.code)?;
        let route = route(&head, &query, &["s3.test".to_owned()]).map_err(|error| error.code)?;
        Ok((route.verb, route.bucket.into_owned(), route.key.into_owned()))
    }

    #[test]
    fn tables_are_sorted() {
        assert!(SUBRESOURCES.is_sorted());
        assert!(PARAMETERS.is_sorted());
    }

    #[test]
    fn verbs() {
        for (request, verb) in [
            ("GET /", Verb::ListBuckets),
            ("GET /?x-id=ListBuckets", Verb::ListBuckets),
            ("PUT /b", Verb::CreateBucket),
            ("PUT /b/", Verb::CreateBucket),
            ("GET /b?list-type=2&prefix=&fetch-owner=true", Verb::ListObjectsV2),
            ("GET /b/?delimiter=/", Verb::ListObjects),
            ("GET /b?list-type=3", Verb::NotImplemented),
            ("GET /b?metadata=true", Verb::ListObjects),
            ("GET /b?unheard", Verb::NotImplemented),
            ("GET /b?versions", Verb::ListObjectVersions),
            ("GET /b?location", Verb::GetBucketLocation),
            ("GET /b?tagging", Verb::GetBucketSetting(Code::NoSuchTagSet)),
            ("PUT /b?tagging", Verb::NotImplemented),
            ("GET /b?website", Verb::NotImplemented),
            ("POST /b?delete", Verb::DeleteObjects),
            ("POST /b?delete&uploads", Verb::NotImplemented),
            ("POST /b", Verb::NotImplemented),
            ("GET /b/k", Verb::GetObject),
            ("GET /b/k?partNumber=2&versionId=null", Verb::GetObject),
            ("GET /b/k?uploadId=x", Verb::ListParts),
            ("PUT /b/k", Verb::PutObject),
            ("COPY /b/k", Verb::CopyObject),
            ("PUT /b/k?uploadId=x&partNumber=1", Verb::UploadPart),
            ("COPY /b/k?uploadId=x&partNumber=1", Verb::UploadPartCopy),
            ("PUT /b/k?partNumber=1", Verb::NotImplemented),
            ("PUT /b/k?retention", Verb::NotImplemented),
            ("PUT /b/k?append&position=0", Verb::NotImplemented),
            ("POST /b/k?uploads", Verb::CreateMultipartUpload),
            ("POST /b/k?uploadId=x", Verb::CompleteMultipartUpload),
            ("DELETE /b/k?uploadId=x", Verb::AbortMultipartUpload),
            ("DELETE /b/k?tagging", Verb::NotImplemented),
            ("POST /b/k?select&select-type=2", Verb::NotImplemented),
            ("POST /", Verb::MethodNotAllowed),
            ("PATCH /b/k", Verb::MethodNotAllowed),
            ("GET /b/k?X-Amz-Security-Token=", Verb::GetObject),
        ] {
            assert_eq!(routed(request, "localhost").map(|r| r.0), Ok(verb), "{request}");
        }
    }

    #[test]
    fn names() {
        for (path, host, bucket, key) in [
            ("/b/k", "localhost:9000", "b", "k"),
            ("/b//k/../", "localhost", "b", "/k/../"),
            ("/b/%2e%2e/%F0%9F%A6%80+", "localhost", "b", "../🦀+"),
            ("/k/l", "b.s3.test:9000", "b", "k/l"),
            ("/k", "a.B.S3.TEST", "a.b", "k"),
            ("/b/k", "s3.test", "b", "k"),
            ("/b/k", ".s3.test", "b", "k"),
            ("/b/k", "bs3.test", "b", "k"),
            ("/b/k", "[::1]:9000", "b", "k"),
            ("/", "b.s3.test", "b", ""),
        ] {
            let expected = Ok((bucket.to_owned(), key.to_owned()));
            assert_eq!(
                routed(&format!("GET {path}"), host).map(|r| (r.1, r.2)),
                expected,
                "{path}"
            );
        }
        assert_eq!(routed("GET /b/%ff", "h"), Err(Code::InvalidURI));
        assert_eq!(routed("GET /b/%2", "h"), Err(Code::InvalidURI));
        assert_eq!(routed("GET //k", "h"), Err(Code::InvalidBucketName));
    }
}
