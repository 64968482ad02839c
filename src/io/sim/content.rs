//! The bytes of a file, in blocks that are shared until they are written.

use std::collections::BTreeMap;
use std::rc::Rc;

pub(super) const BLOCK: u64 = 4096;
pub(super) const BLOCK_BYTES: usize = 4096;

/// A block; `None` if it is all zeros.
pub(super) type Block = Option<Rc<[u8; BLOCK_BYTES]>>;

#[derive(Clone, Default)]
pub(super) struct Content {
    blocks: BTreeMap<u64, Rc<[u8; BLOCK_BYTES]>>,
    pub(super) length: u64,
}

impl Content {
    pub(super) fn read(&self, mut bytes: &mut [u8], mut offset: u64) -> usize {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = bytes.len().min(left);
        bytes = &mut bytes[..count];
        while !bytes.is_empty() {
            let (block, at) = place(offset);
            let piece = bytes.len().min(BLOCK_BYTES - at);
            let (head, rest) = bytes.split_at_mut(piece);
            match self.blocks.get(&block) {
                Some(block) => head.copy_from_slice(&block[at..at + piece]),
                None => head.fill(0),
            }
            bytes = rest;
            offset += piece as u64;
        }
        count
    }

    /// The blocks that writing these bytes would leave, from the first on.
    pub(super) fn blocks_of(&self, mut bytes: &[u8], offset: u64) -> (u64, Vec<Block>) {
        let (first, mut at) = place(offset);
        let mut blocks = Vec::with_capacity((at + bytes.len()).div_ceil(BLOCK_BYTES));
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - at));
            if head == [0; BLOCK_BYTES] {
                blocks.push(None);
            } else if let Ok(whole) = head.try_into() {
                blocks.push(Some(Rc::new(whole)));
            } else {
                let mut block = [0; BLOCK_BYTES];
                if let Some(before) = self.blocks.get(&(first + blocks.len() as u64)) {
                    block.copy_from_slice(&before[..]);
                }
                block[at..at + head.len()].copy_from_slice(head);
                blocks.push(Some(Rc::new(block)));
            }
            bytes = rest;
            at = 0;
        }
        (first, blocks)
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        let (first, blocks) = self.blocks_of(bytes, offset);
        for (number, block) in (first..).zip(blocks) {
            self.set_block(number, block);
        }
        self.length = self.length.max(offset + bytes.len() as u64);
    }

    pub(super) fn block(&self, number: u64) -> Block {
        self.blocks.get(&number).cloned()
    }

    pub(super) fn set_block(&mut self, number: u64, block: Block) {
        match block {
            Some(block) => self.blocks.insert(number, block),
            None => self.blocks.remove(&number),
        };
    }

    pub(super) fn set_length(&mut self, length: u64) {
        let (block, at) = place(length);
        if length < self.length {
            self.blocks.split_off(&length.div_ceil(BLOCK));
            if let Some(last) = self.blocks.get_mut(&block) {
                Rc::make_mut(last)[at..].fill(0);
            }
        }
        self.length = length;
    }
}

/// Block number, and offset in the block.
fn place(offset: u64) -> (u64, usize) {
    (offset / BLOCK, usize::try_from(offset % BLOCK).unwrap_or_default())
}
