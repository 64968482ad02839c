//! XML, written straight into one buffer, and read with limits.

mod read;

pub(crate) use read::{DOCUMENT_BYTES_MAX, XmlReader};

use bytes::Bytes;

use crate::io::budget::Reservation;
use crate::model::ETag;
use crate::stdx::percent;

use super::time::Iso8601;

/// The namespace of every document.
pub(crate) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document that is being written. Names of elements are literals and need no escaping.
pub(crate) struct Xml {
    out: Vec<u8>,
    root: &'static str,
    room: Option<Reservation>,
    times: Iso8601,
}

/// A finished document, with the memory that it was written into.
struct Paid {
    document: Vec<u8>,
    _room: Reservation,
}

impl AsRef<[u8]> for Paid {
    fn as_ref(&self) -> &[u8] {
        &self.document
    }
}

impl Xml {
    /// Begins a document with this root element in the protocol's namespace.
    #[must_use]
    pub(crate) fn new(root: &'static str, capacity: usize) -> Self {
        Self::begin(root, Some(NAMESPACE), Vec::with_capacity(capacity), None)
    }

    /// As [`Xml::new`], as large as the memory that was reserved for it. It is free again when the
    /// document is gone.
    #[must_use]
    pub(crate) fn within(root: &'static str, room: Reservation) -> Self {
        let out = Vec::with_capacity(usize::try_from(room.bytes()).unwrap_or_default());
        Self::begin(root, Some(NAMESPACE), out, Some(room))
    }

    /// Begins a document with this root element and no namespace, as errors have it.
    #[must_use]
    pub(crate) fn bare(root: &'static str) -> Self {
        Self::begin(root, None, Vec::with_capacity(512), None)
    }

    fn begin(
        root: &'static str,
        namespace: Option<&str>,
        out: Vec<u8>,
        room: Option<Reservation>,
    ) -> Self {
        let mut xml = Self { out, root, room, times: Iso8601::default() };
        xml.put("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        match namespace {
            Some(namespace) => xml.open_with(root, &[("xmlns", namespace)]),
            None => xml.open(root),
        }
        xml
    }

    /// Opens an element.
    #[inline]
    pub(crate) fn open(&mut self, name: &str) {
        self.out.push(b'<');
        self.put(name);
        self.out.push(b'>');
    }

    /// Opens an element with attributes, whose values need no escaping.
    pub(crate) fn open_with(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.out.push(b'<');
        self.put(name);
        for (attribute, value) in attributes {
            for piece in [" ", attribute, "=\"", value, "\""] {
                self.put(piece);
            }
        }
        self.out.push(b'>');
    }

    /// Closes an element.
    #[inline]
    pub(crate) fn close(&mut self, name: &str) {
        self.put("</");
        self.put(name);
        self.out.push(b'>');
    }

    /// An element with text.
    #[inline]
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        self.content(value);
        self.close(name);
    }

    /// Text in the open element.
    pub(crate) fn content(&mut self, value: &str) {
        escape(value, &mut self.out);
    }

    /// An element with a number.
    #[inline]
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.plain(name, itoa::Buffer::new().format(value));
    }

    /// An element with `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.plain(name, if value { "true" } else { "false" });
    }

    /// An element with a moment, in milliseconds since the epoch.
    #[inline]
    pub(crate) fn time(&mut self, name: &str, ms: i64) {
        self.open(name);
        self.out.extend_from_slice(&self.times.text(ms));
        self.close(name);
    }

    /// An element with an entity tag in its quotation marks.
    #[inline]
    pub(crate) fn etag(&mut self, name: &str, etag: ETag) {
        self.open(name);
        self.put("&quot;");
        self.put(etag.text(&mut [0; ETag::TEXT_MAX]));
        self.put("&quot;");
        self.close(name);
    }

    /// An element with a key, percent-encoded if the client asked for that.
    #[inline]
    pub(crate) fn key(&mut self, name: &str, value: &str, url_encoded: bool) {
        self.open(name);
        if url_encoded {
            percent::encode_path_bytes(value, &mut self.out);
        } else {
            self.content(value);
        }
        self.close(name);
    }

    /// Ends the document.
    #[must_use]
    pub(crate) fn finish(mut self) -> Bytes {
        self.close(self.root);
        match self.room {
            Some(room) => Bytes::from_owner(Paid { document: self.out, _room: room }),
            None => self.out.into(),
        }
    }

    /// An element with text that needs no escaping.
    #[inline]
    pub(crate) fn plain(&mut self, name: &str, value: &str) {
        self.open(name);
        self.put(value);
        self.close(name);
    }

    #[inline]
    fn put(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// The bytes that do not always stand for themselves; 0xEF begins U+FFFE and U+FFFF, among others.
static SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = byte != b'\t' as usize && byte != b'\n' as usize;
        byte += 1;
    }
    let others = [b'&', b'<', b'>', b'"', 0xef];
    let mut index = 0;
    while index < others.len() {
        special[others[index] as usize] = true;
        index += 1;
    }
    special
};

/// Escapes text. Characters that XML 1.0 cannot hold are written as references, as the service
/// that this protocol comes from does; clients that care ask for percent-encoded keys.
fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        let taken = match special {
            [0xef, 0xbf, last @ (0xbe | 0xbf), ..] => {
                out.extend_from_slice(if *last == 0xbe { b"&#xFFFE;" } else { b"&#xFFFF;" });
                3
            }
            [b'&', ..] => replaced(out, b"&amp;"),
            [b'<', ..] => replaced(out, b"&lt;"),
            [b'>', ..] => replaced(out, b"&gt;"),
            [b'"', ..] => replaced(out, b"&quot;"),
            [byte @ ..0x10, ..] => {
                replaced(out, &[b'&', b'#', b'x', HEX[usize::from(*byte)], b';'])
            }
            [byte @ ..0x20, ..] => {
                replaced(out, &[b'&', b'#', b'x', b'1', HEX[usize::from(*byte & 15)], b';'])
            }
            [byte, ..] => replaced(out, &[*byte]),
            [] => 0,
        };
        rest = &special[taken..];
    }
    out.extend_from_slice(rest);
}

/// Writes what stands for one byte, and tells that it was one.
fn replaced(out: &mut Vec<u8>, by: &[u8]) -> usize {
    out.extend_from_slice(by);
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written() {
        let mut xml = Xml::new("Result", 64);
        xml.text("Name", "a<b>&\"c\"\r\u{1}");
        xml.number("Size", u64::MAX);
        xml.boolean("IsTruncated", false);
        xml.text("Empty", "");
        xml.text("Odd", "\u{feff}ﬁ\u{fffe}\u{ffff}\t\u{1f}é");
        xml.time("Time", 784_111_777_042);
        xml.etag("ETag", ETag { hash: [0x0a; 16], parts: 12 });
        xml.key("Key", "a b/ü", true);
        xml.open_with("Grantee", &[("xsi:type", "CanonicalUser")]);
        xml.close("Grantee");
        assert_eq!(
            std::str::from_utf8(&xml.finish()).expect("text"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <Result xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>a&lt;b&gt;&amp;&quot;c&quot;&#xD;&#x1;</Name>\
             <Size>18446744073709551615</Size><IsTruncated>false</IsTruncated><Empty></Empty>\
             <Odd>\u{feff}ﬁ&#xFFFE;&#xFFFF;\t&#x1F;é</Odd><Time>1994-11-06T08:49:37.042Z</Time>\
             <ETag>&quot;0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a-12&quot;</ETag>\
             <Key>a%20b/%C3%BC</Key><Grantee xsi:type=\"CanonicalUser\"></Grantee></Result>"
        );
    }
}
