//! The revision of a folder that is kept in git, by the program `git` (any version). Without it, or outside a repository, there is none.

use std::path::Path;
use std::time::Duration;

use super::program;

const LIMIT: Duration = Duration::from_secs(5);

/// `1f3c…` of the commit that is checked out, with `-dirty` if files of the folder differ from it. None if nobody can say.
pub fn revision(folder: &Path) -> Option<String> {
    let folder = folder.to_str()?;
    let git = |arguments: &[&str]| {
        let mut all = vec!["-C", folder];
        all.extend(arguments);
        program::run("git", &all, LIMIT).ok().flatten()
    };
    let commit = git(&["rev-parse", "--verify", "HEAD"])?;
    let commit = commit.trim();
    if commit.is_empty() {
        return None;
    }
    // Of a status that cannot be had nobody knows that it is clean.
    let clean = git(&["status", "--porcelain", "--", "."]).is_some_and(|said| said.is_empty());
    Some(format!("{commit}{}", if clean { "" } else { "-dirty" }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_the_commit_and_says_when_files_differ() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(revision(root), None);
        let git = |arguments: &[&str]| {
            let mut all = vec!["-C", root.to_str().unwrap()];
            all.extend(["-c", "user.name=a", "-c", "user.email=a@example.com"]);
            all.extend(arguments);
            program::run("git", &all, LIMIT).unwrap().unwrap()
        };
        git(&["init", "--quiet"]);
        std::fs::write(root.join("a"), "1").unwrap();
        git(&["add", "a"]);
        git(&["commit", "--quiet", "-m", "first"]);
        let clean = revision(root).unwrap();
        assert_eq!(clean.len(), 40);
        std::fs::write(root.join("a"), "2").unwrap();
        assert_eq!(revision(root).unwrap(), format!("{clean}-dirty"));
    }
}
