//! Explanations as a person reads them, and as JSON.

use serde_json::{Value as Json, json};

use crate::cli::layout::{prose, prose_width, shorten, table};
use crate::pure::config::reference::inline;
use crate::pure::name::HostName;
use crate::pure::system::explain::{
    Contributed, Effect, Explanation, Related, Setting, Source, Step,
};
use crate::pure::system::facts::HOST;
use crate::pure::text::{SourceId, Sources, Span};

pub(super) fn text(answer: &Explanation, host: &HostName, sources: &Sources) -> String {
    match answer {
        Explanation::Setting(setting) => draw_setting(setting, host, sources),
        Explanation::Contribution(contributed) => draw_contributed(contributed, sources),
        Explanation::Module(settings) => draw_module(settings, host, sources),
        Explanation::Kind(all) => draw_kind(all, sources),
    }
}

fn draw_setting(setting: &Setting, host: &HostName, sources: &Sources) -> String {
    let bold = anstyle::Style::new().bold();
    let subject = &setting.subject;
    let mut text = match &setting.value {
        Json::Null => format!("{bold}{subject}{bold:#} is not set\n"),
        value => format!("{bold}{subject}{bold:#} = {}\n", inline(value)),
    };
    text.push_str(&prose(
        &format!("{} ({})", setting.doc, setting.ty),
        prose_width(),
    ));
    if !setting.enabled {
        let module = subject.split('.').next().unwrap_or(subject);
        text.push_str(&format!(
            "Module `{module}` is not enabled on `{host}`, so nothing comes of it.\n"
        ));
    }
    if !setting.history.is_empty() {
        text.push('\n');
        let rows = setting
            .history
            .iter()
            .map(|step| {
                vec![
                    effect(step.effect).to_owned(),
                    shorten(&inline(&step.value)),
                    source(&step.source),
                    sources.place(step.at),
                ]
            })
            .collect();
        text.push_str(&table(&[], rows));
    }
    if let Some(Source::Module(module)) = setting.history.first().map(|step| &step.source)
        && !setting.made_from.is_empty()
    {
        text.push('\n');
        for option in &setting.made_from {
            text.push_str(&format!(
                "See also: forge explain {host} {module}.{option}\n"
            ));
        }
    }
    text
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Decides => "in force",
        Effect::Joins => "merged",
        Effect::Overridden => "overridden",
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Host(name) => format!("host {name}"),
        Source::Module(name) => format!("module {name}"),
        Source::Default => "default".to_owned(),
    }
}

/// Where the value in force was said, and what it stands in for. Of a place in the file that is spoken of anyway, the line is enough.
fn origin(setting: &Setting, file: Option<SourceId>, sources: &Sources) -> String {
    let place = |at: Span| {
        if file == Some(at.source) {
            format!("line {}", sources.position(at).line)
        } else {
            sources.place(at)
        }
    };
    let mut said = setting.history.iter();
    let Some(first) = said.next() else {
        return "-".to_owned();
    };
    let mut text = place(first.at);
    if first.source == Source::Default {
        return format!("default, {text}");
    }
    let template = first.value.as_str().filter(|text| text.contains("{{"));
    if let Some(template) = template {
        text.push_str(&format!(", from {template}"));
    }
    for below in said.filter(|step| step.source != Source::Default) {
        let relation = match below.effect {
            Effect::Overridden => "instead of",
            _ => "and",
        };
        let value = shorten(&inline(&below.value));
        text.push_str(&format!(", {relation} {value} at {}", place(below.at)));
    }
    text
}

fn last_part<'a>(setting: &'a Setting, above: &str) -> &'a str {
    setting
        .subject
        .strip_prefix(above)
        .and_then(|rest| rest.strip_prefix('.'))
        .unwrap_or(&setting.subject)
}

fn draw_module(settings: &[Setting], host: &HostName, sources: &Sources) -> String {
    let rows = settings
        .iter()
        .map(|setting| {
            vec![
                setting.subject.clone(),
                shorten(&inline(&setting.value)),
                origin(setting, None, sources),
            ]
        })
        .collect();
    let mut text = table(&["OPTION", "VALUE", "FROM"], rows);
    if let Some(setting) = settings.iter().find(|setting| !setting.enabled) {
        let module = setting.subject.split('.').next().unwrap_or_default();
        text.push_str(&format!(
            "\nModule `{module}` is not enabled on `{host}`, so nothing comes of them.\n"
        ));
    }
    text
}

fn contributor(module: &str) -> String {
    if module == HOST {
        "the host file".to_owned()
    } else {
        format!("module {module}")
    }
}

fn draw_kind(all: &[Related], sources: &Sources) -> String {
    if all.is_empty() {
        return "No enabled module contributes any.\n".to_owned();
    }
    table(
        &["CONTRIBUTION", "BY", "AT"],
        related_rows(all.iter(), sources),
    )
}

fn related_rows<'a>(all: impl Iterator<Item = &'a Related>, sources: &Sources) -> Vec<Vec<String>> {
    all.map(|related| {
        vec![
            related.subject.clone(),
            contributor(&related.module),
            sources.place(related.at),
        ]
    })
    .collect()
}

fn draw_contributed(contributed: &Contributed, sources: &Sources) -> String {
    let bold = anstyle::Style::new().bold();
    let subject = &contributed.subject;
    let mut text = format!(
        "{bold}{subject}{bold:#}, contributed by {} at {}\n",
        contributor(&contributed.module),
        sources.place(contributed.at)
    );
    text.push_str(&prose(&contributed.doc, prose_width()));
    if let Some((each, key)) = &contributed.repeated {
        text.push_str(&format!("Made for each of {each}, this one for {key}\n"));
    }
    for replaced in &contributed.replaces {
        text.push_str(&format!(
            "Replaces the one at {}\n",
            sources.place(*replaced)
        ));
    }
    let is_said = |setting: &&Setting| !setting.is_default();
    let said: Vec<Vec<String>> = contributed
        .fields
        .iter()
        .filter(is_said)
        .map(|setting| {
            vec![
                last_part(setting, subject).to_owned(),
                shorten(&inline(&setting.value)),
                origin(setting, Some(contributed.at.source), sources),
            ]
        })
        .collect();
    if !said.is_empty() {
        text.push('\n');
        text.push_str(&table(&["FIELD", "VALUE", "FROM"], said));
    }
    let silent: Vec<String> = contributed
        .fields
        .iter()
        .filter(|setting| setting.is_default() && !setting.value.is_null())
        .map(|setting| {
            let name = last_part(setting, subject);
            format!("{name} = {}", inline(&setting.value))
        })
        .collect();
    if !silent.is_empty() {
        text.push('\n');
        let line = format!("At their defaults: {}", silent.join(", "));
        text.push_str(&prose(&line, prose_width()));
    }
    if !contributed.mounted.is_empty() {
        text.push('\n');
        let rows = contributed
            .mounted
            .iter()
            .map(|(at, mount)| {
                vec![
                    at.clone(),
                    mount.subject.clone(),
                    contributor(&mount.module),
                    sources.place(mount.at),
                ]
            })
            .collect();
        text.push_str(&table(&["MOUNTED INTO IT", "AS", "BY", "AT"], rows));
    }
    if !contributed.named_by.is_empty() {
        text.push('\n');
        let rows = related_rows(contributed.named_by.iter(), sources);
        text.push_str(&table(&["NAMED BY", "CONTRIBUTED BY", "AT"], rows));
    }
    text
}

pub(super) fn json(answer: &Explanation, sources: &Sources) -> Json {
    match answer {
        Explanation::Setting(setting) => setting_json(setting, sources),
        Explanation::Module(settings) => settings
            .iter()
            .map(|setting| setting_json(setting, sources))
            .collect(),
        Explanation::Kind(all) => all
            .iter()
            .map(|related| related_json(related, sources))
            .collect(),
        Explanation::Contribution(contributed) => json!({
            "subject": contributed.subject,
            "doc": contributed.doc,
            "module": contributed.module,
            "place": place_json(contributed.at, sources),
            "for_each": contributed.repeated.as_ref().map(|(each, key)| json!({ "over": each, "key": key })),
            "replaces": contributed.replaces.iter().map(|at| place_json(*at, sources)).collect::<Json>(),
            "fields": contributed.fields.iter().map(|field| setting_json(field, sources)).collect::<Json>(),
            "mounted": contributed.mounted.iter().map(|(at, mount)| {
                let mut json = related_json(mount, sources);
                json["at"] = at.as_str().into();
                json
            }).collect::<Json>(),
            "named_by": contributed.named_by.iter().map(|related| related_json(related, sources)).collect::<Json>(),
        }),
    }
}

fn setting_json(setting: &Setting, sources: &Sources) -> Json {
    json!({
        "subject": setting.subject,
        "type": setting.ty,
        "doc": setting.doc,
        "value": setting.value,
        "enabled": setting.enabled,
        "history": setting.history.iter().map(|step| step_json(step, sources)).collect::<Json>(),
        "made_from": setting.made_from,
    })
}

fn step_json(step: &Step, sources: &Sources) -> Json {
    let (by, name) = match &step.source {
        Source::Host(name) => ("host", Some(name)),
        Source::Module(name) => ("module", Some(name)),
        Source::Default => ("default", None),
    };
    json!({
        "effect": match step.effect {
            Effect::Decides => "decides",
            Effect::Joins => "joins",
            Effect::Overridden => "overridden",
        },
        "by": by,
        "name": name,
        "place": place_json(step.at, sources),
        "value": step.value,
    })
}

fn related_json(related: &Related, sources: &Sources) -> Json {
    json!({
        "subject": related.subject,
        "module": related.module,
        "place": place_json(related.at, sources),
    })
}

fn place_json(at: Span, sources: &Sources) -> Json {
    let position = sources.position(at);
    json!({
        "file": sources.get(at.source).path,
        "line": position.line,
        "column": position.column,
    })
}
