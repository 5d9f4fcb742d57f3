"""The manager-facing HTTP front end, driven by the orchestrator."""
