//! The differences between two locks, on a terminal.

use anstyle::{AnsiColor, Style};

use crate::cli::table::{amount, counted};
use crate::flow::operator::lock::Locked;
use crate::pure::name::{Arch, ManifestDigest};
use crate::pure::pins::{Change, Changes, LOCK, PackageChange};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Every image that differs, and how.
pub(super) fn changes(changes: &Changes) -> String {
    changes.images.iter().map(image).collect()
}

/// What was done, in a line.
pub(super) fn verdict(locked: &Locked) -> String {
    let looked_at = counted(locked.images.len(), "image");
    if locked.text.is_none() {
        return format!("{LOCK} is up to date: {looked_at}\n");
    }
    let changes = &locked.changes;
    let count =
        |what: fn(&Change) -> bool| changes.images.iter().filter(|change| what(change)).count();
    let mut parts: Vec<String> = [
        (count(|change| change.added), "added"),
        (count(|change| !change.added && !change.removed), "changed"),
        (count(|change| change.removed), "removed"),
    ]
    .iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, verb)| format!("{} {verb}", counted(*count, "image")))
    .collect();
    let packages = || {
        changes
            .images
            .iter()
            .filter(|change| !change.added && !change.removed)
            .flat_map(|change| change.packages.iter().chain(&change.wheels))
    };
    let moved = packages()
        .filter(|package| package.old.is_some() && package.new.is_some())
        .count();
    if moved > 0 {
        parts.push(format!("{} moved", counted(moved, "package")));
    }
    if changes.to_fetch > 0 {
        parts.push(format!("{} to fetch", amount(changes.to_fetch)));
    }
    if parts.is_empty() {
        parts.push("what nothing needs left out".to_owned());
    }
    format!("wrote {LOCK}: {}\n", parts.join(", "))
}

fn image(change: &Change) -> String {
    let (style, mark) = if change.added {
        (GREEN, '+')
    } else if change.removed {
        (RED, '-')
    } else {
        (YELLOW, '~')
    };
    let mut text = format!("{style}{mark}{style:#} {}{}\n", change.image, sizes(change));
    for (side, style, sign) in [(&change.old, RED, '-'), (&change.new, GREEN, '+')] {
        if let Some(side) = side {
            text.push_str(&format!(
                "    {style}{sign} {}:{}@{}{style:#}\n",
                side.repository, side.tag, side.digest
            ));
        }
    }
    for (arch, (old, new)) in &change.builds {
        text.push_str(&build(*arch, *old, *new));
    }
    // All packages of an image that is new are no difference that anybody reads.
    if !change.added && !change.removed {
        for package in change.packages.iter().chain(&change.wheels) {
            text.push_str(&line(package, change));
        }
    }
    text
}

fn sizes(change: &Change) -> String {
    let packages = |change: &Change| change.packages.len() + change.wheels.len();
    match (change.old_size, change.new_size) {
        (0, 0) => String::new(),
        (0, size) | (size, 0) => format!(
            "  {}, {}",
            counted(packages(change), "package"),
            amount(size)
        ),
        (old, new) if old == new => format!("  {}", amount(new)),
        (old, new) => format!("  {} → {}", amount(old), amount(new)),
    }
}

/// As much of a digest as tells it from others.
fn short(digest: ManifestDigest) -> String {
    digest
        .to_string()
        .chars()
        .take("sha256:".len() + 12)
        .collect()
}

fn build(arch: Arch, old: Option<ManifestDigest>, new: Option<ManifestDigest>) -> String {
    let shown = match (old, new) {
        (Some(old), Some(new)) if old == new => format!("{}, as before", short(new)),
        (Some(old), Some(new)) => format!(
            "{RED}{}{RED:#} → {GREEN}{}{GREEN:#}",
            short(old),
            short(new)
        ),
        (Some(old), None) => format!("{RED}{}{RED:#} removed", short(old)),
        (None, Some(new)) => format!("{GREEN}{}{GREEN:#}", short(new)),
        (None, None) => return String::new(),
    };
    format!("    {arch} {shown}\n")
}

fn line(package: &PackageChange, image: &Change) -> String {
    let (style, mark, versions) = match (&package.old, &package.new) {
        (Some(old), Some(new)) => (YELLOW, '~', format!("{old} → {new}")),
        (Some(old), None) => (RED, '-', old.clone()),
        (None, Some(new)) => (GREEN, '+', new.clone()),
        (None, None) => return String::new(),
    };
    let size = match (package.old_size, package.new_size) {
        (0, size) | (size, 0) => amount(size),
        (old, new) if old == new => amount(new),
        (old, new) => format!("{} → {}", amount(old), amount(new)),
    };
    // Where every architecture has it, none is named.
    let only = if package.arch.len() == image.builds.len() {
        String::new()
    } else {
        let names: Vec<&str> = package.arch.iter().map(|arch| arch.as_str()).collect();
        format!(" on {}", names.join(", "))
    };
    format!(
        "    {style}{mark}{style:#} {} {versions} ({size}{only})\n",
        package.name
    )
}
