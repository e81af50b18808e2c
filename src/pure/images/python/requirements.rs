//! Requirements with their hashes, as `pip-compile --generate-hashes` and `uv export` write them ("Requirements File Format" of pip,
//! and PEP 508 for what stands in a line).
//!
//! Of pip's options a line may have `--hash` alone: where wheels come from is the project's business, and one file says what is
//! installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use pep440_rs::{Operator, Version};
use pep508_rs::VersionOrUrl;
use url::Url;

use super::{Target, normalise};
use crate::pure::name::BlobDigest;

/// A distribution to install: exactly this version, as one of these files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Normalised (PEP 503).
    pub name: String,
    pub version: Version,
    /// Never empty.
    pub hashes: BTreeSet<BlobDigest>,
    /// Where it stands, in bytes of the text.
    pub at: Range<usize>,
    /// From 1.
    pub line: usize,
}

/// What is wrong with a line, and how it is mended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1.
    pub line: usize,
    /// Of the line, in bytes of the text.
    pub at: Range<usize>,
    pub message: String,
    pub help: &'static str,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.message, self.help)
    }
}

impl std::error::Error for Mistake {}

/// A requirement's own text beyond this is refused: its markers would take long to understand.
const LONGEST: usize = 2000;
/// Parentheses and comparisons of a marker beyond these, too.
const MOST_NESTED: usize = 16;
const MOST_CLAUSES: usize = 40;

/// The requirements that apply to the target, in the order of the text.
///
/// # Errors
/// Every [`Mistake`], not only the first.
pub fn read(text: &str, target: &Target) -> Result<Vec<Requirement>, Vec<Mistake>> {
    let mut requirements: Vec<Requirement> = Vec::new();
    let mut mistakes = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in logical_lines(text) {
        let refuse = |(message, help): (String, &'static str)| Mistake {
            line: line.number,
            at: line.at.clone(),
            message,
            help,
        };
        match read_line(&line, target) {
            Ok(None) => {}
            Ok(Some(requirement)) => match seen.insert(requirement.name.clone(), line.number) {
                None => requirements.push(requirement),
                Some(first) => mistakes.push(refuse((
                    format!("`{}` is required in line {first} too", requirement.name),
                    "keep one of the two, or give them markers that never both apply",
                ))),
            },
            Err(wrong) => mistakes.push(refuse(wrong)),
        }
    }
    if mistakes.is_empty() {
        Ok(requirements)
    } else {
        Err(mistakes)
    }
}

/// A line with those that continue it; comments are taken off.
struct Line {
    number: usize,
    at: Range<usize>,
    text: String,
}

fn logical_lines(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut open: Option<Line> = None;
    let mut start = 0;
    for (index, raw) in text.split_inclusive('\n').enumerate() {
        let at = start..start + raw.trim_end_matches(['\n', '\r']).len();
        start += raw.len();
        let content = &text[at.clone()];
        // A comment ends what was continued.
        let comment = content.trim_start().starts_with('#');
        let continued = !comment && content.ends_with('\\');
        let piece = if continued {
            content.trim_end_matches('\\')
        } else {
            without_comment(content)
        };
        let line = match open.take() {
            None => Line {
                number: index + 1,
                at,
                text: piece.to_owned(),
            },
            Some(mut line) => {
                line.text.push_str(piece);
                if !comment {
                    line.at.end = at.end;
                }
                line
            }
        };
        if continued {
            open = Some(line);
        } else {
            lines.push(line);
        }
    }
    lines.extend(open);
    lines.retain(|line| !line.text.trim().is_empty());
    lines
}

/// A comment begins with a `#` at the beginning or after a space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

type Wrong = (String, &'static str);

fn read_line(line: &Line, target: &Target) -> Result<Option<Requirement>, Wrong> {
    let words: Vec<&str> = line.text.split_whitespace().collect();
    let options_from = words
        .iter()
        .position(|word| word.starts_with('-'))
        .unwrap_or(words.len());
    if options_from == 0 {
        return Err(refused_option(words[0]));
    }
    let requirement = words[..options_from].join(" ");
    check_shape(&requirement)?;
    let hashes = read_hashes(&words[options_from..])?;
    let parsed: pep508_rs::Requirement<Url> = requirement.parse().map_err(
        // Its `Display` underlines, which takes the line apart at places that may lie within a character.
        |error: pep508_rs::Pep508Error<Url>| {
            (
                format!("`{requirement}` is no requirement: {}", error.message),
                "write NAME==VERSION, with a marker after `;` if it has one",
            )
        },
    )?;
    let name = parsed.name.to_string();
    let name = normalise(&name).ok_or_else(|| {
        (
            format!("`{name}` is no project's name"),
            "write NAME==VERSION",
        )
    })?;
    if !parsed
        .marker
        .evaluate_reporter(target.markers(), &[], &mut |_, _| {})
    {
        return Ok(None);
    }
    let version = exact_version(&name, parsed.version_or_url)?;
    if hashes.is_empty() {
        return Err((
            format!("`{name}` has no `--hash=sha256:…`"),
            "write the file with `pip-compile --generate-hashes` or `uv export`: forge installs what was reviewed and nothing else",
        ));
    }
    Ok(Some(Requirement {
        name,
        version,
        hashes,
        at: line.at.clone(),
        line: line.number,
    }))
}

/// Bounds what the parser of markers is given.
fn check_shape(requirement: &str) -> Result<(), Wrong> {
    let help = "write NAME==VERSION, with a marker after `;` if it has one";
    if !requirement.is_ascii() || requirement.bytes().any(|byte| byte.is_ascii_control()) {
        return Err((
            "the requirement has characters beyond ASCII".to_owned(),
            help,
        ));
    }
    let parentheses = requirement.bytes().filter(|byte| *byte == b'(').count();
    let clauses = requirement
        .split(' ')
        .filter(|word| matches!(*word, "and" | "or"))
        .count();
    if requirement.len() > LONGEST || parentheses > MOST_NESTED || clauses > MOST_CLAUSES {
        return Err(("the requirement is too long".to_owned(), help));
    }
    // The parser takes it for granted that these are names.
    let inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = requirement
        .find(|c| !inside(c))
        .unwrap_or(requirement.len());
    let (name, rest) = requirement.split_at(end);
    let extras = rest.trim_start().strip_prefix('[').unwrap_or_default();
    let extras = extras.split(']').next().unwrap_or_default().split(',');
    let extras = extras.map(str::trim).filter(|extra| !extra.is_empty());
    match std::iter::once(name)
        .chain(extras)
        .find(|name| normalise(name).is_none())
    {
        Some(name) => Err((format!("`{name}` is no name"), help)),
        None => Ok(()),
    }
}

fn exact_version(name: &str, wanted: Option<VersionOrUrl<Url>>) -> Result<Version, Wrong> {
    const HELP: &str = "pin it as NAME==VERSION (`pip-compile --generate-hashes`, `uv export`)";
    match wanted {
        Some(VersionOrUrl::Url(_)) => Err((
            format!("`{name}` comes from a URL"),
            "name its version and write the index that has it into forge.toml: `[sources.python] indexes`",
        )),
        None => Err((format!("`{name}` has no version"), HELP)),
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => {
            let mut specifiers = specifiers.iter();
            match (specifiers.next(), specifiers.next()) {
                (Some(one), None)
                    if matches!(one.operator(), Operator::Equal | Operator::ExactEqual) =>
                {
                    Ok(one.version().clone())
                }
                _ => Err((format!("`{name}` is not pinned to one version"), HELP)),
            }
        }
    }
}

fn read_hashes(words: &[&str]) -> Result<BTreeSet<BlobDigest>, Wrong> {
    let mut hashes = BTreeSet::new();
    let mut words = words.iter();
    let mut others = false;
    while let Some(word) = words.next() {
        let hash = match word.strip_prefix("--hash") {
            Some("") => words.next().copied().unwrap_or_default(),
            Some(rest) if rest.starts_with('=') => &rest[1..],
            _ => return Err(refused_option(word)),
        };
        let is_other = ["sha384:", "sha512:"]
            .iter()
            .any(|other| hash.starts_with(other));
        match hash.parse() {
            Ok(digest) => drop(hashes.insert(digest)),
            Err(_) if is_other => others = true,
            Err(_) => {
                return Err((
                    format!("`{hash}` is no hash"),
                    "write `--hash=sha256:` and 64 hexadecimal digits",
                ));
            }
        }
    }
    if hashes.is_empty() && others {
        return Err((
            "none of the hashes is a sha256".to_owned(),
            "write the file with `pip-compile --generate-hashes` or `uv export`",
        ));
    }
    Ok(hashes)
}

/// What each of pip's options would do, and where forge has it.
fn refused_option(word: &str) -> Wrong {
    let name = word.split('=').next().unwrap_or(word);
    let is = |names: &[&str]| names.contains(&name);
    let help = if is(&[
        "-i",
        "--index-url",
        "--extra-index-url",
        "--find-links",
        "-f",
        "--no-index",
        "--trusted-host",
    ]) || name.starts_with("-i")
    {
        "write it into forge.toml, `[sources.python] indexes = […]`; `pip-compile --no-emit-index-url` leaves it out here"
    } else if is(&["-e", "--editable"]) {
        "build a wheel of it; `uv export --no-emit-project` leaves the project itself out"
    } else if is(&["-r", "--requirement", "-c", "--constraint"]) {
        "write everything into one file: what it names decides what is built"
    } else {
        "forge knows `--hash` alone; leave it out"
    };
    (
        format!("the option `{}` does not belong here", name.escape_debug()),
        help,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::name::Arch;

    fn target() -> Target {
        Target::new("3.11", Arch::Amd64, "2.36").unwrap()
    }

    fn mistakes(text: &str) -> String {
        let mistakes = read(text, &target()).unwrap_err();
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    fn hash(text: &str) -> String {
        format!("--hash={}", BlobDigest::of(text))
    }

    #[test]
    fn reads_what_pip_compile_writes() {
        let text = format!(
            "#\n# This file is autogenerated by pip-compile with Python 3.11\n#\nAnnotated_Types==0.7.0 \\\n    {} \\\n    {}\n    \
             # via pydantic\ncolorama==0.4.6 ; sys_platform == \"win32\" \\\n    {}\nuvicorn[standard]==0.30.6 {} # inline\n\
             exceptiongroup==1.2.2 ; python_version < \"3.11\" {}\r\ntorch==2.1.0+cpu --hash {}\n",
            hash("a"),
            hash("b"),
            hash("c"),
            hash("d"),
            hash("e"),
            BlobDigest::of("f"),
        );
        let found = read(&text, &target()).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|it| {
                (
                    it.name.as_str(),
                    it.version.to_string(),
                    it.hashes.len(),
                    it.line,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("annotated-types", "0.7.0".to_owned(), 2, 4),
                ("uvicorn", "0.30.6".to_owned(), 1, 10),
                ("torch", "2.1.0+cpu".to_owned(), 1, 12),
            ]
        );
        assert!(text[found[0].at.clone()].starts_with("Annotated_Types"));
        assert!(text[found[0].at.clone()].ends_with(&hash("b")));
    }

    #[test]
    fn evaluates_markers_for_the_image_and_not_for_this_machine() {
        let line = |marker: &str| format!("a==1 ; {marker} {}\n", hash("a"));
        for (marker, applies) in [
            ("python_version < \"3.11\"", false),
            (
                "python_version >= '3.11' and python_full_version < '3.12'",
                true,
            ),
            ("platform_machine == 'aarch64'", false),
            (
                "platform_machine == 'x86_64' or sys_platform == 'win32'",
                true,
            ),
            ("platform_python_implementation != 'PyPy'", true),
            ("(sys_platform == 'linux') and (os_name == 'posix')", true),
            ("extra == 'test'", false),
        ] {
            let found = read(&line(marker), &target()).unwrap();
            assert_eq!(found.len(), usize::from(applies), "{marker}");
        }
        let arm = Target::new("3.11", Arch::Arm64, "2.36").unwrap();
        assert_eq!(
            read(&line("platform_machine == 'aarch64'"), &arm)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn says_where_and_how_to_mend() {
        let good = hash("a");
        for (line, message) in [
            ("a==1".to_owned(), "line 1: `a` has no `--hash=sha256:…`"),
            (
                format!("a>=1 {good}"),
                "line 1: `a` is not pinned to one version",
            ),
            (
                format!("a==1.* {good}"),
                "line 1: `a` is not pinned to one version",
            ),
            (
                format!("a==1,!=2 {good}"),
                "line 1: `a` is not pinned to one version",
            ),
            (format!("a {good}"), "line 1: `a` has no version"),
            (
                format!("a @ https://example.com/a-1.whl {good}"),
                "line 1: `a` comes from a URL",
            ),
            (
                "--index-url https://example.com/simple".to_owned(),
                "write it into forge.toml, `[sources.python] indexes",
            ),
            (
                "-i https://example.com/simple".to_owned(),
                "write it into forge.toml",
            ),
            (
                "--extra-index-url=https://example.com/simple".to_owned(),
                "write it into forge.toml",
            ),
            ("-e .".to_owned(), "--no-emit-project"),
            ("-r other.txt".to_owned(), "write everything into one file"),
            (
                format!("a==1 --config-settings=x {good}"),
                "forge knows `--hash` alone",
            ),
            ("a==1 --hash=md5:00".to_owned(), "`md5:00` is no hash"),
            ("a==1 --hash=sha256:00".to_owned(), "`sha256:00` is no hash"),
            (
                "a==1 --hash=sha512:00".to_owned(),
                "none of the hashes is a sha256",
            ),
            ("a==1 --hash".to_owned(), "`` is no hash"),
            (format!("a-==1 {good}"), "`a-` is no name"),
            (format!("a[b,c_] ==1 {good}"), "`c_` is no name"),
            (format!("==1 {good}"), "`` is no name"),
            (format!("ä==1 {good}"), "characters beyond ASCII"),
            (
                format!("a==1 ; {}x {good}", "(".repeat(5000)),
                "the requirement is too long",
            ),
            (format!("a==1 ; nonsense {good}"), "is no requirement"),
            (
                format!("a==1 {good}\nA==2 {good}"),
                "line 2: `a` is required in line 1 too",
            ),
        ] {
            let said = mistakes(&line);
            assert!(said.contains(message), "{line}: {said}");
        }
        assert_eq!(mistakes("a\nb\nc\n").lines().count(), 3);
    }

    #[test]
    fn an_open_continuation_at_the_end_is_a_line() {
        assert!(mistakes("a==1 \\").contains("has no `--hash"));
        assert_eq!(read("", &target()).unwrap(), []);
    }
}
