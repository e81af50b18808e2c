//! Python wheels: requirements, tags, the simple index, and a wheel's files as a tree.
