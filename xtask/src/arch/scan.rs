//! Reads one Rust file and lists the paths within the crate that it names, wherever they stand: `use` trees, types,
//! expressions, attributes and the arguments of macros, which the parser leaves as tokens.
//!
//! A path that begins with none of `crate`, `self`, `super` (or `forge`, in main.rs) is not followed: within a module it can only lead
//! to what a `use` brought in, which was listed there, or to a module below.

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, LineColumn, Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A path of the crate that the code names, from the root of the crate.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) at: LineColumn,
    pub(crate) segments: Vec<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) paths: Vec<Named>,
    /// `allow` or `expect` of a ban of `clippy.toml`, outside tests.
    pub(crate) lifted_bans: Vec<LineColumn>,
    /// Modules in files of their own that are only compiled for tests.
    pub(crate) test_modules: Vec<Vec<String>>,
    /// Lines without the parts that are only compiled for tests.
    pub(crate) lines: usize,
}

/// `module` is the file's own path within the crate.
pub(crate) fn scan(source: &str, module: &[String]) -> Result<Scan> {
    let file = syn::parse_file(source).context("not Rust")?;
    let mut visitor = Visitor {
        module: module.to_vec(),
        test_depth: 0,
        scan: Scan::default(),
        test_lines: 0,
    };
    visitor.visit_file(&file);
    let mut scan = visitor.scan;
    scan.lines = source.lines().count().saturating_sub(visitor.test_lines);
    Ok(scan)
}

struct Visitor {
    module: Vec<String>,
    test_depth: usize,
    test_lines: usize,
    scan: Scan,
}

impl Visitor {
    fn note(&mut self, at: Span, path: &[String]) {
        if let Some(segments) = resolve(&self.module, path) {
            self.scan.paths.push(Named {
                at: at.start(),
                segments,
            });
        }
    }

    fn use_tree(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &syn::Ident| {
            let mut path = prefix.to_vec();
            path.push(ident.unraw().to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) => self.note(name.span(), &with(&name.ident)),
            syn::UseTree::Rename(rename) => self.note(rename.ident.span(), &with(&rename.ident)),
            syn::UseTree::Glob(glob) => self.note(glob.span(), prefix),
            syn::UseTree::Group(group) => group
                .items
                .iter()
                .for_each(|tree| self.use_tree(prefix, tree)),
        }
    }

    /// Paths among tokens. A group after `::` (a `use` within a macro) is followed too.
    fn tokens(&mut self, tokens: TokenStream) {
        self.tokens_behind(&[], tokens);
    }

    fn tokens_behind(&mut self, prefix: &[String], tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        let mut fresh = true;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Ident(first) if fresh => {
                    let mut path = prefix.to_vec();
                    path.push(first.unraw().to_string());
                    let mut whole = true;
                    while is_colons(&tokens, at) {
                        match tokens.get(at + 2) {
                            Some(TokenTree::Ident(next)) => {
                                path.push(next.unraw().to_string());
                                at += 3;
                            }
                            Some(TokenTree::Group(group))
                                if group.delimiter() == Delimiter::Brace =>
                            {
                                self.tokens_behind(&path, group.stream());
                                whole = false;
                                at += 3;
                            }
                            _ => break,
                        }
                    }
                    // A lone word is a path only within braces behind `::`; alone, `self` is a value.
                    if whole && path.len() > 1 {
                        self.note(first.span(), &path);
                    }
                }
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.quoted(literal.span(), &literal.to_string()),
                _ => {}
            }
            fresh = at < 2 || !is_colons(&tokens, at - 2);
        }
    }

    /// serde and clap take paths in quotes.
    fn quoted(&mut self, at: Span, literal: &str) {
        let inner = literal.trim_matches('"');
        if ["crate::", "super::", "self::"]
            .iter()
            .any(|start| inner.starts_with(start))
            && let Ok(path) = syn::parse_str::<syn::Path>(inner)
        {
            self.note(at, &segments(&path));
        }
    }

    fn test_only(
        &mut self,
        attributes: &[syn::Attribute],
        span: Span,
        walk: impl FnOnce(&mut Self),
    ) {
        let is_test = attributes.iter().any(is_cfg_test);
        if is_test && self.test_depth == 0 {
            let first = attributes.first().map_or(span, Spanned::span).start().line;
            self.test_lines += span.end().line + 1 - first.min(span.start().line);
        }
        self.test_depth += usize::from(is_test);
        walk(self);
        self.test_depth -= usize::from(is_test);
    }
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let colon =
        |at| matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
    colon(at) && colon(at + 1)
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments
        .iter()
        .map(|segment| segment.ident.unraw().to_string())
        .collect()
}

/// Exactly `cfg(test)`: code behind `any(test, …)` is shipped, too.
fn is_cfg_test(attribute: &syn::Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|condition| condition.is_ident("test"))
}

/// A path as written in a module, from the root of the crate; `None` for one that does not begin there.
fn resolve(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut base = match first.as_str() {
        "crate" | "forge" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    if first == "super" {
        base.pop();
    }
    for segment in rest {
        match segment.as_str() {
            "super" => drop(base.pop()),
            "self" => {}
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.test_only(&item.attrs, item.span(), |this| {
            this.use_tree(&[], &item.tree)
        });
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        // A lone `self`, `crate` or `super` is a value or a visibility.
        if path.segments.len() > 1 {
            self.note(path.span(), &segments(path));
        }
        visit::visit_path(self, path);
    }

    /// `pub(in crate::pure)` names who may see, not who is used.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        self.visit_path(&mac.path);
        self.tokens(mac.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let path = attribute.path();
        if path.is_ident("doc") {
            return;
        }
        if let syn::Meta::List(list) = &attribute.meta {
            let lifts =
                (path.is_ident("allow") || path.is_ident("expect") || path.is_ident("cfg_attr"))
                    && ["disallowed_methods", "disallowed_types"]
                        .iter()
                        .any(|ban| list.tokens.to_string().contains(ban));
            if lifts && self.test_depth == 0 {
                self.scan.lifted_bans.push(attribute.span().start());
            }
            self.tokens(list.tokens.clone());
        } else {
            visit::visit_attribute(self, attribute);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.module.push(item.ident.unraw().to_string());
        if item.content.is_none() && item.attrs.iter().any(is_cfg_test) {
            self.scan.test_modules.push(self.module.clone());
        }
        self.test_only(&item.attrs, item.span(), |this| {
            visit::visit_item_mod(this, item)
        });
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.test_only(&item.attrs, item.span(), |this| {
            visit::visit_item_fn(this, item)
        });
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        self.test_only(&item.attrs, item.span(), |this| {
            visit::visit_item_impl(this, item)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str) -> Vec<String> {
        let module: Vec<String> = ["pure", "text", "span"].map(str::to_owned).into();
        let scan = scan(source, &module).unwrap();
        scan.paths
            .iter()
            .map(|named| format!("{}:{}", named.at.line, named.segments.join("::")))
            .collect()
    }

    #[test]
    fn use_trees_are_followed_to_each_leaf() {
        let source = "use crate::{edge::{disk, net::*}, pure::name::Digest as D};\nuse std::fs;\npub use super::Span;";
        let expected = [
            "1:edge::disk",
            "1:edge::net",
            "1:pure::name::Digest",
            "3:pure::text::Span",
        ];
        assert_eq!(named(source), expected);
    }

    #[test]
    fn paths_are_found_in_types_expressions_and_bounds() {
        let source = "fn f<T: crate::flow::A>(a: &crate::flow::B) -> Vec<crate::flow::C> {\n crate::flow::d::<crate::flow::E>()\n}";
        let found = named(source);
        for name in [
            "1:flow::A",
            "1:flow::B",
            "1:flow::C",
            "2:flow::d",
            "2:flow::E",
        ] {
            assert!(found.contains(&name.to_owned()), "{name} in {found:?}");
        }
    }

    #[test]
    fn super_and_self_lead_to_where_they_lead() {
        assert_eq!(named("use super::super::super::flow::x;"), ["1:flow::x"]);
        assert_eq!(
            named("use self::super::Sources;"),
            ["1:pure::text::Sources"]
        );
        assert_eq!(named("mod tests { use super::*; }"), ["1:pure::text::span"]);
        assert_eq!(
            named("mod a { mod b { use super::super::super::super::oci::X; } }"),
            ["1:pure::oci::X"]
        );
    }

    #[test]
    fn macros_and_attributes_hide_nothing() {
        assert_eq!(
            named("fn f() { vec![1, crate::flow::x(2)]; }"),
            ["1:flow::x"]
        );
        assert_eq!(
            named("fn f() { println!(\"{}\", deep(&[super::super::oci::y])); }"),
            ["1:pure::oci::y"]
        );
        assert_eq!(
            named("m! { use crate::{flow::{a, b}, edge}; }"),
            ["1:flow::a", "1:flow::b", "1:edge"]
        );
        assert_eq!(
            named("macro_rules! m { () => { $crate::flow::x() } }"),
            ["1:flow::x"]
        );
        assert_eq!(
            named("struct S { #[serde(with = \"crate::flow::hex\")] a: u8 }"),
            ["1:flow::hex"]
        );
        assert_eq!(named("#[derive(crate::flow::D)] struct S;"), ["1:flow::D"]);
    }

    #[test]
    fn what_is_no_use_is_not_listed() {
        assert_eq!(named("pub(in crate::pure) fn f() {}"), Vec::<String>::new());
        assert_eq!(
            named("/// Not [`crate::flow::x`].\nfn f(&self) { self.x(); std::crate_::y(); }"),
            Vec::<String>::new()
        );
        assert_eq!(
            named("fn f() { println!(\"crate: {}\", self.x) }"),
            Vec::<String>::new()
        );
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let source = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn g() {}\n}\n";
        assert_eq!(scan(source, &[]).unwrap().lines, 2);
        let source = "fn f() {}\n#[cfg(any(test, unix))]\nmod fake {\n}\n";
        assert_eq!(scan(source, &[]).unwrap().lines, 4);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_known() {
        let scan = scan(
            "#[cfg(test)]\nmod tests;\nmod shipped;",
            &["pure".to_owned()],
        )
        .unwrap();
        assert_eq!(scan.test_modules, [["pure", "tests"]]);
    }

    #[test]
    fn lifted_bans_are_found_outside_tests() {
        assert_eq!(
            scan("#![allow(clippy::disallowed_methods)]", &[])
                .unwrap()
                .lifted_bans
                .len(),
            1
        );
        assert_eq!(
            scan(
                "#[expect(clippy::disallowed_types, reason = \"x\")]\nfn f() {}",
                &[]
            )
            .unwrap()
            .lifted_bans
            .len(),
            1
        );
        assert_eq!(
            scan(
                "#[cfg(test)]\n#[allow(clippy::disallowed_methods)]\nmod tests {}",
                &[]
            )
            .unwrap()
            .lifted_bans
            .len(),
            0
        );
        assert_eq!(
            scan("#[allow(clippy::too_many_lines)]\nfn f() {}", &[])
                .unwrap()
                .lifted_bans
                .len(),
            0
        );
    }
}
