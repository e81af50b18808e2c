//! Every diagnostic code, once: its title, and what `forge explain CODE` says of it.
//!
//! `F00` files and their shape, `F01` modules, options and templates, `F02` references between contributions,
//! `F03` policy (may be allowed by a host, with a reason), `F04` images and the lock, `F05` secrets, `F06` rendered files.
//! A code, once given, never changes its meaning.

use std::fmt;

/// A row of [`ALL`].
#[derive(Clone, Copy)]
pub struct Code(&'static Info);

/// What there is to know of a code.
#[derive(Debug)]
pub struct Info {
    pub code: &'static str,
    pub title: &'static str,
    pub explanation: &'static str,
}

impl Code {
    pub fn as_str(self) -> &'static str {
        self.0.code
    }

    pub fn title(self) -> &'static str {
        self.0.title
    }

    pub fn explanation(self) -> &'static str {
        self.0.explanation
    }

    /// True for the policy rules, which a host may switch off for a subject with `[[allow]]`.
    pub fn is_policy(self) -> bool {
        // The rules about allowances themselves cannot be allowed.
        self.0.code.starts_with("F03") && self != BAD_ALLOW && self != NO_REASON
    }

    pub fn find(code: &str) -> Option<Self> {
        ALL.iter()
            .copied()
            .find(|known| known.as_str().eq_ignore_ascii_case(code))
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code
    }
}
impl Eq for Code {}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code)
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $title:literal $explanation:literal)*) => {
        $(#[doc = $title] pub const $name: Code = Code(&Info { code: $code, title: $title, explanation: $explanation });)*
        /// All codes, ascending.
        pub const ALL: &[Code] = &[$($name),*];
    };
}

codes! {
    SYNTAX "F0001" "invalid TOML"
"The file is not TOML 1.0, so nothing in it can be trusted to mean what it says. The label marks where the parser could not
go on; the mistake is there or just before it: a missing quote, a missing `=`, an unclosed bracket."
    UNKNOWN_KEY "F0002" "unknown key"
"A key that forge does not know at this place. Keys are never ignored: a misspelt `memroy` that silently changed nothing
would be found in production. Remove it, or correct its spelling."
    WRONG_TYPE "F0003" "wrong type"
"The value has another type than the key wants, for instance text where a number stands. Sizes (`512MiB`), durations (`30s`)
and the like are written as text in quotes."
    BAD_VALUE "F0004" "value out of bounds"
"The value has the right type but not a permitted form or amount: a port above 65535, a size without unit, a word that is
not one of an enumeration, text that does not match the option's pattern."
    MISSING_KEY "F0005" "missing key"
"A key that has no default was not given. `forge module show NAME` lists the options of a module with their defaults."
    DUPLICATE "F0006" "given twice"
"Two contributions of one kind have the same name on a host, or a list names something twice. Names are unique among their
kind, because files, services and overrides refer to them."
    MISSING_FILE "F0007" "no such file"
"A file that the project needs is not there: the host asked for, the parent that it extends, a template, or `forge.toml`.
Run forge in the project's folder, or name it with `--project DIR`; `forge init` makes a new project."
    CYCLE "F0008" "cycle"
"Something depends on itself, directly or by way of others: hosts that extend each other, services
that wait for each other to be healthy. The message shows the way round. Remove one of the steps."
    BAD_NAME "F0009" "invalid name"
"Names end up in file names, DNS names, unit names and labels, so they consist of a-z, 0-9 and `-`, start with a letter or a digit and have
63 characters at most. Secrets and options have `_` instead of `-`."
    NOT_UTF8 "F0010" "not UTF-8 text"
"The file holds bytes that are not UTF-8. TOML files and templates are text in UTF-8, without NUL characters."
    UNSAFE_PATH "F0011" "path leaves its place"
"A path that is absolute where a relative one belongs (or the reverse), that contains `..`, or that goes through a symbolic link. A
module only reads its own folder and only writes where it declares to, so that a module can be read and trusted by itself."
    UNSUPPORTED_VERSION "F0012" "unknown format version"
"The file was written by another version of forge whose format this one does not know. Use the forge that the message names."

    UNKNOWN_MODULE "F0101" "unknown module"
"The host enables a module that is neither in `modules/` of the project nor in the catalogue that comes with forge.
`forge module list` shows all of them."
    UNKNOWN_OPTION "F0102" "unknown option"
"The module has no option of this name. `forge module show NAME` lists its options."
    REQUIRED_MODULE "F0103" "required module is not enabled"
"The module can only work when another one is enabled on the same host. Add `[modules.NAME]` to the host, or remove
the module that needs it."
    UNKNOWN_KIND "F0104" "unknown kind of contribution"
"No module of the project declares this kind, so nobody would ever read the contribution. `forge module kinds` lists the
kinds; a module declares a new one with `[contribution.NAME]`."
    TEMPLATE_SYNTAX "F0105" "template does not parse"
"The text is no Handlebars template: an unclosed `{{`, a block without its end, an unknown form. A literal `{{` is written `\\{{`."
    TEMPLATE_UNDEFINED "F0106" "template fails"
"The template uses a name that is not defined there, or a helper that does not exist, or a helper refused its argument. Templates run in
strict mode: a misspelt name is an error and not an empty string."
    BAD_CONDITION "F0107" "condition does not parse"
"`when` is a path that must be true, `not PATH`, `PATH == 'text'`, `PATH != 'text'`, or several of these joined by `and`."
    BAD_FOR_EACH "F0108" "for_each cannot be repeated over this"
"`for_each` names a list or map: `options.NAME`, or `facts.KIND` for all contributions of a kind. Contributions over `facts.KIND`
cannot be of that kind themselves, since then there would be no end."
    BAD_OVERRIDE "F0109" "override of nothing"
"An `[override.KIND.NAME]` of the host names a contribution, or a field of one, that no enabled module makes. `forge show HOST` lists what there is."
    BAD_DEFAULT "F0110" "default does not fit its own type"
"A module declares an option or a field whose default is not a value of the declared type and bounds."
    NO_PROVIDER "F0111" "need without a provider"
"A contribution asks for something (a database, a cache, a bucket) that no enabled module meets. Enable a module that provides it, such as
`postgres`, or set its option `provider = \"external\"` to use one that runs elsewhere."
    TWO_PROVIDERS "F0112" "need with two providers"
"Two enabled modules claim to meet the same need, so it is not decided where it would be met. Disable one of them."
    BAD_DECLARATION "F0113" "declaration does not make sense"
"The declaration of an option or field contradicts itself: an enum without values, a list without `of`, a `min` above `max`, both
a default and `optional`, a bound that its type does not have."

    UNKNOWN_REFERENCE "F0201" "reference to nothing"
"A contribution refers to another one by name (a service, volume, secret, network, file or image) and there is none of that name
on this host. Either the name is misspelt or the module that makes it is not enabled."
    ONE_OF "F0202" "exactly one is needed"
"Of several keys exactly one must be given: a mount has one source, a file has one origin, a route has one target."
    TWO_OWNERS "F0203" "two owners"
"Two contributions claim the same thing: a port of the host, a path on the host, a path in one container, a domain and path of the
ingress. Only one can have it."
    CANNOT_MEET "F0204" "they share no network"
"One service must reach another (the ingress its target, Prometheus its target, a service that waits for another) but they have no network in
common, so it could never work. Add a network to one of them; `internal` and `data` exist for that."
    SECRET_AT_REST "F0205" "secret would be written in clear"
"A file that embeds a secret may only exist on tmpfs. Without `path` it is put there by itself; a `path` must be below /run."

    MUTABLE_TAG "F0301" "image tag moves"
"The image names a tag such as `latest`, `stable` or `main` that is meant to change its content. The lock pins the digest in any case, but a moving tag
says nothing about the version that runs, and an update of the pin becomes a leap in the dark. Name a version."
    NO_HEALTHCHECK "F0303" "service without healthcheck"
"Whether a deploy has succeeded is decided by health. A service without a healthcheck counts as well as soon as its process runs. Give it a
`healthcheck`, or, where the image has no means, a `[[probe]]` and an `[[allow]]`."
    NO_LIMITS "F0304" "service without limits"
"A service without memory and cpu limits can take the whole host down with it. Set `limits.memory` and `limits.cpus`."
    NO_LOG_ROTATION "F0305" "logs grow without bound"
"The service's log rotation allows more than 1 GiB (`log.max_size` times `log.max_files`). A full disk stops everything else on the host."
    NOT_BACKED_UP "F0306" "volume that nobody backs up"
"No `[[backup]]` of the host names or covers the volume. Add one, or say in the volume why it needs none: `no_backup = \"reason\"`."
    PUBLIC_PORT "F0307" "public port without a hole in the firewall"
"The service publishes a port to the outside (`public = true`) that no `[[firewall]]` entry opens. Docker would publish it past UFW; forge does not. Add the
entry, or leave the port on loopback and put a `[[route]]` before it."
    DEFAULT_CREDENTIAL "F0308" "credential in clear"
"An environment variable of a service whose name says that it is a credential holds a value that was written into the project. Use `[[secret]]`,
`env_secret`, or a file with the `secret` helper."
    PRIVILEGED "F0310" "container that is as good as root"
"The service is privileged, uses the Docker socket, sees all processes of the host, or mounts the host's root, any of which gives it the whole host
if it is broken into. Some (cAdvisor, Promtail) need it: then say so with `[[allow]]` and a reason."
    RUNS_AS_ROOT "F0312" "container runs as root"
"The service declares no `user`, or user 0. A process that breaks out of its container as root is root on the host. Set `user = \"uid:gid\"` to the one that
the image is made for; where it must start as root, `[[allow]]` it with a reason."
    OPEN_TO_ALL "F0313" "administration open to everybody"
"The firewall opens a port that is for administration only (databases, Docker, Prometheus and the like) to every address. Name who may with `from = [\"…\"]`."
    BAD_ALLOW "F0314" "allowance without effect"
"An `[[allow]]` of the host names a rule or a subject that does not exist, or that is not violated, so that it would hide the next, unknown violation."
    NO_REASON "F0315" "allowance without reason"
"An `[[allow]]` or `no_backup` needs a written reason of at least ten characters, for the person who reads it in two years."

    UNPINNED "F0401" "image is not in the lock"
"The image is used, but `forge.lock` has no digest for it, so two builds could differ. `forge lock` resolves every image that is missing, `forge lock NAME` one."
    STALE_PIN "F0402" "lock is out of date"
"The image was changed after it was locked: the repository or tag of an image of a registry; the tables, the files or the base of a recipe, or forge's own rules for it.
`forge lock NAME` resolves it anew and shows what changes; nothing else in the lock moves."
    UNKNOWN_IMAGE "F0403" "unknown image"
"There is no `images/NAME/image.toml` of this name in the project or in the catalogue."
    BAD_DIGEST "F0404" "not a digest"
"A digest is `sha256:` followed by 64 lower-case hexadecimal digits (OCI image specification, descriptor)."
    UNUSED_PIN "F0405" "lock entry without use"
"The lock holds something that nothing needs: the pin of an image that has no `images/NAME/image.toml` any more, or a package, a wheel or a suite that no
image of the lock is made of. `forge lock` leaves it out."
    BAD_BASE "F0406" "image cannot be continued"
"`base` of a recipe names another recipe of the project, built for the same architectures: its layers come first, and forge knows what is in them. An image
of a registry cannot be continued; list the packages instead."
    UNKNOWN_USER "F0407" "user is not in the image"
"`run.user` names a user or a group that neither the recipe nor one that it continues declares, so that no container would start. Declare it with `[[user]]` or
`[[group]]`, or write numbers, which need no declaration: `70:70`."
    DANGLING_PIN "F0408" "lock names what it does not hold"
"A recipe of the lock names a package or a wheel that has no entry of its own, or a package names a suite that has none: a merge has lost it, or somebody took it out.
`forge lock --update NAME` resolves the image anew."

    MISSING_SECRET "F0501" "secret is missing"
"A module of the host wants a secret for which the host has no value. `forge secret generate HOST` makes all that forge can make; others are
set with `forge secret set HOST NAME`."
    SECRET_LENGTH "F0502" "secret has the wrong length"
"The encrypted value has a length that cannot be right for what its module declares (the length of an age ciphertext tells the length of what is in it).
Programs with such a secret would start and crash, over and over. Set it again, or let forge generate it."
    SECRET_RECIPIENTS "F0503" "secret is encrypted to others"
"The value is not encrypted to exactly the recipients of the file: somebody was added or removed and the value was not encrypted again.
`forge secret rekey HOST` does that."
    BAD_CIPHERTEXT "F0504" "not an age file"
"The value is no armored age file (age-encryption.org/v1). A value written in clear would end up in the bundle: take it out, change it where it is used, and
store it with `forge secret set HOST NAME`."
    BAD_RECIPIENT "F0505" "not a recipient"
"A recipient is an SSH public key of type ssh-ed25519 or ssh-rsa, or an age public key (`age1…`). ECDSA keys cannot decrypt age files."
    EXAMPLE_KEY "F0506" "example key is in use"
"The host trusts the example key pair that comes with forge. Its private half is public: whoever has it can log in and read all secrets. Replace it with your own key
and encrypt the secrets again with `forge secret rekey HOST`."
    UNUSED_SECRET "F0507" "secret that nobody uses"
"The secrets file holds a value that no enabled module wants. Remove it, or correct its name."
    SECRET_FORMAT "F0508" "secret has the wrong form"
"The value does not have the form that its module declares: its encoding, its alphabet, its length or its pattern. `forge module show NAME`
says what is wanted; for what forge can make itself, `forge secret generate HOST` always makes the right form."
    NO_HOST_KEY "F0509" "host cannot decrypt its secrets"
"The host's own SSH host key is not among the recipients of its secrets, so it could not read them. `forge secret add-recipient HOST KEY` adds it."

    INVALID_OUTPUT "F0601" "rendered file is not valid"
"The text that a template rendered is not valid JSON, YAML or TOML, so that the program that reads it would refuse it. Quote values with the `json`, `yaml` and `toml` helpers."
    CONTROL_CHARACTER "F0602" "control character in a value"
"A value that goes into units, compose files, firewall rules or shell holds a newline or another control character, which could add lines of its own there."
    RESERVED_TEXT "F0603" "reserved text"
"The text holds the mark that forge uses for the place of a secret, outside the `secret` helper."
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_ascend_and_are_explained() {
        for pair in ALL.windows(2) {
            assert!(
                pair[0].as_str() < pair[1].as_str(),
                "{} {}",
                pair[0],
                pair[1]
            );
        }
        for code in ALL {
            assert!(code.explanation().len() > 60, "{code} is not explained");
        }
    }
}
