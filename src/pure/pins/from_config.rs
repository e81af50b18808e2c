//! `forge.lock` to pins.

mod shelf;

use std::collections::BTreeMap;

use super::{BuildPin, PackagePin, Pin, Pins, RecipePin, RegistryPin, SuitePin, VERSION, WheelPin};
use crate::pure::config::decode::{decode_fields, missing_key, unknown_key};
use crate::pure::config::from_text::language::Language;
use crate::pure::config::from_text::project::add_source;
use crate::pure::config::from_text::tables;
use crate::pure::config::node::{NodeKind, Table, parse};
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::config::value::{Data, Value};
use crate::pure::name::{Arch, BlobDigest, DigestError, ImageName};
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};
use shelf::Shelf;

/// The file of a project that holds its pins.
pub const LOCK: &str = "forge.lock";

const TABLES: [&str; 6] = ["version", "image", "suite", "recipe", "package", "wheel"];

/// The pins of a project: of its lock, if it has one.
pub fn read(
    text: &ProjectText,
    project: &Project,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Pins {
    let Some(file) = text.get(LOCK) else {
        return Pins::default();
    };
    let Some(id) = add_source(LOCK, file, sources, diagnostics) else {
        return Pins {
            incomplete: true,
            ..Pins::default()
        };
    };
    let pins = read_lock(id, &project.language, sources, diagnostics);
    for (name, pin) in &pins.all {
        if !project.images.contains_key(name) && !project.broken.images.contains(name.as_str()) {
            diagnostics.push(
                Diagnostic::warning(
                    codes::UNUSED_PIN,
                    format!("the lock pins `{name}`, which is no image"),
                )
                .at(pin.at(), "")
                .help("run `forge lock`, which leaves it out"),
            );
        }
    }
    pins
}

/// Reads a lock. What cannot be read is reported and left out.
fn read_lock(
    id: SourceId,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Pins {
    let mut pins = Pins {
        incomplete: true,
        ..Pins::default()
    };
    let Some(table) = parse(sources, id, diagnostics) else {
        return pins;
    };
    match table
        .get("version")
        .map(|entry| (&entry.value.kind, entry.value.span))
    {
        Some((NodeKind::Int(VERSION), _)) => {}
        Some((_, at)) => {
            diagnostics.push(
                Diagnostic::error(
                    codes::UNSUPPORTED_VERSION,
                    "the lock has a version that this forge does not know",
                )
                .at(at, format!("this forge knows version {VERSION}"))
                .help("use the forge that wrote it, or a newer one"),
            );
            return pins;
        }
        None => {
            diagnostics.push(
                missing_key("version", Span::new(id, 0..0), "the lock", None)
                    .help(format!("add `version = {VERSION}`")),
            );
            return pins;
        }
    }
    pins.incomplete = false;
    for (key, entry) in table.iter() {
        if !TABLES.contains(&key) {
            diagnostics.push(unknown_key(key, entry.key, "the lock", TABLES));
        }
    }
    let mut reader = Reader {
        table: &table,
        language,
        pins,
        diagnostics,
    };
    reader.images();
    let suites = reader.suites();
    let packages = reader.packages(&suites);
    let wheels = reader.wheels();
    if reader.recipes(packages, wheels) {
        reader.unused_suites(&suites);
    }
    reader.pins
}

struct Reader<'a> {
    table: &'a Table,
    language: &'a Language,
    pins: Pins,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    /// The entries of an array of tables, each checked; what is wrong with one is reported, and it is `None` beside its table.
    fn entries(&mut self, key: &str, shape: &str) -> Vec<(Table, Option<Value>)> {
        let Some(entry) = self.table.get(key) else {
            return Vec::new();
        };
        let items = tables(key, entry, self.diagnostics);
        // Nothing is said of an entry that is none, so nothing of the images that it may mean.
        self.pins.incomplete |= items.is_empty();
        let fields = self.language.shape(shape);
        let place = format!("[[{key}]] of the lock");
        let mut entries = Vec::new();
        for item in items {
            let Some(inner) = item.as_table() else {
                continue;
            };
            let value = decode_fields(inner, &fields, item.span, &place, self.diagnostics)
                .map(|map| Value::new(item.span, Data::Map(map)));
            entries.push((inner.clone(), value));
        }
        entries
    }

    fn images(&mut self) {
        for (table, value) in self.entries("image", "pin") {
            let pin = value.as_ref().and_then(|value| self.registry(value));
            self.add(&table, value.as_ref(), pin.map(Pin::Registry));
        }
    }

    fn registry(&mut self, value: &Value) -> Option<RegistryPin> {
        Some(RegistryPin {
            at: place(value, "name"),
            repository: owned(value, "repository"),
            tag: owned(value, "tag"),
            digest: self.digest(value, "digest")?,
        })
    }

    fn suites(&mut self) -> BTreeMap<String, Span> {
        let mut places: BTreeMap<String, Span> = BTreeMap::new();
        for (table, value) in self.entries("suite", "suite_pin") {
            let Some(value) = value else {
                // It is there all the same.
                if let Some(name) = table.get("name")
                    && let Some(text) = name.value.as_str()
                {
                    places.insert(text.to_owned(), name.value.span);
                }
                continue;
            };
            let (name, at) = (owned(&value, "name"), place(&value, "name"));
            if let Some(first) = places.get(&name) {
                self.duplicate(&format!("suite `{name}`"), at, *first);
                continue;
            }
            places.insert(name.clone(), at);
            let date = owned(&value, "date");
            self.pins.suites.insert(name, SuitePin { date });
        }
        places
    }

    /// The recipes. Whether all could be read: what one needs that could not is not known, so nothing is unused.
    fn recipes(&mut self, mut packages: Shelf<PackagePin>, mut wheels: Shelf<WheelPin>) -> bool {
        let mut all_read = true;
        for (table, value) in self.entries("recipe", "recipe_pin") {
            let pin = value
                .as_ref()
                .and_then(|value| self.recipe(value, &mut packages, &mut wheels));
            all_read &= pin.is_some();
            self.add(&table, value.as_ref(), pin.map(Pin::Recipe));
        }
        let whole = all_read && !self.pins.incomplete;
        if whole {
            self.unused_of("package", &packages);
            self.unused_of("wheel", &wheels);
        }
        whole
    }

    fn unused_suites(&mut self, suites: &BTreeMap<String, Span>) {
        let mut pins = self.pins.clone();
        pins.prune();
        for (name, at) in suites {
            if self.pins.suites.contains_key(name) && !pins.suites.contains_key(name) {
                self.unused(&format!("the suite `{name}`"), *at);
            }
        }
    }

    fn recipe(
        &mut self,
        value: &Value,
        packages: &mut Shelf<PackagePin>,
        wheels: &mut Shelf<WheelPin>,
    ) -> Option<RecipePin> {
        let name = owned(value, "name");
        let inputs = self.digest(value, "inputs");
        let mut builds: BTreeMap<Arch, (BuildPin, Span)> = BTreeMap::new();
        let mut fine = true;
        for build in value.list("build") {
            let digest = self.digest(build, "digest");
            let layers: Vec<Option<BlobDigest>> = build
                .list("layers")
                .iter()
                .map(|layer| self.parse_digest(layer))
                .collect();
            let packages = self.found(&name, build.list("packages"), "package", packages);
            let wheels = self.found(&name, build.list("wheels"), "wheel", wheels);
            let arch = build.str("arch").and_then(|arch| arch.parse::<Arch>().ok());
            let (Some(arch), Some(digest), Some(layers), Some(packages), Some(wheels)) =
                (arch, digest, layers.into_iter().collect(), packages, wheels)
            else {
                fine = false;
                continue;
            };
            let at = place(build, "arch");
            if let Some((_, first)) = builds.get(&arch) {
                let first = *first;
                self.duplicate(&format!("{arch} of image `{name}`"), at, first);
                continue;
            }
            let build = BuildPin {
                digest,
                layers,
                packages,
                wheels,
            };
            builds.insert(arch, (build, at));
        }
        let builds = builds
            .into_iter()
            .map(|(arch, (build, _))| (arch, build))
            .collect();
        fine.then_some(RecipePin {
            at: place(value, "name"),
            inputs: inputs?,
            builds,
        })
    }

    /// Adds a pin, or remembers that one is there that cannot be read.
    fn add(&mut self, table: &Table, value: Option<&Value>, pin: Option<Pin>) {
        let name = table
            .get("name")
            .and_then(|name| name.value.as_str())
            .and_then(|name| name.parse::<ImageName>().ok());
        let (Some(name), Some(_), Some(pin)) = (&name, value, pin) else {
            match name {
                Some(name) => {
                    self.pins.broken.insert(name.to_string());
                }
                None => self.pins.incomplete = true,
            }
            return;
        };
        match self.pins.all.get(name).map(Pin::at) {
            Some(first) => {
                // Nobody knows which is meant.
                self.pins.broken.insert(name.to_string());
                self.duplicate(&format!("image `{name}`"), pin.at(), first);
            }
            None => {
                self.pins.all.insert(name.clone(), pin);
            }
        }
    }

    fn unused(&mut self, what: &str, at: Span) {
        self.diagnostics.push(
            Diagnostic::warning(
                codes::UNUSED_PIN,
                format!("the lock holds {what}, which no image of it is made of"),
            )
            .at(at, "")
            .help("run `forge lock`, which leaves it out"),
        );
    }

    fn duplicate(&mut self, what: &str, at: Span, first: Span) {
        self.diagnostics.push(
            Diagnostic::error(codes::DUPLICATE, format!("{what} is locked twice"))
                .at(at, "again here")
                .also(first, "first here")
                .help("remove one of the entries"),
        );
    }

    fn dangling<'b>(
        &mut self,
        message: String,
        at: Span,
        name: &str,
        known: impl IntoIterator<Item = &'b str>,
    ) {
        let mut diagnostic = Diagnostic::error(codes::DANGLING_PIN, message).at(at, "named here");
        if let Some(near) = crate::pure::text::did_you_mean(name, known) {
            diagnostic = diagnostic.note(format!("it holds `{near}`"));
        }
        self.diagnostics
            .push(diagnostic.help("run `forge lock`, which resolves the image anew"));
    }

    fn digest<D: std::str::FromStr<Err = DigestError>>(
        &mut self,
        value: &Value,
        key: &str,
    ) -> Option<D> {
        self.parse_digest(value.get(key)?)
    }

    fn parse_digest<D: std::str::FromStr<Err = DigestError>>(
        &mut self,
        value: &Value,
    ) -> Option<D> {
        match value.as_str()?.parse() {
            Ok(digest) => Some(digest),
            Err(error) => {
                self.diagnostics.push(
                    Diagnostic::error(codes::BAD_DIGEST, error.message())
                        .at(value.at, "")
                        .help("write `sha256:` and 64 lower-case hexadecimal digits"),
                );
                None
            }
        }
    }
}

fn owned(value: &Value, key: &str) -> String {
    value.str(key).unwrap_or_default().to_owned()
}

fn place(value: &Value, key: &str) -> Span {
    value.get(key).map_or(value.at, |inner| inner.at)
}
