//! A project with as many services as asked for, in which every kind of contribution grows with them.
//!
//! Its base (settings, lock, images, the host `minimal`) is that of this repository, so that pins and policy are real.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

/// The host whose services stand in its own file.
pub(crate) const DIRECT: &str = "big";
/// The host whose services one module generates with `for_each`.
pub(crate) const REPEATED: &str = "each";

const MODULE: &str = "many";

pub(crate) fn write(root: &Path, to: &Path, services: usize) -> Result<()> {
    base(root, to)?;
    let image = image(root)?;
    let file = |path: &str, text: String| {
        let path = to.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    file(&format!("hosts/{DIRECT}.toml"), direct(&image, services))?;
    file(&format!("hosts/{REPEATED}.toml"), repeated(services))?;
    file(&format!("modules/{MODULE}/module.toml"), module(&image))
}

/// The project of this repository.
pub(crate) fn base(root: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for part in ["forge.toml", "forge.lock", "images", "modules", "hosts"] {
        copy(&root.join(part), &to.join(part))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        let entry = entry.context("copying the base of the project")?;
        let target = to.join(entry.path().strip_prefix(from).unwrap_or(entry.path()));
        // Joining an empty path leaves a slash behind the name of a file.
        let target = if entry.path() == from { to } else { &target };
        if entry.file_type().is_dir() {
            fs::create_dir_all(target).with_context(|| format!("making {}", target.display()))?;
        } else {
            fs::copy(entry.path(), target)
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Any image will do: builds read its pin, never its content.
fn image(root: &Path) -> Result<String> {
    let folder = root.join("images");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    match names.iter().find(|name| *name == "redis").or(names.first()) {
        Some(name) => Ok(name.clone()),
        None => bail!("{} holds no image", folder.display()),
    }
}

fn name(number: usize) -> String {
    format!("svc-{number:04}")
}

/// One network for ten services, as people cut them.
fn network(number: usize) -> String {
    format!("net-{:03}", number / 10)
}

const HEAD: &str = "extends = \"minimal\"\n\n[host]\naddress = \"192.0.2.10\"\n";

fn direct(image: &str, services: usize) -> String {
    let mut text = HEAD.to_owned();
    for number in (0..services).step_by(10) {
        let _ = write!(
            text,
            "\n[[network]]\nname = \"{}\"\ninternal = true\n",
            network(number)
        );
    }
    for number in 0..services {
        let name = name(number);
        let network = network(number);
        // Chains of ten, so that the order of starts is worth computing.
        let after = if number % 10 == 0 {
            String::new()
        } else {
            format!("\"{}\"", self::name(number - 1))
        };
        let _ = write!(
            text,
            "{}",
            contributions(
                image,
                &name,
                &format!("[\"{network}\", \"ingress\"]"),
                &format!("[{after}]"),
                ""
            )
        );
        if number % 10 == 0 {
            let port = 20_000 + number;
            let _ = write!(
                text,
                "\n[[firewall]]\nname = \"{name}\"\nport = {port}\nfrom = [\"198.51.100.0/24\"]\n"
            );
        }
    }
    text
}

fn repeated(services: usize) -> String {
    let names: Vec<String> = (0..services)
        .map(|number| format!("\"{}\"", name(number)))
        .collect();
    format!(
        "{HEAD}\n[modules.{MODULE}]\nservices = [{}]\n",
        names.join(", ")
    )
}

fn module(image: &str) -> String {
    let mut text = "[module]\nsummary = \"As many services as it is told\"\n\n[options]\n\
        services = { type = \"list\", of = \"name\", default = [], doc = \"Their names\" }\n\n\
        [[network]]\nname = \"many\"\ninternal = true\n"
        .to_owned();
    let each = "for_each = \"options.services\"\n";
    text.push_str(&contributions(
        image,
        "{{each.value}}",
        "[\"many\", \"ingress\"]",
        "[]",
        each,
    ));
    text
}

/// What one service brings along. `each` is the line that repeats it.
fn contributions(image: &str, name: &str, networks: &str, after: &str, each: &str) -> String {
    format!(
        r#"
[[service]]
{each}name = "{name}"
image = "{image}"
user = "1000:1000"
command = ["serve", "--config", "/etc/{name}.json"]
env = {{ NAME = "{name}", HOST = "{{{{host.name}}}}" }}
networks = {networks}
depends_on = {after}
mounts = [{{ file = "{name}.json", at = "/etc/{name}.json" }}]
limits = {{ memory = "64MiB", cpus = "0.5" }}
healthcheck = {{ exec = ["true"], interval = "10s", start_period = "5s" }}

[[file]]
{each}name = "{name}.json"
text = '{{ "name": {{{{json "{name}"}}}}, "host": {{{{json host.name}}}}, "port": 8080 }}'

[[route]]
{each}name = "{name}"
domains = ["{name}.example.com"]
service = "{name}"
port = 8080

[[scrape]]
{each}name = "{name}"
service = "{name}"
port = 9090
"#
    )
    // Within a template a name that is itself an expression is no text in quotes.
    .replace("{{json \"{{each.value}}\"}}", "{{json each.value}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_comes_along_and_services_grow() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("forge.toml", "a"),
            ("forge.lock", "b"),
            ("images/redis/image.toml", "c"),
            ("images/caddy/image.toml", "d"),
            ("modules/base/module.toml", "e"),
            ("hosts/minimal.toml", "f"),
        ] {
            fs::create_dir_all(root.path().join(path).parent().unwrap()).unwrap();
            fs::write(root.path().join(path), text).unwrap();
        }
        let to = root.path().join("new");
        write(root.path(), &to, 25).unwrap();
        assert_eq!(fs::read_to_string(to.join("forge.toml")).unwrap(), "a");
        assert_eq!(
            fs::read_to_string(to.join("images/redis/image.toml")).unwrap(),
            "c"
        );
        let host = fs::read_to_string(to.join("hosts/big.toml")).unwrap();
        let count = |what: &str| host.matches(what).count();
        assert_eq!(
            [
                count("[[service]]"),
                count("[[file]]"),
                count("[[network]]"),
                count("[[firewall]]")
            ],
            [25, 25, 3, 3]
        );
        assert!(host.contains("image = \"redis\""), "{host}");
        assert!(host.contains("depends_on = [\"svc-0011\"]"), "{host}");
        assert!(host.contains(r#"text = '{ "name": {{json "svc-0012"}}, "host": {{json host.name}}, "port": 8080 }'"#), "{host}");
        let module = fs::read_to_string(to.join("modules/many/module.toml")).unwrap();
        assert!(module.contains("{{json each.value}}, \"host\""), "{module}");
    }
}
