"""The configuration file: its shape (`schema`), and how its text becomes that shape (`load`)."""
