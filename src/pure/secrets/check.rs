//! What a host declares, against what its secrets files hold.

use std::collections::BTreeSet;

use super::declaration::Declaration;
use super::from_config::{SecretsFile, Value};
use super::recipient::Recipient;
use crate::pure::name::{HostName, SecretName};
use crate::pure::text::{Diagnostic, Diagnostics, codes};

/// The secrets file of one host.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    pub host: &'a HostName,
    pub file: &'a SecretsFile,
}

/// The files that the values of a host come from: its own, then those of the hosts that it extends, nearest first. Hosts
/// without a file are left out.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    pub host: &'a HostName,
    pub layers: Vec<Layer<'a>>,
}

impl<'a> Chain<'a> {
    /// The value of a secret, and the host whose file holds it. A value that is there but unreadable hides no other one:
    /// what is broken must be mended, not silently replaced by an ancestor's.
    pub fn find(&self, name: &SecretName) -> Option<(Layer<'a>, Option<&'a Value>)> {
        self.layers.iter().find_map(|layer| {
            if let Some(value) = layer.file.values().get(name) {
                Some((*layer, Some(value)))
            } else {
                layer.file.is_unreadable(name).then_some((*layer, None))
            }
        })
    }

    /// The host's own file, if it has one.
    pub fn own(&self) -> Option<&'a SecretsFile> {
        self.layers
            .iter()
            .find(|layer| layer.host == self.host)
            .map(|layer| layer.file)
    }
}

/// Everything that can be said of the secrets of a host without a private key: missing, unused, of the wrong length, encrypted
/// to others than the file says, unreadable for the host, protected by nothing but the example key.
///
/// `host_key` is the host's own SSH host key, if the project knows it.
pub fn check(
    declared: &[Declaration],
    chain: &Chain<'_>,
    host_key: Option<&Recipient>,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let mut used: BTreeSet<&HostName> = BTreeSet::new();
    for declaration in declared {
        match chain.find(&declaration.name) {
            None => diagnostics.push(missing(declaration, chain)),
            // Reported when the file was read.
            Some((layer, None)) => drop(used.insert(layer.host)),
            Some((layer, Some(value))) => {
                used.insert(layer.host);
                check_length(declaration, layer, value, &mut diagnostics);
                check_recipients(&declaration.name, layer, value, &mut diagnostics);
            }
        }
    }
    let wanted: BTreeSet<&SecretName> = declared.iter().map(|declared| &declared.name).collect();
    for layer in &chain.layers {
        if layer.host == chain.host {
            used.insert(layer.host);
            for (name, value) in layer.file.values() {
                if !wanted.contains(name) {
                    diagnostics.push(unused(name, *layer, value, &wanted));
                    check_recipients(name, *layer, value, &mut diagnostics);
                }
            }
        }
    }
    for layer in chain
        .layers
        .iter()
        .filter(|layer| used.contains(layer.host))
    {
        for (name, listed) in layer.file.listed() {
            if listed.recipient.is_example() {
                diagnostics.push(
                    Diagnostic::warning(
                        codes::EXAMPLE_KEY,
                        format!("the secrets of `{}` can be read by everybody", layer.host),
                    )
                    .at(
                        listed.at,
                        "the example key that comes with forge: its private half is public",
                    )
                    .help(format!(
                        "add your own: forge secret add-recipient {} NAME ~/.ssh/id_ed25519.pub",
                        layer.host
                    ))
                    .help(format!(
                        "then remove it: forge secret remove-recipient {} {name}",
                        layer.host
                    ))
                    .help(format!(
                        "and make new values: forge secret generate {} --rotate NAME",
                        layer.host
                    )),
                );
            }
        }
        if let Some(key) = host_key
            && layer.file.recipients_known()
            && layer.file.name_of(key).is_none()
        {
            let mut diagnostic = Diagnostic::warning(
                codes::NO_HOST_KEY,
                format!(
                    "the host `{}` could not decrypt the secrets in {}: its SSH host key is not among the recipients",
                    chain.host,
                    layer.file.path()
                ),
            );
            if let Some(at) = layer.file.recipients_at() {
                diagnostic = diagnostic.at(at, "");
            }
            diagnostics.push(diagnostic.help(format!(
                "forge secret add-recipient {} {} '{}'",
                layer.host,
                chain.host,
                key.key_text()
            )));
        }
    }
    diagnostics
}

fn missing(declaration: &Declaration, chain: &Chain<'_>) -> Diagnostic {
    let name = &declaration.name;
    let mut diagnostic = Diagnostic::error(
        codes::MISSING_SECRET,
        format!(
            "the host `{}` has no value for the secret `{name}`, which {} wants",
            chain.host, declaration.wanted_by
        ),
    )
    .at(declaration.at, "wanted here");
    if !declaration.about.is_empty() {
        diagnostic = diagnostic.note(format!("`{name}`: {}", declaration.about));
    }
    if chain.own().is_none() {
        diagnostic = diagnostic.help(format!(
            "make the secrets file: forge secret init {}",
            chain.host
        ));
    }
    let verb = match declaration.generate() {
        Some(_) => "make it (and all others that forge can make)",
        None => "set it",
    };
    diagnostic.help(format!(
        "{verb}: {}",
        declaration.command(chain.host.as_str())
    ))
}

fn unused(
    name: &SecretName,
    layer: Layer<'_>,
    value: &Value,
    wanted: &BTreeSet<&SecretName>,
) -> Diagnostic {
    let diagnostic = Diagnostic::warning(
        codes::UNUSED_SECRET,
        format!("no module of `{}` wants the secret `{name}`", layer.host),
    )
    .at(value.at, "");
    match crate::pure::text::did_you_mean(name.as_str(), wanted.iter().map(|name| name.as_str())) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None => diagnostic.help("remove it from the file"),
    }
}

fn check_length(
    declaration: &Declaration,
    layer: Layer<'_>,
    value: &Value,
    diagnostics: &mut Diagnostics,
) {
    let length = value.sealed.envelope().plaintext_length();
    if let Err(why) = declaration.check_length(length) {
        let name = &declaration.name;
        diagnostics.push(
            Diagnostic::error(codes::SECRET_LENGTH, format!("the value of `{name}` {why}"))
                .at(value.at, "")
                .also(
                    declaration.at,
                    format!("declared here by {}", declaration.wanted_by),
                )
                .help(match declaration.generate() {
                    Some(_) => format!(
                        "let forge make it: forge secret generate {} --rotate {name}",
                        layer.host
                    ),
                    None => format!("set it again: forge secret set {} {name}", layer.host),
                }),
        );
    }
}

fn check_recipients(
    name: &SecretName,
    layer: Layer<'_>,
    value: &Value,
    diagnostics: &mut Diagnostics,
) {
    if !layer.file.recipients_known() {
        return;
    }
    let found = value.sealed.envelope().addressees(layer.file.recipients());
    if found.exact() {
        return;
    }
    let mut diagnostic = Diagnostic::error(
        codes::SECRET_RECIPIENTS,
        format!("the value of `{name}` is not encrypted to exactly the recipients of the file"),
    )
    .at(value.at, "");
    if !found.missing.is_empty() {
        let names = found.missing.iter().map(|name| format!("`{name}`"));
        diagnostic = diagnostic.note(format!(
            "cannot read it: {}",
            names.collect::<Vec<_>>().join(", ")
        ));
    }
    if !found.surplus.is_empty() {
        let keys = found.surplus.iter().map(ToString::to_string);
        diagnostic = diagnostic.note(format!(
            "can read it and is not among the recipients: {}",
            keys.collect::<Vec<_>>().join(", ")
        ));
    }
    diagnostics.push(diagnostic.help(format!(
        "encrypt it again: forge secret rekey {}",
        layer.host
    )));
}
