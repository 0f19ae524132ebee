"""The metrics: their names, and the text in which Prometheus reads them. Pure."""
