"""WebDAV (RFC 4918): vfolders as a network drive. One verb a module."""
