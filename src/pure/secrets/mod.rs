//! Secrets as they lie in the project: who may read them, what each must look like, and what their ciphertexts tell.
//!
//! Owns: the file `hosts/NAME.secrets.toml` ([`SecretsFile`], and changing its text: [`edit`]), the kind of contribution
//! `secret` ([`Declaration`]), and everything that can be known of an age file without a private key ([`Envelope`]).
//! Invariant: nothing here can decrypt, so a build needs no key; a [`Plaintext`] is never shown by `Debug`, and the text of
//! a secrets file reaches [`crate::pure::text::Sources`] only with its values masked (a value written in clear by
//! mistake must not be quoted in the report of that mistake).
//!
//! The age crate is not used for reading headers: it offers no way to see the stanzas without an identity, and what a
//! build checks should not depend on a decryption library.

mod armor;
mod check;
mod declaration;
pub mod edit;
mod envelope;
mod from_config;
mod generate;
mod mask;
mod plaintext;
mod recipient;
mod sealed;

pub use armor::ArmorError;
pub use check::{Chain, Layer};
pub use declaration::{Declaration, Format, WantedBy};
pub use envelope::{Addressees, Envelope, EnvelopeError, SshTag, Stanza};
pub use from_config::{Listed, SecretsFile, VERSION, Value};
pub use generate::{Generate, Randomness, RandomnessError};
pub use plaintext::Plaintext;
pub use recipient::{Recipient, RecipientError, RecipientKind};
pub use sealed::{Sealed, SealedError};

pub use check::check;
