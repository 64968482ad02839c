//! XML, written into one buffer and read with limits.

mod read;

pub(crate) use read::{DOCUMENT_BYTES_MAX, XmlReader};

use std::borrow::Cow;

use bytes::Bytes;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::stdx::percent;

/// The namespace of every document.
pub(crate) const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A document that is being written.
pub(crate) struct Xml {
    writer: Writer<Vec<u8>>,
    root: &'static str,
}

impl Xml {
    /// Begins a document with this root element in the protocol's namespace.
    #[must_use]
    pub(crate) fn new(root: &'static str, capacity: usize) -> Self {
        Self::begin(root, Some(NAMESPACE), capacity)
    }

    /// Begins a document with this root element and no namespace, as errors have it.
    #[must_use]
    pub(crate) fn bare(root: &'static str) -> Self {
        Self::begin(root, None, 512)
    }

    fn begin(root: &'static str, namespace: Option<&str>, capacity: usize) -> Self {
        let mut xml = Self { writer: Writer::new(Vec::with_capacity(capacity)), root };
        xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        let mut start = BytesStart::new(root);
        if let Some(namespace) = namespace {
            start.push_attribute(("xmlns", namespace));
        }
        xml.event(Event::Start(start));
        xml
    }

    /// Opens an element.
    pub(crate) fn open(&mut self, name: &str) {
        self.event(Event::Start(BytesStart::new(name)));
    }

    /// Opens an element with attributes, whose values need no escaping.
    pub(crate) fn open_with(&mut self, name: &str, attributes: &[(&str, &str)]) {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.event(Event::Start(start));
    }

    /// Closes an element.
    pub(crate) fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
    }

    /// An element with text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.open(name);
        self.content(value);
        self.close(name);
    }

    /// Text in the open element.
    pub(crate) fn content(&mut self, value: &str) {
        if !value.is_empty() {
            self.event(Event::Text(BytesText::from_escaped(escape(value))));
        }
    }

    /// An element with a number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.text(name, itoa::Buffer::new().format(value));
    }

    /// An element with `true` or `false`.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        self.text(name, if value { "true" } else { "false" });
    }

    /// An element with a key, percent-encoded if the client asked for that.
    pub(crate) fn key(&mut self, name: &str, value: &str, url_encoded: bool) {
        if url_encoded {
            let mut encoded = String::with_capacity(value.len() + 16);
            percent::encode_path(value, &mut encoded);
            self.text(name, &encoded);
        } else {
            self.text(name, value);
        }
    }

    /// Ends the document.
    #[must_use]
    pub(crate) fn finish(mut self) -> Bytes {
        self.close(self.root);
        self.writer.into_inner().into()
    }

    fn event(&mut self, event: Event<'_>) {
        // A vector takes every write.
        let _infallible = self.writer.write_event(event);
    }
}

/// Escapes text. Characters that XML 1.0 cannot hold are written as references, as the service
/// that this protocol comes from does; clients that care ask for percent-encoded keys.
fn escape(text: &str) -> Cow<'_, str> {
    let special = |c: char| {
        matches!(c, '&' | '<' | '>' | '"' | '\r' | '\u{fffe}' | '\u{ffff}')
            || (c < ' ' && c != '\t' && c != '\n')
    };
    let Some(first) = text.find(special) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if special(c) => out.push_str(&format!("&#x{:X};", u32::from(c))),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
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
        xml.key("Key", "a b/ü", true);
        xml.open_with("Grantee", &[("xsi:type", "CanonicalUser")]);
        xml.close("Grantee");
        assert_eq!(
            std::str::from_utf8(&xml.finish()).expect("text"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <Result xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <Name>a&lt;b&gt;&amp;&quot;c&quot;&#xD;&#x1;</Name>\
             <Size>18446744073709551615</Size><IsTruncated>false</IsTruncated><Empty></Empty>\
             <Key>a%20b/%C3%BC</Key><Grantee xsi:type=\"CanonicalUser\"></Grantee></Result>"
        );
    }
}
