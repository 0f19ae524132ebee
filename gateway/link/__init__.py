"""One TCP link with a session on it: what clients' and carriers' links have in common."""
