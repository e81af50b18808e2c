//! A system to its files: templates run over the facts, `compose.yaml`, the firewall.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Context;
use serde_json::{Map, Value as Json, json};

use super::compose;
use super::firewall::{Family, Firewall};
use super::parse_check;
use super::place::{Place, RenderedFile, content_path, sealed_path};
use super::resolve::Paths;
use crate::pure::config::from_text::project::add_source;
use crate::pure::config::node::verbatim_at;
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::name::{BlobDigest, SecretName};
use crate::pure::system::System;
use crate::pure::system::facts::{Fact, HOST};
use crate::pure::system::service::Service;
use crate::pure::template::helpers::{MARK, placeholders};
use crate::pure::template::{Engine, mistake};
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

/// The files of a system, by name, and the secrets that services are given alone.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    pub files: BTreeMap<String, RenderedFile>,
    pub secrets: Vec<SecretFile>,
}

/// A secret as a file of its own on tmpfs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct SecretFile {
    pub name: SecretName,
    pub path: String,
    pub owner: String,
    pub mode: String,
}

/// Renders everything. `None`, with diagnostics, if any template fails or makes something invalid.
///
/// `ciphertexts` has the digest of the ciphertext of every secret that the system declares.
pub fn render(
    system: &System,
    project: &Project,
    text: &ProjectText,
    ciphertexts: &BTreeMap<SecretName, BlobDigest>,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Rendered> {
    let mut found = Diagnostics::default();
    let mut rendering = Rendering {
        text,
        ciphertexts,
        engine: Engine::default(),
        context: Context::from(base_context(system, project)),
        system,
        sources,
        diagnostics: &mut found,
        told: BTreeSet::new(),
        incomplete: false,
        rendered: Rendered::default(),
    };
    for fact in system.facts.of("file") {
        rendering.file(fact);
    }
    for fact in system.facts.of("unit") {
        rendering.unit(fact);
    }
    rendering.composed();
    let (rendered, incomplete) = (rendering.rendered, rendering.incomplete);
    let fine = !found.has_errors() && !incomplete;
    // A mistake in a module says which hosts it is met on; one in a host's own files says so by its place.
    for diagnostic in found.iter_mut() {
        let own = diagnostic
            .primary
            .as_ref()
            .is_some_and(|label| sources.get(label.span.source).path.starts_with("hosts/"));
        if !own {
            diagnostic.hosts.push(system.host.name.to_string());
        }
    }
    diagnostics.extend(found);
    fine.then_some(rendered)
}

/// What templates see, but for `options` and `each`.
fn base_context(system: &System, project: &Project) -> Json {
    let facts: Map<String, Json> = project
        .kinds
        .keys()
        .map(|kind| {
            let all: Vec<Json> = system.facts.of(kind).map(Fact::to_json).collect();
            (kind.clone(), Json::Array(all))
        })
        .collect();
    let mut modules: Map<String, Json> = project
        .modules
        .keys()
        .map(|name| {
            (
                name.to_string(),
                json!(system.modules.contains_key(name.as_str())),
            )
        })
        .collect();
    modules.insert(HOST.to_owned(), json!(true));
    json!({
        "facts": facts,
        "modules": modules,
        "provider": system.providers,
        "host": {
            "name": system.host.name,
            "address": system.host.address,
            "system": system.host.system,
            "arch": system.host.arch,
        },
    })
}

struct Rendering<'a> {
    text: &'a ProjectText,
    ciphertexts: &'a BTreeMap<SecretName, BlobDigest>,
    engine: Engine,
    context: Context,
    system: &'a System,
    sources: &'a mut Sources,
    diagnostics: &'a mut Diagnostics,
    /// What is wrong with templates, so that it is said once of a template that many files are made from.
    told: BTreeSet<(Span, String)>,
    /// Something is left out for a mistake that is reported elsewhere.
    incomplete: bool,
    rendered: Rendered,
}

impl Rendering<'_> {
    fn file(&mut self, fact: &Fact) {
        let Some(bytes) = self.content(fact) else {
            return;
        };
        let base = fact
            .name
            .rsplit('/')
            .next()
            .unwrap_or(&fact.name)
            .to_owned();
        let Ok(rendered) = std::str::from_utf8(&bytes) else {
            // Only a `source` may hold other bytes than text, and those embed nothing.
            self.add(fact, bytes, BTreeSet::new(), &base);
            return;
        };
        self.parse_again(fact, &base, rendered);
        let mut secrets = BTreeSet::new();
        for placeholder in placeholders(rendered) {
            let name = placeholder.name;
            if self.system.facts.get("secret", name.as_str()).is_some() {
                secrets.insert(name);
            } else {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::UNKNOWN_REFERENCE,
                        format!(
                            "{} embeds the secret `{name}`, which does not exist",
                            fact.subject()
                        ),
                    )
                    .at(fact.at, "")
                    .suggest(name.as_str(), self.system.facts.names("secret")),
                );
            }
        }
        self.add(fact, bytes, secrets, &base);
    }

    fn add(&mut self, fact: &Fact, bytes: Vec<u8>, secrets: BTreeSet<SecretName>, base: &str) {
        let owner = fact.value.str("owner").unwrap_or("0:0").to_owned();
        let mode = fact.value.str("mode").unwrap_or("0644").to_owned();
        let digest = BlobDigest::of(&bytes);
        let place = match fact
            .value
            .get("path")
            .map(|path| (path.as_str().unwrap_or_default().to_owned(), path.at))
        {
            Some((path, at)) if !secrets.is_empty() && !path.starts_with("/run/") => {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::SECRET_AT_REST,
                        format!(
                            "{} embeds a secret and would stand at {path}",
                            fact.subject()
                        ),
                    )
                    .at(at, "on a disk")
                    .help("choose a path below /run, or leave `path` away and mount the file"),
                );
                return;
            }
            Some((path, _)) if fact.value.flag("block") => Place::Block { path },
            Some((path, _)) => Place::Managed { path },
            None if secrets.is_empty() => Place::Content {
                path: content_path(digest, &owner, &mode, base),
            },
            None => {
                let ciphertexts: Vec<(&SecretName, BlobDigest)> = secrets
                    .iter()
                    .filter_map(|name| Some((name, *self.ciphertexts.get(name)?)))
                    .collect();
                Place::Sealed {
                    path: sealed_path(Some(digest), &ciphertexts, &owner, &mode, base),
                }
            }
        };
        self.rendered.files.insert(
            fact.name.clone(),
            RenderedFile {
                name: fact.name.clone(),
                place,
                owner,
                mode,
                bytes,
                digest,
                secrets,
            },
        );
    }

    fn unit(&mut self, fact: &Fact) {
        let Some(bytes) = self.content(fact) else {
            return;
        };
        if String::from_utf8_lossy(&bytes).contains(MARK) {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::SECRET_AT_REST,
                    format!("{} embeds a secret", fact.subject()),
                )
                .at(fact.at, "units stand on a disk")
                .help("put the secret into a `[[file]]` below /run and let the unit read it"),
            );
            return;
        }
        let path = format!("/etc/systemd/system/{}", fact.name);
        self.generated(
            &format!("unit/{}", fact.name),
            Place::Managed { path },
            "0644",
            bytes,
        );
    }

    fn generated(&mut self, name: &str, place: Place, mode: &str, bytes: Vec<u8>) {
        self.rendered.files.insert(
            name.to_owned(),
            RenderedFile {
                name: name.to_owned(),
                place,
                owner: "0:0".to_owned(),
                mode: mode.to_owned(),
                digest: BlobDigest::of(&bytes),
                bytes,
                secrets: BTreeSet::new(),
            },
        );
    }

    /// `compose.yaml` and the firewall, which are made from what is typed and not from templates.
    fn composed(&mut self) {
        if self.diagnostics.has_errors() || self.incomplete {
            return;
        }
        let services: Vec<_> = self.system.services.values().cloned().collect();
        let paths = Paths::new(self.system, &self.rendered.files, self.ciphertexts);
        let compose = match compose::render(&services, &self.system.networks, &paths) {
            Ok(compose) => compose,
            // A checked system renders; a mistake of forge's own is told like any other.
            Err(error) => {
                self.diagnostics.push(Diagnostic::error(
                    codes::INVALID_OUTPUT,
                    format!("compose.yaml cannot be rendered: {error}"),
                ));
                return;
            }
        };
        self.rendered.secrets = paths.secret_files();
        let bytes = compose.into_bytes();
        let path = content_path(BlobDigest::of(&bytes), "0:0", "0644", "compose.yaml");
        self.generated("forge/compose.yaml", Place::Content { path }, "0644", bytes);
        self.firewall(&services);
    }

    /// UFW's own files, and the blocks that make Docker's published ports obey it. A host without an entry keeps its firewall.
    fn firewall(&mut self, services: &[Service]) {
        if self.system.firewall.is_empty() {
            return;
        }
        let firewall = match Firewall::new(&self.system.firewall, services) {
            Ok(firewall) => firewall,
            Err(error) => {
                self.diagnostics
                    .push(Diagnostic::error(codes::INVALID_OUTPUT, error.to_string()));
                return;
            }
        };
        for (family, user, after) in [
            (Family::V4, "user.rules", "after.rules"),
            (Family::V6, "user6.rules", "after6.rules"),
        ] {
            let path = format!("/etc/ufw/{user}");
            self.generated(
                &format!("forge/{user}"),
                Place::Managed { path },
                "0640",
                firewall.user_rules(family).into_bytes(),
            );
            let path = format!("/etc/ufw/{after}");
            self.generated(
                &format!("forge/{after}"),
                Place::Block { path },
                "0640",
                firewall.after_block(family).into_bytes(),
            );
            let live = firewall.live_chain(family).into_bytes();
            let name = format!("live-{after}");
            let path = content_path(BlobDigest::of(&live), "0:0", "0644", &name);
            self.generated(
                &format!("forge/{name}"),
                Place::Content { path },
                "0644",
                live,
            );
        }
    }

    /// The bytes of a file or unit: a template run, or a source as it is.
    fn content(&mut self, fact: &Fact) -> Option<Vec<u8>> {
        if let Some(text) = fact.value.get("text") {
            let template = text.as_str().unwrap_or_default().to_owned();
            return self.run(fact, &template, None, text.at);
        }
        let (value, template) = match fact.value.get("template") {
            Some(value) => (value, true),
            None => (fact.value.get("source")?, false),
        };
        let path = folder(&fact.module, value.as_str().unwrap_or_default());
        let Some(file) = self.text.get(&path) else {
            // That it is a link is reported already.
            if self.text.refused.contains_key(&path) {
                self.incomplete = true;
                return None;
            }
            let prefix = folder(&fact.module, "");
            let there: Vec<&str> = self
                .text
                .files
                .keys()
                .filter_map(|path| path.strip_prefix(&prefix))
                .filter(|path| !path.ends_with(".toml"))
                .collect();
            self.diagnostics.push(
                Diagnostic::error(codes::MISSING_FILE, format!("there is no `{path}`"))
                    .at(value.at, format!("named by {}", fact.subject()))
                    .suggest(value.as_str().unwrap_or_default(), there),
            );
            return None;
        };
        if !template {
            if let Ok(text) = std::str::from_utf8(&file.bytes)
                && text.contains(MARK)
            {
                self.reserved(fact, value.at);
                return None;
            }
            return Some(file.bytes.to_vec());
        }
        let id = add_source(&path, file, self.sources, self.diagnostics)?;
        let template = self.sources.get(id).text.clone();
        self.run(fact, &template, Some(id), value.at)
    }

    fn run(
        &mut self,
        fact: &Fact,
        template: &str,
        source: Option<SourceId>,
        at: Span,
    ) -> Option<Vec<u8>> {
        if template.contains(MARK) {
            self.reserved(fact, at);
            return None;
        }
        if let Json::Object(data) = self.context.data_mut() {
            let options = self
                .system
                .modules
                .get(&fact.module)
                .map_or_else(|| json!({}), |options| options.to_json());
            data.insert("options".to_owned(), options);
            match &fact.each {
                Some(each) => data.insert("each".to_owned(), each.clone()),
                None => data.remove("each"),
            };
        }
        match self.engine.render(template, &self.context) {
            Ok(rendered) => Some(rendered.into_bytes()),
            Err(problem) => {
                let range = problem.range_in(template);
                let place = match source {
                    Some(id) => Some(Span::new(id, range.unwrap_or(0..0))),
                    // Where the text stands in its file as it is, only the expression is marked.
                    None => range.and_then(|range| {
                        let whole = &self.sources.get(at.source).text;
                        let begin = verbatim_at(whole, at.range(), template)?;
                        Some(Span::new(at.source, begin + range.start..begin + range.end))
                    }),
                };
                if !self
                    .told
                    .insert((place.unwrap_or(at), problem.message.clone()))
                {
                    self.incomplete = true;
                    return None;
                }
                let diagnostic = mistake(&problem, place.unwrap_or(at), self.context.data());
                self.diagnostics.push(match (source, place) {
                    (Some(_), _) => diagnostic.also(at, format!("for {}", fact.subject())),
                    (None, Some(_)) => diagnostic,
                    (None, None) => diagnostic.note(format!(
                        "line {}, column {} of the text",
                        problem.line, problem.column
                    )),
                });
                None
            }
        }
    }

    fn reserved(&mut self, fact: &Fact, at: Span) {
        self.diagnostics.push(
            Diagnostic::error(
                codes::RESERVED_TEXT,
                format!("{} holds `{MARK}` itself", fact.subject()),
            )
            .at(at, "")
            .help("write `{{secret \"NAME\"}}`"),
        );
    }

    /// What a template made is read as the program that gets it would.
    fn parse_again(&mut self, fact: &Fact, base: &str, rendered: &str) {
        let format = fact
            .value
            .str("format")
            .and_then(parse_check::Format::of_word)
            .unwrap_or_else(|| parse_check::Format::of_name(base));
        if let Err(problem) = parse_check::check(format, rendered) {
            let id = self
                .sources
                .add(format!("<rendered>/{}", fact.name), rendered);
            self.diagnostics.push(
                Diagnostic::error(
                    codes::INVALID_OUTPUT,
                    format!(
                        "{} is rendered to invalid {format}: {}",
                        fact.subject(),
                        problem.message
                    ),
                )
                .at(
                    self.sources.rest_of_line(id, problem.line, problem.column),
                    "",
                )
                .also(fact.at, "made here")
                .help("quote values with the helpers `json`, `yaml` and `toml`"),
            );
        }
    }
}

/// The folder that a contribution's files are in.
fn folder(module: &str, path: &str) -> String {
    if module == HOST {
        format!("hosts/{path}")
    } else {
        format!("modules/{module}/{path}")
    }
}
