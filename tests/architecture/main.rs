//! Holds the architecture: what `src/ARCHITECTURE.md` says is absent is looked for, and must not be there.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod source;

use source::{Source, block, parts, sources, words};

/// The layers from the wire down to the kernel. One uses those below it, never one above.
const LAYERS: [&str; 10] =
    ["main", "server", "net", "s3", "http", "engine", "driver", "shard", "io", "runtime"];

/// To the side: usable by every layer, using none of them.
const ASIDE: [&str; 6] = ["model", "context", "config", "event", "stdx", "lib"];

/// Uses against the direction, each with its reason.
const UPWARD: [(&str, &str, &str); 1] =
    [("config", "engine::tenant", "access keys are configured, and the type is plain")];

/// Words of S3 that end at `src/s3/`.
const WORDS: [&str; 4] = ["bucket", "buckets", "object", "objects"];

/// Lines outside `src/s3/` that need one of the words all the same.
const WORDS_NEEDED: [(&str, &str, &str); 2] = [
    ("", "FullObject", "the published name of a kind of checksum"),
    ("event/", "\"_bucket\"", "the metrics format's name for a class of a histogram"),
];

/// The modules that may be unsafe; each says why in its own text.
const UNSAFE: [&str; 15] = [
    "io/buffer.rs",
    "io/lending.rs",
    "io/residency.rs",
    "io/socket.rs",
    "io/uring.rs",
    "runtime/placement.rs",
    "stdx/avx512.rs",
    "stdx/crc.rs",
    "stdx/md5/kernel.rs",
    "stdx/md5/kernel/avx2.rs",
    "stdx/md5/kernel/avx512.rs",
    "stdx/md5/mod.rs",
    "stdx/sha256/kernel.rs",
    "stdx/sha256/mod.rs",
    "stdx/sha256/wide.rs",
];

/// Longest file, its tests left out.
const LINES_MAX: usize = 450;

fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn layers_use_only_what_lies_below() {
    assert_none(sources().iter().flat_map(upward_uses).collect());
}

#[test]
fn words_of_s3_end_at_s3() {
    let outside = |source: &&Source| source.layer() != "s3";
    assert_none(sources().iter().filter(outside).flat_map(s3_words).collect());
}

#[test]
fn unsafe_code_is_fenced() {
    let mut problems = Vec::new();
    for source in sources() {
        let opened = words(&source.code).any(|(_, word)| word == "unsafe" || word == "unsafe_code");
        if opened && !UNSAFE.contains(&source.path.as_str()) {
            problems.push(format!("src/{} has unsafe code and is no module for it", source.path));
        }
    }
    assert_none(problems);
}

#[test]
fn files_fit_a_reader() {
    let mut problems = Vec::new();
    for source in sources().iter().filter(|source| !source.is_tests()) {
        let lines = lines_without_tests(source);
        if lines > LINES_MAX {
            problems.push(format!("src/{} has {lines} lines; split it", source.path));
        }
    }
    assert_none(problems);
}

#[test]
fn every_operation_takes_the_context_first_and_returns_no_whole_body() {
    let mut operations = Vec::new();
    for source in sources() {
        if source.path.starts_with("engine/") && !source.is_tests() {
            for body in items(&source.code, "impl Engine") {
                let public = |function: &&Function| function.public && function.takes_self;
                operations.extend(functions(body).iter().filter(public).cloned());
            }
        }
        if source.path == "driver/mod.rs" {
            for name in ["Driver", "OpenArtifact", "Reader", "Source"] {
                let body = items(&source.code, &format!("trait {name}"));
                assert_eq!(body.len(), 1, "trait {name} is declared once");
                let asked = |function: &&Function| {
                    function.returns.contains("Future")
                        || function.asynchronous
                        || (name == "Driver" && function.name != "capabilities")
                };
                operations.extend(functions(body[0]).iter().filter(asked).cloned());
            }
        }
    }
    for name in ["put", "open", "list", "read", "next", "finish", "part", "health"] {
        assert!(operations.iter().any(|one| one.name == name), "{name} was not looked at");
    }
    assert_none(operations.iter().filter_map(Function::problem).collect());
}

/// The uses of a file that go up or aside in the wrong direction.
fn upward_uses(source: &Source) -> Vec<String> {
    let layer = source.layer();
    let place = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    if place(layer).is_none() && !ASIDE.contains(&layer) {
        return vec![format!("src/{} lies in no known layer", source.path)];
    }
    let mut problems = Vec::new();
    for (offset, used) in uses(source) {
        let target = used.split("::").next().unwrap_or(&used).to_owned();
        let allowed = layer == "lib"
            || target == layer
            || ASIDE.contains(&target.as_str())
            || match (place(layer), place(&target)) {
                (Some(from), Some(to)) => from < to,
                // Not a module of this crate's top: an item that lib.rs gives.
                (_, None) => true,
                (None, Some(_)) => false,
            }
            || UPWARD.iter().any(|(from, to, _)| *from == layer && used.starts_with(to));
        if !allowed {
            let line = source.line(offset);
            problems.push(format!("src/{}:{line}: {layer} uses {used}", source.path));
        }
    }
    problems
}

/// The paths below the crate that a file uses, with their places: by `crate::`, or by enough `super::`.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let mut uses = Vec::new();
    for (offset, word) in words(&source.code) {
        let before = source.code[..offset].trim_end();
        let rest = &source.code[offset + word.len()..];
        let starts_path = !before.ends_with("::") && rest.starts_with("::");
        if !starts_path {
            continue;
        }
        if word == "crate" || word == "vaultaire" {
            uses.extend(leaves(&rest[2..]).into_iter().map(|path| (offset, path)));
        } else if word == "super" {
            let chain = format!("super{rest}");
            let mut climbed = chain.as_str();
            let mut supers = 0;
            while let Some(next) = climbed.strip_prefix("super::") {
                climbed = next;
                supers += 1;
            }
            let depth = source.module().len() + source.modules_around(offset);
            if supers == depth {
                uses.extend(leaves(climbed).into_iter().map(|path| (offset, path)));
            }
        }
    }
    uses
}

/// The paths of a tree such as `a::{b, c::d}`, to their first two names.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim_start();
    if !tree.starts_with('{') {
        let end = tree.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let path = &tree[..end.unwrap_or(tree.len())];
        return vec![path.trim_end_matches("::").to_owned()];
    }
    let inside = block(tree);
    let inside = &inside[1..inside.len().saturating_sub(1)];
    let (mut branches, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (index, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                branches.push(&inside[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    branches.push(&inside[start..]);
    branches.into_iter().filter(|branch| !branch.trim().is_empty()).flat_map(leaves).collect()
}

/// The words of S3 in a file: in code, comments and strings, whole or as part of a name.
fn s3_words(source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        let mut rest = line.to_owned();
        for (path, needed, _) in WORDS_NEEDED {
            if source.path.starts_with(path) {
                rest = rest.replace(needed, "");
            }
        }
        // Links lead to pages whose names are not ours.
        let rest: Vec<&str> =
            rest.split_whitespace().filter(|word| !word.contains("https://")).collect();
        for (_, word) in words(&rest.join(" ")) {
            if parts(word).iter().any(|part| WORDS.contains(&part.as_str())) {
                problems.push(format!("src/{}:{}: {word}", source.path, index + 1));
            }
        }
    }
    problems
}

fn lines_without_tests(source: &Source) -> usize {
    let all = source.text.lines().count();
    let Some(start) = source.code.find("#[cfg(test)]\nmod tests {") else { return all };
    all - block(&source.code[start + "#[cfg(test)]\nmod tests ".len()..]).lines().count()
}

/// The bodies of the items that begin with these words.
fn items<'a>(code: &'a str, head: &str) -> Vec<&'a str> {
    let mut bodies = Vec::new();
    for (start, _) in code.match_indices(head) {
        let rest = &code[start + head.len()..];
        if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        if let Some(open) = rest.find('{') {
            bodies.push(block(&rest[open..]));
        }
    }
    bodies
}

/// A function's signature.
#[derive(Clone)]
struct Function {
    name: String,
    public: bool,
    asynchronous: bool,
    takes_self: bool,
    /// What follows self, without spaces.
    arguments: String,
    returns: String,
}

impl Function {
    fn problem(&self) -> Option<String> {
        let context = ["ctx:&Context,", "ctx:&'aContext,"];
        let arguments = format!("{},", self.arguments.trim_end_matches(','));
        if !context.iter().any(|context| arguments.starts_with(context)) {
            return Some(format!("{} does not take ctx: &Context first", self.name));
        }
        let whole = |word: &str| words(&self.returns).any(|(_, found)| found == word);
        if whole("Bytes") || self.returns.replace(' ', "").contains("Vec<u8>") {
            return Some(format!("{} returns a whole body", self.name));
        }
        None
    }
}

/// The functions right inside a body.
fn functions(body: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let inner = &body[1..];
    let mut line = 0;
    for (start, word) in words(inner) {
        if start < line || word != "fn" {
            continue;
        }
        let before = inner[line..start].rsplit(['}', ';', ']']).next().unwrap_or("");
        let rest = &inner[start + 2..];
        let name: String = words(rest).next().map_or("", |(_, name)| name).to_owned();
        let Some(open) = parameters(rest) else { continue };
        let list = block(&rest[open..]);
        let inside: String = list[1..list.len() - 1].split_whitespace().collect();
        let behind = &rest[open + list.len()..];
        let end = behind.find(['{', ';']).unwrap_or(behind.len());
        let receiver = ["&mutself", "&self", "mutself", "self"]
            .into_iter()
            .find_map(|receiver| inside.strip_prefix(receiver));
        functions.push(Function {
            name,
            public: words(before).any(|(_, word)| word == "pub"),
            asynchronous: words(before).any(|(_, word)| word == "async"),
            takes_self: receiver.is_some(),
            arguments: receiver.unwrap_or(&inside).trim_start_matches(',').to_owned(),
            returns: behind[..end].to_owned(),
        });
        // Functions within its body are nobody's operations.
        let skipped = if behind[end..].starts_with('{') { block(&behind[end..]).len() } else { 1 };
        line = start + 2 + open + list.len() + end + skipped;
    }
    functions
}

/// Where the list of parameters opens: behind the name and its generics.
fn parameters(signature: &str) -> Option<usize> {
    let mut angles = 0_usize;
    let mut previous = b' ';
    for (index, byte) in signature.bytes().enumerate() {
        match byte {
            b'<' => angles += 1,
            b'>' if previous != b'-' => angles = angles.saturating_sub(1),
            b'(' if angles == 0 => return Some(index),
            _ => {}
        }
        previous = byte;
    }
    None
}

#[test]
fn a_use_upward_is_found() {
    let find = |path: &str, text: &str| upward_uses(&Source::new(path, text));
    assert_eq!(find("io/a.rs", "use crate::net::x;"), ["src/io/a.rs:1: io uses net::x"]);
    assert_eq!(
        find("model/a.rs", "\nuse crate::{stdx, io::Disk};"),
        ["src/model/a.rs:2: model uses io::Disk"]
    );
    assert_eq!(find("shard/log/mod.rs", "fn f() { crate::engine::g() }").len(), 1);
    assert_eq!(find("shard/log/mod.rs", "use super::super::s3::x;").len(), 1);
    assert_eq!(find("shard/a.rs", "mod tests { use super::super::super::s3::x; }").len(), 1);
    assert_eq!(find("http/a.rs", "use crate::s3::x;").len(), 1);
    assert_eq!(find("nowhere/a.rs", "").len(), 1);
    assert!(
        find("shard/log/mod.rs", "use super::super::io; // crate::net\nuse super::commit;")
            .is_empty()
    );
    assert!(find("s3/a.rs", "use crate::{http::Head, engine::{Engine, get}};").is_empty());
    assert!(find("config/a.rs", "use crate::engine::tenant::Credential;").is_empty());
    assert_eq!(find("config/a.rs", "use crate::engine::Engine;").len(), 1);
}

#[test]
fn a_word_of_s3_is_found() {
    let find = |path: &str, text: &str| s3_words(&Source::new(path, text)).len();
    for text in
        ["/// The object.", "struct MyBucket;", "let bucket_name = 1;", "\"Objects\"", "OBJECT_MAX"]
    {
        assert_eq!(find("engine/a.rs", text), 1, "{text}");
    }
    for text in ["objective", "<https://example.org/object.html>", "FullObject"] {
        assert_eq!(find("engine/a.rs", text), 0, "{text}");
    }
    assert_eq!(find("event/metrics.rs", "\"_bucket\" bucket"), 1);
}

#[test]
fn an_operation_without_context_is_found() {
    let problems = |text: &str| -> Vec<String> {
        functions(text).iter().filter_map(Function::problem).collect()
    };
    assert_eq!(
        problems("{ pub async fn get(&self, key: &str) -> u8 { fn inner() {} } }"),
        ["get does not take ctx: &Context first"]
    );
    assert_eq!(
        problems("{ fn get(&self, ctx: &Context) -> Result<Vec<u8>, E>; }"),
        ["get returns a whole body"]
    );
    assert_eq!(
        problems("{ fn get(self, ctx: &Context, n: u16) -> impl Future<Output = Bytes>; }"),
        ["get returns a whole body"]
    );
    assert!(
        problems(
            "{ fn put<S: Fn(u8) -> u8>(\n &mut self,\n ctx: &Context,\n) -> Result<Vec<u16>, E>; }"
        )
        .is_empty()
    );
    assert!(
        functions("{ pub(crate) fn a(&self) {} fn b(&self) {} }")
            .iter()
            .map(|one| one.public)
            .eq([true, false])
    );
}

#[test]
fn long_tests_make_no_long_file() {
    let text = "a\n#[cfg(test)]\nmod tests {\n x\n y\n}\n";
    assert_eq!(lines_without_tests(&Source::new("a.rs", text)), 2);
}
