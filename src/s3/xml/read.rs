//! A pull reader for the small documents that clients send.
//!
//! It has no document types and no entities but the five predefined ones, a depth limit, and a
//! limit on the whole, so no document can make more work than its own length.

use quick_xml::events::Event;
use quick_xml::{Reader, escape};

use crate::s3::error::{Code, S3Error};

/// Longest document, in bytes: a completion of 10,000 parts with long checksums fits.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 2 << 20;

const DEPTH_MAX: usize = 8;
const TEXT_BYTES_MAX: usize = 8 << 10;

/// Reads a document from its root inwards.
pub(crate) struct XmlReader<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
}

/// What is met next, comments and the like left out.
enum Item<'a> {
    Open(&'a str),
    Close,
    Text(std::borrow::Cow<'a, str>),
    Character(char),
    End,
}

impl<'a> XmlReader<'a> {
    /// Begins to read `document`, whose root element must have this name.
    ///
    /// # Errors
    /// `MalformedXML`, as from all other functions here.
    pub(crate) fn new(document: &'a [u8], root: &str) -> Result<Self, S3Error> {
        let text = std::str::from_utf8(document).map_err(|_| malformed())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        let mut this = Self { reader, depth: 0 };
        match this.child()? {
            Some(name) if name == root => Ok(this),
            _ => Err(malformed()),
        }
    }

    /// Enters the next child of the element that was entered last and returns its local name, or
    /// leaves that element and returns `None` when it has no more.
    pub(crate) fn child(&mut self) -> Result<Option<&'a str>, S3Error> {
        loop {
            match self.next()? {
                Item::Open(name) => return Ok(Some(name)),
                Item::Close => return Ok(None),
                Item::Text(text) if text.chars().all(|c| c.is_ascii_whitespace()) => {}
                Item::Text(_) | Item::Character(_) | Item::End => return Err(malformed()),
            }
        }
    }

    /// The text of the element that was entered last, which has no children; leaves it.
    pub(crate) fn text(&mut self) -> Result<String, S3Error> {
        let mut out = String::new();
        loop {
            match self.next()? {
                Item::Text(text) => out.push_str(&text),
                Item::Character(c) => out.push(c),
                Item::Close => return Ok(out),
                Item::Open(_) | Item::End => return Err(malformed()),
            }
            if out.len() > TEXT_BYTES_MAX {
                return Err(malformed());
            }
        }
    }

    /// After the root was left: nothing but space may follow.
    pub(crate) fn end(mut self) -> Result<(), S3Error> {
        loop {
            match self.next()? {
                Item::End => return Ok(()),
                Item::Text(text) if text.chars().all(|c| c.is_ascii_whitespace()) => {}
                _ => return Err(malformed()),
            }
        }
    }

    fn next(&mut self) -> Result<Item<'a>, S3Error> {
        loop {
            return match self.reader.read_event().map_err(|_| malformed())? {
                Event::Start(start) => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(malformed());
                    }
                    self.name_of(&start)
                }
                Event::End(_) => {
                    self.depth = self.depth.checked_sub(1).ok_or_else(malformed)?;
                    Ok(Item::Close)
                }
                Event::Text(text) => Ok(Item::Text(text.into_inner())),
                Event::CData(data) => Ok(Item::Text(data.into_inner())),
                Event::GeneralRef(reference) => {
                    let name: &str = &reference;
                    match reference.resolve_char_ref().map_err(|_| malformed())? {
                        Some(c) => Ok(Item::Character(c)),
                        None => escape::resolve_xml_entity(name)
                            .and_then(|text| text.chars().next())
                            .map(Item::Character)
                            .ok_or_else(malformed),
                    }
                }
                Event::Decl(_) | Event::Comment(_) | Event::PI(_) => continue,
                Event::DocType(_) | Event::Empty(_) => Err(malformed()),
                Event::Eof if self.depth == 0 => Ok(Item::End),
                Event::Eof => Err(malformed()),
            };
        }
    }

    fn name_of(&self, start: &quick_xml::events::BytesStart<'_>) -> Result<Item<'a>, S3Error> {
        KNOWN
            .iter()
            .find(|known| **known == start.local_name().into_inner())
            .map(|known| Item::Open(known))
            .ok_or_else(malformed)
    }
}

/// Every element that a document may have. One that is not here is refused, for it could carry a
/// condition that would go unheeded.
const KNOWN: &[&str] = &[
    "Bucket",
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
    "CompleteMultipartUpload",
    "CreateBucketConfiguration",
    "Delete",
    "ETag",
    "Key",
    "LastModifiedTime",
    "Location",
    "LocationConstraint",
    "Object",
    "Part",
    "PartNumber",
    "Quiet",
    "Size",
    "Tags",
    "VersionId",
];

fn malformed() -> S3Error {
    Code::MalformedXML.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(document: &str) -> Result<Vec<String>, Code> {
        let read = || {
            let mut xml = XmlReader::new(document.as_bytes(), "Delete")?;
            let mut keys = Vec::new();
            while let Some(name) = xml.child()? {
                if name != "Object" {
                    return Err(malformed());
                }
                while let Some(name) = xml.child()? {
                    if name != "Key" {
                        return Err(malformed());
                    }
                    keys.push(xml.text()?);
                }
            }
            xml.end()?;
            Ok(keys)
        };
        read().map_err(|error| error.code)
    }

    #[test]
    fn documents_are_read() {
        let document = "\u{feff}<?xml version=\"1.0\"?>\n<!-- c --><a:Delete xmlns:a=\"x\">\n \
            <a:Object><a:Key>a&amp;b&#x31;&#49;<![CDATA[<c>]]> d</a:Key></a:Object><a:Object>\
            <a:Key/></a:Object></a:Delete>\n";
        assert_eq!(keys(document), Ok(vec!["a&b11<c> d".into(), String::new()]));
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let deep = format!("<Delete>{}", "<Object>".repeat(100_000));
        let long = format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(9000));
        for bad in [
            "",
            "<Delete>",
            "<Other/>",
            "<Delete/><Delete/>",
            "<Delete>text</Delete>",
            "<Delete><Object></Delete></Object>",
            "<Delete><Object><Key>&lol;</Key></Object></Delete>",
            "<Delete><Object><Key>&#0;</Key></Object></Delete>",
            "<!DOCTYPE d [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><Delete/>",
            "<!DOCTYPE d SYSTEM \"file:///etc/passwd\"><Delete/>",
            "<Delete><Unheard/></Delete>",
            &deep,
            &long,
        ] {
            assert_eq!(keys(bad), Err(Code::MalformedXML), "{}", &bad[..bad.len().min(80)]);
        }
        assert!(XmlReader::new(b"<Delete>\xff</Delete>", "Delete").is_err());
    }
}
