"""The client-facing HTTP front end."""
