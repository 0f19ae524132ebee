"""What people and their tools ask a running daemon: the admin socket, `ctl`, and what is scraped."""
