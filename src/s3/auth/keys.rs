//! Signing keys, which hold for one access key, day and region, and so for many requests.

use smallvec::SmallVec;

use crate::stdx::sha256::HmacKey;

/// Most keys kept. Only known access keys get here, and only days that may be signed for.
const KEYS_MAX: usize = 64;

struct Entry {
    access_key_id: Box<str>,
    day: [u8; 8],
    region: Box<str>,
    key: HmacKey,
}

/// The keys used last, roughly: a full cache replaces them in turn.
#[derive(Default)]
pub(super) struct KeyCache {
    entries: Vec<Entry>,
    next: usize,
}

impl KeyCache {
    /// The key that signs for this day and region.
    pub(super) fn get(
        &mut self,
        access_key_id: &str,
        secret: &str,
        day: &[u8; 8],
        region: &str,
    ) -> &HmacKey {
        let found = self.entries.iter().position(|entry| {
            entry.day == *day && *entry.access_key_id == *access_key_id && *entry.region == *region
        });
        let index = found.unwrap_or_else(|| {
            self.insert(Entry {
                access_key_id: access_key_id.into(),
                day: *day,
                region: region.into(),
                key: derive(secret, day, region),
            })
        });
        &self.entries[index].key
    }

    fn insert(&mut self, entry: Entry) -> usize {
        if self.entries.len() < KEYS_MAX {
            self.entries.push(entry);
            return self.entries.len() - 1;
        }
        let index = self.next;
        self.entries[index] = entry;
        self.next = (index + 1) % KEYS_MAX;
        index
    }
}

/// The key that a secret gives for one day and region of S3.
fn derive(secret: &str, day: &[u8; 8], region: &str) -> HmacKey {
    let mut seed = SmallVec::<[u8; 128]>::from_slice(b"AWS4");
    seed.extend_from_slice(secret.as_bytes());
    let mut key = HmacKey::new(&seed);
    for part in [day.as_slice(), region.as_bytes(), b"s3", b"aws4_request"] {
        key = HmacKey::new(&key.sign(part));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_cache_goes_on_giving_the_right_keys() {
        let mut cache = KeyCache::default();
        for round in 0..3 {
            for number in 0..KEYS_MAX + 5 {
                let id = format!("{number}");
                let kept = cache.get(&id, &id, b"20130524", "r").sign(b"x");
                let fresh = derive(&id, b"20130524", "r").sign(b"x");
                assert_eq!(kept, fresh, "{round} {number}");
            }
        }
        assert_eq!(cache.entries.len(), KEYS_MAX);
        let other_day = cache.get("5", "5", b"20130525", "r").sign(b"x");
        let day = cache.get("5", "5", b"20130524", "r").sign(b"x");
        assert_ne!(day, other_day);
    }
}
