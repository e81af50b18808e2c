//! The paths that a recipe makes: plain, and each once.

use std::collections::BTreeMap;

use super::{Reader, owned};
use crate::pure::config::value::Value;
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// What stands where.
#[derive(Default)]
pub(super) struct Paths {
    all: BTreeMap<String, (&'static str, Span)>,
}

impl Paths {
    fn claim(&mut self, path: String, what: &'static str, at: Span, diagnostics: &mut Diagnostics) {
        match self.all.get(&path) {
            Some((first, first_at)) => diagnostics.push(
                Diagnostic::error(codes::DUPLICATE, format!("the recipe makes `{path}` twice"))
                    .at(at, format!("{what} here"))
                    .also(*first_at, format!("{first} here"))
                    .help("remove one of them"),
            ),
            None => {
                self.all.insert(path, (what, at));
            }
        }
    }

    /// Reports what lies below something that is no folder.
    pub(super) fn check_nesting(&self, diagnostics: &mut Diagnostics) {
        for (path, (_, at)) in &self.all {
            let above = path
                .match_indices('/')
                .skip(1)
                .filter_map(|(end, _)| self.all.get_key_value(&path[..end]))
                .find(|(_, (what, _))| *what != "a folder");
            if let Some((parent, (what, parent_at))) = above {
                diagnostics.push(
                    Diagnostic::error(
                        codes::DUPLICATE,
                        format!("`{path}` lies in `{parent}`, which is {what}"),
                    )
                    .at(*at, "")
                    .also(*parent_at, format!("{what} here"))
                    .help("give one of them another path"),
                );
            }
        }
    }
}

impl Reader<'_> {
    pub(super) fn claim(&mut self, paths: &mut Paths, value: &Value, what: &'static str) {
        if let Some(path) = value.get("path") {
            self.clean(path);
            paths.claim(owned(value, "path"), what, path.at, self.diagnostics);
        }
    }

    /// A file, or each file of a folder.
    pub(super) fn claim_files(&mut self, paths: &mut Paths, value: &Value) {
        let (Some(path), Some(source)) = (value.get("path"), value.get("source")) else {
            return;
        };
        self.clean(path);
        let target = owned(value, "path");
        let name = owned(value, "source");
        let here = format!("images/{}/{name}", self.name);
        if self.text.get(&here).is_some() {
            paths.claim(target, "a file", path.at, self.diagnostics);
            return;
        }
        let below = format!("{here}/");
        let inner: Vec<String> = self
            .text
            .files
            .range(below.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&below))
            .map(|inner| format!("{target}/{inner}"))
            .collect();
        if inner.is_empty() {
            self.missing_source(
                &name,
                source.at,
                "add it: a file, or a folder with files in it",
            );
        }
        for inner in inner {
            paths.claim(inner, "a file", path.at, self.diagnostics);
        }
    }

    pub(super) fn missing_source(&mut self, source: &str, at: Span, help: &str) {
        let folder = format!("images/{}/", self.name);
        let near = self
            .text
            .files
            .range(folder.clone()..)
            .map_while(|(path, _)| path.strip_prefix(&folder))
            .filter(|path| *path != "image.toml");
        self.diagnostics.push(
            Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no `{folder}{source}`"),
            )
            .at(at, "named here")
            .suggest(source, near)
            .help(help),
        );
    }

    /// Reports an absolute path that no file system would take, that leads elsewhere, or that is the root.
    pub(super) fn clean(&mut self, path: &Value) {
        let Some(text) = path.as_str() else { return };
        let part = |part: &str| matches!(part, "." | "..") || part.len() > 255;
        let help = if text == "/" {
            "the root of the image is always there: name something in it"
        } else if text.len() > 4096 || text.split('/').any(part) {
            "write it from `/` on, without `.` and `..`, each part of at most 255 bytes"
        } else {
            return;
        };
        self.diagnostics.push(
            Diagnostic::error(
                codes::UNSAFE_PATH,
                format!("`{text}` is no path in an image"),
            )
            .at(path.at, "")
            .help(help),
        );
    }
}
