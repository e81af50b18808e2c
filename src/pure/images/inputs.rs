//! The digest of everything of a recipe that decides what comes out: if it differs from the one in the lock, the lock is stale.

use serde_json::{Value, json};

use super::own_files::{self, OwnError};
use super::rules::Rules;
use crate::pure::config::image::{
    Debian, Directory, File, Group, Image, Link, Owner, Python, Recipe, Run, User,
};
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
    #[error("`{path}` is not in the project; add the requirements, or take `[python]` out")]
    Requirements { path: String },
    #[error(transparent)]
    Files(#[from] OwnError),
    #[error(transparent)]
    Encode(#[from] CanonicalError),
}

/// The recipes that an image is built of: its base's base first, itself last.
///
/// # Errors
/// [`InputsError::NoRecipe`], [`InputsError::Circle`].
pub fn chain<'a>(
    project: &'a Project,
    name: &ImageName,
) -> Result<Vec<(&'a Image, &'a Recipe)>, InputsError> {
    let mut chain: Vec<(&Image, &Recipe)> = Vec::new();
    let mut next = Some(name);
    while let Some(name) = next {
        if chain.iter().any(|(image, _)| image.name == *name) {
            return Err(InputsError::Circle(name.clone()));
        }
        let found = project.images.get(name);
        let found = found.and_then(|image| Some((image, image.recipe()?)));
        let (image, recipe) = found.ok_or_else(|| InputsError::NoRecipe(name.clone()))?;
        chain.push((image, recipe));
        next = recipe.base.as_ref().map(|(base, _)| base);
    }
    chain.reverse();
    Ok(chain)
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
    let recipes = chain(project, name)?
        .into_iter()
        .map(|(image, recipe)| of(&image.name, recipe, text))
        .collect::<Result<Vec<_>, _>>()?;
    let whole = json!({"format": FORMAT, "rules": Rules::digest(), "recipes": recipes});
    Ok(BlobDigest::of(canonical::to_vec(&whole)?))
}

fn of(name: &ImageName, recipe: &Recipe, text: &ProjectText) -> Result<Value, InputsError> {
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
    let python = match python {
        Some(python) => Some(requirements(name, python, text)?),
        None => None,
    };
    let groups = groups.iter().map(|Group { name, gid }| json!([name, gid]));
    let users = users.iter().map(|user| {
        let User {
            name,
            uid,
            gid,
            home,
            shell,
        } = user;
        json!([name, uid, gid, home, shell])
    });
    let directories = directories
        .iter()
        .map(|Directory { path, owner, mode }| json!([path, numbers(*owner), mode]));
    let links = links
        .iter()
        .map(|Link { path, target }| json!([path, target]));
    let mut contents = Vec::new();
    for file in files {
        let File {
            at: _,
            path: _,
            source: _,
            owner,
            mode,
        } = file;
        for (path, bytes) in own_files::sources(name, file, text)? {
            contents.push(json!([path, numbers(*owner), mode, BlobDigest::of(bytes)]));
        }
    }
    Ok(json!({
        "debian": debian.as_ref().map(packages),
        "python": python,
        "groups": groups.collect::<Vec<_>>(),
        "users": users.collect::<Vec<_>>(),
        "directories": directories.collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
        "files": contents,
        "run": start(run),
    }))
}

fn numbers(owner: Owner) -> [u32; 2] {
    let Owner { uid, gid } = owner;
    [uid, gid]
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
    json!({
        "suites": suites,
        "components": components,
        "packages": packages,
        "exclude": exclude,
        "include": include,
        "keep": keep,
        "drop": drop,
    })
}

fn requirements(
    name: &ImageName,
    python: &Python,
    text: &ProjectText,
) -> Result<Value, InputsError> {
    let Python {
        at: _,
        requirements,
        version,
    } = python;
    let path = format!("images/{name}/{requirements}");
    let file = text.get(&path).ok_or(InputsError::Requirements { path })?;
    Ok(json!([BlobDigest::of(&file.bytes), version]))
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
    json!({
        "user": user,
        "entrypoint": entrypoint,
        "command": command,
        "working_dir": working_dir,
        "stop_signal": stop_signal,
        "env": env,
        "ports": ports,
        "volumes": volumes,
        "labels": labels,
    })
}
