//! Source files as text, with as much understanding of Rust as the checks need.

use std::path::{Path, PathBuf};

/// A source file under `src/`.
pub(crate) struct Source {
    /// Its path below `src/`, with slashes.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its text with comments, strings and characters blanked out, byte for byte.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { path: path.into(), code: blanked(&text), text }
    }

    /// The layer that it belongs to: its top folder, or its name if it lies in none.
    pub(crate) fn layer(&self) -> &str {
        let top = self.path.split('/').next().unwrap_or(&self.path);
        top.strip_suffix(".rs").unwrap_or(top)
    }

    /// Whether it holds nothing but tests.
    pub(crate) fn is_tests(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        ["tests.rs", "testing.rs"].contains(&name) || self.path.contains("/tests/")
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// The modules that lead to this file, below the crate.
    pub(crate) fn module(&self) -> Vec<&str> {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if path == "lib" { Vec::new() } else { path.split('/').collect() }
    }

    /// How many modules are opened with braces around a byte.
    pub(crate) fn modules_around(&self, offset: usize) -> usize {
        words(&self.code[..offset])
            .filter(|&(_, word)| word == "mod")
            .filter(|&(start, _)| {
                let rest = &self.code[start..];
                let Some(open) = rest.find('{') else { return false };
                !rest[..open].contains(';')
                    && start + open + block(&rest[open..]).len() > offset
                    && start + open < offset
            })
            .count()
    }
}

/// All sources under the crate's `src/`.
pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Source::new(name, std::fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(source).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The words of a text (letters, digits and underscores) with their places.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let inside = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let start = at + bytes[at..].iter().position(inside)?;
        let length = bytes[start..].iter().position(|byte| !inside(byte));
        at = length.map_or(bytes.len(), |length| start + length);
        Some((start, &text[start..at]))
    })
}

/// The parts of an identifier, in lower case: `FullSize` and `full_size` have `full` and `size`.
pub(crate) fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before = '_';
    for letter in word.chars() {
        if letter == '_' || (letter.is_ascii_uppercase() && !before.is_ascii_uppercase()) {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().unwrap().push(letter.to_ascii_lowercase());
        }
        before = letter;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// The text from an opening bracket to the one that closes it.
pub(crate) fn block(code: &str) -> &str {
    let mut depth = 0_usize;
    for (index, byte) in code.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &code[..=index];
        }
    }
    code
}

/// Replaces comments, strings and characters by spaces; lines stay where they are.
fn blanked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"//") {
            rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if rest[0] == b'"' {
            string(rest)
        } else if rest[0] == b'r' && !follows_word(bytes, at) && raw_string(rest).is_some() {
            raw_string(rest).unwrap()
        } else if rest[0] == b'\'' {
            character(rest)
        } else {
            0
        };
        for byte in &mut code[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8(code).unwrap()
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    // `br"…"` is a raw string too; any other letter before the `r` makes it the end of a word.
    at > 0
        && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
        && !(bytes[at - 1] == b'b' && !(at > 1 && bytes[at - 2].is_ascii_alphanumeric()))
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &vec![b'#'; hashes]].concat();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end)?;
    Some(2 + hashes + length + end.len())
}

fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let close = rest.iter().skip(3).position(|&byte| byte == b'\'');
        return close.map_or(rest.len(), |close| 4 + close);
    }
    // A lifetime has no quote behind its one letter; a character of several bytes has.
    let close = rest.iter().take(6).skip(2).position(|&byte| byte == b'\'');
    match close {
        Some(0) => 3,
        Some(more) if !rest[1].is_ascii() => 3 + more,
        _ => 0,
    }
}

#[test]
fn comments_strings_and_characters_are_blanked() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("x\"y", z)"#, "f(      , z)"),
        (r##"f(r#"x"y"#, z)"##, "f(        , z)"),
        ("br\"x\" for\"y\"", "b     for   "),
        ("'a' 'b, '\\'' '{'", "    'b,         "),
        ("&'a str", "&'a str"),
    ] {
        assert_eq!(blanked(text), code, "{text}");
    }
}

#[test]
fn identifiers_have_parts() {
    assert_eq!(parts("FullSize"), ["full", "size"]);
    assert_eq!(parts("full_SIZE_2"), ["full", "size", "2"]);
    assert_eq!(parts("_x"), ["x"]);
    assert_eq!(words("a.b_c(d)").map(|(_, word)| word).collect::<Vec<_>>(), ["a", "b_c", "d"]);
}

#[test]
fn modules_are_known() {
    let source = Source::new("a/b/mod.rs", "mod x { fn f() {} mod y { here } } mod z; there");
    assert_eq!(source.module(), ["a", "b"]);
    assert_eq!(source.modules_around(source.code.find("here").unwrap()), 2);
    assert_eq!(source.modules_around(source.code.find("there").unwrap()), 0);
    assert_eq!(source.layer(), "a");
}
