//! What the declarations of all modules must be in the light of each other: what they name exists.

use crate::pure::config::field::{Field, Fields, Type};
use crate::pure::config::module::{Module, Named};
use crate::pure::config::project::Project;
use crate::pure::text::{Diagnostic, Diagnostics, codes};

pub(super) fn check(project: &Project, diagnostics: &mut Diagnostics) {
    for module in project.modules.values() {
        check_fields(&module.options, project, diagnostics);
        for kind in module.kinds.values() {
            check_fields(&kind.fields, project, diagnostics);
        }
        check_header(module, project, diagnostics);
    }
}

fn check_fields(fields: &Fields, project: &Project, diagnostics: &mut Diagnostics) {
    for field in fields.iter() {
        check_type(&field.ty, field, project, diagnostics);
    }
}

fn check_type(ty: &Type, field: &Field, project: &Project, diagnostics: &mut Diagnostics) {
    match ty {
        Type::Ref(kind) if !project.knows(kind) => diagnostics.push(
            Diagnostic::error(
                codes::UNKNOWN_KIND,
                format!(
                    "`{}` refers to contributions of the kind `{kind}`, which no module declares",
                    field.name
                ),
            )
            .at(field.at, "")
            .suggest(kind, project.kinds.keys().map(String::as_str)),
        ),
        Type::List { of, .. } | Type::Map(of) => check_type(of, field, project, diagnostics),
        Type::Table(fields) => check_fields(fields, project, diagnostics),
        _ => {}
    }
}

fn check_header(module: &Module, project: &Project, diagnostics: &mut Diagnostics) {
    for required in &module.requires {
        let known = project.modules.contains_key(required.text.as_str())
            || project.broken.modules.contains(&required.text);
        if !known {
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_MODULE,
                    format!(
                        "module `{}` requires `{}`, which does not exist",
                        module.name, required.text
                    ),
                )
                .at(required.at, "")
                .suggest(
                    &required.text,
                    project
                        .modules
                        .keys()
                        .map(|name| name.as_str())
                        .filter(|name| *name != module.name.as_str()),
                ),
            );
        }
    }
    for provided in &module.provides {
        unknown_kind(module, &provided.text, provided, project, diagnostics);
    }
    for (kind, service) in &module.reaches {
        unknown_kind(module, kind, service, project, diagnostics);
        // A name that is a template is known only on a host.
        let mut makes = module
            .contributions
            .iter()
            .filter(|contribution| contribution.kind.text == "service")
            .filter_map(|contribution| contribution.name.as_str());
        if !makes.any(|name| name == service.text || name.contains("{{")) {
            let names = module
                .contributions
                .iter()
                .filter(|contribution| contribution.kind.text == "service")
                .filter_map(|contribution| contribution.name.as_str());
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_REFERENCE,
                    format!(
                        "module `{}` has no service `{}` that could reach anything",
                        module.name, service.text
                    ),
                )
                .at(service.at, "")
                .suggest(&service.text, names),
            );
        }
    }
}

fn unknown_kind(
    module: &Module,
    kind: &str,
    at: &Named,
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    if !project.knows(kind) {
        diagnostics.push(
            Diagnostic::error(
                codes::UNKNOWN_KIND,
                format!(
                    "module `{}` names the kind `{kind}`, which no module declares",
                    module.name
                ),
            )
            .at(at.at, "")
            .suggest(kind, project.kinds.keys().map(String::as_str)),
        );
    }
}
