//! Bodies that tell which write they are of.

use std::collections::HashMap;

use vaultaire::context::Context;
use vaultaire::driver::{BodyError, Source, composite_etag};
use vaultaire::model::{Digests, ETag, Metadata, MetadataBuilder, MetadataField};

use super::model::Name;
use super::register::{FIRST_CONTENT, Value};

/// All contents of a simulation.
#[derive(Default)]
pub(crate) struct Contents {
    list: Vec<Content>,
    composites: HashMap<ETag, Value>,
}

/// The bytes of one artifact.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// What it was written to.
    pub(crate) name: Name,
    pub(crate) size: usize,
    /// The contents that it was completed from.
    parts: Vec<Value>,
    /// Whether it has so much metadata that it does not fit the index.
    pub(crate) described: bool,
}

impl Contents {
    pub(crate) fn add(&mut self, name: Name, size: usize, described: bool) -> Value {
        self.push(Content { name, size, parts: Vec::new(), described })
    }

    /// A content to be completed from these parts.
    pub(crate) fn compose(&mut self, name: Name, parts: &[Value], described: bool) -> Value {
        let tags: Vec<_> = parts.iter().map(|part| etag_of(*part)).collect();
        let tag = composite_etag(tags.into_iter());
        // Two lives that go on from one may complete the same upload.
        if let Some(same) = self.composites.get(&tag) {
            return *same;
        }
        let size = parts.iter().map(|part| self.get(*part).size).sum();
        let value = self.push(Content { name, size, parts: parts.to_vec(), described });
        self.composites.insert(tag, value);
        value
    }

    fn push(&mut self, content: Content) -> Value {
        self.list.push(content);
        FIRST_CONTENT + u32::try_from(self.list.len() - 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn get(&self, value: Value) -> &Content {
        &self.list[(value - FIRST_CONTENT) as usize]
    }

    /// The content with this tag; `None` if it was never written.
    pub(crate) fn with_etag(&self, tag: ETag) -> Option<Value> {
        if tag.parts > 0 {
            return self.composites.get(&tag).copied();
        }
        let value = u32::from_le_bytes(*tag.hash.first_chunk()?);
        let known = value >= FIRST_CONTENT && ((value - FIRST_CONTENT) as usize) < self.list.len();
        // What was completed from parts has another tag.
        let whole = known && self.get(value).parts.is_empty();
        (whole && etag_of(value) == tag).then_some(value)
    }

    /// The bytes.
    pub(crate) fn bytes(&self, value: Value) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.get(value).size + 8);
        self.append(value, &mut bytes);
        bytes
    }

    fn append(&self, value: Value, bytes: &mut Vec<u8>) {
        let content = self.get(value);
        if content.parts.is_empty() {
            append_pattern(value, content.size, bytes);
        }
        for part in &content.parts {
            self.append(*part, bytes);
        }
    }

    /// The metadata that goes with it.
    pub(crate) fn metadata(&self, value: Value) -> Metadata {
        metadata(value, self.get(value).described)
    }
}

pub(crate) fn metadata(value: Value, described: bool) -> Metadata {
    let mut builder = MetadataBuilder::default();
    if described {
        let text = format!("{value:0>400}");
        // It is short enough.
        let _ = builder.push(MetadataField::User("note"), &text);
    }
    builder.finish()
}

fn append_pattern(value: Value, size: usize, bytes: &mut Vec<u8>) {
    let mut word = u64::from(value).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let end = bytes.len() + size;
    while bytes.len() < end {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
    }
    bytes.truncate(end);
}

/// The tag of what is written in one piece.
pub(crate) fn etag_of(value: Value) -> ETag {
    let mut hash = [0x5a; 16];
    hash[..4].copy_from_slice(&value.to_le_bytes());
    ETag { hash, parts: 0 }
}

/// Yields a content.
pub(crate) struct Body {
    value: Value,
    bytes: Vec<u8>,
    taken: usize,
    declared: bool,
    piece: usize,
}

impl Body {
    pub(crate) fn new(value: Value, bytes: Vec<u8>, declared: bool, piece: usize) -> Self {
        Self { value, bytes, taken: 0, declared, piece }
    }
}

impl Source for Body {
    fn size(&self) -> Option<u64> {
        self.declared.then_some(self.bytes.len() as u64)
    }

    async fn read(&mut self, _ctx: &Context, buffer: &mut [u8]) -> Result<usize, BodyError> {
        vaultaire::runtime::yield_now().await;
        let count = buffer.len().min(self.piece).min(self.bytes.len() - self.taken);
        buffer[..count].copy_from_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }

    async fn finish(&mut self, _ctx: &Context) -> Result<Digests, BodyError> {
        Ok(Digests { etag: etag_of(self.value), checksum: None })
    }
}
