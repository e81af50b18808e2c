use std::collections::{BTreeMap, BTreeSet};

use super::references::{References, Referred};
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
    reader.recipes(packages, wheels);
    let used: BTreeSet<&str> = reader
        .pins
        .all
        .values()
        .flat_map(Pin::packages)
        .map(|package| package.suite.as_str())
        .collect();
    let unused: Vec<(String, Span)> = suites
        .into_iter()
        .filter(|(name, _)| !used.contains(name.as_str()))
        .collect();
    for (name, at) in unused {
        reader.unused(&format!("the suite `{name}`"), at);
    }
    reader.pins
}

struct Reader<'a> {
    table: &'a Table,
    language: &'a Language,
    pins: Pins,
    diagnostics: &'a mut Diagnostics,
}

/// The packages or wheels of the lock, to be found by what names them.
struct Shelf<T> {
    references: References<T>,
    /// The short name of each and where it stands, by its long name.
    places: BTreeMap<String, (String, Span)>,
    /// What could not be read, by its short name: nothing is said of whoever names it.
    broken: BTreeSet<String>,
    used: BTreeSet<String>,
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

    fn packages(&mut self, suites: &BTreeMap<String, Span>) -> Shelf<PackagePin> {
        let mut all = Vec::new();
        let mut broken = BTreeSet::new();
        for (table, value) in self.entries("package", "package_pin") {
            let Some(value) = value else {
                let word = |key: &str| table.get(key).and_then(|entry| entry.value.as_str());
                match (word("name"), word("version"), word("arch")) {
                    (Some(name), Some(version), Some(arch)) => {
                        broken.insert(format!("{name} {version} {arch}"));
                    }
                    _ => self.pins.incomplete = true,
                }
                continue;
            };
            let package = PackagePin {
                name: owned(&value, "name"),
                version: owned(&value, "version"),
                arch: owned(&value, "arch"),
                suite: owned(&value, "suite"),
                path: owned(&value, "path"),
                size: size(&value),
                digest: match sha256(&value) {
                    Some(digest) => digest,
                    None => continue,
                },
            };
            if !suites.contains_key(&package.suite) {
                self.dangling(
                    format!(
                        "package `{}` is of the suite `{}`, which the lock does not hold",
                        package.name, package.suite
                    ),
                    place(&value, "suite"),
                    &package.suite,
                    suites.keys().map(String::as_str),
                );
                broken.insert(package.short());
                continue;
            }
            all.push((package, place(&value, "name")));
        }
        self.shelf(all, broken)
    }

    fn wheels(&mut self) -> Shelf<WheelPin> {
        let mut all = Vec::new();
        let mut broken = BTreeSet::new();
        for (table, value) in self.entries("wheel", "wheel_pin") {
            let Some(value) = value else {
                match table.get("file").and_then(|entry| entry.value.as_str()) {
                    Some(file) => {
                        broken.insert(file.to_owned());
                    }
                    None => self.pins.incomplete = true,
                }
                continue;
            };
            let Some(digest) = sha256(&value) else {
                continue;
            };
            let wheel = WheelPin {
                name: owned(&value, "name"),
                version: owned(&value, "version"),
                file: owned(&value, "file"),
                size: size(&value),
                digest,
            };
            all.push((wheel, place(&value, "name")));
        }
        self.shelf(all, broken)
    }

    fn shelf<T: Referred>(&mut self, all: Vec<(T, Span)>, broken: BTreeSet<String>) -> Shelf<T> {
        let mut places: BTreeMap<String, (String, Span)> = BTreeMap::new();
        for (item, at) in &all {
            if let Some((_, first)) = places.get(&item.long()) {
                self.duplicate(&format!("`{}`", item.short()), *at, *first);
                continue;
            }
            places.insert(item.long(), (item.short(), *at));
        }
        Shelf {
            references: References::new(all.iter().map(|(item, _)| item)),
            places,
            broken,
            used: BTreeSet::new(),
        }
    }

    fn recipes(&mut self, mut packages: Shelf<PackagePin>, mut wheels: Shelf<WheelPin>) {
        let mut all_read = true;
        for (table, value) in self.entries("recipe", "recipe_pin") {
            let pin = value
                .as_ref()
                .and_then(|value| self.recipe(value, &mut packages, &mut wheels));
            all_read &= pin.is_some();
            self.add(&table, value.as_ref(), pin.map(Pin::Recipe));
        }
        // What a recipe that cannot be read needs is not known.
        if all_read && !self.pins.incomplete {
            self.unused_of("package", &packages);
            self.unused_of("wheel", &wheels);
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

    /// What a list names, in its order. `None` if something is not there, which is reported.
    fn found<T: Referred>(
        &mut self,
        image: &str,
        names: &[Value],
        what: &str,
        shelf: &mut Shelf<T>,
    ) -> Option<Vec<T>> {
        let mut found = Vec::new();
        let mut seen = BTreeMap::new();
        for named in names {
            let name = named.as_str().unwrap_or_default();
            if let Some(first) = seen.insert(name, named.at) {
                self.duplicate(
                    &format!("{what} `{name}` of image `{image}`"),
                    named.at,
                    first,
                );
                continue;
            }
            match shelf.references.get(name) {
                Some(item) => {
                    shelf.used.insert(item.long());
                    found.push(item.clone());
                }
                None if shelf.broken.contains(name) => {}
                None if shelf.references.is_shared(name) => {
                    let name = name.to_owned();
                    self.dangling(
                        format!("several entries are {what} `{name}` of image `{image}`"),
                        named.at,
                        &name,
                        shelf
                            .references
                            .names()
                            .filter(|other| other.starts_with(&name)),
                    );
                }
                None => self.dangling(
                    format!(
                        "image `{image}` is made of {what} `{name}`, which the lock does not hold"
                    ),
                    named.at,
                    name,
                    shelf.references.names(),
                ),
            }
        }
        (found.len() == names.len()).then_some(found)
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

    fn unused_of<T: Referred>(&mut self, what: &str, shelf: &Shelf<T>) {
        for (long, (short, at)) in &shelf.places {
            if !shelf.used.contains(long) {
                self.unused(&format!("the {what} `{short}`"), *at);
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

/// Its shape has it from 0 on.
fn size(value: &Value) -> u64 {
    value
        .get("size")
        .and_then(Value::as_int)
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

/// Its shape has it as 64 digits.
fn sha256(value: &Value) -> Option<BlobDigest> {
    format!("sha256:{}", value.str("sha256")?).parse().ok()
}
