//! Listing of uploads in progress.

use crate::driver::Driver;
use crate::model::{UploadEntry, UploadId, UploadQuery};

use super::Bench;
use super::multipart::plainly;

/// Listing of uploads.
pub async fn uploads<D: Driver>(driver: &D) {
    let bench = Bench::new(driver, "uploads").await;
    let mut begun = Vec::new();
    for key in ["b/1", "a", "b/2", "a", "c//x", "a", "b", "ä/1", "b/1", "a/", "zz"] {
        begun.push((key, bench.begin(key).await));
    }
    // Neither artifacts nor uploads that have ended are listed.
    bench.put("artifact", b"x").await;
    let aborted = bench.begin("a").await;
    bench.driver.abort_upload(&bench.ctx, bench.target("a"), aborted).await.expect("abort");
    let completed = bench.begin("b/3").await;
    let parts = [bench.part("b/3", completed, 1, b"x").await];
    bench.complete("b/3", completed, &plainly(&parts)).await.expect("complete");

    let order = order_of(&bench, &begun).await;
    for (prefix, delimiter) in [("", ""), ("", "/"), ("b", ""), ("b/", "/"), ("", "//"), ("q", "")]
    {
        for limit in [1, 2, 3, 1000] {
            let query = UploadQuery {
                prefix: prefix.to_owned(),
                delimiter: delimiter.to_owned(),
                after: None,
                limit,
            };
            let expected = expected(&order, prefix, delimiter);
            assert_eq!(all_pages(&bench, &query).await, expected, "{query:?}");
        }
    }
    Box::pin(markers(&bench, &order)).await;
}

/// A key and the id of its upload, or a rolled-up prefix.
type Entry = (String, Option<UploadId>);

/// The uploads in the order in which they are listed: by key, then by time.
async fn order_of<D: Driver>(bench: &Bench<'_, D>, begun: &[(&str, UploadId)]) -> Vec<Entry> {
    let query = UploadQuery { limit: 1000, ..UploadQuery::default() };
    let page = bench.driver.list_uploads(&bench.ctx, &bench.container, &query).await;
    let page = page.expect("list");
    assert!(!page.truncated, "all fit one page");
    let mut order = Vec::new();
    let mut times = Vec::new();
    for entry in page.entries {
        let UploadEntry::Upload { key, id, info } = entry else { panic!("rolled up {entry:?}") };
        let head = bench.driver.head_upload(&bench.ctx, bench.target(&key), id).await;
        assert_eq!(head.expect("it is in progress"), info);
        times.push((key.clone(), info.created_ms));
        order.push((key, Some(id)));
    }
    assert!(times.is_sorted(), "by key, then by time: {times:?}");
    let mut listed = order.clone();
    let mut expected: Vec<Entry> =
        begun.iter().map(|(key, id)| ((*key).to_owned(), Some(*id))).collect();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected, "every upload, once");
    order
}

fn expected(order: &[Entry], prefix: &str, delimiter: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for (key, id) in order {
        let Some(rest) = key.strip_prefix(prefix) else { continue };
        let entry = match rest.split_once(delimiter) {
            Some((within, _)) if !delimiter.is_empty() => {
                (format!("{prefix}{within}{delimiter}"), None)
            }
            _ => (key.clone(), *id),
        };
        if entries.last() != Some(&entry) {
            entries.push(entry);
        }
    }
    entries
}

async fn all_pages<D: Driver>(bench: &Bench<'_, D>, query: &UploadQuery) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut next = query.clone();
    loop {
        let page = bench.driver.list_uploads(&bench.ctx, &bench.container, &next).await;
        let page = page.expect("list");
        assert!(page.entries.len() <= query.limit, "a page keeps to its limit");
        found.extend(page.entries.into_iter().map(|entry| match entry {
            UploadEntry::Upload { key, id, .. } => (key, Some(id)),
            UploadEntry::Prefix(prefix) => (prefix, None),
        }));
        if !page.truncated {
            return found;
        }
        assert!(found.len() <= 1000, "the pages come to an end");
        next.after = found.last().cloned();
    }
}

/// Begins after any upload, any key, and an upload that has ended meanwhile.
async fn markers<D: Driver>(bench: &Bench<'_, D>, order: &[Entry]) {
    let from =
        |after: Entry| UploadQuery { after: Some(after), limit: 1000, ..UploadQuery::default() };
    for (index, (key, id)) in order.iter().enumerate() {
        let later = all_pages(bench, &from((key.clone(), *id))).await;
        assert_eq!(later, order[index + 1..], "after {key:?} and its upload");
        let other_keys: Vec<_> = order.iter().filter(|(other, _)| other > key).cloned().collect();
        assert_eq!(all_pages(bench, &from((key.clone(), None))).await, other_keys, "after {key:?}");
    }
    let (key, id) = &order[1];
    let ended = id.expect("an upload");
    bench.driver.abort_upload(&bench.ctx, bench.target(key), ended).await.expect("abort");
    let later = all_pages(bench, &from((key.clone(), *id))).await;
    assert_eq!(later, order[2..], "after an upload that has ended");
}
