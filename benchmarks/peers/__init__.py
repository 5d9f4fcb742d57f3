"""The peers: servers of other people, each started in a folder of its own and stopped again."""
