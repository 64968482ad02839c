//! What an operation is given, and what it gives back.

use std::cell::OnceCell;
use std::ops::{Deref, DerefMut};

use crate::context::Context;
use crate::engine::{AnyReader, Engine};
use crate::http::{Body, HeaderBlock, Headers, RequestHead, ResponseBody};
use crate::io::budget::Reservation;
use crate::model::{ArtifactKey, ByteRange, ContainerName, UploadId};

use super::auth::{BodySource, Identity, read_document};
use super::error::{Code, S3Error};
use super::headers::{accepted, condition, not_implemented, single};
use super::name;
use super::query::Query;
use super::route::{Route, Verb};
use super::service::Service;
use super::xml::{DOCUMENT_BYTES_MAX, Xml};

/// One authenticated request.
pub(crate) struct Call<'a> {
    /// Its head.
    pub(crate) head: &'a RequestHead<'a>,
    /// Its query, decoded.
    pub(crate) query: Query<'a>,
    /// What it asks for.
    pub(crate) route: Route<'a>,
    /// Who asks.
    pub(crate) identity: Identity,
    /// Who serves.
    pub(crate) service: &'a Service,
    /// The canonical user id of who asks, once it was needed: a listing repeats it.
    pub(crate) owner_id: OnceCell<String>,
}

impl<'a> Call<'a> {
    /// Refuses, for all operations alike, what would go unheeded.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) fn check(&self) -> Result<(), S3Error> {
        accepted::check(self.headers(), &self.query)?;
        self.check_owner("x-amz-expected-bucket-owner")?;
        self.check_version()?;
        self.check_copy_source()?;
        match (self.head.method, self.route.verb) {
            ("GET" | "HEAD", _)
            | (
                _,
                Verb::PutObject
                | Verb::CopyObject
                | Verb::DeleteObject
                | Verb::CompleteMultipartUpload,
            ) => Ok(()),
            _ => condition::refuse_all(self.headers()),
        }
    }

    /// Checks that the tenant is the owner whom the client expects.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(crate) fn check_owner(&self, header: &str) -> Result<(), S3Error> {
        match single(self.headers(), header)? {
            Some(expected) if expected != self.owner_id() => Err(Code::AccessDenied.into()),
            _ => Ok(()),
        }
    }

    /// What is said of a copy's source goes unheeded where nothing is copied.
    fn check_copy_source(&self) -> Result<(), S3Error> {
        let start = "x-amz-copy-source";
        let stray = |name: &str| match self.route.verb {
            Verb::UploadPartCopy => false,
            Verb::CopyObject => name.eq_ignore_ascii_case("x-amz-copy-source-range"),
            _ => name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        };
        match self.headers().iter().find(|(name, _)| stray(name)) {
            Some((name, _)) => Err(not_implemented(name)),
            None => Ok(()),
        }
    }

    /// No bucket is versioned, so the one version of an object is `null`.
    fn check_version(&self) -> Result<(), S3Error> {
        let takes_version = matches!(
            self.route.verb,
            Verb::GetObject
                | Verb::HeadObject
                | Verb::DeleteObject
                | Verb::GetObjectAcl
                | Verb::GetObjectAttributes
                | Verb::GetObjectLock
                | Verb::GetObjectTagging
                | Verb::NotImplemented
        );
        match self.query.get("versionId") {
            None => Ok(()),
            Some(_) if !takes_version => {
                Err(argument("versionId", "", "This operation does not accept a version-id."))
            }
            Some("null") => Ok(()),
            Some("") => Err(argument("versionId", "", "Version id cannot be the empty string")),
            Some(other) => Err(S3Error::from(Code::NoSuchVersion).with("VersionId", other)),
        }
    }

    /// The header fields.
    pub(crate) fn headers(&self) -> &Headers<'a> {
        &self.head.headers
    }

    /// The engine of this core.
    pub(crate) fn engine(&self) -> &Engine {
        &self.service.engine
    }

    /// The bucket.
    ///
    /// # Errors
    /// `InvalidBucketName`.
    pub(crate) fn bucket(&self) -> Result<ContainerName, S3Error> {
        name::bucket(&self.route.bucket)
    }

    /// The key.
    ///
    /// # Errors
    /// `KeyTooLongError` or `InvalidArgument`.
    pub(crate) fn key(&self) -> Result<ArtifactKey<'_>, S3Error> {
        name::key(&self.route.key)
    }

    /// The upload that `uploadId` names.
    ///
    /// # Errors
    /// `NoSuchUpload` if it cannot be one of ours.
    pub(crate) fn upload_id(&self) -> Result<UploadId, S3Error> {
        let text = self.query.get("uploadId").unwrap_or_default();
        UploadId::parse(text)
            .ok_or_else(|| S3Error::from(Code::NoSuchUpload).with("UploadId", text))
    }

    /// The part that `partNumber` names, if it is there.
    ///
    /// # Errors
    /// `InvalidArgument` unless it is 1 to 10,000.
    pub(crate) fn part_number(&self) -> Result<Option<u16>, S3Error> {
        let Some(text) = self.query.get("partNumber") else { return Ok(None) };
        match text.parse() {
            Ok(number @ 1..=PART_NUMBER_MAX) => Ok(Some(number)),
            _ => Err(argument(
                "partNumber",
                text,
                "Part number must be an integer between 1 and 10000, inclusive",
            )),
        }
    }

    /// The canonical user id of who asks.
    pub(crate) fn owner_id(&self) -> &str {
        self.owner_id.get_or_init(|| name::owner_id(self.identity.tenant))
    }

    /// Writes who asks as an element of this name.
    pub(crate) fn owner(&self, xml: &mut Xml, element: &str) {
        xml.open(element);
        xml.text("ID", self.owner_id());
        xml.text("DisplayName", "default");
        xml.close(element);
    }

    /// Reads the document that the body is, and hands it to `parse`.
    ///
    /// # Errors
    /// `SlowDown` if no memory became free in time; those of the body and of `parse`.
    pub(crate) async fn document<B: Body, T>(
        &self,
        ctx: &Context,
        body: &mut B,
        parse: impl FnOnce(&[u8]) -> Result<T, S3Error>,
    ) -> Result<Parsed<T>, S3Error> {
        self.document_of(ctx, self.head, body, parse).await
    }

    /// As [`Call::document`], of a head with other promises about the body.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn document_of<B: Body, T>(
        &self,
        ctx: &Context,
        head: &RequestHead<'_>,
        body: &mut B,
        parse: impl FnOnce(&[u8]) -> Result<T, S3Error>,
    ) -> Result<Parsed<T>, S3Error> {
        let limit = DOCUMENT_BYTES_MAX as u64;
        let mut source = BodySource::document(head, &self.identity, body, limit)?;
        let mut room = None;
        // What is parsed out of it takes about as much again.
        let grow = async |bytes: usize| self.service.grow(ctx, &mut room, 2 * bytes).await;
        let document = read_document(ctx, &mut source, DOCUMENT_BYTES_MAX, grow).await?;
        Ok(Parsed { content: parse(&document)?, _room: room })
    }

    /// Begins an answer of about so many bytes, which the byte budget pays for until it is sent.
    ///
    /// # Errors
    /// `SlowDown` if no memory became free in time.
    pub(crate) async fn xml(
        &self,
        ctx: &Context,
        root: &'static str,
        bytes: usize,
    ) -> Result<Xml, S3Error> {
        Ok(Xml::within(root, self.service.reserve(ctx, bytes).await?))
    }
}

/// What was read out of a document, with the memory that it takes.
pub(crate) struct Parsed<T> {
    content: T,
    _room: Option<Reservation>,
}

impl<T> Deref for Parsed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.content
    }
}

impl<T> DerefMut for Parsed<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.content
    }
}

/// Highest number of a part.
pub(crate) const PART_NUMBER_MAX: u16 = 10_000;

/// `InvalidArgument` about a parameter.
pub(crate) fn argument(name: &str, value: &str, message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidArgument, message)
        .with("ArgumentName", name)
        .with("ArgumentValue", value)
}

/// What an operation answers.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The header fields, but for those that every answer has.
    pub(crate) headers: HeaderBlock,
    /// The body.
    pub(crate) body: ResponseBody<AnyReader>,
    /// The range that was read.
    pub(crate) range: Option<ByteRange>,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub(crate) fn empty(status: u16) -> Self {
        let headers = HeaderBlock::default();
        Self { status, headers, body: ResponseBody::Empty, range: None }
    }

    /// 200 with a document.
    #[must_use]
    pub(crate) fn document(xml: Xml) -> Self {
        let mut answer = Self::empty(200);
        answer.headers.push("Content-Type", "application/xml");
        answer.body = ResponseBody::Bytes(xml.finish());
        answer
    }
}
