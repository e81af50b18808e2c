//! `entry_points.txt`: the commands that a wheel wants ("Entry points specification").

use std::collections::BTreeMap;

/// A command: what it imports, and what it calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub module: String,
    /// As in `main` or `Class.method`.
    pub attribute: String,
}

/// Why a text has no entry points that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry_points.txt, line {line}: {why}")]
pub struct EntryPointError {
    /// From 1.
    pub line: usize,
    pub why: String,
}

/// The commands of `console_scripts` and `gui_scripts` by name; on Linux the two are the same.
///
/// # Errors
/// [`EntryPointError`], also for a command that cannot be a file's name or an object that is no dotted identifier: a script is
/// made of both.
pub fn read(text: &str) -> Result<BTreeMap<String, Command>, EntryPointError> {
    let mut commands = BTreeMap::new();
    let mut wanted = false;
    for (index, raw) in text.lines().enumerate() {
        let refuse = |why: String| EntryPointError {
            line: index + 1,
            why,
        };
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            let section = section
                .strip_suffix(']')
                .ok_or_else(|| refuse("`[` is not closed".to_owned()))?;
            wanted = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !wanted {
            continue;
        }
        let (name, object) = line
            .split_once('=')
            .ok_or_else(|| refuse("it is not NAME = MODULE:OBJECT".to_owned()))?;
        let name = name.trim();
        if !is_command(name) {
            let name = name.escape_debug();
            return Err(refuse(format!("`{name}` is no name of a command")));
        }
        // Extras in brackets say what else is to be installed; the requirements have.
        let object = object.split('[').next().unwrap_or_default().trim();
        let (module, attribute) = object.split_once(':').unwrap_or((object, ""));
        let (module, attribute) = (module.trim(), attribute.trim());
        if !is_dotted(module) || !is_dotted(attribute) {
            let object = object.escape_debug();
            return Err(refuse(format!("`{object}` is not MODULE:OBJECT")));
        }
        let command = Command {
            module: module.to_owned(),
            attribute: attribute.to_owned(),
        };
        if commands.insert(name.to_owned(), command).is_some() {
            return Err(refuse(format!("`{name}` is there twice")));
        }
    }
    Ok(commands)
}

fn is_command(name: &str) -> bool {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    !name.is_empty() && name.len() <= 200 && name.chars().all(safe) && !name.starts_with(['.', '-'])
}

fn is_dotted(text: &str) -> bool {
    let identifier = |part: &str| {
        let first = part.chars().next();
        first.is_some_and(|c| c == '_' || c.is_alphabetic())
            && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    text.split('.').all(identifier)
}

impl Command {
    /// The script that runs it with this interpreter.
    pub fn script(&self, interpreter: &str) -> String {
        let Self { module, attribute } = self;
        let root = attribute.split('.').next().unwrap_or(attribute);
        format!(
            "#!{interpreter}\nimport sys\n\nfrom {module} import {root}\n\nif __name__ == \"__main__\":\n    sys.exit({attribute}())\n"
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_commands_and_writes_scripts() {
        let text = "# made\n[console_scripts]\nuvicorn = uvicorn.main:main\nx-1 = a:B.run [extra]\n\n[pytest11]\nx = y\n\n\
                    [gui_scripts]\ng=a:b\n";
        let commands = read(text).unwrap();
        assert_eq!(commands.keys().collect::<Vec<_>>(), ["g", "uvicorn", "x-1"]);
        assert_eq!(
            commands["x-1"].script("/usr/bin/python3.11"),
            "#!/usr/bin/python3.11\nimport sys\n\nfrom a import B\n\nif __name__ == \"__main__\":\n    sys.exit(B.run())\n"
        );
    }

    #[test]
    fn refuses_what_makes_no_script() {
        for bad in [
            "../x = a:b",
            "/x = a:b",
            "x y = a:b",
            ". = a:b",
            "-x = a:b",
            "x = a",
            "x = a:",
            "x = :b",
            "x = a:b; import os",
            "x = a:b()",
            "x = a.1:b",
            "x",
            "x = a:b\nx = c:d",
            "[open",
        ] {
            assert!(
                read(&format!("[console_scripts]\n{bad}\n")).is_err(),
                "{bad}"
            );
        }
    }
}
