//! Rust source as the tidy rules see it: code without comments and literals, literals alone,
//! functions with their lengths, paths into the crate. Textual; it never needs to compile.

use std::ops::Range;
use std::path::Path;

/// A source file, three times: as it is, its code alone, its literals' text alone. All three have
/// the same length and the same lines.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
    pub(crate) literals: String,
}

/// A function that has a body.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) at: usize,
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("a readable source file");
        let path = path.strip_prefix(root).expect("inside the root").display().to_string();
        let (code, literals) = split(&text);
        Self { path, text, code, literals }
    }

    /// The same with everything under `#[cfg(test)]` blanked.
    pub(crate) fn without_tests(&self) -> Self {
        let mut hidden = Vec::new();
        let mut from = 0;
        while let Some(found) = self.code[from..].find("#[cfg(test)]") {
            let start = from + found;
            let end = item_end(&self.code, start + "#[cfg(test)]".len());
            hidden.push(start..end);
            from = end;
        }
        self.without(&hidden)
    }

    /// The same with the error type's own `impl` blocks blanked.
    pub(crate) fn without_error_impls(&self) -> Self {
        let code = &self.code;
        let starts = words(code, "impl").filter(|start| {
            let header = code[*start..].split('{').next().unwrap_or_default().trim_end();
            header.ends_with(" Error") || header.ends_with(" Invalid")
        });
        let hidden: Vec<_> = starts.map(|start| start..item_end(code, start)).collect();
        self.without(&hidden)
    }

    fn without(&self, hidden: &[Range<usize>]) -> Self {
        let hide = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            hidden.iter().for_each(|range| blank(&mut bytes, range.clone()));
            String::from_utf8(bytes).expect("whole characters were blanked")
        };
        Self {
            path: self.path.clone(),
            text: hide(&self.text),
            code: hide(&self.code),
            literals: hide(&self.literals),
        }
    }

    /// The line, counted from 1, of a byte's place.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let mut found = Vec::new();
        for at in words(&self.code, "fn") {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| is_word(*c)).collect();
            let end = item_end(&self.code, at);
            if !name.is_empty() && self.code[..end].ends_with('}') {
                let lines = self.line(end - 1) - self.line(at) + 1;
                found.push(Function { name, at, lines });
            }
        }
        found
    }

    /// Every path that starts at `root::`, `use` groups taken apart: place and segments.
    pub(crate) fn paths(&self, root: &str) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        for at in words(&self.code, root) {
            if let Some(rest) = self.code[at + root.len()..].strip_prefix("::") {
                let mut tails = Vec::new();
                expand(rest, &[], &mut tails);
                found.extend(tails.into_iter().map(|tail| (at, tail)));
            }
        }
        found
    }
}

/// Places of a word in code.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let whole = move |(at, _): &(usize, &str)| {
        let before = code[..*at].chars().next_back().is_none_or(|c| !is_word(c));
        let after = code[at + word.len()..].chars().next().is_none_or(|c| !is_word(c));
        before && after
    };
    code.match_indices(word).filter(whole).map(|(at, _)| at)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes `a::{b, c::d}` apart into `a b` and `a c d`. Answers how much of the text it was.
fn expand(text: &str, head: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let trimmed = text.trim_start();
    let skipped = text.len() - trimmed.len();
    if let Some(group) = trimmed.strip_prefix('{') {
        let mut at = 0;
        while let Some(next) = group[at..].chars().next().filter(|c| *c != '}') {
            at += match next == ',' || next.is_whitespace() {
                true => next.len_utf8(),
                false => expand(&group[at..], head, found).max(next.len_utf8()),
            };
        }
        return skipped + at + 2;
    }
    let name: String = trimmed.chars().take_while(|c| is_word(*c) || *c == '*').collect();
    let path = [head, std::slice::from_ref(&name)].concat();
    let used = skipped + name.len();
    match text[used..].strip_prefix("::") {
        Some(rest) if !name.is_empty() => used + 2 + expand(rest, &path, found),
        _ => {
            found.push(path);
            used
        }
    }
}

/// Where the item that starts here ends: after its block, or after its `;`.
fn item_end(code: &str, start: usize) -> usize {
    let (mut braces, mut others) = (0_u32, 0_u32);
    for (at, c) in code[start..].char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return start + at + 1;
                }
            }
            ';' if braces == 0 && others == 0 => return start + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Splits text into its code and its literals, each with blanks where the other is.
fn split(text: &str) -> (String, String) {
    let (mut code, mut literals) = (text.as_bytes().to_vec(), text.as_bytes().to_vec());
    let (mut at, mut code_from) = (0, 0);
    while at < text.len() {
        let (end, literal) = match piece(text, at) {
            Some(piece) => piece,
            None => {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
        };
        blank(&mut literals, code_from..at);
        blank(&mut code, at..end);
        if !literal {
            blank(&mut literals, at..end);
        }
        (at, code_from) = (end, end);
    }
    blank(&mut literals, code_from..text.len());
    let whole = |bytes| String::from_utf8(bytes).expect("whole characters were blanked");
    (whole(code), whole(literals))
}

fn blank(bytes: &mut [u8], range: Range<usize>) {
    bytes[range].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// The comment or literal that starts here: its end, and whether it is a literal.
fn piece(text: &str, at: usize) -> Option<(usize, bool)> {
    let rest = &text[at..];
    let until = |found: Option<usize>| found.map_or(text.len(), |found| at + found);
    if rest.starts_with("//") {
        return Some((until(rest.find('\n')), false));
    }
    if rest.starts_with("/*") {
        return Some((until(block_comment(rest)), false));
    }
    if rest.starts_with('"') {
        return Some((until(closing(rest, '"')), true));
    }
    if rest.starts_with('r') && !text[..at].chars().next_back().is_some_and(is_word)
        || rest.starts_with("br")
    {
        let hashes = rest.trim_start_matches(['b', 'r']);
        let count = hashes.len() - hashes.trim_start_matches('#').len();
        let body = hashes[count..].strip_prefix('"')?;
        let begin = rest.len() - body.len();
        let end = body.find(&format!("\"{}", "#".repeat(count)));
        return Some((until(end.map(|end| begin + end + 1 + count)), true));
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        // A lifetime has no closing quote right behind its first character.
        let mut chars = quoted.chars();
        let first = chars.next()?;
        let is_char = first == '\\' || chars.next() == Some('\'');
        return is_char.then(|| (until(closing(rest, '\'')), true));
    }
    None
}

/// Where a literal that opens with a quote ends, escapes skipped.
fn closing(rest: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn block_comment(rest: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, pair) in rest.as_bytes().windows(2).enumerate() {
        match pair {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return Some(at + 2),
            b"*/" => depth -= 1,
            _ => {}
        }
    }
    None
}
