//! Representation metadata and user metadata of an artifact, as one compact block.
//!
//! The block is what the log stores and what a response is written from: entries of
//! `field u8, name length u8, name, value length u16 LE, value`, in the order they were added.

use std::sync::Arc;

/// The fields of a [`Metadata`] block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataField<'a> {
    /// Media type.
    ContentType,
    /// How caches may keep it.
    CacheControl,
    /// How a browser presents it.
    ContentDisposition,
    /// Content codings, without the transport's own.
    ContentEncoding,
    /// Natural language.
    ContentLanguage,
    /// When it becomes stale; kept as the client wrote it.
    Expires,
    /// A name of the user's own, in lower case.
    User(&'a str),
    /// Where a web page of this name redirects to.
    WebsiteRedirect,
}

impl<'a> MetadataField<'a> {
    fn parts(self) -> (u8, &'a str) {
        match self {
            Self::ContentType => (1, ""),
            Self::CacheControl => (2, ""),
            Self::ContentDisposition => (3, ""),
            Self::ContentEncoding => (4, ""),
            Self::ContentLanguage => (5, ""),
            Self::Expires => (6, ""),
            Self::User(name) => (7, name),
            Self::WebsiteRedirect => (8, ""),
        }
    }

    fn from_parts(number: u8, name: &'a str) -> Option<Self> {
        Some(match number {
            1 => Self::ContentType,
            2 => Self::CacheControl,
            3 => Self::ContentDisposition,
            4 => Self::ContentEncoding,
            5 => Self::ContentLanguage,
            6 => Self::Expires,
            7 => Self::User(name),
            8 => Self::WebsiteRedirect,
            _ => return None,
        })
    }
}

/// An immutable metadata block; cloning shares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<[u8]>>);

impl Metadata {
    /// A block from its encoded bytes; `None` if they are malformed.
    #[must_use]
    pub fn from_encoded(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = split_entry(rest)?.2;
        }
        Some(Self((!bytes.is_empty()).then(|| Arc::from(bytes))))
    }

    /// The encoded bytes.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The entries, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (MetadataField<'_>, &str)> {
        let mut rest = self.encoded();
        std::iter::from_fn(move || {
            let (field, value, tail) = split_entry(rest)?;
            rest = tail;
            Some((field, value))
        })
    }

    /// The value of one field.
    #[must_use]
    pub fn get(&self, wanted: MetadataField<'_>) -> Option<&str> {
        self.iter().find(|(field, _)| *field == wanted).map(|(_, value)| value)
    }
}

fn split_entry(bytes: &[u8]) -> Option<(MetadataField<'_>, &str, &[u8])> {
    let (&[number, name_length], rest) = bytes.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_length))?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let field = MetadataField::from_parts(number, std::str::from_utf8(name).ok()?)?;
    Some((field, std::str::from_utf8(value).ok()?, rest))
}

/// Collects entries for a [`Metadata`] block.
#[derive(Debug, Default)]
pub struct MetadataBuilder(Vec<u8>);

impl MetadataBuilder {
    /// Adds an entry; `false` if the name or value is too long to be stored (255 and 65,535 bytes).
    #[must_use]
    pub fn push(&mut self, field: MetadataField<'_>, value: &str) -> bool {
        let (number, name) = field.parts();
        let (Ok(name_length), Ok(length)) = (u8::try_from(name.len()), u16::try_from(value.len()))
        else {
            return false;
        };
        self.0.extend_from_slice(&[number, name_length]);
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
        true
    }

    /// The finished block.
    #[must_use]
    pub fn finish(self) -> Metadata {
        Metadata((!self.0.is_empty()).then(|| Arc::from(self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_round_trips_and_damage_is_refused() {
        let mut builder = MetadataBuilder::default();
        assert!(builder.push(MetadataField::ContentType, "text/plain"));
        assert!(builder.push(MetadataField::User("colour"), "grün"));
        assert!(!builder.push(MetadataField::User(&"n".repeat(256)), ""));
        let block = builder.finish();
        let read = Metadata::from_encoded(block.encoded()).expect("well formed");
        assert_eq!(read.get(MetadataField::User("colour")), Some("grün"));
        assert_eq!(read.iter().count(), 2);
        assert_eq!(Metadata::from_encoded(&block.encoded()[1..]), None);
        assert_eq!(Metadata::from_encoded(&[]), Some(Metadata::default()));
    }
}
