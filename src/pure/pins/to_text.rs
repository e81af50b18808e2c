//! The lock as text.

use super::references::References;
use super::{BuildPin, PackagePin, Pin, Pins, VERSION, WheelPin};
use crate::pure::name::Arch;

const HEADING: &str = "\
# Written by `forge lock`. Do not edit: `forge lock` resolves what is missing or out of date,
# `forge lock --update [NAME…]` moves pins, and both show what changes.
";

/// The one form that these pins have: an entry to a block, in ascending order, so that a change is few lines and two of them
/// merge. What it reads back as is what was written, but for places and for suites, packages and wheels that no image needs.
pub fn to_text(pins: &Pins) -> String {
    let packages = References::<PackagePin>::new(pins.all.values().flat_map(Pin::packages));
    let wheels = References::<WheelPin>::new(pins.all.values().flat_map(Pin::wheels));
    let mut out = Text(format!("{HEADING}version = {VERSION}\n"));
    for (name, pin) in &pins.all {
        if let Pin::Registry(pin) = pin {
            out.heading("image");
            out.text("name", name.as_str());
            out.text("repository", &pin.repository);
            out.text("tag", &pin.tag);
            out.text("digest", &pin.digest.to_string());
        }
    }
    for (name, suite) in &pins.suites {
        out.heading("suite");
        out.text("name", name);
        out.text("date", &suite.date);
    }
    for (name, pin) in &pins.all {
        if let Pin::Recipe(pin) = pin {
            out.heading("recipe");
            out.text("name", name.as_str());
            out.text("inputs", &pin.inputs.to_string());
            for (arch, build) in &pin.builds {
                out.build(*arch, build, &packages, &wheels);
            }
        }
    }
    for package in packages.sorted() {
        let PackagePin {
            name,
            version,
            arch,
            suite,
            path,
            size,
            digest,
        } = package;
        out.heading("package");
        out.text("name", name);
        out.text("version", version);
        out.text("arch", arch);
        out.text("suite", suite);
        out.text("path", path);
        out.number("size", *size);
        out.text("sha256", &digest.hex());
    }
    for wheel in wheels.sorted() {
        let WheelPin {
            name,
            version,
            file,
            size,
            digest,
        } = wheel;
        out.heading("wheel");
        out.text("name", name);
        out.text("version", version);
        out.text("file", file);
        out.number("size", *size);
        out.text("sha256", &digest.hex());
    }
    out.0
}

struct Text(String);

impl Text {
    fn heading(&mut self, name: &str) {
        self.0.push_str(&format!("\n[[{name}]]\n"));
    }

    fn text(&mut self, key: &str, value: &str) {
        self.0.push_str(&format!("{key} = {}\n", quoted(value)));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = String>) {
        let lines: String = items
            .map(|item| format!("  {},\n", quoted(&item)))
            .collect();
        if !lines.is_empty() {
            self.0.push_str(&format!("{key} = [\n{lines}]\n"));
        }
    }

    fn build(
        &mut self,
        arch: Arch,
        build: &BuildPin,
        packages: &References<PackagePin>,
        wheels: &References<WheelPin>,
    ) {
        self.heading("recipe.build");
        self.text("arch", arch.as_str());
        self.text("digest", &build.digest.to_string());
        self.list("layers", build.layers.iter().map(ToString::to_string));
        self.list(
            "packages",
            build.packages.iter().map(|package| packages.name(package)),
        );
        self.list(
            "wheels",
            build.wheels.iter().map(|wheel| wheels.name(wheel)),
        );
    }
}

/// A TOML string; a JSON string is one, but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}
