//! An image file, typed: where an OCI image comes from.

use crate::pure::name::ImageName;
use crate::pure::text::Span;

#[derive(Clone, Debug)]
pub struct Image {
    pub name: ImageName,
    /// The beginning of its file.
    pub at: Span,
    pub summary: String,
    pub repository: String,
    pub tag: String,
    pub tag_at: Span,
}
