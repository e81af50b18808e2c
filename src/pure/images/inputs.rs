//! The digest of everything of a recipe that decides what comes out: if it differs from the one in the lock, the lock is stale.

use serde_json::{Value, json};

use crate::pure::config::image::{Debian, File, Recipe, Run};
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::name::{BlobDigest, ImageName};
use crate::pure::oci::canonical::{self, CanonicalError};

/// Counts up when forge writes other layers, configurations or manifests for the same recipe.
const FORMAT: u32 = 1;

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub enum InputsError {
    #[error("`{0}` is no recipe of the project")]
    NoRecipe(ImageName),
    #[error("the images that `{0}` continues continue each other in a circle")]
    Circle(ImageName),
    #[error(transparent)]
    Encode(#[from] CanonicalError),
}

/// The digest. The architectures of a recipe are no part of it: each has a pin of its own.
///
/// # Errors
/// [`InputsError`].
pub fn inputs(
    project: &Project,
    text: &ProjectText,
    name: &ImageName,
) -> Result<BlobDigest, InputsError> {
    let mut recipes = Vec::new();
    let mut seen = Vec::new();
    let mut next = Some(name);
    while let Some(name) = next {
        if seen.contains(&name) {
            return Err(InputsError::Circle(name.clone()));
        }
        seen.push(name);
        let recipe = project
            .images
            .get(name)
            .and_then(|image| image.recipe())
            .ok_or_else(|| InputsError::NoRecipe(name.clone()))?;
        recipes.push(of(name, recipe, text));
        next = recipe.base.as_ref().map(|(base, _)| base);
    }
    let whole = json!({ "format": FORMAT, "recipes": recipes });
    Ok(BlobDigest::of(canonical::to_vec(&whole)?))
}

fn of(name: &ImageName, recipe: &Recipe, text: &ProjectText) -> Value {
    let Recipe {
        at: _,
        base: _,
        arch: _,
        debian,
        python,
        groups,
        users,
        directories,
        links,
        files,
        run,
    } = recipe;
    let contents = |source: &str| {
        let whole = format!("images/{name}/{source}");
        let below = format!("{whole}/");
        let inner = text
            .files
            .range(below.clone()..)
            .take_while(|(path, _)| path.starts_with(&below));
        let own = text.files.get_key_value(&whole);
        own.into_iter()
            .chain(inner)
            .map(|(path, file)| json!([path[whole.len()..], BlobDigest::of(&file.bytes)]))
            .collect::<Vec<_>>()
    };
    let owner = |owner: &crate::pure::config::image::Owner| json!([owner.uid, owner.gid]);
    json!({
        "debian": debian.as_ref().map(packages),
        "python": python.as_ref().map(|python| json!([contents(&python.requirements), python.version])),
        "groups": groups.iter().map(|group| json!([group.name, group.gid])).collect::<Vec<_>>(),
        "users": users
            .iter()
            .map(|user| json!([user.name, user.uid, user.gid, user.home, user.shell]))
            .collect::<Vec<_>>(),
        "directories": directories
            .iter()
            .map(|directory| json!([directory.path, owner(&directory.owner), directory.mode]))
            .collect::<Vec<_>>(),
        "links": links.iter().map(|link| json!([link.path, link.target])).collect::<Vec<_>>(),
        "files": files
            .iter()
            .map(|file| {
                let File { at: _, path, source, owner: of, mode } = file;
                json!([path, contents(source), owner(of), mode])
            })
            .collect::<Vec<_>>(),
        "run": start(run),
    })
}

fn packages(debian: &Debian) -> Value {
    let Debian {
        at: _,
        suites,
        components,
        packages,
        exclude,
        include,
        keep,
        drop,
    } = debian;
    let packages: Vec<&String> = packages.iter().map(|(name, _)| name).collect();
    json!([suites, components, packages, exclude, include, keep, drop])
}

fn start(run: &Run) -> Value {
    let Run {
        user,
        entrypoint,
        command,
        working_dir,
        stop_signal,
        env,
        ports,
        volumes,
        labels,
    } = run;
    json!([
        user,
        entrypoint,
        command,
        working_dir,
        stop_signal,
        env,
        ports,
        volumes,
        labels
    ])
}
