//! The program that is sent to hosts: forge itself, linked statically, for the host's architecture.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader as _};
use sha2::{Digest as _, Sha256};

use crate::pure::name::{Arch, BlobDigest};

/// A program that a host can run without anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProgram {
    pub path: PathBuf,
    pub digest: BlobDigest,
    pub arch: Arch,
    pub size: u64,
}

/// Why there is no program for a host.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} cannot be an agent: {why}", path.display())]
    Unfit { path: PathBuf, why: String },
    #[error("there is no forge for {arch} hosts: {}", tried.join("; "))]
    None { arch: Arch, tried: Vec<String> },
    #[error("{} is for {has}, the host is {wants}", path.display())]
    OtherArch {
        path: PathBuf,
        has: Arch,
        wants: Arch,
    },
}

impl AgentError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let target = |arch: Arch| match arch {
            Arch::Amd64 => "x86_64-unknown-linux-gnu",
            Arch::Arm64 => "aarch64-unknown-linux-gnu",
        };
        let build = |arch: Arch| {
            format!(
                "build one with `cargo build --release --target {}` in forge's own project, and name it with `--agent FILE`, or put it beside forge as `forge-{arch}`",
                target(arch)
            )
        };
        match self {
            Self::None { arch, .. } => build(*arch),
            Self::OtherArch { wants, .. } => build(*wants),
            Self::Read { .. } | Self::Unfit { .. } => build(own_arch().unwrap_or(Arch::Amd64)),
        }
    }
}

/// Where programs for hosts are looked for.
#[derive(Debug)]
pub struct Agents {
    explicit: Option<PathBuf>,
    own: PathBuf,
    /// What was found: a program is large, and is read once.
    found: Mutex<Vec<(Option<Arch>, AgentProgram)>>,
}

impl Agents {
    /// `explicit`: `--agent`, and then no other.
    ///
    /// # Errors
    /// [`AgentError::Read`] if this program does not know where it is.
    pub fn new(explicit: Option<PathBuf>) -> Result<Self, AgentError> {
        let own = std::env::current_exe().map_err(|source| AgentError::Read {
            path: "/proc/self/exe".into(),
            source,
        })?;
        Ok(Self {
            explicit,
            own,
            found: Mutex::default(),
        })
    }

    /// As if this program were there.
    pub fn beside(own: PathBuf) -> Self {
        Self {
            explicit: None,
            own,
            found: Mutex::default(),
        }
    }

    /// The program for an architecture; without one, for that of the laptop.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn find(&self, arch: Option<Arch>) -> Result<AgentProgram, AgentError> {
        let Ok(mut found) = self.found.lock() else {
            return self.look_for(arch);
        };
        if let Some((_, program)) = found.iter().find(|(asked, _)| *asked == arch) {
            return Ok(program.clone());
        }
        let program = self.look_for(arch)?;
        found.push((arch, program.clone()));
        Ok(program)
    }

    fn look_for(&self, arch: Option<Arch>) -> Result<AgentProgram, AgentError> {
        if let Some(path) = &self.explicit {
            let program = AgentProgram::read(path)?;
            return match arch {
                Some(wants) if wants != program.arch => Err(AgentError::OtherArch {
                    path: path.clone(),
                    has: program.arch,
                    wants,
                }),
                _ => Ok(program),
            };
        }
        let arch = arch.or_else(own_arch).unwrap_or(Arch::Amd64);
        let beside = self.own.with_file_name(format!("forge-{arch}"));
        let mut tried = Vec::new();
        for path in [&self.own, &beside] {
            match AgentProgram::read(path) {
                Ok(program) if program.arch == arch => return Ok(program),
                Ok(program) => tried.push(format!("{} is for {}", path.display(), program.arch)),
                Err(error) => tried.push(error.to_string()),
            }
        }
        Err(AgentError::None { arch, tried })
    }
}

fn own_arch() -> Option<Arch> {
    arch_of_machine(std::env::consts::ARCH)
}

/// The architecture that `uname -m` names.
pub fn arch_of_machine(text: &str) -> Option<Arch> {
    match text.trim() {
        "x86_64" | "amd64" => Some(Arch::Amd64),
        "aarch64" | "arm64" => Some(Arch::Arm64),
        _ => None,
    }
}

impl AgentProgram {
    /// Reads a program, and sees that it can run on a bare host.
    ///
    /// # Errors
    /// [`AgentError::Read`], [`AgentError::Unfit`].
    pub fn read(path: &Path) -> Result<Self, AgentError> {
        let failed = |source| AgentError::Read {
            path: path.to_path_buf(),
            source,
        };
        let unfit = |why: &str| AgentError::Unfit {
            path: path.to_path_buf(),
            why: why.to_owned(),
        };
        let bytes = fs::read(path).map_err(failed)?;
        let no_elf = |_| unfit("it is no ELF program for a 64-bit machine");
        let header = elf::FileHeader64::<object::Endianness>::parse(&*bytes).map_err(no_elf)?;
        let endian = header.endian().map_err(no_elf)?;
        let arch = match header.e_machine.get(endian) {
            elf::EM_X86_64 => Arch::Amd64,
            elf::EM_AARCH64 => Arch::Arm64,
            other => {
                return Err(unfit(&format!(
                    "its machine ({other:?}) is none that forge builds for"
                )));
            }
        };
        let segments = header.program_headers(endian, &*bytes).map_err(no_elf)?;
        if segments
            .iter()
            .any(|segment| segment.p_type(endian) == elf::PT_INTERP)
        {
            return Err(unfit("it is not linked statically"));
        }
        Ok(Self {
            path: path.to_path_buf(),
            digest: BlobDigest::from_hasher(Sha256::new_with_prefix(&bytes)),
            arch,
            size: bytes.len() as u64,
        })
    }

    /// Its bytes, as they are now: whoever receives them compares the digest.
    ///
    /// # Errors
    /// [`AgentError::Read`].
    pub fn open(&self) -> Result<impl Read + use<>, AgentError> {
        File::open(&self.path).map_err(|source| AgentError::Read {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_architecture_and_must_be_static() {
        let folder = tempfile::tempdir().unwrap();
        // A header and one segment: enough for what is looked at.
        let write = |name: &str, machine: u16, segment: u32| {
            let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            bytes.extend_from_slice(&2u16.to_le_bytes());
            bytes.extend_from_slice(&machine.to_le_bytes());
            bytes.extend_from_slice(&1u32.to_le_bytes());
            bytes.extend_from_slice(&0u64.to_le_bytes());
            bytes.extend_from_slice(&64u64.to_le_bytes());
            bytes.extend_from_slice(&0u64.to_le_bytes());
            bytes.extend_from_slice(&0u32.to_le_bytes());
            for half in [64u16, 56, 1, 64, 0, 0] {
                bytes.extend_from_slice(&half.to_le_bytes());
            }
            bytes.extend_from_slice(&segment.to_le_bytes());
            bytes.resize(64 + 56, 0);
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        const LOAD: u32 = 1;
        const INTERP: u32 = 3;
        let own = write("forge", 62, LOAD);
        let agents = Agents::beside(own.clone());
        assert_eq!(agents.find(Some(Arch::Amd64)).unwrap().path, own);
        let error = agents.find(Some(Arch::Arm64)).unwrap_err();
        assert!(error.to_string().contains("is for amd64"), "{error}");
        assert!(
            error.hint().contains("aarch64-unknown-linux-gnu"),
            "{}",
            error.hint()
        );
        assert!(error.hint().contains("--agent"), "{}", error.hint());
        let beside = write("forge-arm64", 183, LOAD);
        assert_eq!(agents.find(Some(Arch::Arm64)).unwrap().path, beside);
        write("forge", 62, INTERP);
        let agents = Agents::beside(own.clone());
        let error = agents.find(Some(Arch::Amd64)).unwrap_err();
        assert!(
            error.to_string().contains("not linked statically"),
            "{error}"
        );
        let named = || Agents {
            explicit: Some(beside.clone()),
            ..Agents::beside(own.clone())
        };
        let explicit = named();
        assert!(matches!(
            explicit.find(Some(Arch::Amd64)),
            Err(AgentError::OtherArch { .. })
        ));
        assert_eq!(explicit.find(None).unwrap().arch, Arch::Arm64);
        fs::write(folder.path().join("forge-arm64"), "#!/bin/sh").unwrap();
        assert!(matches!(named().find(None), Err(AgentError::Unfit { .. })));
    }
}
