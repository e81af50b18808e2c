//! Marked blocks in files that belong to others (`docs/format/system.md`): what is outside the marks is never touched.

/// The marks of a block do not pair up, so that nobody can say what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the marks of the block {name} are damaged: there must be one line `# BEGIN forge {name}` and behind it one line \
     `# END forge {name}`; remove what is left of the block and deploy again"
)]
pub struct BlockError {
    pub name: String,
}

fn begin(name: &str) -> String {
    format!("# BEGIN forge {name}\n")
}

fn end(name: &str) -> String {
    format!("# END forge {name}\n")
}

/// Where a block stands, with its marks and without.
#[derive(Debug)]
struct Found {
    from: usize,
    inner_from: usize,
    inner_to: usize,
    to: usize,
}

fn find(file: &[u8], name: &str) -> Result<Option<Found>, BlockError> {
    let (begin, end) = (begin(name), end(name));
    let damaged = || BlockError {
        name: name.to_owned(),
    };
    let mut opened: Option<(usize, usize)> = None;
    let mut found: Option<Found> = None;
    let mut at = 0;
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        // An editor may have left out the last newline, or put blanks at the end of a line.
        let text = line.trim_ascii_end();
        if text == begin.trim_end().as_bytes() {
            if opened.is_some() || found.is_some() {
                return Err(damaged());
            }
            opened = Some((at, next));
        } else if text == end.trim_end().as_bytes() {
            let (from, inner_from) = opened.take().ok_or_else(damaged)?;
            found = Some(Found {
                from,
                inner_from,
                inner_to: at,
                to: next,
            });
        }
        at = next;
    }
    match opened {
        Some(_) => Err(damaged()),
        None => Ok(found),
    }
}

/// What stands between the marks; nothing if there is no such block.
///
/// # Errors
/// [`BlockError`].
pub fn get<'a>(file: &'a [u8], name: &str) -> Result<Option<&'a [u8]>, BlockError> {
    Ok(find(file, name)?.map(|found| &file[found.inner_from..found.inner_to]))
}

/// As it stands between the marks: ending with a newline, since the mark is a line of its own.
pub fn whole_lines(content: &[u8]) -> Vec<u8> {
    let mut lines = content.to_vec();
    if lines.last().is_some_and(|byte| *byte != b'\n') {
        lines.push(b'\n');
    }
    lines
}

/// The file with the block in it: in its place, or at the end of the file, which is behind every `COMMIT`.
///
/// # Errors
/// [`BlockError`].
pub fn put(file: &[u8], name: &str, content: &[u8]) -> Result<Vec<u8>, BlockError> {
    let (head, tail) = match find(file, name)? {
        Some(found) => (&file[..found.from], &file[found.to..]),
        None => (file, &[][..]),
    };
    let mut made = whole_lines(head);
    made.extend_from_slice(begin(name).as_bytes());
    made.extend(whole_lines(content));
    made.extend_from_slice(end(name).as_bytes());
    made.extend_from_slice(tail);
    Ok(made)
}

/// The file without the block and its marks.
///
/// # Errors
/// [`BlockError`].
pub fn remove(file: &[u8], name: &str) -> Result<Vec<u8>, BlockError> {
    Ok(match find(file, name)? {
        Some(found) => [&file[..found.from], &file[found.to..]].concat(),
        None => file.to_vec(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_put_replaced_and_removed_without_touching_others() {
        let file = b"*filter\nCOMMIT\n";
        let with = put(file, "forge/after.rules", b"a\nb").unwrap();
        assert_eq!(
            with,
            b"*filter\nCOMMIT\n# BEGIN forge forge/after.rules\na\nb\n# END forge forge/after.rules\n"
        );
        let mut more = put(&with, "m/other", b"").unwrap();
        more.extend_from_slice(b"behind\n");
        let replaced = put(&more, "forge/after.rules", b"c\n").unwrap();
        assert_eq!(
            get(&replaced, "forge/after.rules").unwrap(),
            Some(&b"c\n"[..])
        );
        assert_eq!(get(&replaced, "m/other").unwrap(), Some(&b""[..]));
        assert!(replaced.ends_with(b"behind\n"));
        let one = remove(&replaced, "forge/after.rules").unwrap();
        let none = remove(&one, "m/other").unwrap();
        assert_eq!(none, b"*filter\nCOMMIT\nbehind\n");
        assert_eq!(remove(&none, "m/other").unwrap(), none);
    }

    #[test]
    fn a_file_without_a_last_newline_keeps_its_last_line() {
        assert_eq!(
            put(b"last", "m/x", b"y").unwrap(),
            b"last\n# BEGIN forge m/x\ny\n# END forge m/x\n"
        );
        assert_eq!(
            put(b"a\n# BEGIN forge m/x\nz\n# END forge m/x", "m/x", b"y").unwrap(),
            b"a\n# BEGIN forge m/x\ny\n# END forge m/x\n"
        );
    }

    #[test]
    fn damaged_marks_are_refused() {
        for file in [
            "# BEGIN forge m/x\nz\n",
            "z\n# END forge m/x\n",
            "# BEGIN forge m/x\n# BEGIN forge m/x\n# END forge m/x\n",
            "# BEGIN forge m/x\n# END forge m/x\n# BEGIN forge m/x\n# END forge m/x\n",
        ] {
            let error = put(file.as_bytes(), "m/x", b"y").unwrap_err();
            assert!(error.to_string().contains("# END forge m/x"), "{error}");
            assert!(remove(file.as_bytes(), "m/x").is_err());
        }
        // A name that another begins with is another block.
        assert_eq!(
            get(b"# BEGIN forge m/xy\nz\n# END forge m/xy\n", "m/x").unwrap(),
            None
        );
    }
}
