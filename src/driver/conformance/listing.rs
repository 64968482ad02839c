//! Listings, compared with a model that is too simple to be wrong.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::driver::Driver;
use crate::model::{ListEntry, ListQuery, Metadata, WriteCondition, WriteReceipt};

use super::{Bench, Sequence};

/// Delimiters of one byte, of several, and such that overlap themselves.
const DELIMITERS: [&str; 7] = ["", "/", "//", "ab", "aa", "ß", "/é"];

/// Building blocks of keys: their sequences are prefixes of each other.
const SYLLABLES: [&str; 12] =
    ["a", "b", "ab", "/", "//", "ß", "é", "/é", "🦀", "\u{7f}", "-", "aa"];

/// Listings.
pub async fn listing<D: Driver>(driver: &D) {
    for seed in 0..3 {
        let bench = Bench::new(driver, &format!("listing-{seed}")).await;
        Box::pin(against_the_model(&bench, seed)).await;
    }
    Box::pin(many_keys(&Bench::new(driver, "listing-many").await)).await;
}

/// Keys and what their writers were told.
type Model = BTreeMap<String, WriteReceipt>;

async fn against_the_model<D: Driver>(bench: &Bench<'_, D>, seed: u64) {
    let mut random = Sequence::new(seed);
    let model = fill(bench, &mut random).await;
    let keys: Vec<&String> = model.keys().collect();
    for delimiter in DELIMITERS {
        for _ in 0..12 {
            let prefix = cut(&mut random, &keys);
            let after = match random.below(3) {
                0 => None,
                1 => Some(keys[random.below(keys.len())].clone()),
                _ => Some(cut(&mut random, &keys)).filter(|after| !after.is_empty()),
            };
            let limit = [1, 2, 3, 7, 1000][random.below(5)];
            let query = ListQuery { prefix, delimiter: delimiter.to_owned(), after, limit };
            check(bench, &model, query).await;
        }
        // From every key and every rolled-up prefix on.
        let all = ListQuery { delimiter: delimiter.to_owned(), limit: 3, ..ListQuery::default() };
        for (name, _) in expected(&model, &all) {
            check(bench, &model, ListQuery { after: Some(name), ..all.clone() }).await;
        }
    }
    let nothing = ListQuery::default();
    let page = bench.driver.list(&bench.ctx, &bench.container, &nothing).await.expect("list");
    assert!(page.entries.is_empty() && !page.truncated, "a page of no entries is the last");
}

/// Writes generated keys, overwrites some, deletes some, and returns what is left.
async fn fill<D: Driver>(bench: &Bench<'_, D>, random: &mut Sequence) -> Model {
    let mut keys = BTreeSet::new();
    while keys.len() < 80 {
        let length = 1 + random.below(5);
        keys.insert((0..length).map(|_| SYLLABLES[random.below(SYLLABLES.len())]).collect());
    }
    let mut model = Model::new();
    for (index, key) in keys.iter().enumerate() {
        let key: &String = key;
        let mut receipt = bench.put(key, key.as_bytes()).await;
        if index % 5 == 1 {
            receipt = bench.put(key, b"overwritten").await;
        }
        if index % 7 == 3 {
            bench.delete_if(key, WriteCondition::None).await.expect("delete");
        } else {
            model.insert(key.clone(), receipt);
        }
    }
    model
}

/// The beginning of some key.
fn cut(random: &mut Sequence, keys: &[&String]) -> String {
    let characters = random.below(4);
    keys[random.below(keys.len())].chars().take(characters).collect()
}

/// All entries that a query should find, over all its pages: a name each, and the artifact if it is
/// no rolled-up prefix.
fn expected(model: &Model, query: &ListQuery) -> Vec<(String, Option<WriteReceipt>)> {
    let mut entries: Vec<(String, Option<WriteReceipt>)> = Vec::new();
    for (key, receipt) in model {
        let Some(rest) = key.strip_prefix(&query.prefix) else { continue };
        let entry = match rest.split_once(&query.delimiter) {
            Some((within, _)) if !query.delimiter.is_empty() => {
                (format!("{}{within}{}", query.prefix, query.delimiter), None)
            }
            _ => (key.clone(), Some(receipt.clone())),
        };
        let on_earlier_page = query.after.as_ref().is_some_and(|after| entry.0 <= *after);
        if !on_earlier_page && entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

/// Pages through a query and compares.
async fn check<D: Driver>(bench: &Bench<'_, D>, model: &Model, query: ListQuery) {
    let wanted = expected(model, &query);
    let mut found = Vec::new();
    let mut next = query.clone();
    loop {
        let page = bench.driver.list(&bench.ctx, &bench.container, &next).await.expect("list");
        let full = page.entries.len() == query.limit;
        assert!(page.entries.len() <= query.limit, "a page keeps to its limit: {next:?}");
        assert!(full || !page.truncated, "a page that is cut off is full: {next:?}");
        found.extend(page.entries);
        let names: Vec<_> = found.iter().map(ListEntry::name).collect();
        assert_eq!(page.truncated, found.len() < wanted.len(), "{query:?} found {names:?}");
        if !page.truncated {
            break;
        }
        next.after = found.last().map(|entry| entry.name().to_owned());
    }
    let names: Vec<_> = found.iter().map(ListEntry::name).collect();
    let wanted_names: Vec<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, wanted_names, "{query:?}");
    for (entry, (name, receipt)) in found.iter().zip(&wanted) {
        match (entry, receipt) {
            (ListEntry::Prefix(_), None) => {}
            (ListEntry::Artifact(_, info), Some(receipt)) => {
                assert_eq!(
                    (info.size, info.etag, info.modified_ms, info.checksum),
                    (receipt.size, receipt.etag, receipt.modified_ms, receipt.checksum),
                    "description of {name:?}"
                );
                assert_eq!(info.metadata, Metadata::default(), "a listing reads no metadata");
            }
            _ => panic!("{name:?} is of the wrong kind in {query:?}"),
        }
    }
}

async fn many_keys<D: Driver>(bench: &Bench<'_, D>) {
    let keys: Vec<String> =
        (0..1500).map(|nth| format!("{}/{:02}/{nth}", nth % 3, nth % 40)).collect();
    let mut model = Model::new();
    for some in keys.chunks(100) {
        let receipts = join_all(some.iter().map(|key| Box::pin(bench.put(key, b"")))).await;
        model.extend(some.iter().cloned().zip(receipts));
    }
    for (prefix, delimiter, limit) in
        [("", "", 1000), ("", "/", 2), ("1/", "/", 7), ("2/3", "", 13), ("0/00/", "/", 1000)]
    {
        let query = ListQuery {
            prefix: prefix.to_owned(),
            delimiter: delimiter.to_owned(),
            after: None,
            limit,
        };
        check(bench, &model, query).await;
    }
}
