//! Conditions on reads and writes (RFC 9110, section 13, and S3's conditional writes).

use super::{ArtifactInfo, ETag};

/// One entity-tag condition: any artifact, or one of the listed tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`
    Any,
    /// A list; tags that cannot be ours are left out, so the list may be empty.
    Tags(Vec<ETag>),
}

impl ETagMatch {
    /// Whether an artifact with `tag` fits.
    #[must_use]
    pub fn fits(&self, tag: ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.contains(&tag),
        }
    }
}

/// What must hold at the moment of commit for a write or delete to take effect. It is decided
/// by the container's owner, in queue order, against the index and what is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteCondition {
    /// Nothing.
    #[default]
    None,
    /// No current artifact has this key (`If-None-Match: *`).
    Absent,
    /// A current artifact has this key, whatever its tag (`If-Match: *`).
    Present,
    /// The current artifact has this tag (`If-Match: "tag"`).
    Matches(ETag),
}

impl WriteCondition {
    /// Whether the condition holds against the current artifact's tag, if there is one.
    #[must_use]
    pub fn holds(&self, current: Option<ETag>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Matches(tag) => current == Some(*tag),
        }
    }
}

/// Conditions on a read. Times are whole seconds since the epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadConditions {
    /// `If-Match`
    pub if_match: Option<ETagMatch>,
    /// `If-None-Match`
    pub if_none_match: Option<ETagMatch>,
    /// `If-Modified-Since`
    pub if_modified_since: Option<i64>,
    /// `If-Unmodified-Since`
    pub if_unmodified_since: Option<i64>,
}

/// The outcome of evaluating [`ReadConditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadVerdict {
    /// Go on.
    Proceed,
    /// The client's copy is current (304).
    NotModified,
    /// A precondition failed (412).
    Failed,
}

impl ReadConditions {
    /// Evaluates in the order of RFC 9110, section 13.2.2.
    #[must_use]
    pub fn evaluate(&self, info: &ArtifactInfo) -> ReadVerdict {
        let modified_s = info.modified_ms.div_euclid(1000);
        if let Some(condition) = &self.if_match {
            if !condition.fits(info.etag) {
                return ReadVerdict::Failed;
            }
        } else if self.if_unmodified_since.is_some_and(|since_s| modified_s > since_s) {
            return ReadVerdict::Failed;
        }
        if let Some(condition) = &self.if_none_match {
            if condition.fits(info.etag) {
                return ReadVerdict::NotModified;
            }
        } else if self.if_modified_since.is_some_and(|since_s| modified_s <= since_s) {
            return ReadVerdict::NotModified;
        }
        ReadVerdict::Proceed
    }
}
