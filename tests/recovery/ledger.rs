//! What a storage engine owes: of each key the content that was acknowledged last, and the contents that were asked
//! for since and never answered. After a cut a key may hold the former or one of the latter, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use crate::client::{Answer, Client};

/// The container that all work is done in.
pub(crate) const CONTAINER: &str = "ledger";

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Absent,
    /// [`body`] of these.
    Bytes {
        seed: u64,
        size: usize,
    },
}

/// A key's account.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) acknowledged: Content,
    /// Asked for since, with an unknown outcome.
    pub(crate) unknown: Vec<Content>,
}

/// The accounts of one worker, who alone writes these keys.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: BTreeMap<String, Account>,
}

impl Ledger {
    pub(crate) fn acknowledged(&self, key: &str) -> Content {
        self.accounts.get(key).map_or(Content::Absent, |account| account.acknowledged)
    }

    /// Notes that a change is asked for.
    pub(crate) fn ask(&mut self, key: &str, content: Content) {
        let account = self
            .accounts
            .entry(key.to_owned())
            .or_insert(Account { acknowledged: Content::Absent, unknown: Vec::new() });
        account.unknown.push(content);
    }

    /// Notes that the last change of the key was acknowledged.
    pub(crate) fn settle(&mut self, key: &str) {
        if let Some(account) = self.accounts.get_mut(key)
            && let Some(content) = account.unknown.pop()
        {
            account.acknowledged = content;
            account.unknown.clear();
        }
    }

    /// Notes that the last change of the key was refused and has not happened.
    pub(crate) fn refuse(&mut self, key: &str) {
        if let Some(account) = self.accounts.get_mut(key) {
            account.unknown.pop();
        }
    }
}

/// What was found in comparing a server with the ledger.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) checked: u64,
    /// Acknowledged, and gone or older now.
    pub(crate) lost: u64,
    /// Acknowledged as gone, and there again; or listed and never written.
    pub(crate) phantom: u64,
    /// Bytes that were never written under this key, or an answer that makes no sense.
    pub(crate) wrong: u64,
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.phantom + self.wrong == 0
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        self.lost += other.lost;
        self.phantom += other.phantom;
        self.wrong += other.wrong;
        self.notes.extend(other.notes);
        self.notes.truncate(20);
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < 20 {
            self.notes.push(text);
        }
    }
}

/// Compares a server with the ledgers, all keys of both, and settles what was unknown: what is there now must stay.
pub(crate) fn verify(address: &str, ledgers: &mut [Ledger]) -> Verdict {
    let mut verdict = Verdict::default();
    let verdicts: Vec<Verdict> = std::thread::scope(|scope| {
        let threads: Vec<_> = ledgers
            .iter_mut()
            .map(|ledger| scope.spawn(move || verify_one(&mut Client::new(address), ledger)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("verified")).collect()
    });
    verdicts.into_iter().for_each(|one| verdict.add(one));

    let due: BTreeSet<&str> = ledgers
        .iter()
        .flat_map(|ledger| &ledger.accounts)
        .filter(|(_, account)| account.acknowledged != Content::Absent)
        .map(|(key, _)| key.as_str())
        .collect();
    let listed = match list(&mut Client::new(address)) {
        Ok(listed) => listed,
        Err(answer) => {
            verdict.lost += 1;
            verdict.note(format!("no listing: {answer}"));
            return verdict;
        }
    };
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    for key in due.difference(&listed) {
        verdict.lost += 1;
        verdict.note(format!("{key} is not listed"));
    }
    for key in listed.difference(&due) {
        verdict.phantom += 1;
        verdict.note(format!("{key} is listed"));
    }
    verdict
}

fn verify_one(client: &mut Client, ledger: &mut Ledger) -> Verdict {
    let mut verdict = Verdict::default();
    for (key, account) in &mut ledger.accounts {
        verdict.checked += 1;
        let answer = match client.send("GET", &target(key), &[], &[]) {
            Ok(answer) => answer,
            Err(error) => {
                verdict.wrong += 1;
                verdict.note(format!("{key}: {error}"));
                continue;
            }
        };
        let found = {
            let mut allowed = account.unknown.iter().chain([&account.acknowledged]).copied();
            allowed.find(|content| matches(&answer, *content))
        };
        match found {
            Some(content) => {
                account.acknowledged = content;
                account.unknown.clear();
            }
            None => {
                let was_absent = account.acknowledged == Content::Absent;
                match answer.status {
                    404 => verdict.lost += 1,
                    200 if was_absent => verdict.phantom += 1,
                    _ => verdict.wrong += 1,
                }
                verdict.note(format!(
                    "{key}: status {}, {} bytes from {:x?}; owed {account:x?}",
                    answer.status,
                    answer.body.len(),
                    answer.body.get(..16)
                ));
            }
        }
    }
    verdict
}

/// Whether an answer to GET shows this content.
pub(crate) fn matches(answer: &Answer, content: Content) -> bool {
    match content {
        Content::Absent => answer.status == 404,
        Content::Bytes { seed, size } => {
            answer.status == 200 && answer.body.len() == size && answer.body == body(seed, size)
        }
    }
}

/// All keys of the container.
pub(crate) fn list(client: &mut Client) -> Result<Vec<String>, String> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let after = keys.last().map(|key| key.replace('/', "%2F")).unwrap_or_default();
        let start = if keys.is_empty() { String::new() } else { format!("&start-after={after}") };
        let target = format!("/{CONTAINER}?list-type=2{start}");
        let answer = client.send("GET", &target, &[], &[]).map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(answer.text());
        }
        let text = answer.text();
        keys.extend(
            text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once('<')?.0.to_owned())),
        );
        if answer.element("IsTruncated").as_deref() != Some("true") {
            return Ok(keys);
        }
    }
}

/// A key's path.
pub(crate) fn target(key: &str) -> String {
    format!("/{CONTAINER}/{key}")
}

const NOISE_BYTES: usize = 24 << 20;

/// Bytes that only this seed has, in every block of them.
pub(crate) fn body(seed: u64, size: usize) -> Vec<u8> {
    static NOISE: OnceLock<Vec<u8>> = OnceLock::new();
    let noise = NOISE.get_or_init(|| {
        let mut draw = Draw(1);
        (0..NOISE_BYTES / 8).flat_map(|_| draw.next().to_le_bytes()).collect()
    });
    let room = u64::try_from(NOISE_BYTES - size).expect("it fits");
    let start = usize::try_from(Draw(seed).next() % room).expect("it fits");
    let mut bytes = noise[start..start + size].to_vec();
    for (byte, mark) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte = mark;
    }
    bytes
}

/// A small generator (splitmix64).
pub(crate) struct Draw(pub(crate) u64);

impl Draw {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it fits")
    }
}
