//! The language rules of `CONTRIBUTING.md` that a pattern can find, over the whole repository.
//!
//! `cargo test -p tollgate-core --test language -- --nocapture` prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

/// A doc comment begins with a noun phrase or a verb, not with one of these.
const QUESTION_WORDS: [&str; 10] =
    ["What", "Who", "Whose", "Whether", "Which", "Why", "How", "Where", "When", "Whoever"];
/// The greatest share of doc comments that may begin with a question word.
const MAX_QUESTION_SHARE: f64 = 0.03;
/// Pronouns in place of the caller, the host, the client or the operator.
const PRONOUNS: [&str; 5] = ["nobody", "somebody", "anybody", "everybody", "whoever"];
/// No sentence of a doc comment begins with one of these.
const SENTENCE_STARTS: [&str; 2] = ["Of", "And"];
/// Exceptions, as a file and the excerpt of the line that it may contain.
const ALLOWED: [(&str, &str); 1] =
    [("CONTRIBUTING.md", "No \"nobody\", \"somebody\", \"anybody\", \"whoever\"")];

/// Folders without text of this project.
const SKIPPED: [&str; 3] = ["target", "node_modules", "corpus"];

/// The prose of one file.
struct Prose {
    path: String,
    /// Line numbers and texts: of comments, or all lines of a Markdown file.
    lines: Vec<(usize, String)>,
    /// Doc comments, each with the number of its first line.
    docs: Vec<(usize, String)>,
}

impl Prose {
    fn of_code(path: String, text: &str) -> Self {
        let [mut lines, mut docs] = [Vec::new(), Vec::<(usize, String)>::new()];
        let mut open_doc = "";
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            let marker = ["///", "//!", "/**"].into_iter().find(|marker| line.starts_with(marker));
            let comment = marker.and_then(|marker| line.strip_prefix(marker));
            match (comment, marker) {
                (Some(comment), Some(marker)) if marker == open_doc => {
                    if let Some((_, doc)) = docs.last_mut() {
                        doc.push(' ');
                        doc.push_str(comment.trim());
                    }
                }
                (Some(comment), Some(_)) => {
                    docs.push((number, comment.trim().trim_end_matches("*/").to_owned()))
                }
                _ => {}
            }
            open_doc = marker.unwrap_or_default();
            let is_comment = line.starts_with("//") || line.starts_with('#') || line.starts_with('*');
            if let Some((_, comment)) = line.split_once("// ").or_else(|| is_comment.then_some(("", line))) {
                lines.push((number, comment.to_owned()));
            }
        }
        Self { path, lines, docs }
    }

    fn of_markdown(path: String, text: &str) -> Self {
        let lines = text.lines().zip(1..).map(|(line, number)| (number, line.to_owned())).collect();
        Self { path, lines, docs: Vec::new() }
    }

    /// `file:line: excerpt` of each line with a pronoun.
    fn pronouns(&self) -> impl Iterator<Item = String> {
        let found = |text: &str| words(text).any(|word| PRONOUNS.contains(&word.to_lowercase().as_str()));
        let is_allowed =
            |text: &str| ALLOWED.iter().any(|(path, part)| self.path == *path && text.contains(part));
        self.lines
            .iter()
            .filter(move |(_, text)| found(text) && !is_allowed(text))
            .map(|(number, text)| format!("{}:{number}: {text}", self.path))
    }

    /// `file:line: excerpt` of each doc comment whose text has the property.
    fn docs_with(&self, property: fn(&str) -> bool) -> impl Iterator<Item = String> {
        self.docs.iter().filter(move |(_, text)| property(text)).map(|(number, text)| {
            format!("{}:{number}: {}", self.path, text.chars().take(80).collect::<String>())
        })
    }
}

/// The words of a text; an identifier is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn begins_with_question_word(doc: &str) -> bool {
    words(doc).next().is_some_and(|word| QUESTION_WORDS.contains(&word))
}

fn has_inverted_sentence(doc: &str) -> bool {
    let is_start = |text: &str| words(text).next().is_some_and(|word| SENTENCE_STARTS.contains(&word));
    is_start(doc) || [". ", "? ", "! "].iter().any(|end| doc.split(end).skip(1).any(is_start))
}

/// The prose of all Rust, JavaScript and Markdown files but the changelog.
fn repository() -> Vec<Prose> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut folders = vec![root.clone()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !SKIPPED.contains(&name) && !name.starts_with('.') {
                    folders.push(path);
                }
                continue;
            }
            let shown = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("rs" | "js") => all.push(Prose::of_code(shown, &fs::read_to_string(&path).unwrap())),
                Some("md") if name != "CHANGELOG.md" => {
                    all.push(Prose::of_markdown(shown, &fs::read_to_string(&path).unwrap()));
                }
                _ => {}
            }
        }
    }
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all
}

#[test]
fn doc_comments_rarely_begin_with_a_question_word() {
    let all = repository();
    let count = all.iter().map(|prose| prose.docs.len()).sum::<usize>();
    let found: Vec<_> = all.iter().flat_map(|prose| prose.docs_with(begins_with_question_word)).collect();
    let share = found.len() as f64 / count as f64;
    println!("{} of {count} doc comments ({:.1} %) begin with a question word", found.len(), share * 100.0);
    assert!(share <= MAX_QUESTION_SHARE, "{:.1} %:\n{}", share * 100.0, found.join("\n"));
}

#[test]
fn no_pronoun_stands_for_a_role() {
    let all = repository();
    let lines = all.iter().flat_map(|prose| &prose.lines);
    let count = lines.map(|(_, text)| words(text).count()).sum::<usize>();
    let found: Vec<_> = all.iter().flat_map(Prose::pronouns).collect();
    let share = found.len() as f64 / count as f64 * 10_000.0;
    println!("{} lines with a pronoun in {count} words ({share:.1} per 10,000)", found.len());
    assert!(found.is_empty(), "name the caller, the host, the client or the operator:\n{}", found.join("\n"));
}

#[test]
fn no_sentence_begins_with_of_or_and() {
    let all = repository();
    let found: Vec<_> = all.iter().flat_map(|prose| prose.docs_with(has_inverted_sentence)).collect();
    println!("{} doc comments have a sentence that begins with Of or And", found.len());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_patterns_find_what_they_are_for() {
    // With `~` for `/`, since this file is checked too.
    let text = "\
~~! How it works.

~~~ What is sent. Nobody reads it.
~~~ And more.
fn f() {} ~~ Whoever calls it.

~~~ The number of Ofs and Andes. Often sent.
const URL: &str = \"somebody\";
"
    .replace('~', "/");
    let prose = Prose::of_code("a.rs".into(), &text);
    let docs: Vec<_> = prose.docs.iter().map(|(number, _)| *number).collect();
    assert_eq!(docs, [1, 3, 7]);
    let found: Vec<_> = prose.docs_with(begins_with_question_word).collect();
    assert_eq!(found, ["a.rs:1: How it works.", "a.rs:3: What is sent. Nobody reads it. And more."]);
    assert_eq!(prose.docs_with(has_inverted_sentence).count(), 1);
    let lines: Vec<_> = prose.pronouns().map(|found| found[..6].to_owned()).collect();
    assert_eq!(lines, ["a.rs:3", "a.rs:5"]);
}
