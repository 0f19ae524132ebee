"""The process: what is built, how it is joined, how it ends."""
