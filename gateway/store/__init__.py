"""LMDB: the tables, the snapshot that the core reads, the committer, the audit."""
