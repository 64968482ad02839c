use futures_util::FutureExt;

use super::*;
use crate::io::budget::Budget;
use crate::io::sim::SimFile;
use crate::model::{ListEntry, ListQuery, UploadId};
use crate::shard::index::value::{NewArtifact, NewContent};

fn artifact(size: u64) -> Entry {
    let mut value = Vec::new();
    let content = NewContent::Inline { crc: 7 };
    let etag = crate::model::ETag { hash: [9; 16], parts: 0 };
    NewArtifact { size, modified_ms: 5, etag, checksum: None, metadata: b"", content }
        .encode(&mut value);
    Entry { place: Place { segment: 1, offset: 4096, length: 3 }, value: value.into() }
}

fn tombstone() -> Entry {
    Entry { place: Place::default(), value: Box::default() }
}

fn put(shard: &ShardMap, name: &str, sequence: u64, entry: Entry) {
    let stem = key::artifact(1, name.as_bytes());
    shard.insert(&stem, sequence, entry);
    shard.publish(sequence);
    shard.prune(&stem, sequence, |_, _| ());
}

fn names(page: &crate::model::ListPage) -> Vec<&str> {
    page.entries.iter().map(ListEntry::name).collect()
}

/// There are no runs here.
struct NoRuns;

impl run::RunFiles for NoRuns {
    type File = SimFile;

    async fn file(&self, _run: u64, _keep: bool) -> std::io::Result<SimFile> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn list(shard: &ShardMap, query: &ListQuery) -> crate::model::ListPage {
    let cache = run::BlockCache::new(Budget::new(1 << 20), 1 << 20);
    let reader = run::Reader { files: &NoRuns, cache: &cache };
    let page = list::artifacts(shard, 0, 1, query, reader).now_or_never();
    page.expect("nothing is waited for").unwrap()
}

fn sequence(shard: &ShardMap, stem: &[u8]) -> Option<u64> {
    match shard.look(stem, |sequence, _, _| sequence) {
        Looked::Known(found) => found,
        Looked::Below(_) => panic!("there are no runs"),
    }
}

#[test]
fn nothing_is_visible_before_it_is_published() {
    let shard = ShardMap::default();
    let stem = key::artifact(1, b"a");
    shard.insert(&stem, 1, artifact(10));
    assert_eq!(sequence(&shard, &stem), None);
    assert!(list(&shard, &ListQuery { limit: 9, ..Default::default() }).entries.is_empty());
    shard.publish(1);
    assert_eq!(sequence(&shard, &stem), Some(1));
    shard.insert(&stem, 2, tombstone());
    assert_eq!(sequence(&shard, &stem), Some(1));
    assert_eq!(list(&shard, &ListQuery { limit: 9, ..Default::default() }).entries.len(), 1);
    shard.publish(2);
    assert_eq!(sequence(&shard, &stem), None);
    assert!(list(&shard, &ListQuery { limit: 9, ..Default::default() }).entries.is_empty());
}

#[test]
fn pruning_frees_each_replaced_version_once_and_drops_tombstones() {
    let shard = ShardMap::default();
    let stem = key::artifact(1, b"a");
    for sequence in 1..=3 {
        shard.insert(&stem, sequence, artifact(sequence));
    }
    shard.insert(&key::artifact(1, b"b"), 4, artifact(4));
    shard.insert(&stem, 5, tombstone());
    shard.publish(5);
    let mut freed = Vec::new();
    shard.prune(&stem, 5, |sequence, _| freed.push(sequence));
    assert_eq!(freed, [1, 2, 3], "the oldest first");
    assert_eq!(shard.view().active.table.len(), 1);
    shard.prune(&stem, 5, |_, _| panic!("freed twice"));
}

#[test]
fn bytes_of_tables_are_counted_for_their_owner() {
    let index = Index::new(2);
    let shards_of = |owner| (0..=u8::MAX).filter(move |shard| shard % 2 == owner);
    let counted = || {
        assert!(
            index.are_tables_counted(0, shards_of(0)) && index.are_tables_counted(1, shards_of(1))
        );
        [index.table_bytes(0), index.table_bytes(1)]
    };
    // As recovery does it, and then counts.
    let (version, map) = (key::version_boxed(&key::artifact(1, b"a"), 1), index.shard(5));
    assert!(map.insert_version(version, artifact(1)) > 0);
    index.count_tables(1, shards_of(1));
    let [none, one] = counted();
    assert!(none == 0 && one > 0);

    map.publish(1);
    put(map, "b", 2, artifact(1));
    put(map, "a", 3, artifact(1));
    assert_eq!(counted(), [0, 2 * one], "what was replaced is gone");
    map.insert(&key::part(1, UploadId(7), 1), 4, artifact(1));
    assert_eq!(counted(), [0, 2 * one], "what stays in memory does not count");
    let frozen = Some(Arc::clone(&map.view().active));
    map.set_view(View { frozen, ..View::default() });
    put(map, "c", 5, artifact(1));
    assert_eq!(counted(), [0, 3 * one], "a frozen table counts");
    let active = Arc::clone(&map.view().active);
    map.set_view(View { active, ..View::default() });
    assert_eq!(counted(), [0, one]);
    map.reset();
    assert_eq!(counted(), [0, 0]);
}

#[test]
fn a_delimiter_rolls_up_and_pages_go_on_where_they_ended() {
    let shard = ShardMap::default();
    let all = ["a", "b/1", "b/2", "b//3", "c", "d/x/1", "d/y", "d0", "é/1"];
    for (sequence, name) in (1..).zip(all) {
        put(&shard, name, sequence, artifact(1));
    }
    let query = ListQuery { delimiter: "/".into(), limit: 100, ..Default::default() };
    let page = list(&shard, &query);
    assert_eq!(names(&page), ["a", "b/", "c", "d/", "d0", "é/"]);
    assert!(!page.truncated);

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = list(&shard, &ListQuery { limit: 2, after, ..query.clone() });
        seen.extend(page.entries.iter().map(|entry| entry.name().to_owned()));
        if !page.truncated {
            break;
        }
        after = seen.last().cloned();
    }
    assert_eq!(seen, ["a", "b/", "c", "d/", "d0", "é/"]);

    let under = ListQuery { prefix: "d/".into(), ..query.clone() };
    assert_eq!(names(&list(&shard, &under)), ["d/x/", "d/y"]);
    let plain = ListQuery { after: Some("b//3".into()), limit: 3, ..Default::default() };
    let page = list(&shard, &plain);
    assert_eq!(names(&page), ["b/1", "b/2", "c"]);
    assert!(page.truncated);
}

#[test]
fn an_entry_stays_within_its_share_of_memory() {
    // An ordinary key of 64 bytes and metadata of 100, with the node's tower and the allocator's rounding.
    let entry = artifact(1).value.len() + 100;
    let key = key::artifact(1, &[b'k'; 64]).len() + key::SEQUENCE_LENGTH;
    let node = size_of::<Box<[u8]>>() + size_of::<Entry>() + 8 + 4 * size_of::<usize>();
    assert!(entry + key + node + 3 * 32 <= 512, "{entry} + {key} + {node}");
}

#[test]
fn a_key_that_is_replaced_all_the_time_is_never_missed() {
    let shard = std::sync::Arc::new(ShardMap::default());
    let stem = key::artifact(1, b"hot");
    put(&shard, "aa", 1, artifact(1));
    put(&shard, "hot", 2, artifact(1));
    put(&shard, "zz", 3, artifact(1));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    assert!(sequence(&shard, &stem).is_some(), "a get missed");
                    let page = list(&shard, &ListQuery { limit: 9, ..Default::default() });
                    assert_eq!(names(&page), ["aa", "hot", "zz"]);
                }
            });
        }
        for sequence in 4..60_000 {
            put(&shard, "hot", sequence, artifact(sequence));
        }
        stop.store(true, Ordering::Relaxed);
    });
}
