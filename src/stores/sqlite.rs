//! Reads the SQLite generation's stores, read-only.
