"""The SFTP front end: Conch, subclassed here and nowhere else, over the session."""
