"""The people's API: what a web interface and scripts are built on."""
