use super::{Code, Sources, Span};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A place and what it has to do with the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// One thing that is wrong with what a person wrote: what, where, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    pub message: String,
    /// The place to change; none when the mistake is that something is missing altogether.
    pub primary: Option<Label>,
    pub others: Vec<Label>,
    pub notes: Vec<String>,
    pub help: Vec<String>,
    /// The hosts that it was found on, where its place does not say so: a module serves many.
    pub hosts: Vec<String>,
    /// The text at its places is not to be quoted: it may be something secret.
    pub veiled: bool,
}

impl Diagnostic {
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            primary: None,
            others: Vec::new(),
            notes: Vec::new(),
            help: Vec::new(),
            hosts: Vec::new(),
            veiled: false,
        }
    }

    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, message)
        }
    }

    /// The place to change, with what to say there (may be empty).
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.primary = Some(Label {
            span,
            text: text.into(),
        });
        self
    }

    pub fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.others.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Names the places without quoting the text there.
    pub fn veil(mut self) -> Self {
        self.veiled = true;
        self
    }

    /// A help line "did you mean …" if one of `candidates` is near, else the list of what there is.
    pub fn suggest<'a>(self, wrong: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        match super::did_you_mean(wrong, candidates.iter().copied()) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None if candidates.is_empty() => self,
            None => {
                const SHOWN: usize = 16;
                let mut list = candidates
                    .iter()
                    .take(SHOWN)
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>()
                    .join(", ");
                if candidates.len() > SHOWN {
                    list.push_str(", …");
                }
                self.help(format!("there is {list}"))
            }
        }
    }
}

/// Everything found wrong so far. Checks go on after a mistake, so that all are reported at once.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    all: Vec<Diagnostic>,
}

impl Diagnostics {
    pub fn push(&mut self, diagnostic: Diagnostic) {
        // The same mistake seen twice (a module used by two hosts of one check) is one mistake.
        let same = self.all.iter_mut().find(|other| {
            let Diagnostic {
                code,
                severity,
                message,
                primary,
                others,
                notes,
                help,
                hosts: _,
                veiled,
            } = other;
            *code == diagnostic.code
                && *severity == diagnostic.severity
                && *message == diagnostic.message
                && *primary == diagnostic.primary
                && *others == diagnostic.others
                && *notes == diagnostic.notes
                && *help == diagnostic.help
                && *veiled == diagnostic.veiled
        });
        match same {
            Some(same) => {
                for host in diagnostic.hosts {
                    if !same.hosts.contains(&host) {
                        same.hosts.push(host);
                    }
                }
            }
            None => self.all.push(diagnostic),
        }
    }

    pub fn extend(&mut self, other: Diagnostics) {
        for diagnostic in other {
            self.push(diagnostic);
        }
    }

    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    pub fn errors(&self) -> usize {
        self.count(Severity::Error)
    }

    pub fn warnings(&self) -> usize {
        self.count(Severity::Warning)
    }

    fn count(&self, severity: Severity) -> usize {
        self.all
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }

    /// In the order in which a person reads: by file, then by place; what has no place comes first.
    pub fn sorted(&self, sources: &Sources) -> Vec<&Diagnostic> {
        let mut all: Vec<&Diagnostic> = self.all.iter().collect();
        all.sort_by_key(|diagnostic| {
            diagnostic.primary.as_ref().map(|label| {
                (
                    sources.get(label.span.source).path.as_str(),
                    label.span.start,
                )
            })
        });
        all
    }

    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Diagnostic> {
        self.all.iter_mut()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}
