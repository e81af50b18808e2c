//! JSON Schemas of the files of a project, for editors.
//!
//! Made from the tables that the readers check against (`kinds.toml`, `shapes.toml`, the options of the modules), so that an editor
//! offers what forge accepts. A schema says less than forge checks, never more: what forge accepts is always valid.

mod declaration;
mod types;

use serde_json::{Map, Value as Json, json};

use super::field::Type;
use super::module::{Kind, Module};
use super::project::Project;
use crate::pure::text::codes;
use declaration::{declarations, type_declaration};
use types::{Mode, Types, closed, requirements, set};

/// The files of a project that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Project,
    Host,
    Module,
    Image,
    Lock,
    Secrets,
}

/// The schema (draft 2020-12) of a kind of file, as far as it depends on what modules and images `project` has.
pub fn schema(kind: FileKind, project: &Project) -> Json {
    let language = &project.language;
    let writer = Writer {
        project,
        types: Types {
            images: project.images.keys().map(|name| name.as_str()).collect(),
        },
    };
    let (title, description, mut body) = match kind {
        FileKind::Project => (
            "forge.toml",
            "Settings of a forge project",
            closed(
                json!({
                    "project": writer.types.table(&language.shape("project"), Mode::STRICT),
                    "sources": writer.sources(),
                }),
                &["project"],
            ),
        ),
        FileKind::Host => (
            "hosts/NAME.toml",
            "A host of a forge project",
            writer.host(),
        ),
        FileKind::Module => (
            "modules/NAME/module.toml",
            "A module of a forge project",
            writer.module(),
        ),
        FileKind::Image => (
            "images/NAME/image.toml",
            "Where an image of a forge project comes from",
            writer.image(),
        ),
        FileKind::Lock => (
            "forge.lock",
            "Every image of a forge project, pinned to a digest",
            writer.lock(),
        ),
        FileKind::Secrets => (
            "hosts/NAME.secrets.toml",
            "The secrets of a host, each encrypted by itself",
            secrets(),
        ),
    };
    set(
        &mut body,
        "$schema",
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    set(&mut body, "title", title.into());
    set(&mut body, "description", description.into());
    body
}

struct Writer<'a> {
    project: &'a Project,
    types: Types<'a>,
}

impl Writer<'_> {
    fn host(&self) -> Json {
        let language = &self.project.language;
        let host = language.shape("host");
        let mut allow = self.types.table(&language.shape("allow"), Mode::STRICT);
        let rules: Vec<&str> = codes::ALL
            .iter()
            .filter(|code| code.is_policy())
            .map(|code| code.as_str())
            .collect();
        if let Some(rule) = allow.pointer_mut("/properties/rule") {
            set(rule, "enum", json!(rules));
        }
        let mut properties = self.contributions();
        let mut host_table = self.types.table(&host, Mode::PARTIAL);
        set(
            &mut host_table,
            "description",
            "Where and what the host is".into(),
        );
        properties.insert("host".to_owned(), host_table);
        properties.insert(
            "extends".to_owned(),
            json!({
                "type": "string",
                "pattern": DASHED,
                "description": "A host that this one is derived from: tables are merged key by key, this file wins",
            }),
        );
        properties.insert("modules".to_owned(), self.modules());
        properties.insert(
            "allow".to_owned(),
            json!({
                "type": "array",
                "items": allow,
                "description": "A policy rule that one contribution may break, for a written reason",
            }),
        );
        properties.insert("override".to_owned(), self.overrides());
        let mut schema = closed(Json::Object(properties), &[]);
        // What a host that extends another one leaves out, the other one may say.
        let needed: Map<String, Json> = self
            .project
            .modules
            .values()
            .filter_map(|module| {
                let needed = requirements(&module.options)?;
                let off = json!({ "properties": { "enable": { "const": false } }, "required": ["enable"] });
                Some((module.name.to_string(), json!({ "if": off, "else": needed })))
            })
            .collect();
        let mut whole = json!({
            "required": ["host"],
            "properties": { "modules": { "properties": needed } },
        });
        if let (Some(needed), Some(properties)) =
            (requirements(&host), whole.pointer_mut("/properties"))
        {
            set(properties, "host", needed);
        }
        set(&mut schema, "if", json!({ "required": ["extends"] }));
        set(&mut schema, "else", whole);
        with_template(schema)
    }

    /// `[modules.NAME]` for every module that there is.
    fn modules(&self) -> Json {
        let modules: Map<String, Json> = self
            .project
            .modules
            .values()
            .map(|module| (module.name.to_string(), self.module_use(module)))
            .collect();
        let mut schema = closed(Json::Object(modules), &[]);
        set(
            &mut schema,
            "description",
            "The modules of the host and their options".into(),
        );
        schema
    }

    fn module_use(&self, module: &Module) -> Json {
        let mut table = self.types.table(&module.options, Mode::PARTIAL);
        if let Some(properties) = table.pointer_mut("/properties") {
            set(
                properties,
                "enable",
                json!({
                    "type": "boolean",
                    "default": true,
                    "description": "Whether the module is part of the host; naming it is enough to enable it",
                }),
            );
        }
        set(&mut table, "description", module.summary.as_str().into());
        table
    }

    fn overrides(&self) -> Json {
        let kinds: Map<String, Json> = self
            .project
            .kinds
            .values()
            .map(|kind| {
                let mut by_name = json!({
                    "type": "object",
                    "additionalProperties": self.types.table(&kind.fields, Mode::OVERRIDE),
                });
                set(&mut by_name, "description", kind.doc.as_str().into());
                (kind.name.clone(), by_name)
            })
            .collect();
        let mut schema = closed(Json::Object(kinds), &[]);
        set(
            &mut schema,
            "description",
            "Fields of contributions that this host wants otherwise: [override.KIND.NAME]".into(),
        );
        schema
    }

    fn module(&self) -> Json {
        let language = &self.project.language;
        let mut kind = self.types.table(&language.shape("kind"), Mode::STRICT);
        if let Some(properties) = kind.pointer_mut("/properties") {
            set(
                properties,
                "fields",
                declarations("What a contribution of the kind says, besides its name"),
            );
        }
        let mut properties = self.contributions();
        properties.insert(
            "module".to_owned(),
            self.types.table(&language.shape("module"), Mode::STRICT),
        );
        properties.insert(
            "options".to_owned(),
            declarations("What a host may set in [modules.NAME]"),
        );
        properties.insert(
            "contribution".to_owned(),
            json!({
                "type": "object",
                "description": "Kinds of contribution that this module makes something of",
                "propertyNames": { "pattern": SNAKE },
                "additionalProperties": kind,
            }),
        );
        let mut schema = with_template(closed(Json::Object(properties), &["module"]));
        if let Some(defs) = schema.pointer_mut("/$defs") {
            set(defs, "type", type_declaration());
            set(
                defs,
                "declaration",
                json!({ "$ref": "#/$defs/type", "required": ["doc"] }),
            );
        }
        schema
    }

    fn sources(&self) -> Json {
        let mut table = self
            .types
            .table(&self.project.language.shape("sources"), Mode::STRICT);
        set(
            &mut table,
            "description",
            "Where packages and images are fetched from; what is not said is the machine's business".into(),
        );
        table
    }

    fn image(&self) -> Json {
        let table = |shape: &str| {
            self.types
                .table(&self.project.language.shape(shape), Mode::STRICT)
        };
        let mut properties = Map::new();
        for (shape, description) in IMAGE_TABLES {
            let mut table = table(shape);
            set(&mut table, "description", (*description).into());
            properties.insert((*shape).to_owned(), table);
        }
        for (shape, description) in IMAGE_LISTS {
            properties.insert(
                (*shape).to_owned(),
                json!({ "type": "array", "description": description, "items": table(shape) }),
            );
        }
        let mut schema = closed(Json::Object(properties), &["image"]);
        // A registry, or something of a recipe, and not both.
        let of_header = json!({ "properties": { "image": { "required": ["base"] } } });
        let recipe: Vec<Json> = IMAGE_TABLES
            .iter()
            .chain(IMAGE_LISTS)
            .map(|(shape, _)| *shape)
            .filter(|shape| !matches!(*shape, "image" | "registry"))
            .map(|shape| json!({ "required": [shape] }))
            .chain([of_header])
            .collect();
        set(
            &mut schema,
            "oneOf",
            json!([{ "required": ["registry"] }, { "anyOf": recipe }]),
        );
        schema
    }

    fn lock(&self) -> Json {
        let digest = || json!({ "type": "string", "pattern": DIGEST });
        let mut properties = Map::new();
        properties.insert(
            "version".to_owned(),
            json!({ "const": LOCK_VERSION, "description": "Version of the format" }),
        );
        for (table, shape, description) in LOCK_TABLES {
            let mut entry = self
                .types
                .table(&self.project.language.shape(shape), Mode::STRICT);
            // A lock may pin images that are not there any more: that is a warning.
            if matches!(*shape, "pin" | "recipe_pin")
                && let Some(name) = entry.pointer_mut("/properties/name")
            {
                if let Json::Object(name) = &mut *name {
                    name.remove("enum");
                }
                set(name, "type", "string".into());
                set(name, "pattern", DASHED.into());
            }
            for pointer in [
                "/properties/digest",
                "/properties/inputs",
                "/properties/build/items/properties/digest",
            ] {
                if let Some(digest) = entry.pointer_mut(pointer) {
                    set(digest, "pattern", DIGEST.into());
                }
            }
            if let Some(layers) =
                entry.pointer_mut("/properties/build/items/properties/layers/items")
            {
                *layers = digest();
            }
            properties.insert(
                (*table).to_owned(),
                json!({ "type": "array", "description": description, "items": entry }),
            );
        }
        closed(Json::Object(properties), &["version"])
    }

    /// An array of tables for every kind of contribution.
    fn contributions(&self) -> Map<String, Json> {
        self.project
            .kinds
            .values()
            .map(|kind| {
                let array = json!({
                    "type": "array",
                    "description": kind.doc,
                    "items": self.contribution(kind),
                });
                (kind.name.clone(), array)
            })
            .collect()
    }

    fn contribution(&self, kind: &Kind) -> Json {
        let mut table = self.types.table(&kind.fields, Mode::CONTRIBUTION);
        if let Some(properties) = table.pointer_mut("/properties") {
            let mut name = self.types.of_type(&Type::Name, Mode::CONTRIBUTION);
            set(
                &mut name,
                "description",
                "Its name, unique on a host among its kind".into(),
            );
            set(properties, "name", name);
            set(
                properties,
                "when",
                json!({
                    "type": "string",
                    "description": "Only if this holds: PATH, not PATH, PATH == 'text', PATH != 'text', joined by `and`",
                }),
            );
            set(
                properties,
                "for_each",
                json!({
                    "type": "string",
                    "description": "Once for each item of this list or map: options.NAME or facts.KIND",
                }),
            );
        }
        match table.pointer_mut("/required") {
            Some(Json::Array(required)) => required.insert(0, "name".into()),
            _ => set(&mut table, "required", json!(["name"])),
        }
        table
    }
}

/// The tables of an image file.
const IMAGE_TABLES: &[(&str, &str)] = &[
    ("image", "What the image is"),
    ("registry", "Someone else built it: where it is"),
    (
        "debian",
        "Debian packages, with everything that they depend on",
    ),
    ("python", "Python wheels"),
    ("run", "How a container of the image starts"),
];

/// The arrays of tables of an image file.
const IMAGE_LISTS: &[(&str, &str)] = &[
    ("group", "A group in /etc/group"),
    ("user", "A user in /etc/passwd"),
    ("directory", "A folder"),
    ("link", "A symbolic link"),
    (
        "file",
        "A file of the image's folder, or all files of a folder in it",
    ),
];

/// The format of the lock. Said again here, as the lock comes after the files in the flow of data; a test compares the two.
const LOCK_VERSION: i64 = 1;

/// The arrays of tables of the lock, and the shapes of their entries.
const LOCK_TABLES: &[(&str, &str, &str)] = &[
    ("image", "pin", "An image of a registry"),
    (
        "suite",
        "suite_pin",
        "An index that packages were resolved with",
    ),
    ("recipe", "recipe_pin", "An image that forge builds"),
    ("package", "package_pin", "A Debian package"),
    ("wheel", "wheel_pin", "A Python wheel"),
];

const DIGEST: &str = "^sha256:[0-9a-f]{64}$";
const DASHED: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const SNAKE: &str = "^[a-z][a-z0-9_]{0,62}$";

fn with_template(mut schema: Json) -> Json {
    let template = json!({
        "type": "string",
        "pattern": r"\{\{",
        "description": "A Handlebars template",
    });
    set(&mut schema, "$defs", json!({ "template": template }));
    schema
}

/// Not made from a table: the reader of secrets is written by hand, as it must never quote what it reads.
fn secrets() -> Json {
    closed(
        json!({
            "version": { "const": 1, "description": "Version of the format" },
            "recipients": {
                "type": "object",
                "minProperties": 1,
                "description": "Who may read the secrets: the host, and its admins",
                "additionalProperties": {
                    "type": "string",
                    "pattern": "^(ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?|age1[0-9a-z]+)$",
                    "description": "An SSH public key (ssh-ed25519 or ssh-rsa), or an age public key",
                },
            },
            "secrets": {
                "type": "object",
                "description": "One armored age file for each secret, written by `forge secret`",
                "propertyNames": { "pattern": SNAKE },
                "additionalProperties": {
                    "type": "string",
                    "pattern": r"^\s*-----BEGIN AGE ENCRYPTED FILE-----",
                },
            },
        }),
        &["version", "recipients"],
    )
}
