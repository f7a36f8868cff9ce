//! Volume files in and out.
