//! What the listings of objects share.

use crate::context::Context;
use crate::model::{ArtifactInfo, ContainerName, ListEntry, ListPage, ListQuery};
use crate::s3::call::Call;
use crate::s3::error::S3Error;
use crate::s3::headers::checksum;
use crate::s3::xml::Xml;

/// Most entries of a page.
const KEYS_MAX: usize = 1000;

/// What an entry takes besides its name, and a document besides its entries.
const ENTRY_BYTES: usize = 480;
const HEAD_BYTES: usize = 2048;

/// The parameters that all listings have.
pub(super) struct Listing {
    /// The bucket.
    pub(super) bucket: ContainerName,
    /// Only keys that begin with this.
    pub(super) prefix: String,
    /// Rolls keys up; empty for none.
    pub(super) delimiter: String,
    /// Most entries.
    pub(super) limit: usize,
    /// Whether names in the answer are percent-encoded.
    pub(super) url_encoded: bool,
}

impl Listing {
    /// Reads the parameters.
    ///
    /// # Errors
    /// `InvalidBucketName` or `InvalidArgument`.
    pub(super) fn of(call: &Call<'_>) -> Result<Self, S3Error> {
        let text = |name| call.query.get(name).unwrap_or_default().to_owned();
        Ok(Self {
            bucket: call.bucket()?,
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            limit: call.query.count("max-keys", 0, KEYS_MAX, KEYS_MAX)?,
            url_encoded: call.query.url_encoded()?,
        })
    }

    /// One page of entries after `after`. A page of none is not looked up, but the bucket is.
    ///
    /// # Errors
    /// The engine's.
    pub(super) async fn page(
        &self,
        ctx: &Context,
        call: &Call<'_>,
        after: Option<&str>,
    ) -> Result<ListPage, S3Error> {
        if self.limit == 0 {
            call.engine().head_container(ctx, &self.bucket).await?;
            return Ok(ListPage::default());
        }
        let query = ListQuery {
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after: after.filter(|after| !after.is_empty()).map(str::to_owned),
            limit: self.limit,
        };
        Ok(call.engine().list(ctx, &self.bucket, &query).await?)
    }

    /// Begins a document that has room for `page`.
    ///
    /// # Errors
    /// `SlowDown` if no memory became free in time.
    pub(super) async fn begin(
        &self,
        ctx: &Context,
        call: &Call<'_>,
        root: &'static str,
        page: &ListPage,
    ) -> Result<Xml, S3Error> {
        let names: usize = page.entries.iter().map(|entry| entry.name().len()).sum();
        let names = if self.url_encoded { 3 * names } else { names };
        let bytes = HEAD_BYTES + names + page.entries.len() * ENTRY_BYTES;
        let mut xml = call.xml(ctx, root, bytes).await?;
        xml.text("Name", self.bucket.as_str());
        xml.key("Prefix", &self.prefix, self.url_encoded);
        Ok(xml)
    }

    /// Writes what all listings repeat of the request, and whether more follows.
    pub(super) fn middle(&self, xml: &mut Xml, page: &ListPage) {
        if !self.delimiter.is_empty() {
            xml.key("Delimiter", &self.delimiter, self.url_encoded);
        }
        xml.number("MaxKeys", self.limit as u64);
        if self.url_encoded {
            xml.text("EncodingType", "url");
        }
        xml.boolean("IsTruncated", page.truncated);
    }

    /// Writes the entries: the objects, each by `describe` in an element of this name, and then
    /// the prefixes.
    pub(super) fn entries(
        &self,
        xml: &mut Xml,
        page: &ListPage,
        element: &str,
        describe: impl Fn(&mut Xml, &ArtifactInfo),
    ) {
        for entry in &page.entries {
            if let ListEntry::Artifact(key, info) = entry {
                xml.open(element);
                xml.key("Key", key, self.url_encoded);
                describe(xml, info);
                xml.close(element);
            }
        }
        for entry in &page.entries {
            if let ListEntry::Prefix(prefix) = entry {
                xml.open("CommonPrefixes");
                xml.key("Prefix", prefix, self.url_encoded);
                xml.close("CommonPrefixes");
            }
        }
    }

    /// Where the next page begins, if there is one.
    pub(super) fn next(page: &ListPage) -> Option<&str> {
        page.entries.last().filter(|_| page.truncated).map(ListEntry::name)
    }
}

/// Writes what a listing tells of an object.
pub(super) fn describe(xml: &mut Xml, info: &ArtifactInfo) {
    xml.time("LastModified", info.modified_ms);
    xml.etag("ETag", info.etag);
    checksum::listed(xml, info);
    xml.number("Size", info.size);
}
