/// A place for what is on its way into the store: in memory up to so many bytes, then in a file without a name in the system's
/// folder for temporary files, of which nothing stays whatever happens.
pub fn spool(memory: usize) -> tempfile::SpooledTempFile {
    tempfile::SpooledTempFile::new(memory)
}
