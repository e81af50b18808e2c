//! Source text, places in it, and what is said about them.
//!
//! Owns: the texts that a person wrote ([`Sources`]), places in them ([`Span`]) and the [`Diagnostic`]s that point there.
//! Invariant: a [`Span`] is only made by the parser of the source that it names, so it is always within that text.

pub mod codes;
mod diagnostic;
mod source;

pub use codes::Code;
pub use diagnostic::{Diagnostic, Diagnostics, Label, Severity};
pub use source::{Position, Source, SourceId, Sources, Span};

/// The candidate that a person most probably meant by `wrong`, if one is near enough to be worth a question.
pub fn did_you_mean<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let length = wrong.chars().count();
    let limit = (length / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(wrong, candidate), candidate))
        // Words of which nothing is left are not near, however short they are.
        .filter(|(distance, candidate)| {
            *distance <= limit && *distance < length.max(candidate.chars().count())
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(did_you_mean("memroy", ["memory", "cpus"]), Some("memory"));
        assert_eq!(did_you_mean("zebra", ["memory", "cpus"]), None);
        assert_eq!(did_you_mean("x", ["g", "h"]), None);
        assert_eq!(did_you_mean("a", ["ab"]), Some("ab"));
    }
}
