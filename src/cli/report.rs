//! Diagnostics as a person reads them, and as JSON.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value as Json, json};

use crate::cli::table::counted;
use crate::pure::text::{Diagnostic, Diagnostics, Label, Severity, Sources};

/// All diagnostics, drawn, with a last line that counts them. Colours are escape sequences; the stream that they are written to
/// strips them where they do not belong.
pub(crate) fn draw(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for diagnostic in diagnostics.sorted(sources) {
        text.push_str(&draw_one(diagnostic, sources, &renderer));
        text.push_str("\n\n");
    }
    text
}

fn draw_one(diagnostic: &Diagnostic, sources: &Sources, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(
        level
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code.as_str()),
    );
    let mut labels: Vec<(&Label, bool)> = diagnostic
        .primary
        .iter()
        .map(|label| (label, true))
        .chain(diagnostic.others.iter().map(|label| (label, false)))
        .collect();
    if diagnostic.veiled {
        for (label, _) in labels.drain(..) {
            let position = sources.position(label.span);
            let place = Origin::path(sources.get(label.span.source).path.as_str())
                .line(position.line)
                .char_column(position.column);
            group = group.element(place);
            if !label.text.is_empty() {
                group = group.element(Level::NOTE.message(label.text.as_str()));
            }
        }
    }
    // One snippet for each source, in the order in which the labels name them.
    let mut drawn = Vec::new();
    for (label, _) in &labels {
        if drawn.contains(&label.span.source) {
            continue;
        }
        drawn.push(label.span.source);
        let source = sources.get(label.span.source);
        let mut snippet = Snippet::source(source.text.as_str())
            .path(source.path.as_str())
            .fold(true);
        for (label, primary) in labels
            .iter()
            .filter(|(other, _)| other.span.source == label.span.source)
        {
            let kind = if *primary {
                AnnotationKind::Primary
            } else {
                AnnotationKind::Context
            };
            let mut annotation = kind.span(label.span.range());
            if !label.text.is_empty() {
                annotation = annotation.label(label.text.as_str());
            }
            snippet = snippet.annotation(annotation);
        }
        group = group.element(snippet);
    }
    let on = hosts(&diagnostic.hosts);
    for note in diagnostic.notes.iter().chain(&on) {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

fn hosts(names: &[String]) -> Option<String> {
    const SHOWN: usize = 5;
    let list = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match names.len() {
        0 => None,
        1 => Some(format!("on host {list}")),
        n if n > SHOWN => Some(format!("on hosts {list} and {} more", n - SHOWN)),
        _ => Some(format!("on hosts {list}")),
    }
}

/// One object per diagnostic, with lines and columns from 1.
pub(crate) fn to_json(diagnostics: &Diagnostics, sources: &Sources) -> Json {
    let place = |label: &Label, veiled: bool| {
        let position = sources.position(label.span);
        json!({
            "file": sources.get(label.span.source).path,
            "line": position.line,
            "column": position.column,
            "text": if veiled { "" } else { sources.slice(label.span) },
            "label": label.text,
        })
    };
    diagnostics
        .sorted(sources)
        .into_iter()
        .map(|diagnostic| {
            let place = |label| place(label, diagnostic.veiled);
            json!({
                "code": diagnostic.code.as_str(),
                "severity": match diagnostic.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                "message": diagnostic.message,
                "place": diagnostic.primary.as_ref().map(place),
                "related": diagnostic.others.iter().map(place).collect::<Vec<_>>(),
                "notes": diagnostic.notes,
                "hosts": diagnostic.hosts,
                "help": diagnostic.help,
            })
        })
        .collect()
}

/// `2 errors and 1 warning`, or nothing if there are neither.
pub(crate) fn count(diagnostics: &Diagnostics) -> Option<String> {
    let amount = |n: usize, word: &str| (n > 0).then(|| counted(n, word));
    match (
        amount(diagnostics.errors(), "error"),
        amount(diagnostics.warnings(), "warning"),
    ) {
        (Some(errors), Some(warnings)) => Some(format!("{errors} and {warnings}")),
        (one, None) | (None, one) => one,
    }
}
